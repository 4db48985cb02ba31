//! What goes into the spool and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tributary_shared::ids::{AgentId, Epoch, Seq, SeqRange, StreamName};
use tributary_shared::protocol::RetiredLane;
use tributary_shared::time::Millis;
use tributary_shared::wire::{Codec, Context, History, Segment};

/// A lane's row in this spool: never reused, and meaningless outside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub i64);

/// Events of one stream that are taken in whole or not at all.
#[derive(Debug, Clone)]
pub struct NewEvents {
    pub stream: StreamName,
    /// Where they came from: `http`, `host`, `file:/var/log/x.ndjson@1024`.
    pub origin: Option<Arc<str>>,
    /// The application's span in which they were sent, as `traceparent` writes it.
    pub traceparent: Option<Arc<str>>,
    /// When they were taken in: the event time of an event that names none.
    pub collected_at: Millis,
    /// Payloads as `wire::rows::push_row` writes them; at most [`super::MAX_APPEND_BYTES`].
    pub rows: Vec<u8>,
    /// How many payloads `rows` holds; at least 1.
    pub count: u32,
    /// Moves in the same transaction as the events. Whoever moves a position waits for the answer before the
    /// next append with the same key: else a refused append could be overtaken by the next one's position.
    pub position: Option<InputPosition>,
}

/// Events that an input could not take as they are (a line beyond the limit …) and that still must be in the
/// ledger: they get seqs and a drop record instead of a block.
#[derive(Debug, Clone)]
pub struct NewDropped {
    pub stream: StreamName,
    /// At least 1.
    pub count: u32,
    /// A snake-case word: `too_large` …
    pub reason: Arc<str>,
    pub position: Option<InputPosition>,
}

/// How far an input has read, e.g. a tailed file's identity and offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPosition {
    pub key: String,
    pub value: Vec<u8>,
}

/// The identity of events that are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub agent: AgentId,
    pub stream: StreamName,
    pub epoch: Epoch,
    pub range: SeqRange,
    /// How many of them were dropped at once, by the stream's policy: the ledger names which.
    pub dropped: u64,
}

/// Where a lane stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneInfo {
    pub lane: LaneId,
    pub stream: StreamName,
    pub epoch: Epoch,
    /// New events of the stream go to its active lane; the others only drain, and vanish once they are empty.
    pub active: bool,
    /// The seq that the next event gets.
    pub next_seq: Seq,
    /// Highest seq that the aggregator has committed; 0 when none.
    pub committed_seq: Seq,
    /// Which processes have numbered its seqs.
    pub history: History,
    /// Events on disk above `committed_seq`, without the dropped ones.
    pub held_events: u64,
    /// Bytes of their blocks, compressed.
    pub held_bytes: u64,
    /// Dropped events above `committed_seq`.
    pub dropped_events: u64,
    /// Which ones: ascending, the first [`super::MAX_LISTED_DROPS`] records.
    pub dropped: Arc<[DropRecord]>,
}

/// Seqs that stand for no event any more. Kept until the aggregator has committed the loss to its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropRecord {
    pub range: SeqRange,
    /// A snake-case word: `drop_oldest`, `too_large` …
    pub reason: Arc<str>,
}

impl DropRecord {
    #[must_use]
    pub fn count(&self) -> u64 {
        self.range.count()
    }
}

/// A run of seqs as the shipper reads them: ascending and without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    Rows(RowsBlock),
    /// At most `u32::MAX` seqs, so that the count fits a batch header.
    Dropped {
        range: SeqRange,
        reason: Arc<str>,
    },
}

impl Block {
    #[must_use]
    pub fn range(&self) -> SeqRange {
        match self {
            Self::Rows(rows) => rows.range,
            Self::Dropped { range, .. } => *range,
        }
    }
}

