//! Tails files: each line of the files that the globs name becomes one event of the entry's stream.
//!
//! ```text
//! notify ─▶ wake ─▶ reader (a thread) ──[1 block]──▶ pump ──2 in flight──▶ spool
//!                   │ scan: globs, inodes, heads       one at a time for each file
//!                   │ follow: which file is which (pure)
//!                   ╰ lines: where lines end (pure)
//! ```
//!
//! - **Exactly once.** A file's offset is saved in the transaction that takes its lines. After a crash the
//!   files are read on from there.
//! - **Rotation** by rename and by truncation: see [`follow`]. What follows when rotation tools *copy* files:
//!   the globs must not name the copies, they would be read as new files.
//! - **Pressure.** A full spool stops the pump, the pump the reader, and the lines wait in their files.
//! - **Bad lines.** Over-long ones get a seq and a drop record; malformed ones travel on, and the gateway
//!   makes dead letters of them.
//!
//! Non-goals: compressed files, multi-line events, files that are written elsewhere than at their end.

mod actor;
pub mod follow;
pub mod lines;
mod messages;
mod pump;
mod reader;
mod scan;
mod wake;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use actor::{Tail, run};
pub use messages::{
    Elapsed, FINGERPRINT_BYTES, FileId, FilePosition, FilesConfig, Fingerprint, ReadFrom, Sighting, Start,
    Step,
};
pub use pump::TailError;
