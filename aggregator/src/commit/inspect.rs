//! Looking at a log that no commit thread of this process has open, and preparing one that was restored.

use std::path::Path;

use rusqlite::Connection;

use super::messages::{CommitError, LogPos};
use super::store::{self, FORMAT_VERSION, log_path};
use super::{invariants, queries};

/// More lanes than anybody opens between a backup and a restore, and room for 4,000 restores.
const RESERVED_LANES: u32 = 1 << 20;
/// The same for dead letters.
const RESERVED_LETTERS: i64 = 1 << 32;

/// What log.db says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFacts {
    pub log_id: String,
    pub newest: LogPos,
    /// Retention has deleted the entries up to here.
    pub floor: LogPos,
    pub lanes: u64,
    /// The sum of the marks.
    pub produced: u64,
}

/// Reads and checks what is in log.db, without changing anything: a format that this program knows, and every
/// named invariant of the lanes.
///
/// # Errors
/// [`CommitError::FormatTooNew`], [`CommitError::Damaged`], or those of SQLite.
pub fn inspect(db: &Connection) -> Result<LogFacts, CommitError> {
    // the log may be written meanwhile: all of it must be of one moment, the caller's if it has pinned one
    let moment = db
        .is_autocommit()
        .then(|| db.unchecked_transaction())
        .transpose()?;
    let facts = inspect_moment(db);
    drop(moment);
    facts
}

fn inspect_moment(db: &Connection) -> Result<LogFacts, CommitError> {
    let found = store::format(db)?;
    if found > FORMAT_VERSION {
        let known = FORMAT_VERSION;
        return Err(CommitError::FormatTooNew { found, known });
    }
    let lanes = queries::lanes_of_format(db, found)?;
    for lane in &lanes {
        invariants::conservation(lane)?;
        invariants::floor_within_mark(lane)?;
        invariants::log_ends_at_mark(lane, queries::last_seq(db, lane.lane_no)?)?;
    }
    let damaged = || CommitError::Damaged {
        what: "log.db has no id".to_owned(),
    };
    Ok(LogFacts {
        log_id: queries::meta(db, "log_id")?.ok_or_else(damaged)?,
        newest: queries::newest(db)?,
        floor: queries::floor(db)?,
        lanes: lanes.len() as u64,
        produced: lanes.iter().map(|lane| lane.mark).sum(),
    })
}

/// Leaves out numbers that a later state of this log may have given to other lanes and dead letters, so that an old
/// lineage id never names another event, nor a letter's id another letter; for a directory that was restored from a
/// copy.
///
/// # Errors
/// Those of SQLite.
pub fn reserve_lane_numbers(dir: &Path) -> Result<(), CommitError> {
    let db = Connection::open(log_path(dir))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let highest: u32 = db.query_row("SELECT coalesce(max(no), 0) FROM lanes", [], |row| row.get(0))?;
    let reserved = queries::meta_number(&db, queries::LANE_FLOOR)?.unwrap_or(0);
    let next = highest.max(reserved).saturating_add(RESERVED_LANES);
    queries::set_meta(&db, queries::LANE_FLOOR, next)?;
    let highest: i64 = db.query_row("SELECT coalesce(max(id), 0) FROM dead_letters", [], |row| {
        row.get(0)
    })?;
    let reserved = queries::meta_number(&db, queries::LETTER_FLOOR)?.unwrap_or(0);
    let next = highest.max(reserved).saturating_add(RESERVED_LETTERS);
    queries::set_meta(&db, queries::LETTER_FLOOR, next)
}

/// Leaves word for the next start that this directory was restored: it becomes a leaf of the audit.
///
/// # Errors
/// Those of SQLite.
pub fn note_restore(dir: &Path, detail: &serde_json::Value) -> Result<(), CommitError> {
    let db = Connection::open(log_path(dir))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    queries::set_meta(&db, crate::audit::PENDING, detail)
}
