//! Copies of an aggregator's directory, made while it runs, and put back while it does not.
//!
//! A backup is a directory with one copy of each database and `manifest.json`, which is written last: without it
//! the copy is not whole. The views' snapshot lies at or before the log's end, and at or behind what retention has
//! deleted, so that windows after a restore are what the log says. The schemas are copied last, so that every
//! schema that the log names is there.
//!
//! ```text
//! backup                                   restore
//!   pin views.db, then log.db (one moment)   check manifest, checksums, databases
//!   copy both, page by page                  lock the directory, mark it as unfinished
//!   copy the other databases                 move what is there aside
//!   check every copy                         copy, log.db last
//!   checksums, manifest                      reserve numbers that the lost state may have given out; unmark
//! ```
//!
//! A restored aggregator is older than its agents. What they deleted because it was committed, and the restored log
//! does not have, they report as dropped, reason `forgotten_by_aggregator`, when they open their lanes. Numbers of
//! lanes and schemas that the lost state may have given to others are not given again, so that an old lineage id
//! never names another event.
//!
//! Not here: copies over the network. Both directions work on files of this host.

mod check;
mod copy;
mod manifest;
mod messages;
mod restore;
mod save;
#[cfg(test)]
mod tests;

pub use check::verify;
pub use manifest::{FileEntry, MANIFEST_FILE, Manifest};
pub use messages::{BackupError, Progress, Restored};
pub use restore::restore;
pub use save::{inspect_source, save};
