//! Carries faults out, and measures how long the mesh takes to get over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::time::timeout;

use super::mesh::Mesh;
use super::plan::{Fault, Kind, Target};
use super::poster::post_one;
use crate::bench::api::Api;

/// Stream of the events that show that the mesh is over a fault.
pub const PROBES: &str = "soak_probe";
/// A mesh that is not over a fault by then does not get over it: the longest of the roles' own back-offs is a
/// few seconds.
pub const RECOVERY: Duration = Duration::from_secs(60);
/// Between two looks at the ledger.
const POLL: Duration = Duration::from_millis(50);

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Injected {
    pub fault: Fault,
    pub target: String,
    /// Since the start of the soak.
    pub at: Duration,
    /// From the end of the fault (of a kill: from the kill) until the last agent's next event was committed.
    pub recovered: Result<Duration, String>,
}

/// Does the fault to its target, and undoes it after its time.
///
/// # Errors
/// When the target was not there to be harmed, or stays away.
pub async fn inject(mesh: &Mesh, fault: Fault) -> anyhow::Result<Instant> {
    match fault.target {
        Target::Process(process) => harm_process(mesh, process, fault).await,
        Target::Link(link) => Ok(harm_link(mesh, link, fault).await),
    }
}

async fn harm_process(mesh: &Mesh, process: usize, fault: Fault) -> anyhow::Result<Instant> {
    let mut restarts = mesh.processes.subscribe();
    if fault.kind == Kind::Pause {
        signal(mesh, process, Signal::STOP).await?;
        tokio::time::sleep(fault.lasts).await;
        // one that was killed meanwhile has nothing to go on with
        let _ = mesh.signal(process, Signal::CONT);
        return Ok(Instant::now());
    }
    let killed = signal(mesh, process, Signal::KILL).await?;
    let now = Instant::now();
    let again = restarts.wait_for(|processes| processes[process].pid != killed);
    timeout(RECOVERY, again)
        .await
        .context("a killed process was not started again")?
        .context("the mesh has ended")?;
    Ok(now)
}

/// Signals the process as soon as it runs: it may just be starting after an earlier fault.
async fn signal(mesh: &Mesh, process: usize, signal: Signal) -> anyhow::Result<u32> {
    let deadline = Instant::now() + RECOVERY;
    loop {
        match mesh.signal(process, signal) {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            sent => return sent,
        }
    }
}

async fn harm_link(mesh: &Mesh, link: usize, fault: Fault) -> Instant {
    let link = &mesh.links[link].1;
    match fault.kind {
        Kind::Rebind => link.set(|weather| weather.addresses += 1),
        Kind::Slow => link.set(|weather| {
            weather.delay = fault.delay;
            weather.loss_percent = fault.loss_percent;
        }),
        Kind::Cut | Kind::Kill | Kind::Pause => link.set(|weather| weather.cut = true),
    }
    tokio::time::sleep(fault.lasts).await;
    link.set(|weather| {
        weather.cut = false;
        weather.delay = Duration::ZERO;
        weather.loss_percent = 0;
    });
    Instant::now()
}

/// Waits until an event that is posted now is committed, through every agent. Returns how long ago `ended` was
/// then. Blocks.
///
/// # Errors
/// When it does not within [`RECOVERY`].
pub fn recovered(
    api: &Api,
    intakes: &[String],
    ended: Instant,
    cancelled: &AtomicBool,
) -> anyhow::Result<Duration> {
    let deadline = ended + RECOVERY;
    let probes: Vec<_> = std::thread::scope(|scope| {
        let posts: Vec<_> = intakes
            .iter()
            .map(|intake| scope.spawn(|| post_one(intake, PROBES, deadline, cancelled)))
            .collect();
        let joined = posts.into_iter().map(|post| {
            post.join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a probe failed")))
        });
        joined.collect::<anyhow::Result<_>>()
    })?;
    loop {
        // while the aggregator is away there is nothing to compare
        let lanes = api.lanes().unwrap_or_default();
        let committed = |probe: &super::accounts::Place| {
            lanes.iter().any(|lane| {
                lane.stream.as_str() == PROBES
                    && lane.agent == probe.agent
                    && lane.epoch == probe.epoch
                    && lane.mark >= probe.range.last
            })
        };
        if probes.iter().all(committed) {
            return Ok(ended.elapsed());
        }
        anyhow::ensure!(!cancelled.load(Ordering::Relaxed), "the soak was stopped");
        anyhow::ensure!(
            Instant::now() < deadline,
            "events that were accepted after the fault were not committed within {RECOVERY:?}"
        );
        std::thread::sleep(POLL);
    }
}

/// Carries out a fault and waits until the mesh is over it.
pub async fn happen(
    mesh: Arc<Mesh>,
    api: Arc<Api>,
    fault: Fault,
    at: Duration,
    cancelled: Arc<AtomicBool>,
) -> Injected {
    let target = match fault.target {
        Target::Process(process) => mesh.processes.borrow()[process].name.clone(),
        Target::Link(link) => mesh.links[link].0.clone(),
    };
    let recovered = match inject(&mesh, fault).await {
        Ok(ended) => {
            let intakes = mesh.intakes.clone();
            let probe =
                tokio::task::spawn_blocking(move || recovered(&api, &intakes, ended, &cancelled)).await;
            probe.unwrap_or_else(|error| Err(error.into()))
        }
        Err(error) => Err(error),
    };
    Injected {
        fault,
        target,
        at,
        recovered: recovered.map_err(|error| format!("{error:#}")),
    }
}
