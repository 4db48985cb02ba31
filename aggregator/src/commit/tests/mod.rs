//! The commit log from outside: batches in, answers, ledger and replay out.

mod crash;
mod faults;
mod formats;
mod inspected;
mod lineage;
mod model;
mod retained;
mod settled;
mod timed;
mod trimming;
mod writers;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use bytes::Bytes;
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo, Seq, SeqRange, StreamName};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{BatchContent, CommitHeader, DeadLetter, Reason, SchemaRef, SegmentOrigin};

use super::*;
use crate::registry::SchemaCache;

pub(crate) fn lane_key(stream: &str, epoch: u64) -> LaneKey {
    LaneKey {
        agent: AgentId::new("edge-1").expect("valid"),
        stream: StreamName::new(stream).expect("valid"),
        epoch: Epoch(epoch),
    }
}

/// Fixed per seq, so that any copy of a seq has the same verdict.
pub(super) fn is_dead(seq: Seq) -> bool {
    seq % 5 == 3
}

pub(super) fn records(seqs: &[Seq]) -> RecordBatch {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new(EVENT_TIME_COLUMN, time, false),
        Field::new("seq", DataType::Int64, true),
    ]);
    let numbers: Vec<i64> = seqs.iter().map(|seq| *seq as i64).collect();
    let times = TimestampMillisecondArray::from(numbers.clone()).with_timezone("UTC");
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(times), Arc::new(Int64Array::from(numbers))],
    )
    .expect("fits")
}

pub(super) fn seqs_of(records: &RecordBatch) -> Vec<Seq> {
    let column = records
        .column(1)
        .as_any()
        .downcast_ref::<Int64Array>()
        .expect("the seq column");
    column.values().iter().map(|seq| *seq as Seq).collect()
}

fn header(lane: LaneNo, range: SeqRange, content: BatchContent) -> CommitHeader {
    let count = u32::try_from(range.count()).expect("small");
    let half = count / 2;
    let segment = |count| SegmentOrigin {
        count,
        collected_at: 1,
        spooled_at: 2,
        origin: None,
    };
    CommitHeader {
        writer: 0,
        after_writer: 0,
        lane,
        first_seq: range.first,
        count,
        content,
        dead_seqs: Vec::new(),
        schema: None,
        columns_len: 0,
        dead_len: 0,
        body_crc: checksum(&[]),
        gateway: GatewayId::new("gw").expect("valid"),
        segments: vec![segment(half), segment(count - half)],
        sent_at: 3,
        received_at: 4,
        admitted_at: 5,
        traceparent: None,
        contexts: Default::default(),
        attempts: Default::default(),
        usage: Vec::new(),
    }
}

/// A batch as a gateway sends it; every seq for which [`is_dead`] holds is a dead letter.
pub(crate) fn rows(lane: LaneNo, key: &LaneKey, range: SeqRange) -> CommitRequest {
    let (dead, valid): (Vec<Seq>, Vec<Seq>) = (range.first..=range.last).partition(|seq| is_dead(*seq));
    let columns = columns::encode(&records(&valid)).expect("encodes");
    let letters: Vec<DeadLetter> = dead
        .iter()
        .map(|seq| {
            let reason = Reason {
                path: "/t".to_owned(),
                rule: "type".to_owned(),
                message: "no".to_owned(),
            };
            DeadLetter {
                seq: *seq,
                reasons: vec![reason],
                payload: format!("payload {seq}").into_bytes(),
            }
        })
        .collect();
    let letters = rmp_serde::to_vec_named(&letters).expect("encodes");
    let body: Bytes = [&columns[..], &letters].concat().into();
    let mut header = header(lane, range, BatchContent::Columns);
    header.dead_seqs = dead;
    header.columns_len = columns.len() as u32;
    header.dead_len = letters.len() as u32;
    header.body_crc = checksum(&body);
    CommitRequest {
        key: key.clone(),
        header,
        body,
    }
}

/// A batch that reports drops.
pub(crate) fn drops(lane: LaneNo, key: &LaneKey, range: SeqRange, reason: &str) -> CommitRequest {
    let content = BatchContent::Dropped {
        reason: reason.to_owned(),
    };
    CommitRequest {
        key: key.clone(),
        header: header(lane, range, content),
        body: Bytes::new(),
    }
}

