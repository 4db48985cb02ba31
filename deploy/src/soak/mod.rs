//! `tributary soak`: a mesh of real processes, posted to at a steady rate while it is harmed at random, and an
//! oracle that knows every request: in the end each accepted event is counted exactly once or named in the ledger.
//!
//! ```text
//! producers ─HTTP─► agent-1 ─┬─ link ─► gateway-1 ─┬─ link ─► aggregator
//!                   agent-2 ─┴─ link ─► gateway-2 ─┘
//! ```
//!
//! Processes are killed and stopped; links (UDP proxies) are cut, slowed, and give clients other addresses.

mod accounts;
mod fault;
mod link;
mod mesh;
mod plan;
mod poster;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tributary_shared::ids::SeqRange;
use tributary_shared::time::{Millis, now_millis};

use crate::bench::api::{Api, LedgerLane};
use crate::bench::procfs;
use crate::cli::SoakArgs;
use crate::out;
use crate::signals::StopSignals;
use accounts::{Accounts, Counted, Lane, judge};
use fault::{Injected, PROBES, happen};
use mesh::{AGENTS, Mesh};
use plan::Plan;
use poster::{PRODUCERS, SCHEMA, Work};
use report::Report;

/// The stream and the view of the soak.
const STREAM: &str = "soak";
const VIEW: &str = "soak_by_request";
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Between two looks at a mesh that drains.
const POLL: Duration = Duration::from_millis(200);
/// A mesh that moves nothing for so long while it drains is stuck.
const STUCK: Duration = Duration::from_secs(90);
/// Windows of the view.
const WINDOW: Millis = 60_000;

/// # Errors
/// When the mesh does not start, does not drain, or the oracle finds a promise broken.
pub async fn run(args: SoakArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.minutes.is_finite() && args.minutes > 0.0,
        "--minutes {} is no time",
        args.minutes
    );
    let mut stop = StopSignals::install()?;
    let dir = temporary(&args)?;
    let cancelled = Cancelled::default();
    let mut mesh = Mesh::new(dir.path());
    let started = tokio::select! {
        started = mesh.start(args.seed) => started,
        () = stop.recv() => Err(anyhow::anyhow!("stopped by a signal")),
    };
    let mesh = Arc::new(mesh);
    let outcome = match started {
        Ok(()) => tokio::select! {
            outcome = soak(&mesh, &args, &cancelled) => outcome,
            () = stop.recv() => Err(anyhow::anyhow!("stopped by a signal")),
        },
        Err(error) => Err(error),
    };
    cancelled.0.store(true, Ordering::Relaxed);
    // faults that still happen hold the mesh, and end now that the run is cancelled
    let mut shared = mesh;
    let mesh = loop {
        match Arc::try_unwrap(shared) {
            Ok(mesh) => break mesh,
            Err(still) => shared = still,
        }
        tokio::time::sleep(POLL).await;
    };
    mesh.stop().await;
    let passed = match &outcome {
        Ok(report) => tell(&args, report)?,
        Err(_) => false,
    };
    if !passed || args.keep {
        let kept = dir.keep();
        out::error_line(format!("logs and databases are kept in {}", kept.display()));
    }
    outcome?;
    anyhow::ensure!(passed, "the soak broke a promise: see above");
    Ok(())
}

/// Prints and writes the report. Says whether the soak was passed.
fn tell(args: &SoakArgs, report: &Report) -> anyhow::Result<bool> {
    let text = report.markdown();
    out::line(&text)?;
    if let Some(path) = &args.report {
        std::fs::write(path, &text).with_context(|| format!("cannot write {} (--report)", path.display()))?;
    }
    Ok(report.passed())
}

fn temporary(args: &SoakArgs) -> anyhow::Result<tempfile::TempDir> {
    let parent: PathBuf = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    if procfs::in_memory(&parent) {
        let hint = "choose a directory on a disk with --dir";
        out::error_line(format!(
            "note: {} is in memory, where commits cost nothing: {hint}",
            parent.display()
        ));
    }
    tempfile::Builder::new()
        .prefix("tributary-soak-")
        .tempdir_in(&parent)
        .with_context(|| format!("cannot make a directory in {} (--dir)", parent.display()))
}

