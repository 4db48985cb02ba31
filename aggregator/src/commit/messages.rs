//! What is passed to and from the commit log.

use arrow_array::{Array, ArrayRef, RecordBatch};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_shared::ids::{LaneKey, LaneNo, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::{
    BatchContent, CommitHeader, DeadLetter, History, RefuseCode, SchemaRef, WireError,
};

use super::body::{BodyFacts, EventTimes};
use super::letters::{ReplayHeader, StoredDeadLetter};

/// Position of an entry in the committed log. The first entry has 1; 0 is before everything. Positions rise
/// by one with each entry, in commit order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogPos(pub u64);

impl LogPos {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for LogPos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A batch as it came from a gateway. `header.lane` must be the number that the log gave `key`.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    pub key: LaneKey,
    pub header: CommitHeader,
    pub body: Bytes,
}

/// A batch that was checked and decoded by [`super::prepare`], and may be submitted.
///
/// `header` describes what the log stores: its `columns_len` and `body_crc` are those of `columns` alone, and
/// `dead_len` is 0, because dead letters are stored in a table of their own.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub(super) key: LaneKey,
    pub(super) header: CommitHeader,
    pub(super) columns: Bytes,
    /// `None` when the batch has no valid row.
    pub(super) records: Option<RecordBatch>,
    /// One for each of `header.dead_seqs`, in that order.
    pub(super) dead: Vec<DeadLetter>,
    /// Of `records`, `columns` and `dead`.
    pub(super) facts: BodyFacts,
}

impl Prepared {
    #[must_use]
    pub fn lane(&self) -> LaneNo {
        self.header.lane
    }

    #[must_use]
    pub fn range(&self) -> SeqRange {
        self.header.range()
    }

    /// Bytes that the log stores for it, headers aside.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        self.columns.len() + self.dead.iter().map(|letter| letter.payload.len()).sum::<usize>()
    }

    /// Bytes that it holds in memory while it waits, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        let columns = self.records.iter().flat_map(RecordBatch::columns);
        // an array that cannot say is counted by its whole buffers
        let of = |array: &ArrayRef| {
            array
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| array.get_array_memory_size())
        };
        self.stored_bytes() + columns.map(of).sum::<usize>()
    }

    #[must_use]
    pub fn key(&self) -> &LaneKey {
        &self.key
    }

    /// The valid rows in seq order; `None` when there are none.
    #[must_use]
    pub fn records(&self) -> Option<&RecordBatch> {
        self.records.as_ref()
    }

    #[must_use]
    pub fn header(&self) -> &CommitHeader {
        &self.header
    }

    /// Replaces the trace context that is stored with the batch, so that what follows the commit hangs below
    /// it.
    pub fn set_traceparent(&mut self, traceparent: Option<String>) {
        self.header.traceparent = traceparent;
    }
}

/// The verdict on one submitted batch. `Committed` is told only after the fsync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitAnswer {
    /// Everything of the batch, up to `mark`, is durable. `pos` and `applied` say what this batch added; they
    /// are `None` when all of it was a duplicate.
    Committed {
        mark: Seq,
        pos: Option<LogPos>,
        applied: Option<SeqRange>,
    },
    /// Nothing of the batch was taken. The sender goes on from `expected`, after `retry_after_ms`.
    Refused {
        expected: Seq,
        code: RefuseCode,
        message: String,
        retry_after_ms: u32,
    },
}

/// Where a lane stands, durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    pub lane_no: LaneNo,
    /// Highest committed seq; 0 when none.
    pub mark: Seq,
    /// Who numbered what is committed.
    pub history: History,
}

/// What an entry of the log says of itself, beside its columns.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryHeader {
    /// A batch that continued its lane; as stored, after trimming, see [`Prepared`].
    Batch(CommitHeader),
    /// Dead letters of a lane that became valid; moves no mark and no watermark.
    Replay(ReplayHeader),
}

impl EntryHeader {
    #[must_use]
    pub fn lane(&self) -> LaneNo {
        match self {
            Self::Batch(header) => header.lane,
            Self::Replay(header) => header.lane,
        }
    }

    /// Rows of the columns.
    #[must_use]
    pub fn valid(&self) -> u32 {
        match self {
            Self::Batch(header) => header.valid(),
            // a replay is cut into chunks far below that
            Self::Replay(header) => u32::try_from(header.seqs.len()).unwrap_or(u32::MAX),
        }
    }

