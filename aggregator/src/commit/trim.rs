//! The commit thread's part of retention: one small transaction at a time, when nothing is queued, or now and then
//! when something always is.

use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use tributary_shared::time::{Millis, now_millis};

use super::actor::Committer;
use super::messages::{CommitError, LogPos};
use super::queries;
use super::retention::{CHUNK_ENTRIES, CHUNK_LETTERS, Oldest, Retention, Size, is_older, next_chunk};
use super::store::{LogStore, PAGE_SIZE};

/// A log that is never idle gives up this much of its time at most: a chunk takes about a tenth of it.
const WHEN_BUSY: Duration = Duration::from_millis(50);

/// What retention has to do.
#[derive(Debug)]
pub(super) struct Trimmer {
    pub keep: Retention,
    /// Every view's stored snapshot has the entries up to here.
    covered: LogPos,
    due: bool,
    last: Instant,
}

impl Trimmer {
    pub fn new(keep: Retention) -> Self {
        Self {
            keep,
            covered: LogPos(0),
            due: false,
            last: Instant::now(),
        }
    }

    /// The views have stored a snapshot: time to look whether something may go.
    pub fn covered(&mut self, covered: LogPos) {
        self.covered = self.covered.max(covered);
        self.due = true;
    }

    pub fn is_due(&self) -> bool {
        self.due
    }

    pub fn is_overdue(&self) -> bool {
        self.due && self.last.elapsed() >= WHEN_BUSY
    }
}

impl Committer {
    /// Deletes one chunk of what may go. A disk that fails here fails like one that cannot commit.
    pub(super) fn trim(&mut self) {
        self.trimmer.last = Instant::now();
        let Some(store) = &mut self.store else {
            self.trimmer.due = false;
            return;
        };
        match store.trim(&self.trimmer.keep, self.trimmer.covered, now_millis()) {
            Ok(Trimmed::Nothing) => self.trimmer.due = false,
            Ok(Trimmed::Some { floor, pages }) => {
                self.gauges.floor.set(floor.0 as f64);
                self.unmoved += pages * PAGE_SIZE as usize;
                self.checkpoint_if_due();
            }
            Err(error) => {
                self.trimmer.due = false;
                self.fail(&error);
            }
        }
    }
}

/// What one chunk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trimmed {
    Nothing,
    Some {
        floor: LogPos,
        /// Written to the WAL, about.
        pages: usize,
    },
}

impl LogStore {
    /// Deletes, in one transaction, the next chunk of entries and dead letters that are kept no longer.
    ///
    /// # Errors
    /// Those of SQLite. As after [`LogStore::write`], the file must then be opened again.
    pub(super) fn trim(
        &mut self,
        keep: &Retention,
        covered: LogPos,
        now: Millis,
    ) -> Result<Trimmed, CommitError> {
        let oldest = oldest(self.connection())?;
        let used = used_bytes(self.connection())?;
        let chunk = next_chunk(keep, Size { now, used, covered }, &oldest);
        let floor = match chunk {
            Some(chunk) => chunk,
            None => queries::floor(self.connection())?,
        };
        let letters = old_letters(self.connection(), floor, keep.keep_dead_letters_for, now)?;
        if chunk.is_none() && letters.is_none() {
            return Ok(Trimmed::Nothing);
        }
        let transaction = self.begin(TransactionBehavior::Immediate)?;
        if let Some(chunk) = chunk {
            delete_entries(&transaction, chunk)?;
        }
        if let Some(last) = letters {
            delete_letters(&transaction, last)?;
        }
        transaction.commit()?;
        // a page of the table, of its index, of the lanes and of the free list for each entry
        let pages = 4 * CHUNK_ENTRIES;
        Ok(Trimmed::Some { floor, pages })
    }
}

fn oldest(db: &Connection) -> Result<Vec<Oldest>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT pos, committed_at, length(header) + length(body) FROM log ORDER BY pos LIMIT ?1",
    )?;
    let page = u64::from(PAGE_SIZE);
    let rows = select.query_map([CHUNK_ENTRIES], |row| {
        let bytes: u64 = row.get(2)?;
        Ok(Oldest {
            pos: row.get(0)?,
            committed_at: row.get(1)?,
            bytes: bytes.div_ceil(page) * page,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Pages that hold something; those that are free are used again before the file grows.
pub(super) fn used_bytes(db: &Connection) -> Result<u64, CommitError> {
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, u64>(0));
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(pages * number("page_size")?)
}

fn delete_entries(db: &Connection, upto: LogPos) -> Result<(), CommitError> {
    // the index on (lane, last_seq) holds pos as well
    db.prepare_cached(
        "UPDATE lanes SET floor_seq = gone.last_seq
         FROM (SELECT lane, max(last_seq) AS last_seq FROM log WHERE pos <= ?1 GROUP BY lane) gone
         WHERE gone.lane = lanes.no",
    )?
    .execute([upto.0])?;
    db.prepare_cached("DELETE FROM log WHERE pos <= ?1")?
        .execute([upto.0])?;
    queries::set_meta(db, queries::FLOOR, upto)
}

/// The last of the oldest dead letters that are kept no longer. Those of entries that are still there stay: an
/// event's path leads to them.
fn old_letters(
    db: &Connection,
    floor: LogPos,
    keep_for: Millis,
    now: Millis,
) -> Result<Option<i64>, CommitError> {
    let mut select = db.prepare_cached("SELECT id, pos, at FROM dead_letters ORDER BY id LIMIT ?1")?;
    let mut rows = select.query([CHUNK_LETTERS])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (pos, at): (LogPos, Millis) = (row.get(1)?, row.get(2)?);
        if pos > floor || !is_older(at, keep_for, now) {
            break;
        }
        last = Some(row.get(0)?);
    }
    Ok(last)
}

fn delete_letters(db: &Connection, upto: i64) -> Result<(), CommitError> {
    db.prepare_cached(
        "DELETE FROM dead_letter_rules WHERE (rule, id) IN (
             SELECT reason.value ->> 'rule', letter.id
             FROM dead_letters letter, json_each(letter.reasons) reason WHERE letter.id <= ?1)",
    )?
    .execute(params![upto])?;
    db.prepare_cached("DELETE FROM dead_letters WHERE id <= ?1")?
        .execute(params![upto])?;
    Ok(())
}
