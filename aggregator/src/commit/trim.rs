//! The commit thread's part of retention: one small transaction at a time, when nothing is queued, or now and then
//! when something always is.

use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior, params};
use tributary_shared::time::{Millis, now_millis};

use super::actor::Committer;
use super::messages::{CommitError, LogPos};
use super::retention::{
    CHUNK_ENTRIES, CHUNK_LETTERS, OldLetter, Oldest, Retention, Size, next_chunk, next_hops, next_letters,
};
use super::store::{LogStore, PAGE_SIZE};
use super::{anchoring, letters, lineage, queries, times};

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
            Ok(Trimmed::Some {
                floor,
                pages,
                expired,
            }) => {
                self.gauges.floor.set(floor.0 as f64);
                self.gauges.letters_expired(expired);
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
        /// Dead letters that nobody replayed in time.
        expired: u64,
    },
}

impl LogStore {
    /// Deletes, in one transaction, the next chunk of entries, dead letters and hop records that are kept no longer.
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
        // the audit is kept for ever, hop records as long as they may: neither pushes an entry out
        let hops_held = lineage::held_bytes(self.connection())?;
        let used = used_bytes(self.connection())?.saturating_sub(self.audit.stored_bytes() + hops_held);
        let chunk = next_chunk(keep, Size { now, used, covered }, &oldest);
        let floor = match chunk {
            Some(chunk) => chunk,
            None => queries::floor(self.connection())?,
        };
        let held = letters::held_bytes(self.connection())?;
        let letters = next_letters(keep, now, floor, held, &old_letters(self.connection())?);
        let hops = next_hops(keep, now, hops_held, &lineage::oldest(self.connection())?);
        if chunk.is_none() && letters.is_none() && hops.is_none() {
            return Ok(Trimmed::Nothing);
        }
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(chunk) = chunk {
            delete_entries(&transaction, chunk, now)?;
        }
        if let Some(upto) = hops {
            lineage::delete_upto(&transaction, upto, now)?;
        }
        let expired = match letters {
            Some(last) => {
                let expired = letters::delete_upto(&transaction, last)?;
                if expired > 0 {
                    let act = anchoring::expired(expired, last);
                    self.audit.append_act(&transaction, now, act)?;
                }
                expired
            }
            None => 0,
        };
        transaction.commit()?;
        // a page of the table, of its indexes, of the lanes, of the hop records and of the free list for each entry
        let pages = 6 * CHUNK_ENTRIES;
        Ok(Trimmed::Some {
            floor,
            pages,
            expired,
        })
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

fn delete_entries(db: &Connection, upto: LogPos, now: Millis) -> Result<(), CommitError> {
    // a replay's seqs lie below the floor that batches set
    db.prepare_cached(
        "UPDATE lanes SET floor_seq = gone.last_seq
         FROM (SELECT lane, max(last_seq) AS last_seq FROM log WHERE pos <= ?1 AND kind <> ?2 GROUP BY lane) gone
         WHERE gone.lane = lanes.no",
    )?
    .execute(params![upto.0, queries::KIND_REPLAY])?;
    db.prepare_cached(
        "INSERT OR REPLACE INTO passed_entries SELECT lane, last_seq, pos FROM log WHERE pos <= ?1 AND kind <> ?2",
    )?
    .execute(params![upto.0, queries::KIND_REPLAY])?;
    lineage::take(db, upto, now)?;
    times::delete_upto(db, upto)?;
    db.prepare_cached("DELETE FROM log WHERE pos <= ?1")?
        .execute([upto.0])?;
    queries::set_meta(db, queries::FLOOR, upto)
}

fn old_letters(db: &Connection) -> Result<Vec<OldLetter>, CommitError> {
    let mut select =
        db.prepare_cached("SELECT id, pos, at, length(payload) FROM dead_letters ORDER BY id LIMIT ?1")?;
    let rows = select.query_map([CHUNK_LETTERS], |row| {
        Ok(OldLetter {
            id: row.get(0)?,
            pos: row.get(1)?,
            at: row.get(2)?,
            bytes: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
