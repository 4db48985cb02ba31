//! The figures of one run, as JSON for scripts and as a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::api::{Api, Totals};
use super::latency::Latency;
use super::mesh::Places;
use super::throughput::Throughput;
use super::{Job, STREAM, procfs};

const MIB: f64 = (1u64 << 20) as f64;

/// One figure for each role.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PerRole<T> {
    pub agent: T,
    pub gateway: T,
    pub aggregator: T,
}

impl<T> PerRole<T> {
    /// Asks for each process; `merge` makes one figure of those of all agents.
    ///
    /// # Errors
    /// When one process cannot be asked.
    pub fn collect(
        places: &Places,
        ask: impl Fn(u32) -> anyhow::Result<T>,
        merge: impl FnOnce(std::vec::IntoIter<T>) -> T,
    ) -> anyhow::Result<Self> {
        let agents = places
            .agents
            .iter()
            .map(|agent| ask(agent.pid))
            .collect::<anyhow::Result<Vec<T>>>()?;
        Ok(Self {
            agent: merge(agents.into_iter()),
            gateway: ask(places.gateway_pid)?,
            aggregator: ask(places.aggregator_pid)?,
        })
    }

    /// Pairs two sets of figures.
    pub fn zip<U, V>(self, other: PerRole<U>, pair: impl Fn(T, U) -> V) -> PerRole<V> {
        PerRole {
            agent: pair(self.agent, other.agent),
            gateway: pair(self.gateway, other.gateway),
            aggregator: pair(self.aggregator, other.aggregator),
        }
    }

    fn map<U>(self, to: impl Fn(T) -> U) -> PerRole<U> {
        PerRole {
            agent: to(self.agent),
            gateway: to(self.gateway),
            aggregator: to(self.aggregator),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct LatencyMs {
    p50: f64,
    p99: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct DiskBytes {
    /// The spools at their largest.
    agent: f64,
    /// The log and the views at the end.
    aggregator: f64,
}

/// What `bench e2e --json` prints.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    workload: &'static str,
    events: u64,
    agents: u64,
    seconds: f64,
    events_per_s: f64,
    /// All roles together.
    events_per_cpu_s: f64,
    latency_ms: LatencyMs,
    /// Events a second while latency was measured.
    latency_rate: f64,
    latency_samples: usize,
    /// During the throughput measurement; all agents together.
    cpu_s: PerRole<f64>,
    /// Over the whole run; the largest agent.
    peak_rss_mib: PerRole<f64>,
    /// Of the first agent, before any event.
    agent_idle_rss_mib: f64,
    input_bytes_per_event: f64,
    wire_bytes_per_event: f64,
    disk_bytes_per_event: DiskBytes,
    pub ledger_balanced: bool,
}

impl Report {
    /// Asks for what is known only at the end, and puts all figures together.
    ///
    /// # Errors
    /// When a process does not answer.
    pub fn new(
        job: &Job,
        api: &Api,
        idle: u64,
        throughput: &Throughput,
        latency: &Latency,
    ) -> anyhow::Result<Self> {
        let peak = |agents: std::vec::IntoIter<u64>| agents.max().unwrap_or(0);
        let peak_rss = PerRole::collect(&job.places, procfs::peak_resident, peak)?;
        let cpu = throughput.cpu_s.agent + throughput.cpu_s.gateway + throughput.cpu_s.aggregator;
        let per_event = |bytes: u64| round(bytes as f64 / job.events as f64);
        let all = job.events + latency.events;
        let balanced = exact(throughput.totals, job.events)
            && throughput.counted == job.events
            && exact(api.totals()?, all)
            && api.window_sum(STREAM, "n")? == all;
        Ok(Self {
            workload: job.workload.name(),
            events: job.events,
            agents: job.places.agents.len() as u64,
            seconds: round(throughput.seconds),
            events_per_s: throughput.events_per_s.round(),
            events_per_cpu_s: (job.events as f64 / cpu).round(),
            latency_ms: LatencyMs {
                p50: round(latency.p50_ms),
                p99: round(latency.p99_ms),
            },
            latency_rate: latency.rate.round(),
            latency_samples: latency.markers,
            cpu_s: throughput.cpu_s.map(round),
            peak_rss_mib: peak_rss.map(|bytes| round(bytes as f64 / MIB)),
            agent_idle_rss_mib: round(idle as f64 / MIB),
            input_bytes_per_event: per_event(throughput.input_bytes),
            wire_bytes_per_event: per_event(throughput.wire_bytes),
            disk_bytes_per_event: DiskBytes {
                agent: per_event(throughput.spool_peak_bytes),
                aggregator: per_event(throughput.log_bytes),
            },
            ledger_balanced: balanced,
        })
    }

    /// The same for a person.
    #[must_use]
    pub fn table(&self) -> String {
        let Self {
            events,
            agents,
            seconds,
            workload,
            ..
        } = self;
        let mut table = format!("{events} {workload} events by {agents} agent(s) in {seconds} s\n\n");
        let mut row = |name: &str, value: String| {
            // writing into a String cannot fail
            let _ = writeln!(table, "  {name:<26}{value}");
        };
        let roles = |r: &PerRole<f64>| {
            format!(
                "agent {}, gateway {}, aggregator {}",
                r.agent, r.gateway, r.aggregator
            )
        };
        row("events/s", self.events_per_s.to_string());
        row("events/s of CPU", self.events_per_cpu_s.to_string());
        row(
            "latency p50, p99",
            format!("{} ms, {} ms", self.latency_ms.p50, self.latency_ms.p99),
        );
        row(
            "  measured at",
            format!("{} events/s, {} samples", self.latency_rate, self.latency_samples),
        );
        row("CPU s", roles(&self.cpu_s));
        row("peak memory MiB", roles(&self.peak_rss_mib));
        row("idle agent MiB", self.agent_idle_rss_mib.to_string());
        row("input bytes/event", self.input_bytes_per_event.to_string());
        row("wire bytes/event", self.wire_bytes_per_event.to_string());
        let DiskBytes { agent, aggregator } = self.disk_bytes_per_event;
        row(
            "disk bytes/event",
            format!("spool at its peak {agent}, log {aggregator}"),
        );
        row(
            "ledger",
            if self.ledger_balanced {
                "exact"
            } else {
                "NOT exact"
            }
            .to_owned(),
        );
        table
    }
}

/// Is every event there, once, and valid?
fn exact(totals: Totals, events: u64) -> bool {
    totals
        == Totals {
            produced: events,
            valid: events,
            dead: 0,
            dropped: 0,
        }
}

/// Two decimals: more is noise.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dead_or_doubled_event_is_not_exact() {
        let totals = Totals {
            produced: 5,
            valid: 5,
            dead: 0,
            dropped: 0,
        };
        assert!(exact(totals, 5));
        assert!(!exact(
            Totals {
                valid: 4,
                dead: 1,
                ..totals
            },
            5
        ));
        assert!(!exact(totals, 4));
    }
}