/// One stored block: its body is a wire segment and travels as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsBlock {
    pub range: SeqRange,
    pub collected_at: Millis,
    /// This host's clock when the group commit that holds it began to write.
    pub spooled_at: Millis,
    pub codec: Codec,
    /// Bytes once inflated.
    pub raw_len: u32,
    pub origin: Option<Arc<str>>,
    /// Those that requests of this block brought, within its range.
    pub contexts: Vec<Context>,
    pub body: Bytes,
    /// CRC-32 (IEEE) of `body`, checked when it was read from disk.
    pub crc: u32,
}

impl RowsBlock {
    /// The header entry of this block.
    #[must_use]
    pub fn segment(&self) -> Segment {
        Segment {
            // a block holds at most MAX_BLOCK_ROWS events and MAX_APPEND_BYTES bytes
            count: u32::try_from(self.range.count()).unwrap_or(u32::MAX),
            collected_at: self.collected_at,
            spooled_at: self.spooled_at,
            codec: self.codec,
            len: u32::try_from(self.body.len()).unwrap_or(u32::MAX),
            raw_len: self.raw_len,
            origin: self.origin.as_deref().map(str::to_owned),
        }
    }
}

/// Why a stream gets a new epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkReason {
    /// The aggregator has committed seqs (up to `mark`) that this spool has not given out, or not sent: the
    /// spool is a copy of an older state.
    BehindPast { mark: Seq },
    /// Live data moves away from a long backlog, which keeps its identity and drains beside it.
    Backlog,
}

/// The spool as a whole, after its latest commit. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolStatus {
    /// In the order of their ids: within a stream the oldest first, the active one last.
    pub lanes: Arc<[LaneInfo]>,
    /// Lanes that were drained and are gone, the newest, in the order in which they went.
    pub retired: Arc<[RetiredLane]>,
    /// Bytes on disk that count towards the limit: pages in use and the WAL file.
    pub bytes: u64,
    pub limit: u64,
    /// Events that got new seqs since this process began: another copy of this spool had used theirs for others.
    pub renumbered: u64,
    /// An append was refused for lack of room, and nothing has changed since.
    pub full: bool,
    pub health: SpoolHealth,
    /// Where a damaged database went that this process has found.
    pub quarantined: Option<Arc<str>>,
    /// What became of the events in the damaged database that was found last, by this process or an earlier one.
    pub salvage: Option<Arc<Salvage>>,
}

/// The salvage of a damaged database.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Salvage {
    /// The damaged file.
    pub file: String,
    pub running: bool,
    /// Events that kept their identity and are shipped once it has ended.
    pub saved_events: u64,
    pub saved_bytes: u64,
    /// Events whose seqs are known and which could not be read: the ledger will name them as `damaged`.
    pub lost_events: u64,
    /// What could not be read, for people.
    pub problems: Vec<String>,
}

/// Can the spool take and give events?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpoolHealth {
    Healthy,
    /// The last attempt failed; the spool keeps trying.
    Failing {
        /// `disk_full`, `read_only`, `damaged` or `io`.
        trouble: &'static str,
        reason: Arc<str>,
    },
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    #[error("the spool is full: raise spool.limit, or wait until events were shipped")]
    Full { retry_after: Duration },
    /// Nothing of the request is known to be on disk.
    #[error("the spool is unavailable: {0}")]
    Unavailable(Arc<str>),
    #[error("{len} bytes at once exceed the spool's limit of {limit} bytes")]
    TooLarge { len: u64, limit: u64 },
    #[error("{limit} streams are open already: use fewer stream names")]
    TooManyStreams { limit: u32 },
    #[error("the request does not add up: {0}")]
    Invalid(&'static str),
    #[error("the lane is not in this spool (any more)")]
    UnknownLane,
    /// The seqs between were never given out here: the spool is behind its own past.
    #[error("the mark {mark} is not below the lane's next seq {next_seq}")]
    MarkAhead { mark: Seq, next_seq: Seq },
    #[error("the spool is closed")]
    Closed,
}
