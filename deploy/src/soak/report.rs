//! The report of a soak, in Markdown. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tributary_shared::time::{Millis, to_rfc3339};

use super::accounts::{Accounts, Check, Counted, Lane};
use super::fault::{Injected, RECOVERY};

/// Everything that a soak found out.
#[derive(Debug)]
pub struct Report {
    pub minutes: f64,
    pub rate: u64,
    pub fault_every: u64,
    pub seed: u64,
    pub began: Millis,
    pub posted_for: Duration,
    pub drained: Duration,
    pub accounts: Accounts,
    pub counted: BTreeMap<u64, Counted>,
    pub lanes: Vec<Lane>,
    /// Events of the probes' own stream that were committed.
    pub probes: u64,
    pub faults: Vec<Injected>,
    pub peaks_mib: BTreeMap<&'static str, f64>,
    /// Name, datagrams passed, datagrams lost.
    pub links: Vec<(String, u64, u64)>,
    pub checks: Vec<Check>,
}

impl Report {
    /// Every promise held, something was counted, and the mesh got over every fault.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(Check::holds)
            && self.accounts.accepted().1 > 0
            && self.faults.iter().all(|fault| fault.recovered.is_ok())
    }

    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // writing into a String cannot fail
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        let build = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        writeln!(out, "# Soak: {verdict}\n")?;
        writeln!(
            out,
            "`tributary soak --minutes {} --rate {} --fault-every {} --seed {}` of {}, version {} ({build} \
             build), {cores} cores.\nTwo agents, two gateways and an aggregator, each a process of its own, with \
             a link (UDP proxy) in front of the\naggregator and of each gateway; everything on one machine, \
             producers and proxies included.\n",
            self.minutes,
            self.rate,
            self.fault_every,
            self.seed,
            to_rfc3339(self.began),
            env!("CARGO_PKG_VERSION"),
        )?;
        self.write_checks(out)?;
        self.write_events(out)?;
        self.write_faults(out)?;
        self.write_resources(out)
    }

    fn write_checks(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "## Promises\n\n| promise | looked at | broken |\n|---|--:|--:|"
        )?;
        for check in &self.checks {
            writeln!(
                out,
                "| {} | {} | {} |",
                check.promise, check.looked_at, check.wrong
            )?;
        }
        let slow = self
            .faults
            .iter()
            .filter(|fault| fault.recovered.is_err())
            .count();
        let limit = RECOVERY.as_secs();
        writeln!(
            out,
            "| after each fault an event through every agent is committed within {limit} s | {} | {slow} |\n",
            self.faults.len()
        )?;
        for check in self.checks.iter().filter(|check| !check.holds()) {
            writeln!(out, "Broken: {}\n", check.promise)?;
            for example in &check.examples {
                writeln!(out, "- {example}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_events(&self, out: &mut String) -> std::fmt::Result {
        let (requests, events) = self.accounts.accepted();
        let unanswered: Vec<_> = self
            .accounts
            .requests
            .iter()
            .filter(|(_, request)| request.accepted.is_none())
            .collect();
        let counted_anyway = unanswered
            .iter()
            .filter(|(number, _)| self.counted.contains_key(number));
        let counted: u64 = self.counted.values().map(|counted| counted.events).sum();
        let dead: u64 = self.lanes.iter().map(|lane| lane.dead).sum();
        let dropped = self.lanes.iter().flat_map(|lane| &lane.dropped);
        let dropped: u64 = dropped.map(|(_, count)| count).sum();
        let mut answers = self.accounts.answer_ms.clone();
        answers.sort_unstable();
        let seconds = self.posted_for.as_secs_f64();
        let rows: [(&str, String); 10] = [
            ("events accepted", events.to_string()),
            ("accepted a second", format!("{:.0}", events as f64 / seconds)),
            ("requests accepted", requests.to_string()),
            (
                "requests without an answer (of these counted)",
                format!("{} ({})", unanswered.len(), counted_anyway.count()),
            ),
            (
                "requests certainly not taken, and repeated (of these: spool full)",
                format!("{} ({})", self.accounts.retried, self.accounts.full),
            ),
            (
                "an accepted request's answer, p50 / p99 / longest",
                format!(
                    "{} / {} / {} ms",
                    percentile(&answers, 50),
                    percentile(&answers, 99),
                    percentile(&answers, 100)
                ),
            ),
            ("events counted in windows", counted.to_string()),
            ("dead letters / dropped", format!("{dead} / {dropped}")),
            ("events of the probes, committed", self.probes.to_string()),
            (
                "drained after the last event",
                format!("{:.1} s", self.drained.as_secs_f64()),
            ),
        ];
        writeln!(out, "## Events\n\n| | |\n|---|--:|")?;
        for (name, value) in rows {
            writeln!(out, "| {name} | {value} |")?;
        }
        writeln!(out)
    }

    fn write_faults(&self, out: &mut String) -> std::fmt::Result {
        let mut by_kind: BTreeMap<_, Vec<&Injected>> = BTreeMap::new();
        for injected in &self.faults {
            by_kind
                .entry((injected.fault.kind, injected.target.as_str()))
                .or_default()
                .push(injected);
        }
        writeln!(
            out,
            "## Faults\n\n{} faults. Recovery is from the end of the fault (of a kill: from the kill) until an event \
             that was\nposted after it, through each agent, was committed. Where it took longer than {} s, further \
             faults fell into it.\n\n| fault | target | times | recovery p50 | longest |\n|---|---|--:|--:|--:|",
            self.faults.len(),
            self.fault_every
        )?;
        for ((kind, target), faults) in &by_kind {
            let mut took: Vec<u32> = faults
                .iter()
                .filter_map(|fault| fault.recovered.as_ref().ok())
                .map(|took| u32::try_from(took.as_millis()).unwrap_or(u32::MAX))
                .collect();
            took.sort_unstable();
            writeln!(
                out,
                "| {} | {target} | {} | {} ms | {} ms |",
                kind.name(),
                faults.len(),
                percentile(&took, 50),
                percentile(&took, 100)
            )?;
        }
        writeln!(out)?;
        for injected in &self.faults {
            if let Err(error) = &injected.recovered {
                let (at, kind) = (injected.at.as_secs(), injected.fault.kind.name());
                writeln!(out, "- at {at} s, {kind} of {}: {error}", injected.target)?;
            }
        }
        Ok(())
    }

    fn write_resources(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "## Memory and links\n\n| role | peak resident memory of a process |\n|---|--:|"
        )?;
        for (role, mib) in &self.peaks_mib {
            writeln!(out, "| {role} | {mib:.1} MiB |")?;
        }
        writeln!(out, "\n| link | datagrams passed | lost |\n|---|--:|--:|")?;
        for (name, passed, lost) in &self.links {
            writeln!(out, "| {name} | {passed} | {lost} |")?;
        }
        Ok(())
    }
}

