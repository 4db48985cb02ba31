//! `tributary bench engine` is in [`engine`], `bench lineage` in [`lineage`]. `tributary bench e2e`: a mesh of real processes in a temporary directory, measured from a tailed file to a
//! queryable window. Everything is durable, as in production; all figures are of one run.
//!
//! 1. `throughput`: files of events appear, agents tail them; the clock stops when the last event is in the
//!    windows.
//! 2. `latency`: lines are appended at a tenth of that rate, some of them markers; the clock of a marker stops
//!    when a subscriber of a view sees it.

pub(crate) mod api;
pub mod engine;
mod input;
mod latency;
pub mod lineage;
mod mesh;
pub(crate) mod openmetrics;
pub(crate) mod procfs;
mod report;
mod throughput;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::E2eArgs;
use crate::out;
use crate::signals::StopSignals;
use api::Api;
use input::Inputs;
use mesh::{Mesh, Places};
use report::Report;

/// The stream and the view that are measured.
const STREAM: &str = "bench";
/// An agent with nothing to do is looked at after this long.
const IDLE: Duration = Duration::from_secs(1);

/// # Errors
/// When the mesh does not start, a process dies, events do not arrive, or the ledger is not exact.
pub async fn run(args: E2eArgs) -> anyhow::Result<()> {
    let mut stop = StopSignals::install()?;
    let dir = temporary(&args)?;
    let agents = usize::try_from(args.agents)?;
    let progress = Progress::new()?;
    progress.say("starting the mesh");
    let mut mesh = Mesh::default();
    let outcome = tokio::select! {
        outcome = measured(&mut mesh, &args, dir.path(), agents, &progress) => outcome,
        () = stop.recv() => Err(anyhow::anyhow!("stopped by a signal")),
    };
    progress.say("stopping the mesh");
    mesh.stop().await;
    progress.bar.finish_and_clear();
    let report = outcome?;
    out::line(if args.json {
        serde_json::to_string(&report)?
    } else {
        report.table()
    })?;
    anyhow::ensure!(report.ledger_balanced, "the ledger is not exact: see above");
    Ok(())
}

fn temporary(args: &E2eArgs) -> anyhow::Result<tempfile::TempDir> {
    let parent: PathBuf = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    if procfs::in_memory(&parent) {
        let hint = "choose a directory on a disk with --dir";
        out::error_line(format!(
            "note: {} is in memory, where commits cost nothing: {hint}",
            parent.display()
        ));
    }
    tempfile::Builder::new()
        .prefix("tributary-bench-")
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a directory in {} (--dir)", parent.display()))
}

async fn measured(
    mesh: &mut Mesh,
    args: &E2eArgs,
    dir: &std::path::Path,
    agents: usize,
    progress: &Progress,
) -> anyhow::Result<Report> {
    let places = mesh.start(dir, agents).await?;
    tokio::time::sleep(IDLE).await;
    // the measuring thread polls files and HTTP; it ends soon after `cancelled`
    let cancelled = Cancelled::default();
    let job = Job {
        workload: args.workload,
        events: args.events,
        seed: args.seed,
        places,
        progress: progress.clone(),
        cancelled: cancelled.0.clone(),
    };
    let measuring = tokio::task::spawn_blocking(move || job.run());
    tokio::select! {
        report = measuring => report?,
        died = mesh.died() => Err(died),
    }
}

/// Cancels the measuring thread when it is dropped: the run is over, whatever the reason.
#[derive(Debug, Default)]
struct Cancelled(Arc<AtomicBool>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Both measurements, for a thread of their own.
struct Job {
    workload: crate::workload::Workload,
    events: u64,
    seed: u64,
    places: Places,
    progress: Progress,
    cancelled: Arc<AtomicBool>,
}

impl Job {
    fn run(self) -> anyhow::Result<Report> {
        let api = Api::new(&self.places.http, &self.places.registry);
        let idle = procfs::resident(self.places.agents[0].pid)?;
        api.register(STREAM, self.workload.schema())?;
        let measure = self.workload.measure();
        api.create_view(
            STREAM,
            &format!(
                "SELECT window_start, device, count(*) AS n, sum({measure}) AS total, min({measure}) AS low, \
                 max({measure}) AS high FROM TUMBLE({STREAM}, ts, INTERVAL '1 minute') \
                 GROUP BY window_start, device"
            ),
        )?;
        self.progress.say("making the events");
        let inputs = Inputs::prepare(
            &self.places,
            self.workload,
            self.events,
            self.seed,
            &self.cancelled,
        )?;
        let throughput = throughput::measure(&api, &self, inputs)?;
        let latency = latency::measure(&api, &self, throughput.events_per_s / 10.0)?;
        Report::new(&self, &api, idle, &throughput, &latency)
    }

    fn check_cancelled(&self) -> anyhow::Result<()> {
        check(&self.cancelled)
    }
}

fn check(cancelled: &AtomicBool) -> anyhow::Result<()> {
    anyhow::ensure!(!cancelled.load(Ordering::Relaxed), "the run was stopped");
    Ok(())
}

/// Tells a person at a terminal what is being done.
#[derive(Debug, Clone)]
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new() -> anyhow::Result<Self> {
        let style = ProgressStyle::with_template("{spinner} {msg} {human_pos}")?;
        Ok(Self {
            bar: ProgressBar::new_spinner().with_style(style),
        })
    }

    fn say(&self, what: &'static str) {
        self.bar.set_message(what);
        self.bar.set_position(0);
    }
}
