//! The commit log: the one place where an event becomes counted.
//!
//! `log.db` holds every committed batch, the mark of every lane, the dead letters, the hop records and the
//! ledger of drops. A batch, its lane's mark and all its lines in the books are written in one transaction,
//! and nobody is told "committed" before that transaction is on disk (`ack-after-fsync`, `contiguous-lanes`,
//! `conservation`). Window state is a function of this log and is kept elsewhere.
//!
//! ```text
//! session ── prepare() ──► CommitHandle ──[128, 64 MiB]──► commit thread ──[engine's bound]──► window engine
//!            checks, decodes             open_lane, submit   judge, one transaction,   Arc<Committed>
//!                                                            one fsync, answers
//! API, replay ──► LogReader (read-only connections)
//! ```
//!
//! Constraints: one writer a directory (locked); marks live in memory and are reloaded and verified at start
//! and after every failed write; memory grows with lanes, never with events. Old entries go as [`Retention`] says; their
//! lanes, counts and ledger lines stay.

mod actor;
mod anchoring;
mod bare;
mod body;
mod columns;
mod feed;
mod gauges;
mod group;
mod handle;
mod health;
mod inflated;
mod inspect;
pub mod invariants;
mod lane;
mod letters;
mod lineage;
mod messages;
mod prepare;
mod queries;
mod reader;
mod retention;
mod settling;
mod store;
mod times;
mod trim;
mod upgrade;

#[cfg(test)]
pub(crate) mod tests;

pub use actor::{CommitOptions, CommitThread, open, open_with_retention, open_without_lineage};
pub(crate) use actor::{RESTORING_FILE, lock};
pub use body::EventTimes;
#[cfg(test)]
pub(crate) use columns::decode_valid;
pub use handle::{CommitHandle, Feed, PendingAnswer};
pub use health::LogHealth;
pub use inspect::{LogFacts, inspect, note_restore, reserve_lane_numbers};
pub use letters::{
    Act, DeadLetterFilter, DiscardRequest, LETTER_DISCARDED, LETTER_EXPIRED, LetterCount, LetterState,
    LetterToReplay, MAX_DEAD_LETTER_PAGE, PreparedReplay, ReplayHeader, ReplayRequest, ScanFrom,
    SettleAnswer, Settlement, StoredDeadLetter,
};
pub use messages::{
    CommitAnswer, CommitError, CommitRequest, Committed, DroppedRange, EntryAt, EntryHeader, ExpiredVerdict,
    Fate, Gone, Hop, LaneRow, LaneState, Ledger, LedgerLane, LedgerTotals, LineagePart, LineageStats,
    LogEntry, LogPos, LogStats, Prepared, StreamRow,
};
pub use prepare::prepare;
pub(crate) use queries::{floor, lane_by_key, lane_by_no, meta};
pub use reader::LogReader;
pub use retention::Retention;
pub use store::LOG_FILE;
pub use times::TimeRange;
