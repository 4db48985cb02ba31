//! From a window back to the events that built it.
//!
//! Nothing is kept for it: the events are found again. The engine says which rows are meant, down to the view that
//! reads the stream ([`Basis`]); then the log's entries of those times are folded once more, with the same code, and
//! what falls into the rows is counted by lane, gateway and schema ([`Recount`]). What the log does not have any more
//! is the difference to the rows' own count, so that both together are that count, always.
//!
//! Two decisions of the fold depend on what came before, not on the event alone. Whether an event was too late when it
//! came follows from the newest event before it: the entries that hold such events are read as well, in log order. Which
//! group an event went to in a full window follows from which groups there are, and those stay for as long as the
//! window does: the engine is asked for them. A full view of sessions forgets more than that; what cannot be told there
//! is said, unless the counts leave one answer only.

mod basis;
mod cursor;
mod messages;
mod recount;
mod run;
mod tally;
mod targets;
mod walk;

pub use basis::Basis;
pub use cursor::Cursor;
pub use messages::{Asked, ExplainError, ExplainQuery, Explanation, NotKept};
pub use recount::Recount;
pub(super) use recount::encoded;
pub use run::{Limits, explain};
