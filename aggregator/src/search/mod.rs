//! Finding events by the values of their fields, within a range of event times.
//!
//! There is no index of fields: the entries whose times overlap the range are decoded one after the other, then the
//! stream's dead letters are read. A search is bounded in events and in time, and says where it stopped: whoever asks
//! again from there goes on.

mod field;
mod messages;
mod walk;

pub use messages::{EventSearch, FieldIs, FoundEvent, Outcome, SearchPlace, SearchResult};
pub use walk::search;