/// The nearest-rank percentile of sorted values. Zero when there are none.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::accounts::judge;
    use super::super::plan::{Fault, Kind, Target};
    use super::*;

    fn report(recovered: Result<Duration, String>) -> Report {
        let accounts = Accounts::default();
        let fault = Fault {
            kind: Kind::Kill,
            target: Target::Process(0),
            lasts: Duration::ZERO,
            delay: Duration::ZERO,
            loss_percent: 0,
        };
        let injected = Injected {
            fault,
            target: "agent-1".to_owned(),
            at: Duration::from_secs(5),
            recovered,
        };
        Report {
            minutes: 1.0,
            rate: 1_000,
            fault_every: 5,
            seed: 1,
            began: 1_790_000_000_000,
            posted_for: Duration::from_secs(60),
            drained: Duration::from_secs(1),
            checks: judge(&accounts, &BTreeMap::new(), &[]),
            accounts,
            counted: BTreeMap::new(),
            lanes: Vec::new(),
            probes: 2,
            faults: vec![injected],
            peaks_mib: [("agent", 12.25)].into(),
            links: vec![("agents to gateway-1".to_owned(), 100, 3)],
        }
    }

    #[test]
    fn a_soak_of_nothing_and_one_that_does_not_recover_are_not_passed() {
        let nothing = report(Ok(Duration::from_millis(700)));
        assert!(!nothing.passed(), "no event was accepted");
        let text = nothing.markdown();
        assert!(text.starts_with("# Soak: FAILED\n"), "{text}");
        assert!(
            text.contains("| kill -9 | agent-1 | 1 | 700 ms | 700 ms |"),
            "{text}"
        );
        let stuck = report(Err("nothing was committed".to_owned())).markdown();
        assert!(
            stuck.contains("- at 5 s, kill -9 of agent-1: nothing was committed"),
            "{stuck}"
        );
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 50), 100);
        assert_eq!(percentile(&values, 100), 200);
        assert_eq!(percentile(&[], 99), 0);
    }
}
