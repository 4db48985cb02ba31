//! The columns that the engine is fed with. Every value follows from its row's number, so that another engine can be
//! given the same rows: docs/bench.md has the formulas.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{DataType, Field, Schema, TimeUnit};

/// As many as a busy gateway commits at once.
pub const BATCH_ROWS: u64 = 10_000;
pub const DEVICES: u64 = 1_000;

/// How rows are made of their numbers.
#[derive(Debug)]
pub struct Rows {
    devices: ArrayRef,
    count: u64,
    rows_per_second: u64,
    period: u64,
}

impl Rows {
    /// `devices` that together send so many rows a second, by event time. After a period of so many rows all of them
    /// come again.
    pub fn new(devices: u64, rows_per_second: u64, period: u64) -> Self {
        let names = (0..devices).map(|device| Some(name(device)));
        Self {
            devices: Arc::new(names.collect::<StringArray>()),
            count: devices,
            rows_per_second,
            period,
        }
    }

    /// The event time of a row, in Unix ms.
    pub fn time(&self, row: u64) -> i64 {
        (row * 1_000 / self.rows_per_second).cast_signed()
    }

    /// # Errors
    /// Never: the columns fit their schema.
    pub fn batch(&self, rows: Range<u64>) -> anyhow::Result<RecordBatch> {
        let rows = rows.map(|row| row % self.period);
        let ints = || rows.clone().map(|row| (row * 7_919 % 1_000).cast_signed());
        // a factor that is prime to the number of devices scatters them
        let codes = rows.clone().map(|row| (row * 617 % self.count) as i32);
        let device =
            DictionaryArray::<Int32Type>::try_new(codes.collect::<Int32Array>(), Arc::clone(&self.devices))?;
        let times: TimestampMillisecondArray = rows.clone().map(|row| Some(self.time(row))).collect();
        columns(
            times,
            [
                ("device", Arc::new(device) as ArrayRef),
                ("i", Arc::new(ints().collect::<Int64Array>())),
                (
                    "f",
                    Arc::new(ints().map(|value| value as f64 / 10.0).collect::<Float64Array>()),
                ),
            ],
        )
    }
}

/// Rows of one minute, each of another of `groups` integers, scattered.
///
/// # Errors
/// Never: the columns fit their schema.
pub fn scattered(rows: Range<u64>, groups: u64) -> anyhow::Result<RecordBatch> {
    let times: TimestampMillisecondArray = rows.clone().map(|_| Some(0)).collect();
    // prime to every power of ten
    let ids = rows
        .clone()
        .map(|row| (row * 2_654_435_761 % groups).cast_signed());
    let ints = rows.clone().map(|row| (row * 7_919 % 1_000).cast_signed());
    columns(
        times,
        [
            ("id", Arc::new(ids.collect::<Int64Array>()) as ArrayRef),
            ("i", Arc::new(ints.collect::<Int64Array>())),
        ],
    )
}

pub fn name(device: u64) -> String {
    format!("device-{device:04}")
}

fn columns<const N: usize>(
    times: TimestampMillisecondArray,
    named: [(&str, ArrayRef); N],
) -> anyhow::Result<RecordBatch> {
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let mut fields = vec![Field::new("_event_time", utc, false)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times.with_timezone("UTC"))];
    for (name, array) in named {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
