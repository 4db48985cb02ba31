//! An aggregator's log, engine and API, filled with events.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use aggregator::agents::AgentDirectory;
use aggregator::api::{self, ApiState};
use aggregator::commit::{
    self, CommitAnswer, CommitHandle, CommitOptions, CommitThread, LineageStats, LogPos, PendingAnswer,
};
use aggregator::metadata::Metadata;
use aggregator::registry::Registry;
use aggregator::throughput::Throughput;
use aggregator::window::{self, EngineConfig, EngineHandle, EngineOptions, EngineThread};
use tokio::sync::watch;
use tributary_shared::ids::LaneNo;

use super::BATCH;
use super::batches::{Batches, LANES};
use crate::bench::Progress;

/// Batches on their way, as a gateway has them.
const IN_FLIGHT: usize = 64;
const VIEW: &str = "SELECT window_start, window_end, device, count(*) AS n, sum(amount) AS amount
    FROM TUMBLE(orders, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, device";

/// A running aggregator without its port for gateways.
#[derive(Debug)]
pub struct Record {
    pub url: String,
    pub stats: LineageStats,
    pub seconds: f64,
    /// Of log.db.
    pub bytes: u64,
    commit: CommitHandle,
    engine: EngineHandle,
    threads: (CommitThread, EngineThread),
    _running: watch::Sender<bool>,
}

/// Commits so many events, and waits until the views have them.
///
/// # Errors
/// Those of the stores.
pub async fn make(dir: &Path, events: u64, progress: &Progress) -> anyhow::Result<Record> {
    let registry = Registry::open(dir)?;
    let options = CommitOptions {
        dir: dir.to_owned(),
        require_schema: false,
    };
    let (commit, log, committer) = commit::open(options, registry.cache())?;
    let throughput = Arc::new(Throughput::default());
    let options = EngineOptions {
        dir: dir.to_owned(),
        config: EngineConfig::default(),
    };
    let (engine, engine_thread) =
        window::start(&options, log.clone(), commit.clone(), Arc::clone(&throughput))?;
    engine.put_view("by_device".to_owned(), VIEW.to_owned()).await?;
    let started = Instant::now();
    let newest = fill(&commit, events / BATCH, progress).await?;
    let seconds = started.elapsed().as_secs_f64();
    let mut applied = engine.applied_changes();
    applied.wait_for(|applied| *applied >= newest).await?;

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let (running, shutdown) = watch::channel(false);
    let agents = Arc::new(AgentDirectory::new());
    let state = ApiState::new(
        log.clone(),
        commit.clone(),
        engine.clone(),
        agents,
        throughput,
        (registry, Metadata::open(dir)?),
        shutdown,
    );
    actix::spawn(api::serve(listener, state)?);
    Ok(Record {
        url,
        stats: log.lineage()?,
        seconds,
        bytes: log.stats()?.bytes,
        commit,
        engine,
        threads: (committer, engine_thread),
        _running: running,
    })
}

/// Opens the lanes of the batches.
///
/// # Errors
/// Those of the log.
pub async fn open_lanes(commit: &CommitHandle, batches: &Batches) -> anyhow::Result<Vec<LaneNo>> {
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        lanes.push(commit.open_lane(batches.key(lane), 1).await?.lane_no);
    }
    Ok(lanes)
}

async fn fill(commit: &CommitHandle, count: u64, progress: &Progress) -> anyhow::Result<LogPos> {
    let batches = Batches::new()?;
    let lanes = open_lanes(commit, &batches).await?;
    let mut pending: VecDeque<PendingAnswer> = VecDeque::new();
    let mut newest = LogPos(0);
    for batch in 0..count {
        let request = batches.request(batch, lanes[(batch % LANES) as usize])?;
        pending.push_back(commit.enqueue(commit::prepare(request)?).await?);
        if pending.len() >= IN_FLIGHT
            && let Some(answer) = pending.pop_front()
        {
            newest = position(answer.await?)?;
            progress.bar.inc(BATCH);
        }
    }
    for answer in pending {
        newest = position(answer.await?)?;
    }
    Ok(newest)
}

/// Where a batch was committed.
///
/// # Errors
/// When it was not.
pub fn position(answer: CommitAnswer) -> anyhow::Result<LogPos> {
    match answer {
        CommitAnswer::Committed { pos: Some(pos), .. } => Ok(pos),
        other => anyhow::bail!("a batch was not committed: {other:?}"),
    }
}

impl Record {
    /// # Errors
    /// Those of the stores.
    pub async fn close(self) -> anyhow::Result<()> {
        self.commit.stop().await;
        self.engine.stop().await;
        let (committer, engine) = self.threads;
        tokio::task::spawn_blocking(move || committer.join()).await??;
        Ok(engine.join().await?)
    }
}
