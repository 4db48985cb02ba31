//! What is passed to and from the dead letters.

use arrow_array::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_shared::ids::{AgentId, LaneKey, LaneNo, Seq, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::{Reason, SchemaRef};

use super::super::body::BodyFacts;
use super::super::messages::LogPos;

/// Where a letter stands. It leaves `Open` once, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterState {
    Open,
    Replayed,
    Discarded,
}

impl LetterState {
    pub const ALL: [Self; 3] = [Self::Open, Self::Replayed, Self::Discarded];

    /// As the API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The number that stands for it in log.db.
    pub(super) fn tag(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Replayed => 1,
            Self::Discarded => 2,
        }
    }

    pub(super) fn of_tag(tag: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.tag() == tag)
    }
}

/// A dead letter with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDeadLetter {
    /// Rises in commit order; never given twice.
    pub id: i64,
    pub lane_no: LaneNo,
    pub seq: Seq,
    pub agent: AgentId,
    pub stream: StreamName,
    pub pos: LogPos,
    pub at: Millis,
    pub schema: Option<SchemaRef>,
    pub reasons: Vec<Reason>,
    /// The original bytes.
    pub payload: Vec<u8>,
    /// `None` while it is open.
    pub settled: Option<Settlement>,
}

/// What became of a letter, by whom and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    Replayed {
        at: Millis,
        by: String,
        /// The log entry that holds the event now.
        pos: LogPos,
        /// What judged it valid; `None` when the stream had no schema.
        schema: Option<SchemaRef>,
        /// What was done to the payload first, as JSON text.
        fix: Option<String>,
    },
    Discarded {
        at: Millis,
        by: String,
        reason: String,
    },
}

impl StoredDeadLetter {
    #[must_use]
    pub fn state(&self) -> LetterState {
        match self.settled {
            None => LetterState::Open,
            Some(Settlement::Replayed { .. }) => LetterState::Replayed,
            Some(Settlement::Discarded { .. }) => LetterState::Discarded,
        }
    }
}

/// A letter as a replay reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct LetterToReplay {
    pub id: i64,
    pub lane_no: LaneNo,
    pub key: LaneKey,
    pub seq: Seq,
    pub state: LetterState,
    /// Agent's clock when the event was taken in: its time, if it names none.
    pub collected_at: Millis,
    /// The original bytes; empty unless the letter is open.
    pub payload: Vec<u8>,
}

/// Who settles letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    pub by: String,
    /// What was done to the payloads, as JSON text.
    pub fix: Option<String>,
}

/// Letters of one lane that are valid now, and their columns.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    pub lane: LaneNo,
    pub key: LaneKey,
    /// Id and seq of each row of the columns, ascending by seq.
    pub letters: Vec<(i64, Seq)>,
    /// One Arrow IPC stream with a row for each letter.
    pub columns: Bytes,
    pub schema: Option<SchemaRef>,
    pub act: Act,
}

/// Letters that nobody wants any more.
#[derive(Debug, Clone)]
pub struct DiscardRequest {
    pub ids: Vec<i64>,
    pub by: String,
    pub reason: String,
}

/// What settling some letters did. Told after the fsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettleAnswer {
    /// Settled now, by this request.
    pub settled: u64,
    /// Replayed before.
    pub replayed: u64,
    /// Discarded before.
    pub discarded: u64,
    /// Not there (any more).
    pub unknown: u64,
}

/// The header of a log entry of kind "replay": dead letters of one lane that became valid. They keep their seqs, which
/// lie below the lane's mark; the entry moves no mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayHeader {
    pub lane: LaneNo,
    /// One for each row of the columns, ascending.
    pub seqs: Vec<Seq>,
    pub schema: Option<SchemaRef>,
    /// CRC-32 (IEEE) of the columns.
    pub body_crc: u32,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl ReplayHeader {
    /// The row of the columns that holds a seq.
    #[must_use]
    pub fn row_of(&self, seq: Seq) -> Option<usize> {
        self.seqs.binary_search(&seq).ok()
    }
}

/// A replay that was checked and decoded, and may be submitted.
#[derive(Debug, Clone)]
pub struct PreparedReplay {
    pub(in super::super) key: LaneKey,
    pub(in super::super) header: ReplayHeader,
    /// One for each of `header.seqs`.
    pub(in super::super) ids: Vec<i64>,
    pub(in super::super) columns: Bytes,
    pub(in super::super) records: RecordBatch,
    /// Of `records` and `columns`.
    pub(in super::super) facts: BodyFacts,
}

impl PreparedReplay {
    /// Bytes that it holds in memory while it waits, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.columns.len() + self.records.get_array_memory_size()
    }
}

/// How many letters of a stream are in a state; with a rule, those that break it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterCount {
    pub stream: StreamName,
    pub state: LetterState,
    /// `None`: all of them.
    pub rule: Option<String>,
    pub count: u64,
    /// Of their payloads; only where `rule` is `None`.
    pub bytes: u64,
}
