//! Batch headers: agent to gateway ([`BatchHeader`]) and gateway to aggregator ([`CommitHeader`]).

use serde::{Deserialize, Serialize};

use crate::ids::{GatewayId, LaneNo, Seq, SeqRange};
use crate::time::Millis;
use crate::wire::history::UNKNOWN_WRITER;
use crate::wire::trail::{Attempts, Contexts};

/// Header of a batch from agent to gateway. The body is the segments' bytes, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchHeader {
    /// Session-local lane handle, from [`super::OpenLane`].
    pub lane: u32,
    pub first_seq: Seq,
    /// Events that this batch accounts for; at least 1.
    pub count: u32,
    /// Who numbered them; see [`super::History`]. 0 when that is not known.
    #[serde(default, skip_serializing_if = "unknown")]
    pub writer: u64,
    /// Who numbered the seq before the first; 0 when that is not known, or there is none.
    #[serde(default, skip_serializing_if = "unknown")]
    pub after_writer: u64,
    pub content: BatchContent,
    /// For `Rows`, in order; their counts add up to `count`. Empty for `Dropped`.
    pub segments: Vec<Segment>,
    pub body_len: u32,
    /// CRC-32 (IEEE) of the body as sent.
    pub body_crc: u32,
    /// The sender's clock when the batch was sent.
    pub sent_at: Millis,
    /// W3C trace context of the batch's ship span, when tracing is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Traces of the applications that the events came from.
    #[serde(default, skip_serializing_if = "Contexts::is_empty")]
    pub contexts: Contexts,
    /// Earlier attempts to ship these events.
    #[serde(default, skip_serializing_if = "Attempts::is_empty")]
    pub attempts: Attempts,
}

impl BatchHeader {
    #[must_use]
    pub fn range(&self) -> SeqRange {
        SeqRange::from_count(self.first_seq, self.count)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn unknown(writer: &u64) -> bool {
    *writer == UNKNOWN_WRITER
}

/// What a batch's seqs stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BatchContent {
    /// Payloads as they came, length-prefixed ([`super::rows`]), compressed a segment.
    Rows,
    /// One Arrow IPC stream.
    Columns,
    /// The agent dropped these seqs; the reason is a snake-case word (`drop_oldest`, `too_large` …).
    Dropped { reason: String },
}

/// A run of events that were taken in together: one row of the spool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub count: u32,
    /// Agent's clock when the first of them was taken in. The event time of an event that names none.
    pub collected_at: Millis,
    /// Agent's clock when they were durable.
    pub spooled_at: Millis,
    pub codec: Codec,
    /// Bytes in the body.
    pub len: u32,
    /// Bytes once inflated.
    pub raw_len: u32,
    /// Where they came from: `http`, `host`, `file:/var/log/x.ndjson@1024`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// How a segment's bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Codec {
    None,
    Zstd,
}

impl Codec {
    /// The number that stands for the codec in the spool's file.
    #[must_use]
    pub fn to_tag(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Zstd => 1,
        }
    }

    #[must_use]
    pub fn from_tag(tag: i64) -> Option<Self> {
        match tag {
            0 => Some(Self::None),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Which schema judged the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchemaRef {
    pub id: u32,
    pub version: u32,
}

/// How many of a batch's rows were written with one schema, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaUse {
    pub schema: SchemaRef,
    /// Valid and rejected rows together.
    pub rows: u32,
    pub rejected: u32,
}

/// Header of a batch from gateway to aggregator. The body is `columns_len` bytes of one Arrow IPC stream with
/// the valid rows, then `dead_len` bytes of a MessagePack array of [`DeadLetter`].
///
/// The valid rows are, in order, the seqs of `[first_seq, first_seq + count)` that are not in `dead_seqs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitHeader {
    pub lane: LaneNo,
    pub first_seq: Seq,
    pub count: u32,
    /// As in [`BatchHeader`].
    #[serde(default, skip_serializing_if = "unknown")]
    pub writer: u64,
    #[serde(default, skip_serializing_if = "unknown")]
    pub after_writer: u64,
    pub content: BatchContent,
    /// Ascending.
    pub dead_seqs: Vec<Seq>,
    /// `None` when the stream has no schema.
    pub schema: Option<SchemaRef>,
    pub columns_len: u32,
    pub dead_len: u32,
    /// CRC-32 (IEEE) of the whole body.
    pub body_crc: u32,
    pub gateway: GatewayId,
    pub segments: Vec<SegmentOrigin>,
    /// Agent's clock when it sent the batch.
    pub sent_at: Millis,
    /// Gateway's clock when the batch was wholly received.
    pub received_at: Millis,
    /// Gateway's clock when it was admitted and forwarded.
    pub admitted_at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// As in [`BatchHeader`], checked by the gateway; [`Contexts::of`] and [`Attempts::of`] find an event's.
    #[serde(default, skip_serializing_if = "Contexts::is_empty")]
    pub contexts: Contexts,
    #[serde(default, skip_serializing_if = "Attempts::is_empty")]
    pub attempts: Attempts,
    /// By the schema that wrote the rows; those that name none count for `schema`. Empty for a stream without
    /// schema, and from gateways that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<SchemaUse>,
}

