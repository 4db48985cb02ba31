//! Dead letters in log.db: what a schema rejected, whole, and what became of it.
//!
//! ```text
//!            ┌── replayed ──► a log entry of kind "replay"; dead - 1, valid + 1
//! open ──────┼── discarded ─► a line of the ledger, reason `discarded`
//!            └── expired ───► a line of the ledger, reason `dead_letter_expired`; the letter is deleted
//! ```
//!
//! A letter is settled once, by the commit thread, in the transaction that writes the consequences: however often
//! and from how many sides a letter is replayed, its event counts once (identity-first: it keeps its lane and seq).
//! Lines of the ledger say what became of `dead` events; they stay counted as dead ([`lines`](self)).
//!
//! Counts by lane, state and rule are kept beside the letters, so that nobody reads a million letters to count them.

mod filter;
mod judge;
mod lines;
mod messages;
mod read;
mod settle;
mod tally;
mod write;

pub use filter::{DeadLetterFilter, ScanFrom};
pub(super) use judge::{judge_discard, judge_replay};
pub(super) use lines::lines_add_up;
pub use lines::{LETTER_DISCARDED, LETTER_EXPIRED};
pub use messages::{
    Act, DiscardRequest, LetterCount, LetterState, LetterToReplay, PreparedReplay, ReplayHeader,
    ReplayRequest, SettleAnswer, Settlement, StoredDeadLetter,
};
pub use read::MAX_DEAD_LETTER_PAGE;
pub(super) use read::{
    by_id, by_seq, chunk, counts, held_bytes, lines_of, list, newest_id, of_ids, streams_of,
};
pub(super) use settle::{Discard, Replay, Settling};
pub(super) use write::{delete_upto, insert, settle_discard, settle_replay};

/// The statement that lists letters, for tests of its plan.
#[cfg(test)]
pub(super) fn statement(filter: &DeadLetterFilter) -> (String, Vec<rusqlite::types::Value>) {
    filter::statement(read::COLUMNS, filter)
}
