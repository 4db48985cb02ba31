//! How long an event takes from the write of its line to a subscriber of a view, at a steady rate.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tributary_shared::time::now_millis;

use super::api::Api;
use super::{Job, STREAM, throughput};
use crate::workload::Generator;

/// How long events are written.
const RUN: Duration = Duration::from_secs(10);
/// One append to the tailed file, as a program that logs would make.
const TICK: Duration = Duration::from_millis(5);
/// Every so many appends one marker rides along.
const TICKS_PER_MARKER: u64 = 5;
/// How long the last markers may take, and how long a new view may take to be caught up.
const PATIENCE: Duration = Duration::from_secs(30);
/// The view that shows markers only.
const VIEW: &str = "bench_markers";

/// The figures of the second measurement.
#[derive(Debug)]
pub struct Latency {
    /// Events written, markers included.
    pub events: u64,
    pub rate: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub markers: usize,
}

/// # Errors
/// When a marker does not arrive, or the run was cancelled.
pub fn measure(api: &Api, job: &Job, rate: f64) -> anyhow::Result<Latency> {
    let field = job.workload.marker_field();
    api.create_view(
        VIEW,
        &format!(
            "SELECT window_start, device, count(*) AS n FROM TUMBLE({STREAM}, ts, INTERVAL '1 minute') \
             WHERE {field} = 'marker' GROUP BY window_start, device"
        ),
    )?;
    caught_up(api, job)?;
    let seen = subscribe(api)?;
    job.progress.say("measuring latency, events written:");
    let (written, events) = write(job, rate)?;
    let mut latencies = collect(job, &seen, &written)?;
    // behind the last marker there are events too
    throughput::wait(api, job, job.events + events)?;
    latencies.sort_unstable();
    let millis = |p: f64| percentile(&latencies, p).as_secs_f64() * 1e3;
    let achieved = events as f64 / RUN.as_secs_f64();
    Ok(Latency {
        events,
        rate: achieved,
        p50_ms: millis(0.50),
        p99_ms: millis(0.99),
        markers: latencies.len(),
    })
}

/// A new view reads the log from its start, all events of the first measurement: until it has, what it shows says
/// how fast that is, not how late an event is.
fn caught_up(api: &Api, job: &Job) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        job.check_cancelled()?;
        if api.is_live(VIEW)? {
            return Ok(());
        }
        anyhow::ensure!(started.elapsed() < PATIENCE, "the view {VIEW} does not catch up");
        sleep(TICK);
    }
}

#[derive(Debug, Deserialize)]
struct MarkerRow {
    device: String,
}

/// Reads the view's live rows on a thread of its own: each marker's number, and when it was first seen.
fn subscribe(api: &Api) -> anyhow::Result<Receiver<(u64, Instant)>> {
    let reader = api.live(VIEW)?;
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name("live".to_owned())
        .spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if !forward(&line, &sender) {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

/// False when nobody listens any more.
fn forward(line: &str, sender: &Sender<(u64, Instant)>) -> bool {
    let now = Instant::now();
    let row = line
        .strip_prefix("data:")
        .and_then(|data| serde_json::from_str::<MarkerRow>(data).ok());
    match row.and_then(|row| row.device.strip_prefix("marker-")?.parse().ok()) {
        Some(marker) => sender.send((marker, now)).is_ok(),
        None => true,
    }
}

/// Appends events at the rate. Returns when each marker was written, and how many events were.
fn write(job: &Job, rate: f64) -> anyhow::Result<(BTreeMap<u64, Instant>, u64)> {
    let path = job.places.agents[0].input.join("live.ndjson");
    let mut file = File::options().create(true).append(true).open(path)?;
    let mut generator = Generator::new(job.workload, !job.seed);
    let (mut written, mut events) = (BTreeMap::new(), 0);
    let mut lines = Vec::new();
    let started = Instant::now();
    let ticks = (RUN.as_nanos() / TICK.as_nanos()) as u32;
    for tick in 1..=ticks {
        job.check_cancelled()?;
        let due = TICK * tick;
        sleep(due.saturating_sub(started.elapsed()));
        lines.clear();
        let until = (due.as_secs_f64() * rate) as u64;
        let marker = (u64::from(tick) % TICKS_PER_MARKER == 0).then_some(u64::from(tick));
        if let Some(marker) = marker {
            generator.marker(&mut lines, now_millis(), marker);
            events += 1;
        }
        while events < until {
            generator.line(&mut lines, now_millis());
            events += 1;
        }
        let at = Instant::now();
        file.write_all(&lines)?;
        written.extend(marker.map(|marker| (marker, at)));
        job.progress.bar.set_position(events);
    }
    Ok((written, events))
}

/// Waits for every marker. Returns their latencies.
fn collect(
    job: &Job,
    seen: &Receiver<(u64, Instant)>,
    written: &BTreeMap<u64, Instant>,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = BTreeMap::new();
    let mut quiet_since = Instant::now();
    while latencies.len() < written.len() {
        job.check_cancelled()?;
        match seen.recv_timeout(Duration::from_millis(100)) {
            Ok((marker, at)) => {
                quiet_since = Instant::now();
                if let Some(from) = written.get(&marker) {
                    latencies
                        .entry(marker)
                        .or_insert(at.saturating_duration_since(*from));
                }
            }
            Err(RecvTimeoutError::Timeout) => anyhow::ensure!(
                quiet_since.elapsed() < PATIENCE,
                "{} of {} markers did not reach the view",
                written.len() - latencies.len(),
                written.len()
            ),
            Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the live stream of {VIEW} ended"),
        }
    }
    Ok(latencies.into_values().collect())
}

/// The nearest-rank percentile of sorted values; `p` is from 0 to 1. Zero when there are none.
fn percentile(sorted: &[Duration], p: f64) -> Duration {
    let rank = (p * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.50), Duration::from_millis(100));
        assert_eq!(percentile(&values, 0.99), Duration::from_millis(198));
        assert_eq!(percentile(&values, 1.0), Duration::from_millis(200));
        assert_eq!(percentile(&[], 0.99), Duration::ZERO);
    }

    #[test]
    fn markers_are_told_from_other_lines() {
        let (sender, receiver) = channel();
        for line in [
            "event: window",
            "id: 4",
            r#"data: {"device":"marker-17","n":1}"#,
            "",
            r#"data: {"device":"x"}"#,
        ] {
            assert!(forward(line, &sender));
        }
        assert_eq!(
            receiver.try_iter().map(|(marker, _)| marker).collect::<Vec<_>>(),
            [17]
        );
        drop(receiver);
        assert!(!forward(r#"data: {"device":"marker-18"}"#, &sender));
    }
}