/// Tells the blocking threads that the run is over, whatever the reason.
#[derive(Debug, Default)]
struct Cancelled(Arc<AtomicBool>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

async fn soak(mesh: &Arc<Mesh>, args: &SoakArgs, cancelled: &Cancelled) -> anyhow::Result<Report> {
    let api = Arc::new(Api::new(&mesh.http, &mesh.registry));
    prepare(&api).await?;
    let lasts = Duration::from_secs_f64(args.minutes * 60.0);
    let (began, started) = (now_millis(), Instant::now());
    let accepted = Arc::new(AtomicU64::new(0));
    let posting = post(mesh, args.rate, lasts, Arc::clone(&accepted), cancelled);
    let telling = tokio::spawn(tell_progress(Arc::clone(&api), Arc::clone(&accepted), started));
    let faults = harm(mesh, &api, args, lasts, cancelled).await;
    telling.abort();
    let (accounts, posted_for) = posting.await??;
    out::line("no more faults, draining")?;
    let drained = drain(mesh, &api, cancelled).await?;
    let (lanes, probes) = {
        let api = Arc::clone(&api);
        let (lanes, probes): (Vec<_>, Vec<_>) = tokio::task::spawn_blocking(move || api.lanes())
            .await??
            .into_iter()
            .filter(|lane| matches!(lane.stream.as_str(), STREAM | PROBES))
            .partition(|lane| lane.stream.as_str() == STREAM);
        (lanes.into_iter().map(lane).collect::<Vec<_>>(), probes)
    };
    let counted = {
        let api = Arc::clone(&api);
        tokio::task::spawn_blocking(move || count(&api, began)).await??
    };
    let checks = judge(&accounts, &counted, &lanes);
    Ok(Report {
        minutes: args.minutes,
        rate: args.rate,
        fault_every: args.fault_every,
        seed: args.seed,
        began,
        posted_for,
        drained,
        accounts,
        counted,
        lanes,
        probes: probes.iter().map(|lane| lane.valid).sum(),
        faults,
        peaks_mib: mesh.peaks_mib(),
        links: mesh
            .links
            .iter()
            .map(|(name, link)| link_line(name, link))
            .collect(),
        checks,
    })
}

fn link_line(name: &str, link: &link::Link) -> (String, u64, u64) {
    let passed = link.counters.passed.load(Ordering::Relaxed);
    (
        name.to_owned(),
        passed,
        link.counters.lost.load(Ordering::Relaxed),
    )
}

async fn prepare(api: &Arc<Api>) -> anyhow::Result<()> {
    let api = Arc::clone(api);
    tokio::task::spawn_blocking(move || {
        api.register(STREAM, SCHEMA)?;
        api.create_view(
            VIEW,
            &format!(
                "SELECT window_start, request, count(*) AS n, sum(at) AS places \
                 FROM TUMBLE({STREAM}, ts, INTERVAL '1 minute') GROUP BY window_start, request"
            ),
        )
    })
    .await?
}

/// Starts the producers of all agents. Their accounts, once the time is over and nothing is on its way, and how
/// long they posted.
fn post(
    mesh: &Mesh,
    rate: u64,
    lasts: Duration,
    accepted: Arc<AtomicU64>,
    cancelled: &Cancelled,
) -> JoinHandle<anyhow::Result<(Accounts, Duration)>> {
    let (intakes, cancelled) = (mesh.intakes.clone(), Arc::clone(&cancelled.0));
    tokio::task::spawn_blocking(move || {
        let (numbers, started) = (AtomicU64::new(1), Instant::now());
        let works: Vec<_> = intakes
            .iter()
            .map(|intake| Work {
                intake,
                rate: rate / AGENTS as u64,
                started,
                lasts,
                begun: AtomicU64::new(0),
                numbers: &numbers,
                accepted: &accepted,
                cancelled: &cancelled,
            })
            .collect();
        std::thread::scope(|scope| {
            let producers: Vec<_> = works
                .iter()
                .flat_map(|work| (0..PRODUCERS).map(move |_| work))
                .map(|work| scope.spawn(|| work.post()))
                .collect();
            let mut accounts = Accounts::default();
            for producer in producers {
                let joined = producer.join();
                accounts.merge(joined.unwrap_or_else(|_| Err(anyhow::anyhow!("a producer failed")))?);
            }
            Ok((accounts, started.elapsed()))
        })
    })
}

/// One fault after the other until the time is over, and then until the mesh is over the last one.
async fn harm(
    mesh: &Arc<Mesh>,
    api: &Arc<Api>,
    args: &SoakArgs,
    lasts: Duration,
    cancelled: &Cancelled,
) -> Vec<Injected> {
    let every = Duration::from_secs(args.fault_every);
    // the next fault finds the one before undone
    let plan = Plan::new(
        args.seed,
        mesh.processes.borrow().len(),
        mesh.links.len(),
        every * 4 / 5,
    );
    let started = tokio::time::Instant::now();
    let mut tick = tokio::time::interval_at(started + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut happening = JoinSet::new();
    for fault in plan {
        tick.tick().await;
        let at = started.elapsed();
        if at >= lasts {
            break;
        }
        let (mesh, api, cancelled) = (Arc::clone(mesh), Arc::clone(api), Arc::clone(&cancelled.0));
        happening.spawn(happen(mesh, api, fault, at, cancelled));
    }
    let mut faults = happening.join_all().await;
    faults.sort_by_key(|fault| fault.at);
    faults
}

async fn tell_progress(api: Arc<Api>, accepted: Arc<AtomicU64>, started: Instant) {
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TOLD_EVERY, TOLD_EVERY);
    loop {
        tick.tick().await;
        let api = Arc::clone(&api);
        let committed = match tokio::task::spawn_blocking(move || api.totals()).await {
            Ok(Ok(totals)) => (totals.valid + totals.dead).to_string(),
            _ => "unknown (the aggregator is away)".to_owned(),
        };
        let (seconds, accepted) = (started.elapsed().as_secs(), accepted.load(Ordering::Relaxed));
        // a closed standard output is no reason to end a soak
        let _ = out::line(format!(
            "{seconds:>5} s  accepted {accepted}  committed {committed}"
        ));
    }
}

/// Waits until the agents hold nothing and the views have everything. Returns how long that took.
async fn drain(mesh: &Arc<Mesh>, api: &Arc<Api>, cancelled: &Cancelled) -> anyhow::Result<Duration> {
    let (intakes, api) = (mesh.intakes.clone(), Arc::clone(api));
    let cancelled = Arc::clone(&cancelled.0);
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let (mut last, mut moved) = (None, Instant::now());
        loop {
            anyhow::ensure!(!cancelled.load(Ordering::Relaxed), "the soak was stopped");
            let held = api.held(&intakes);
            let position = api.position();
            if let (Ok(0), Ok(position)) = (&held, &position)
                && position.applied >= position.committed
            {
                return Ok(started.elapsed());
            }
            let now = format!("held {held:?}, aggregator {position:?}");
            if last.as_ref() != Some(&now) {
                (last, moved) = (Some(now), Instant::now());
            }
            anyhow::ensure!(
                moved.elapsed() < STUCK,
                "the mesh does not drain: {}",
                last.unwrap_or_default()
            );
            std::thread::sleep(POLL);
        }
    })
    .await?
}

fn lane(lane: LedgerLane) -> Lane {
    let range = |from, to| SeqRange {
        first: from,
        last: to,
    };
    Lane {
        agent: lane.agent,
        epoch: lane.epoch,
        mark: lane.mark,
        valid: lane.valid,
        dead: lane.dead,
        dropped: lane
            .dropped
            .iter()
            .map(|dropped| (range(dropped.from, dropped.to), dropped.count))
            .collect(),
    }
}

/// What the view counted, by request. A request that is in two windows counts in both, and is wrong then.
fn count(api: &Api, began: Millis) -> anyhow::Result<BTreeMap<u64, Counted>> {
    let mut counted: BTreeMap<u64, Counted> = BTreeMap::new();
    let (mut from, end) = (began - began.rem_euclid(WINDOW), now_millis());
    while from <= end {
        for row in api.rows_between(VIEW, from, from + WINDOW)? {
            let integer = |column: &str| {
                row.get(column)
                    .and_then(serde_json::Value::as_u64)
                    .with_context(|| format!("{column} of {row:?}"))
            };
            let request = counted.entry(integer("request")?).or_default();
            request.events += integer("n")?;
            request.places += integer("places")?;
        }
        from += WINDOW;
    }
    Ok(counted)
}