pub(crate) fn range(first: Seq, last: Seq) -> SeqRange {
    SeqRange { first, last }
}

pub(super) fn options(dir: &Path) -> CommitOptions {
    CommitOptions {
        dir: dir.to_owned(),
        require_schema: false,
    }
}

pub(crate) struct Log {
    pub handle: CommitHandle,
    pub reader: LogReader,
    thread: CommitThread,
    pub schemas: SchemaCache,
}

impl Log {
    pub fn open(dir: &Path) -> Self {
        let schemas = SchemaCache::default();
        let (handle, reader, thread) = open(options(dir), schemas.clone()).expect("opens");
        Self {
            handle,
            reader,
            thread,
            schemas,
        }
    }

    /// A reader of a log that no thread of this process writes.
    pub fn open_beside(dir: &Path) -> LogReader {
        let (_, healthy) = tokio::sync::watch::channel(LogHealth::Storing);
        LogReader::open(dir, healthy).expect("opens")
    }

    pub async fn submit(&self, request: CommitRequest) -> CommitAnswer {
        self.handle
            .submit(prepare(request).expect("well-formed"))
            .await
            .expect("answered")
    }

    pub async fn close(self) {
        self.handle.stop().await;
        self.thread.join().expect("ends well");
    }

    pub async fn end(self) -> Result<(), CommitError> {
        self.handle.stopped().await;
        self.thread.join()
    }
}

/// What the log says became of every seq: `v`alid, `d`ead or dro`p`ped. Panics if a seq comes twice.
pub(super) fn replay(reader: &LogReader) -> BTreeMap<LaneKey, BTreeMap<Seq, char>> {
    let mut found: BTreeMap<LaneKey, BTreeMap<Seq, char>> = BTreeMap::new();
    let mut after = LogPos(0);
    loop {
        let entries = reader.scan(after, 7, 1 << 20).expect("reads");
        if entries.is_empty() {
            return found;
        }
        for entry in entries {
            assert_eq!(entry.pos, after.next(), "positions have no holes");
            after = entry.pos;
            collect(&mut found, entry.decode().expect("decodes"));
        }
    }
}

pub(super) fn collect(found: &mut BTreeMap<LaneKey, BTreeMap<Seq, char>>, entry: Committed) {
    let lane = found.entry(entry.key).or_default();
    let valid = entry.records.as_ref().map(seqs_of).unwrap_or_default();
    let header = match entry.header {
        EntryHeader::Batch(header) => header,
        EntryHeader::Replay(header) => {
            assert_eq!(header.seqs, valid, "a row for each seq");
            for seq in valid {
                assert_eq!(
                    lane.insert(seq, 'r'),
                    Some('d'),
                    "seq {seq} was dead, and is replayed once"
                );
            }
            return;
        }
    };
    let mut put = |seq, verdict| assert_eq!(lane.insert(seq, verdict), None, "seq {seq} is there once");
    if matches!(header.content, BatchContent::Dropped { .. }) {
        let range = header.range();
        (range.first..=range.last).for_each(|seq| put(seq, 'p'));
        return;
    }
    valid.into_iter().for_each(|seq| put(seq, 'v'));
    header.dead_seqs.iter().for_each(|seq| put(*seq, 'd'));
    let segments: u32 = header.segments.iter().map(|segment| segment.count).sum();
    assert_eq!(segments, header.count, "the segments still add up");
}

/// Lets retention delete all that it ever may.
pub(crate) fn trim_all(dir: &Path) {
    let nothing = Retention {
        keep_for: 0,
        keep_bytes: 0,
        ..Retention::EVERYTHING
    };
    let mut store = store::LogStore::open(dir).expect("opens");
    while store.trim(&nothing, LogPos(u64::MAX), i64::MAX).expect("trims") != trim::Trimmed::Nothing {}
}

pub(super) fn schema(id: u32, version: u32) -> Option<SchemaRef> {
    Some(SchemaRef { id, version })
}
