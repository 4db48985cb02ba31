//! The batches that are committed: as a gateway sends them, tracing off.

use std::sync::Arc;

use aggregator::commit::CommitRequest;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo, StreamName};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{Attempts, BatchContent, CommitHeader, Contexts, SegmentOrigin};

use super::BATCH;

pub const STREAM: &str = "orders";
/// Agents that take turns: neighbours in the log are of different lanes.
pub const LANES: u64 = 16;
/// An event every millisecond, from here on.
pub const START: i64 = 1_790_000_000_000;
const DEVICES: u64 = 100;
/// Batches differ in how long their events' notes are, from nothing to 15 letters: rows of one size would fall on pages
/// of the database in one way, and a measured size would be that of this accident.
const NOTES: u64 = 16;
/// Requests that a batch is made of.
const SEGMENTS: u32 = 4;

/// The lane of a batch, and its first seq there.
pub fn place(batch: u64) -> (u64, u64) {
    (batch % LANES, batch / LANES * BATCH + 1)
}

/// The number of an event, which is its order id, from its lane and seq.
pub fn order(lane: u64, seq: u64) -> u64 {
    let (batch, row) = ((seq - 1) / BATCH * LANES + lane, (seq - 1) % BATCH);
    batch * BATCH + row
}

pub fn lane_key(lane: u64) -> anyhow::Result<LaneKey> {
    Ok(LaneKey {
        agent: AgentId::new(&format!("edge-{lane:02}"))?,
        stream: StreamName::new(STREAM)?,
        epoch: Epoch(1),
    })
}

/// Makes requests one after the other.
#[derive(Debug)]
pub struct Batches {
    devices: ArrayRef,
    gateway: GatewayId,
    keys: Vec<LaneKey>,
}

impl Batches {
    pub fn new() -> anyhow::Result<Self> {
        let names = (0..DEVICES).map(|device| Some(format!("device-{device:03}")));
        Ok(Self {
            devices: Arc::new(names.collect::<StringArray>()),
            gateway: GatewayId::new("gateway-1")?,
            keys: (0..LANES).map(lane_key).collect::<anyhow::Result<_>>()?,
        })
    }

    pub fn key(&self, lane: u64) -> LaneKey {
        self.keys[lane as usize].clone()
    }

    /// A batch of the lane that has the number `no`.
    pub fn request(&self, batch: u64, no: LaneNo) -> anyhow::Result<CommitRequest> {
        let (lane, first_seq) = place(batch);
        let body = self.columns(batch)?;
        let at = START + (batch * BATCH).cast_signed();
        let count = BATCH as u32 / SEGMENTS;
        let segment = |nth: u32| SegmentOrigin {
            count,
            collected_at: at + i64::from(nth * count),
            spooled_at: at + i64::from(nth * count) + 3,
            origin: Some("http".to_owned()),
        };
        let header = CommitHeader {
            lane: no,
            first_seq,
            count: BATCH as u32,
            writer: 0x1234_5678_9abc,
            after_writer: 0x1234_5678_9abc,
            content: BatchContent::Columns,
            dead_seqs: Vec::new(),
            schema: None,
            columns_len: u32::try_from(body.len())?,
            dead_len: 0,
            body_crc: checksum(&body),
            gateway: self.gateway.clone(),
            segments: (0..SEGMENTS).map(segment).collect(),
            sent_at: at + 1_010,
            received_at: at + 1_020,
            admitted_at: at + 1_030,
            traceparent: None,
            contexts: Contexts::default(),
            attempts: Attempts::default(),
            usage: Vec::new(),
        };
        Ok(CommitRequest {
            key: self.key(lane),
            header,
            body: body.into(),
        })
    }

    fn columns(&self, batch: u64) -> anyhow::Result<Vec<u8>> {
        let orders = batch * BATCH..(batch + 1) * BATCH;
        let codes = orders.clone().map(|order| (order * 617 % DEVICES) as i32);
        let device =
            DictionaryArray::<Int32Type>::try_new(codes.collect::<Int32Array>(), Arc::clone(&self.devices))?;
        let times: TimestampMillisecondArray =
            orders.clone().map(|at| Some(START + at.cast_signed())).collect();
        let ids: Int64Array = orders.clone().map(u64::cast_signed).collect();
        // scattered, as measurements are
        let letters = (batch % NOTES) as usize;
        let note = |order: u64| format!("{:015x}", order.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 4);
        let notes: StringArray = orders
            .clone()
            .map(|order| Some(note(order)[..letters].to_owned()))
            .collect();
        let amounts = orders.map(|order| (order.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44) as f64 / 100.0);
        let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let fields = vec![
            Field::new(EVENT_TIME_COLUMN, utc, false),
            Field::new("device", device.data_type().clone(), true),
            Field::new("order_id", DataType::Int64, true),
            Field::new("amount", DataType::Float64, true),
            Field::new("note", DataType::Utf8, true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(times.with_timezone("UTC")),
            Arc::new(device),
            Arc::new(ids),
            Arc::new(amounts.collect::<Float64Array>()),
            Arc::new(notes),
        ];
        let records = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), records.schema_ref(), options)?;
        writer.write(&records)?;
        Ok(writer.into_inner()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_its_lane_and_seq() {
        for batch in [0, 1, 16, 17, 1_234] {
            let (lane, first) = place(batch);
            assert_eq!(order(lane, first), batch * BATCH);
            assert_eq!(order(lane, first + 999), batch * BATCH + 999);
        }
    }
}
