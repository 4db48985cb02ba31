//! How long batches wait for a snapshot of many changed groups: stored all at once between two batches, and as the
//! aggregator does it, in slices that a thread of its own writes while batches go on. And what groups take in memory.
//! Run with `cargo run --release -p aggregator --example snapshot_bench`, with a number of groups if another than a
//! million is wanted.

#![allow(clippy::print_stdout)] // a benchmark's output is its purpose

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use aggregator::commit::LogPos;
use aggregator::view::{ViewDef, ViewOptions, ViewPlan};
use aggregator::window::{AppliedBatch, Engine, EngineConfig, Put, SnapshotSlice, ViewStore};
use anyhow::Context as _;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tributary_shared::ids::{AgentId, LaneNo, SeqRange, StreamName};

const SQL: &str = "SELECT window_start, device, count(*) AS n, sum(v) AS s, min(v) AS lo, max(v) AS hi
                   FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY device";
const GROUPS: i64 = 1_000_000;
const BATCH_ROWS: i64 = 2_000;
const SLICE: usize = 1_000;
const IN_FLIGHT: usize = 8;

struct Fold {
    engine: Engine,
    pos: LogPos,
    agent: AgentId,
    stream: StreamName,
}

impl Fold {
    fn batch(&mut self, records: &RecordBatch) -> Duration {
        let started = Instant::now();
        self.pos = self.pos.next();
        self.engine.apply(&AppliedBatch {
            replayed: false,
            pos: self.pos,
            lane: LaneNo(1),
            agent: &self.agent,
            stream: &self.stream,
            committed_at: 0,
            range: SeqRange { first: 1, last: 1 },
            records: Some(records),
        });
        started.elapsed()
    }
}

fn main() -> anyhow::Result<()> {
    let groups: i64 = std::env::args().nth(1).map_or(Ok(GROUPS), |text| text.parse())?;
    let dir = tempfile::tempdir()?;
    let mut store = ViewStore::open(&dir.path().join("views.db"))?;
    let options = ViewOptions {
        max_groups: 10_000_000,
        ..ViewOptions::default()
    };
    let def = ViewDef {
        name: "bench".to_owned(),
        sql: SQL.to_owned(),
        options,
        created_at: 0,
        applies_from: LogPos(0),
    };
    let Put::Begun(id) = store.put(&def)? else {
        anyhow::bail!("the view is new");
    };
    let mut engine = Engine::new(EngineConfig::default());
    engine.begin_view(Arc::new(ViewPlan::compile("bench", SQL)?), options, id);
    let mut fold = Fold {
        engine,
        pos: LogPos(0),
        agent: "bench".parse()?,
        stream: "readings".parse()?,
    };
    let batches = (0..groups / BATCH_ROWS)
        .map(batch)
        .collect::<anyhow::Result<Vec<_>>>()?;
    for records in &batches {
        fold.batch(records);
    }
    let bytes = fold.engine.hot_bytes();
    println!(
        "{groups} groups: {} MiB, {} bytes each",
        bytes >> 20,
        bytes / groups.unsigned_abs()
    );

    let started = Instant::now();
    store.save_snapshot(&fold.engine.take_snapshot())?;
    fold.engine.snapshot_stored();
    println!(
        "all at once: batches wait {:.0} ms",
        started.elapsed().as_secs_f64() * 1e3
    );

    let plain = batches
        .iter()
        .map(|records| fold.batch(records))
        .max()
        .context("some batches")?;
    println!(
        "the longest batch without a snapshot: {:.1} ms",
        plain.as_secs_f64() * 1e3
    );
    sliced(fold, store, &batches)
}

/// Takes a snapshot of all groups while batches change each of them once more.
fn sliced(mut fold: Fold, mut store: ViewStore, batches: &[RecordBatch]) -> anyhow::Result<()> {
    let (orders, written) = mpsc::sync_channel::<SnapshotSlice>(IN_FLIGHT);
    let began = Instant::now();
    let snapshot = fold.engine.begin_snapshot();
    let cut = began.elapsed();
    let writer = std::thread::spawn(move || -> anyhow::Result<()> {
        store.begin_snapshot(&snapshot)?;
        written.iter().try_for_each(|slice| store.put_slice(&slice))?;
        Ok(store.commit_snapshot()?)
    });
    let (mut longest, mut slice_longest, mut ahead) = (Duration::ZERO, Duration::ZERO, 0);
    let (mut waiting, mut done, mut folded) = (None, false, 0);
    while !done {
        let started = Instant::now();
        if waiting.is_none() {
            waiting = fold.engine.next_slice(SLICE);
            slice_longest = slice_longest.max(started.elapsed());
            done = waiting.is_none();
        }
        waiting = waiting.and_then(|slice| match orders.try_send(slice) {
            Err(mpsc::TrySendError::Full(slice)) => Some(slice),
            _ => None,
        });
        ahead = ahead.max(fold.engine.encoded_ahead());
        longest = longest.max(started.elapsed() + fold.batch(&batches[folded % batches.len()]));
        folded += 1;
    }
    drop(orders);
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    println!(
        "in slices: batches wait {:.1} ms for the cut, {:.1} ms for a slice; the longest time of a slice and a batch \
         is {:.1} ms; {folded} batches in {:.0} ms meanwhile, {ahead} groups encoded ahead at most",
        cut.as_secs_f64() * 1e3,
        slice_longest.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
        began.elapsed().as_secs_f64() * 1e3,
    );
    Ok(())
}

fn batch(number: i64) -> anyhow::Result<RecordBatch> {
    let rows = (number * BATCH_ROWS)..((number + 1) * BATCH_ROWS);
    let times: TimestampMillisecondArray = rows.clone().map(|_| Some(1)).collect();
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times.with_timezone("UTC")),
        Arc::new(rows.clone().collect::<Int64Array>()),
        Arc::new(rows.map(|row| row % 1_000).collect::<Int64Array>()),
    ];
    let schema = Schema::new(vec![
        Field::new("_event_time", utc, false),
        Field::new("device", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
    ]);
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}
