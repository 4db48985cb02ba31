//! What lineage costs a commit: two logs, one of them kept without lineage, take the same batches by turns.

use std::path::Path;
use std::time::{Duration, Instant};

use aggregator::commit::{self, CommitHandle, CommitOptions, CommitThread, EventTimes, LogPos};
use aggregator::registry::SchemaCache;
use serde::Serialize;
use tributary_shared::ids::LaneNo;

use super::batches::{Batches, LANES};
use super::record::{open_lanes, position};
use super::{BATCH, percentile};

/// Batches of one turn: some group commits.
const TURN: u64 = 64;
/// Turns that are not counted: files grow, memory is touched for the first time.
const WARM_UP: usize = 4;

/// The figures. A share is of the time that checking and committing a batch takes, all on one core: an agent's and a
/// gateway's work on it, which is more, does not count.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    pub batches: u64,
    pub with_us: f64,
    pub without_us: f64,
    /// What lineage takes of a batch's time: the median over pairs of turns.
    pub lineage_us: f64,
    /// The same as a share, in percent.
    pub share_pct: f64,
    pub share_pct_p10: f64,
    pub share_pct_p90: f64,
    /// Of that, finding the times of a batch's events, in us.
    pub times_us: f64,
    /// What lineage adds to log.db.
    pub bytes_per_event: f64,
}

struct Log {
    commit: CommitHandle,
    thread: CommitThread,
    lanes: Vec<LaneNo>,
    turns: Vec<f64>,
}

impl Log {
    async fn open(dir: &Path, lineage: bool, batches: &Batches) -> anyhow::Result<Self> {
        let options = CommitOptions {
            dir: dir.to_owned(),
            require_schema: false,
        };
        let (commit, _, thread) = if lineage {
            commit::open(options, SchemaCache::default())?
        } else {
            commit::open_without_lineage(options, SchemaCache::default())?
        };
        let lanes = open_lanes(&commit, batches).await?;
        Ok(Self {
            commit,
            thread,
            lanes,
            turns: Vec::new(),
        })
    }

    /// Checks and commits the batches of one turn.
    async fn turn(&mut self, batches: &Batches, first: u64) -> anyhow::Result<()> {
        let mut requests = Vec::new();
        for batch in first..first + TURN {
            requests.push(batches.request(batch, self.lanes[(batch % LANES) as usize])?);
        }
        let began = Instant::now();
        let mut answers = Vec::new();
        for request in requests {
            answers.push(self.commit.enqueue(commit::prepare(request)?).await?);
        }
        let mut newest = LogPos(0);
        for answer in answers {
            newest = position(answer.await?)?;
        }
        anyhow::ensure!(newest.0 >= TURN, "nothing was committed");
        self.turns.push(began.elapsed().as_secs_f64() * 1e6 / TURN as f64);
        Ok(())
    }

    async fn close(self) -> anyhow::Result<Vec<f64>> {
        self.commit.stop().await;
        tokio::task::spawn_blocking(move || self.thread.join()).await??;
        Ok(self.turns)
    }
}

/// # Errors
/// Those of the log.
pub async fn measure(dir: &tempfile::TempDir, count: u64) -> anyhow::Result<Cost> {
    let (with_dir, without_dir) = (dir.path().join("with"), dir.path().join("without"));
    let batches = Batches::new()?;
    let mut with = Log::open(&with_dir, true, &batches).await?;
    let mut without = Log::open(&without_dir, false, &batches).await?;
    // whole turns of all lanes
    let turns = count.div_ceil(TURN).max(2 * WARM_UP as u64);
    for turn in 0..turns {
        // who goes first takes turns as well
        if turn % 2 == 0 {
            with.turn(&batches, turn * TURN).await?;
            without.turn(&batches, turn * TURN).await?;
        } else {
            without.turn(&batches, turn * TURN).await?;
            with.turn(&batches, turn * TURN).await?;
        }
    }
    let (mut with, mut without) = (with.close().await?, without.close().await?);
    let pairs = with.iter().zip(&without).skip(WARM_UP);
    let mut differences: Vec<f64> = pairs.clone().map(|(with, without)| with - without).collect();
    let mut shares: Vec<f64> = pairs
        .map(|(with, without)| (1.0 - without / with) * 100.0)
        .collect();
    let size = |dir: &Path| std::fs::metadata(dir.join(commit::LOG_FILE)).map(|file| file.len());
    let added = size(&with_dir)?.saturating_sub(size(&without_dir)?);
    Ok(Cost {
        batches: turns * TURN,
        with_us: percentile(&mut with, 0.5),
        without_us: percentile(&mut without, 0.5),
        lineage_us: percentile(&mut differences, 0.5),
        share_pct: percentile(&mut shares, 0.5),
        share_pct_p10: percentile(&mut shares, 0.1),
        share_pct_p90: percentile(&mut shares, 0.9),
        times_us: times(&batches)?.as_secs_f64() * 1e6,
        bytes_per_event: added as f64 / (turns * TURN * BATCH) as f64,
    })
}

/// Both logs work out the times of their events.
fn times(batches: &Batches) -> anyhow::Result<Duration> {
    const ROUNDS: u32 = 1_000;
    let request = batches.request(0, LaneNo(1))?;
    let prepared = commit::prepare(request)?;
    let records = prepared
        .records()
        .ok_or_else(|| anyhow::anyhow!("a batch without rows"))?;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(EventTimes::of(std::hint::black_box(records)));
    }
    Ok(began.elapsed() / ROUNDS)
}