    #[must_use]
    pub fn schema(&self) -> Option<SchemaRef> {
        match self {
            Self::Batch(header) => header.schema,
            Self::Replay(header) => header.schema,
        }
    }

    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        match self {
            Self::Batch(header) => header.traceparent.as_deref(),
            Self::Replay(_) => None,
        }
    }

    /// The seqs that it is about: all of them for a batch, for a replay those from its first to its last letter.
    #[must_use]
    pub fn range(&self) -> SeqRange {
        match self {
            Self::Batch(header) => header.range(),
            Self::Replay(header) => SeqRange {
                first: header.seqs.first().copied().unwrap_or(0),
                last: header.seqs.last().copied().unwrap_or(0),
            },
        }
    }

    /// The seq of each row of the columns, in their order.
    #[must_use]
    pub fn valid_seqs(&self) -> Vec<Seq> {
        match self {
            Self::Batch(header) if header.valid() == 0 => Vec::new(),
            Self::Batch(header) => {
                let mut dead = header.dead_seqs.iter().peekable();
                let range = header.range();
                let seqs = range.first..=range.last;
                seqs.filter(|seq| dead.next_if_eq(&seq).is_none()).collect()
            }
            Self::Replay(header) => header.seqs.clone(),
        }
    }

    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replay(_))
    }

    /// Events by verdict, new with this entry: valid, dead and dropped. What a replay makes valid was dead before.
    #[must_use]
    pub fn verdicts(&self) -> (u64, u64, u64) {
        match self {
            Self::Batch(header) => match header.content {
                BatchContent::Dropped { .. } => (0, 0, u64::from(header.count)),
                BatchContent::Rows | BatchContent::Columns => {
                    let valid = u64::from(header.valid());
                    (valid, u64::from(header.count) - valid, 0)
                }
            },
            Self::Replay(_) => (u64::from(self.valid()), 0, 0),
        }
    }

    pub(super) fn body_crc(&self) -> u32 {
        match self {
            Self::Batch(header) => header.body_crc,
            Self::Replay(header) => header.body_crc,
        }
    }
}

/// A committed entry on its way to the window engine, decoded.
#[derive(Debug, Clone)]
pub struct Committed {
    pub pos: LogPos,
    pub key: LaneKey,
    pub header: EntryHeader,
    /// The valid rows in seq order; `None` when there are none.
    pub records: Option<RecordBatch>,
    pub committed_at: Millis,
}

/// A committed entry as the log holds it.
#[derive(Debug, Clone)]
pub struct LogEntry {
    pub pos: LogPos,
    pub key: LaneKey,
    pub header: EntryHeader,
    /// One Arrow IPC stream; empty when there is no valid row. Its checksum is verified on reading.
    pub columns: Bytes,
    pub committed_at: Millis,
}

impl LogEntry {
    /// Decodes the columns.
    ///
    /// # Errors
    /// [`CommitError::Damaged`] when the stored bytes are not what was committed.
    pub fn decode(self) -> Result<Committed, CommitError> {
        let records = super::columns::decode_valid(&self.columns, self.header.valid()).map_err(|error| {
            CommitError::Damaged {
                what: format!("log entry {}: {error}", self.pos),
            }
        })?;
        let Self {
            pos,
            key,
            header,
            committed_at,
            ..
        } = self;
        Ok(Committed {
            pos,
            key,
            header,
            records,
            committed_at,
        })
    }
}

/// A kept entry as it is found by the times of its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryAt {
    pub pos: LogPos,
    pub lane: LaneNo,
    pub times: EventTimes,
}

/// The hop record of one entry: the entry without its columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Hop {
    pub pos: LogPos,
    pub key: LaneKey,
    /// Gateway, times, trace, segments, schema, and verdict counts.
    pub header: CommitHeader,
    pub committed_at: Millis,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It is row `row` of the columns of entry `hop.pos`.
    Valid { hop: Hop, row: usize },
    /// Its schema rejected it; its letter says what became of it since. `None` when the letter had to go, for its
    /// age or for room.
    Dead {
        hop: Hop,
        letter: Option<Box<StoredDeadLetter>>,
    },
    /// The agent dropped it, together with its neighbours in `range`.
    Dropped {
        hop: Hop,
        reason: String,
        range: SeqRange,
    },
    /// It was committed, and retention has deleted its entry, as all of its lane up to `floor_seq`.
    Expired {
        floor_seq: Seq,
        verdict: ExpiredVerdict,
        /// Its hop record, which is kept longer; `None` when that is gone too.
        hop: Option<Box<Hop>>,
        gone: Gone,
    },
    /// It lies above its lane's mark: still held at the edge, or never produced.
    NotCommitted { mark: Seq },
    /// No such lane.
    UnknownLane,
}

