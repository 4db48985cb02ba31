//! Dead letters that come back: each is judged again, as a gateway would, and what is valid now becomes an event.
//!
//! ```text
//! POST replay ─► chunk of letters ─► fix ─► decode ─► columns, a lane each ─► commit thread ─► window engine
//!                (log.db, bounded)   patch   the chosen     still invalid: told     one entry a lane,
//!                                    or SQL  version        with the reasons        letters marked in it
//! ```
//!
//! - [`judge`](self) decides, letter by letter, without disk or clock; `fix` changes payloads before that.
//! - The commit thread decides whether a letter is still open: concurrent and repeated replays count an event once.
//! - A chunk is at most [`CHUNK_LETTERS`] letters and some megabytes, so that a million letters need no more memory
//!   than a thousand. Between two chunks everything that was answered is durable: a replay that is cut off is done
//!   again, and finds the first part replayed already.

mod fix;
mod judge;
mod messages;
mod run;
mod schemas;

pub use fix::{Fix, FixError, MAX_SQL};
pub use messages::{
    DiscardOrder, DiscardReport, MAX_IDS, ReplayError, ReplayOrder, ReplayReport, Sample, Selection,
    StillInvalid,
};
pub use run::{CHUNK_LETTERS, Replayer};
