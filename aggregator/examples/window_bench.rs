//! How fast the window engine folds committed batches: count, sum, min and max by device and minute over
//! 1,000 devices, on one thread. Run with `cargo run --release -p aggregator --example window_bench`.

#![allow(clippy::print_stdout)] // a benchmark's output is its purpose

use std::sync::Arc;
use std::time::Instant;

use aggregator::commit::LogPos;
use aggregator::view::ViewPlan;
use aggregator::window::{AppliedBatch, Engine, EngineConfig};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tributary_shared::ids::{AgentId, LaneNo, StreamName};

const DEVICES: usize = 1_000;
const BATCH_ROWS: usize = 2_000;
const BATCHES: usize = 100;
const ROUNDS: u64 = 20;
/// Event time between two rows: each device reports every 10 s.
const STEP_MS: i64 = 10;

const VIEWS: [(&str, &str); 4] = [
    ("ints", "count(*) AS n, sum(i) AS s, min(i) AS lo, max(i) AS hi"),
    ("floats", "count(*) AS n, sum(f) AS s, min(f) AS lo, max(f) AS hi"),
    ("where", "count(*) AS n, sum(f) AS s, min(f) AS lo, max(f) AS hi"),
    (
        "plain text key",
        "count(*) AS n, sum(i) AS s, min(i) AS lo, max(i) AS hi",
    ),
];

fn main() -> anyhow::Result<()> {
    let agent: AgentId = "bench".parse()?;
    let stream: StreamName = "readings".parse()?;
    let batches = (0..BATCHES).map(batch).collect::<anyhow::Result<Vec<_>>>()?;
    for (name, list) in VIEWS {
        let condition = if name == "where" {
            "WHERE f > 10 AND status <> 'test'"
        } else {
            ""
        };
        let key = if name == "plain text key" {
            "name"
        } else {
            "device"
        };
        let sql = format!(
            "SELECT window_start, {key}, {list} FROM TUMBLE(readings, ts, INTERVAL '1 minute') {condition} GROUP BY {key}"
        );
        let mut engine = Engine::new(EngineConfig::default());
        engine.put_view(Arc::new(ViewPlan::compile("bench", &sql)?));
        let start = Instant::now();
        let mut pos = LogPos(0);
        for _ in 0..ROUNDS {
            for records in &batches {
                pos = pos.next();
                engine.apply(&AppliedBatch {
                    replayed: false,
                    range: tributary_shared::ids::SeqRange { first: 1, last: 1 },
                    pos,
                    lane: LaneNo(1),
                    agent: &agent,
                    stream: &stream,
                    committed_at: 0,
                    records: Some(records),
                });
            }
        }
        let elapsed = start.elapsed();
        let rows = ROUNDS * (BATCHES * BATCH_ROWS) as u64;
        let per_row = elapsed.as_secs_f64() * 1e6 / rows as f64;
        let groups = engine.stats("bench").map_or(0, |stats| stats.groups);
        println!(
            "{name}: {:.1} M rows/s, {per_row:.4} us/row, {groups} groups",
            1.0 / per_row
        );
        let start = Instant::now();
        let snapshot = engine.take_snapshot();
        let bytes: usize = snapshot
            .views
            .iter()
            .flat_map(|view| &view.groups)
            .map(|group| group.key.len() + group.state.len())
            .sum();
        println!(
            "  snapshot: {:.1} ms, {bytes} bytes",
            start.elapsed().as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn batch(number: usize) -> anyhow::Result<RecordBatch> {
    let rows = (number * BATCH_ROWS)..((number + 1) * BATCH_ROWS);
    let names: Vec<String> = (0..DEVICES).map(|device| format!("device-{device:04}")).collect();
    // a multiplier that is prime to the number of devices scatters them
    let device = |row: usize| names[row * 617 % DEVICES].as_str();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "device",
            Arc::new(rows.clone().map(device).collect::<DictionaryArray<Int32Type>>()),
        ),
        (
            "name",
            Arc::new(rows.clone().map(|row| Some(device(row))).collect::<StringArray>()),
        ),
        (
            "i",
            Arc::new(
                rows.clone()
                    .map(|row| (row * 7919 % 1000) as i64)
                    .collect::<Int64Array>(),
            ),
        ),
        (
            "f",
            Arc::new(
                rows.clone()
                    .map(|row| (row * 7919 % 1000) as f64 / 10.0)
                    .collect::<Float64Array>(),
            ),
        ),
        (
            "status",
            Arc::new(
                rows.clone()
                    .map(|row| if row % 50 == 0 { "test" } else { "ok" })
                    .collect::<DictionaryArray<Int32Type>>(),
            ),
        ),
    ];
    let times: TimestampMillisecondArray = rows.map(|row| Some(row as i64 * STEP_MS)).collect();
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let mut fields = vec![Field::new("_event_time", utc, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
    for (name, array) in columns {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