/// What retention has deleted of an event, and in which hour. A time is `None` where an earlier version did it, which
/// wrote no times down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gone {
    /// The entry, and with it the event's row.
    pub entry_at: Option<Millis>,
    /// Whether the hop record is gone as well.
    pub hops: bool,
    pub hops_at: Option<Millis>,
}

/// What the books say of an event without its entry.
#[derive(Debug, Clone, PartialEq)]
pub enum ExpiredVerdict {
    Dropped {
        reason: String,
        range: SeqRange,
    },
    Dead(Box<StoredDeadLetter>),
    /// It is one of its lane's valid events, or of its dead letters that are deleted as well.
    Counted,
}

/// One lane's line in the books. `mark == valid + dead + dropped`, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRow {
    pub lane_no: LaneNo,
    pub key: LaneKey,
    pub mark: Seq,
    pub valid: u64,
    pub dead: u64,
    /// Of `dead`: letters that can be replayed. The others were given up, and have lines in the ledger.
    pub open: u64,
    pub dropped: u64,
    pub opened_at: Millis,
    /// `None` until the first commit.
    pub last_committed_at: Option<Millis>,
    /// Retention has deleted the entries up to this seq; what became of them is still in the counts above.
    pub floor_seq: Seq,
}

/// A run of dropped events of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedRange {
    pub range: SeqRange,
    pub reason: String,
    pub count: u64,
}

/// The ledger at one moment: every lane, and the sums over all lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    pub lanes: Vec<LedgerLane>,
    pub totals: LedgerTotals,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLane {
    pub lane: LaneRow,
    /// In seq order.
    pub dropped: Vec<DroppedRange>,
    /// What became of dead letters that nobody will replay: so many of the seqs of a range. They stay counted in
    /// `lane.dead`.
    pub given_up: Vec<DroppedRange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LedgerTotals {
    /// Events that were accounted for: the sum of the marks. What agents still hold comes on top.
    pub produced: u64,
    pub valid: u64,
    pub dead: u64,
    pub dropped: u64,
    /// Of `dead`: letters that can be replayed.
    pub open: u64,
}

/// A stream, summed over its lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRow {
    pub stream: StreamName,
    pub lanes: u64,
    pub agents: u64,
    pub totals: LedgerTotals,
    pub last_committed_at: Option<Millis>,
}

/// Size of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    pub newest: LogPos,
    /// Retention has deleted the entries up to here.
    pub floor: LogPos,
    pub dead_letters: u64,
    /// Database and WAL on disk.
    pub bytes: u64,
}

/// Hop records: how many, of how many events, and the bytes that they take, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineagePart {
    pub entries: u64,
    pub events: u64,
    pub bytes: u64,
}

/// The record of where events came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineageStats {
    /// Of entries that are in the log. The bytes are those that the entries would not need without lineage.
    pub in_log: LineagePart,
    /// Of entries that retention has deleted.
    pub beyond: LineagePart,
    /// When the oldest kept entry was committed.
    pub entries_since: Option<Millis>,
    /// When the oldest kept hop record was committed.
    pub hops_since: Option<Millis>,
}

/// Why the commit log cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was stored; trying again later may succeed (disk full, IO error).
    #[error("the commit log cannot store just now: {0}")]
    Unavailable(String),
    #[error("the commit log has stopped")]
    Stopped,
    #[error("the commit log is damaged: {what}; restore it from a copy, or move it away to begin a new log")]
    Damaged { what: String },
    #[error("{dir} is in use by another aggregator")]
    InUse { dir: String },
    #[error("a restore into {dir} did not finish: do it again, with --force")]
    RestoreUnfinished { dir: String },
    #[error("log.db has format {found}, this program reads up to {known}; use a newer program")]
    FormatTooNew { found: i64, known: i64 },
    #[error(
        "{path} cannot be used to sign heads of the audit: {why}; restore it from a backup, or move it away: a new key is \
         made then, and the audit says so"
    )]
    AuditKey { path: String, why: String },
    #[error("the commit log's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the commit log's files: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
}
