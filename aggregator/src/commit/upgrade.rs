//! Files of earlier formats become those of this program, when they are opened to be written.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::body::EventTimes;
use super::messages::{CommitError, LogPos};
use super::store::FORMAT_VERSION;
use super::{queries, times};
use crate::audit;

/// What finds entries, and what outlives them; made alike in a new file and in one of an earlier format.
pub(super) const LINEAGE: &str = include_str!("lineage.sql");

/// From each earlier format to the next one, each in one transaction.
const UPGRADES: [(i64, &str); 3] = [
    (1, include_str!("schema_1_to_2.sql")),
    (2, include_str!("schema_2_to_3.sql")),
    (3, include_str!("schema_3_to_4.sql")),
];

/// While entries are read for their times: the position that is reached. A start that is cut short goes on from there.
const TIMES_UPTO: &str = "times_upto";
/// Entries, and bytes of columns, that are read between two commits.
const STEP_ENTRIES: usize = 1_024;
const STEP_BYTES: usize = 16 << 20;
/// The WAL is moved into the file after so many of them.
const CHECKPOINT_STEPS: u64 = 64;
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Makes a file of format `found` one of [`FORMAT_VERSION`].
///
/// # Errors
/// Those of SQLite. What is done by then stays done.
pub(super) fn upgrade(db: &Connection, found: i64) -> Result<(), CommitError> {
    if found < FORMAT_VERSION {
        let (from, to) = (found, FORMAT_VERSION);
        tracing::info!(
            from,
            to,
            "log.db is of an earlier format and becomes that of this program"
        );
    }
    for (_, upgrade) in UPGRADES.iter().filter(|(from, _)| *from >= found) {
        db.execute_batch(upgrade)?;
    }
    if found < 5 {
        let upgrade = include_str!("schema_4_to_5.sql");
        db.execute_batch(&format!("BEGIN IMMEDIATE; {} {upgrade} COMMIT;", audit::SCHEMA))?;
    }
    if found < 6 {
        db.execute_batch(&format!("BEGIN IMMEDIATE; {LINEAGE} COMMIT;"))?;
        fill_times(db)?;
    }
    Ok(())
}

/// Reads every entry once for the times of its events. The last step makes the file one of format 6.
fn fill_times(db: &Connection) -> Result<(), CommitError> {
    let newest = queries::newest(db)?;
    let mut told = Instant::now();
    for step in 1u64.. {
        let transaction = db.unchecked_transaction()?;
        let after = LogPos(queries::meta_number(db, TIMES_UPTO)?.unwrap_or(0));
        let upto = fill_step(db, after)?;
        match upto {
            Some(upto) => queries::set_meta(db, TIMES_UPTO, upto)?,
            None => finish(db)?,
        }
        transaction.commit()?;
        let Some(upto) = upto else { return Ok(()) };
        if step % CHECKPOINT_STEPS == 0 {
            db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            tracing::info!(position = %upto, of = %newest, "reading the log for the times of its events");
        }
    }
    Ok(())
}

/// The next entries; `None` when there are no more.
fn fill_step(db: &Connection, after: LogPos) -> Result<Option<LogPos>, CommitError> {
    let mut upto = None;
    for pos in queries::next_positions(db, after, STEP_ENTRIES, STEP_BYTES)? {
        upto = Some(pos);
        let entry = match queries::entry_at(db, pos).and_then(|entry| {
            let decoded = entry.map(super::messages::LogEntry::decode);
            decoded.transpose()
        }) {
            Ok(entry) => entry,
            Err(error @ CommitError::Damaged { .. }) => {
                tracing::error!(%error, "the events of this entry will be found by no time");
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(entry) = entry {
            let times = entry.records.as_ref().and_then(EventTimes::of);
            times::insert(db, pos, entry.header.lane(), times)?;
        }
    }
    Ok(upto)
}

fn finish(db: &Connection) -> Result<(), CommitError> {
    // what an older program deleted between two starts of this one
    times::delete_upto(db, queries::floor(db)?)?;
    db.execute("DELETE FROM meta WHERE key = ?1", [TIMES_UPTO])?;
    queries::set_meta(db, "format_version", FORMAT_VERSION)
}
