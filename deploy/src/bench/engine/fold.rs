//! How long the engine takes to fold batches, and what its groups cost in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregator::commit::LogPos;
use aggregator::view::ViewPlan;
use aggregator::window::{AppliedBatch, Engine, EngineConfig, WindowQuery};
use arrow_array::RecordBatch;
use serde::Serialize;
use tributary_shared::ids::{AgentId, LaneNo, SeqRange, StreamName};

use super::super::procfs;
use super::rows::{BATCH_ROWS, DEVICES, Rows, scattered};

const VIEW: &str = "bench";
/// Each group of a large number is met so many times.
const VISITS: u64 = 4;
/// A small number of groups is met by so many rows.
const LEAST_ROWS: u64 = 2_000_000;
/// A group of fewer is lost among what a process has anyway.
const WEIGHABLE: u64 = 100_000;
/// Devices send this many rows a second, together.
const ROWS_PER_SECOND: u64 = 10_000;

/// An engine with one view, and its own clock.
#[derive(Debug)]
pub struct Fed {
    pub engine: Engine,
    agent: AgentId,
    stream: StreamName,
    pub spent: Duration,
}

impl Fed {
    /// # Errors
    /// When the view does not compile.
    pub fn new(sql: &str, max_groups: u64) -> anyhow::Result<Self> {
        let mut config = EngineConfig::default();
        config.options.max_groups = max_groups;
        let mut engine = Engine::new(config);
        engine.put_view(Arc::new(ViewPlan::compile(VIEW, sql)?));
        Ok(Self {
            engine,
            agent: "bench".parse()?,
            stream: "readings".parse()?,
            spent: Duration::ZERO,
        })
    }

    pub fn apply(&mut self, records: &RecordBatch, committed_at: i64) {
        let pos: LogPos = self.engine.position().next();
        let batch = AppliedBatch {
            replayed: false,
            pos,
            lane: LaneNo(1),
            agent: &self.agent,
            stream: &self.stream,
            committed_at,
            range: SeqRange {
                first: 1,
                last: records.num_rows() as u64,
            },
            records: Some(records),
        };
        let start = Instant::now();
        self.engine.apply(&batch);
        self.spent += start.elapsed();
    }

    /// # Errors
    /// When there is no such view.
    pub fn read(&self, query: &WindowQuery) -> anyhow::Result<usize> {
        Ok(self.engine.windows(VIEW, query)?.rows.len())
    }

    fn groups(&self) -> u64 {
        self.engine.stats(VIEW).map_or(0, |stats| stats.groups)
    }
}

/// The figures of one view over so many rows.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Folded {
    pub rows: u64,
    pub rows_per_s: f64,
    pub groups: u64,
    /// Sum of the column `n` and of `s` of the oldest windows, to compare with another engine.
    pub checked_rows: u64,
    pub checked_sum: i64,
}

/// Groups by device and minute.
///
/// # Errors
/// When the view does not compile.
pub fn fold(list: &str, rows: u64) -> anyhow::Result<Folded> {
    let made = Rows::new(DEVICES, ROWS_PER_SECOND, u64::MAX);
    let mut fed = Fed::new(&by_device(list), u64::from(u32::MAX) / 2)?;
    for first in (0..rows).step_by(BATCH_ROWS as usize) {
        let batch = made.batch(first..rows.min(first + BATCH_ROWS))?;
        fed.apply(&batch, made.time(first));
    }
    let oldest = WindowQuery {
        to: Some(60_000),
        limit: usize::MAX,
        ..WindowQuery::default()
    };
    let page = fed.engine.windows(VIEW, &oldest)?;
    let sum_of = |name: &str| -> f64 {
        let values = page.rows.iter().filter_map(|row| row.value(name)?.as_f64());
        values.sum()
    };
    Ok(Folded {
        rows,
        rows_per_s: rows as f64 / fed.spent.as_secs_f64(),
        groups: fed.groups(),
        checked_rows: sum_of("n") as u64,
        checked_sum: sum_of("s") as i64,
    })
}

/// SQL of a view by device and minute.
pub fn by_device(list: &str) -> String {
    format!(
        "SELECT window_start, device, {list} FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY device"
    )
}

/// What groups cost, when there are so many of them.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Costs {
    pub groups: u64,
    /// One window, with as many different keys.
    pub ns_per_row: f64,
    /// Of resident memory; the keys, which are different integers, included. None of few groups.
    pub bytes_per_group: Option<f64>,
    /// A thousand devices in as many windows as it takes.
    pub ns_per_row_by_minute: f64,
    pub bytes_per_group_by_minute: Option<f64>,
}

/// # Errors
/// When the view does not compile, or the kernel does not say how large the process is.
pub fn fold_many_groups(list: &str, groups: u64) -> anyhow::Result<Costs> {
    let rows = (groups * VISITS).max(LEAST_ROWS);
    let sql =
        format!("SELECT window_start, id, {list} FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY id");
    let (ns_per_row, bytes_per_group) = weighed(&sql, groups, rows, |rows| scattered(rows, groups))?;
    // so many rows of each device in a minute
    let made = Rows::new(DEVICES, DEVICES * VISITS / 60, groups * VISITS);
    let by_minute = by_device(list);
    let (ns_per_row_by_minute, bytes_per_group_by_minute) =
        weighed(&by_minute, groups, rows, |rows| made.batch(rows))?;
    Ok(Costs {
        groups,
        ns_per_row,
        bytes_per_group,
        ns_per_row_by_minute,
        bytes_per_group_by_minute,
    })
}

/// ns a row and bytes a group.
fn weighed(
    sql: &str,
    groups: u64,
    rows: u64,
    batch: impl Fn(std::ops::Range<u64>) -> anyhow::Result<RecordBatch>,
) -> anyhow::Result<(f64, Option<f64>)> {
    let pid = std::process::id();
    let mut fed = Fed::new(sql, groups * 2)?;
    // what a batch itself takes is there before
    fed.apply(&batch(0..BATCH_ROWS)?, 0);
    let before = procfs::resident(pid)?;
    fed.spent = Duration::ZERO;
    for first in (0..rows).step_by(BATCH_ROWS as usize) {
        fed.apply(&batch(first..first + BATCH_ROWS)?, 0);
    }
    let grown = procfs::resident(pid)?.saturating_sub(before);
    let made = fed.groups();
    anyhow::ensure!(
        made >= groups && made < groups + groups / 5 + 2 * DEVICES,
        "{made} groups in place of {groups}"
    );
    let ns = fed.spent.as_secs_f64() * 1e9 / rows as f64;
    Ok((ns, (groups >= WEIGHABLE).then(|| grown as f64 / made as f64)))
}
