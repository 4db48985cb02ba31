//! How fast a backlog goes from the tailed files into the windows, and what that costs.

use std::time::{Duration, Instant};

use super::api::{Api, Totals};
use super::input::Inputs;
use super::mesh::Places;
use super::openmetrics::sum;
use super::report::PerRole;
use super::{Job, STREAM, procfs};

/// How often the aggregator is asked how far it is; also the resolution of the time measured.
const POLL: Duration = Duration::from_millis(20);
/// A mesh that moves nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

/// The figures of the first measurement.
#[derive(Debug)]
pub struct Throughput {
    pub seconds: f64,
    pub events_per_s: f64,
    pub input_bytes: u64,
    pub cpu_s: PerRole<f64>,
    /// Batch bodies that the agents sent.
    pub wire_bytes: u64,
    /// The most that all spools together held on disk.
    pub spool_peak_bytes: u64,
    pub log_bytes: u64,
    pub totals: Totals,
    /// What the view counted, all windows together.
    pub counted: u64,
}

/// # Errors
/// When the mesh is stuck, or the run was cancelled.
pub fn measure(api: &Api, job: &Job, inputs: Inputs) -> anyhow::Result<Throughput> {
    let places = &job.places;
    let input_bytes = inputs.bytes;
    let (cpu_before, wire_before) = (cpu(places)?, wire(api, places)?);
    job.progress.say("events in the windows:");
    let started = Instant::now();
    inputs.reveal()?;
    let spool_peak_bytes = wait(api, job, job.events)?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_s = cpu(places)?.zip(cpu_before, |after, before| after - before);
    Ok(Throughput {
        seconds,
        events_per_s: job.events as f64 / seconds,
        input_bytes,
        cpu_s,
        wire_bytes: wire(api, places)? - wire_before,
        spool_peak_bytes,
        log_bytes: procfs::dir_size(&places.aggregator_dir)?,
        totals: api.totals()?,
        counted: api.window_sum(STREAM, "n")?,
    })
}

/// Waits until so many events are in the windows. Returns the peak size of the spools.
///
/// # Errors
/// When the mesh is stuck, or the run was cancelled.
pub fn wait(api: &Api, job: &Job, events: u64) -> anyhow::Result<u64> {
    let mut spool_peak = 0;
    let mut last = None;
    let mut moved = Instant::now();
    loop {
        job.check_cancelled()?;
        let position = api.position()?;
        job.progress.bar.set_position(position.valid);
        if position.valid >= events && position.applied >= position.committed {
            return Ok(spool_peak);
        }
        let spools = job
            .places
            .agents
            .iter()
            .map(|agent| procfs::dir_size(&agent.dir))
            .sum::<Result<u64, _>>()?;
        spool_peak = spool_peak.max(spools);
        if last != Some(position) {
            (last, moved) = (Some(position), Instant::now());
        }
        if moved.elapsed() > STUCK {
            let totals = api.totals()?;
            anyhow::bail!("nothing moved for {STUCK:?}: {position:?}, ledger {totals:?}, wanted {events}");
        }
        std::thread::sleep(POLL);
    }
}

fn cpu(places: &Places) -> anyhow::Result<PerRole<f64>> {
    PerRole::collect(places, procfs::cpu_seconds, std::iter::Sum::sum)
}

fn wire(api: &Api, places: &Places) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for agent in &places.agents {
        bytes += sum(&api.metrics(&agent.intake)?, "tributary_shipper_bytes_total", &[]) as u64;
    }
    Ok(bytes)
}