impl CommitHeader {
    #[must_use]
    pub fn range(&self) -> SeqRange {
        SeqRange::from_count(self.first_seq, self.count)
    }

    #[must_use]
    pub fn body_len(&self) -> usize {
        self.columns_len as usize + self.dead_len as usize
    }

    /// The segment that a seq was taken in with.
    #[must_use]
    pub fn segment_of(&self, seq: Seq) -> Option<&SegmentOrigin> {
        self.segment_and_range(seq).map(|(segment, _)| segment)
    }

    /// The same, with the seqs that were taken in together; of a batch that was trimmed, those that are left.
    #[must_use]
    pub fn segment_and_range(&self, seq: Seq) -> Option<(&SegmentOrigin, SeqRange)> {
        let mut next = self.first_seq;
        self.segments.iter().find_map(|segment| {
            let first = next;
            next = next.saturating_add(u64::from(segment.count));
            (seq < next).then(|| (segment, SeqRange::from_count(first, segment.count)))
        })
    }

    /// Agent's clock when an event was taken in.
    #[must_use]
    pub fn collected_at(&self, seq: Seq) -> Option<Millis> {
        self.segment_of(seq).map(|segment| segment.collected_at)
    }

    /// Valid rows in the columns; 0 for a batch that only reports drops.
    #[must_use]
    pub fn valid(&self) -> u32 {
        match self.content {
            BatchContent::Dropped { .. } => 0,
            BatchContent::Rows | BatchContent::Columns => self
                .count
                .saturating_sub(u32::try_from(self.dead_seqs.len()).unwrap_or(u32::MAX)),
        }
    }
}

/// What the lineage keeps of a [`Segment`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentOrigin {
    pub count: u32,
    pub collected_at: Millis,
    pub spooled_at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A row that its schema rejected, whole and with the reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    pub seq: Seq,
    pub reasons: Vec<Reason>,
    /// The original bytes.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// Why a row was rejected: where in it, by which rule, and in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// JSON Pointer (RFC 6901) into the payload; empty for the whole of it.
    pub path: String,
    /// The schema keyword, or `malformed`, `too_large`, `out_of_range`.
    pub rule: String,
    pub message: String,
}

/// Column of the Arrow batch that holds each row's event time: `Timestamp(Millisecond, "UTC")`, never null.
pub const EVENT_TIME_COLUMN: &str = "_event_time";
/// Column with the fields that the schema does not name, as JSON object text; null when there are none.
pub const EXTRA_COLUMN: &str = "_extra";
/// Column with the registry's id of the schema that wrote the row, `Int32`. Only there when the batch's rows
/// were written with different ones; null for a row without a schema.
pub const SCHEMA_ID_COLUMN: &str = "_schema_id";
/// Arrow field metadata key; `"true"` on a text column whose values are JSON texts (objects, arrays, or
/// values of differing types).
pub const JSON_TEXT_METADATA: &str = "tributary.json";
/// Arrow schema metadata key, `"true"` when the columns were inferred because the stream has no schema.
pub const SCHEMALESS_METADATA: &str = "tributary.schemaless";
/// Arrow schema metadata key: the name of the column that the stream's schema marks as event time.
pub const EVENT_TIME_METADATA: &str = "tributary.event_time";
/// Arrow schema metadata key: a JSON array with the names of the columns that the stream's schema marks as keys.
pub const KEYS_METADATA: &str = "tributary.keys";
