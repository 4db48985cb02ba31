//! log.db: the write connection. IO without decisions; the schema is in `schema.sql` and `lineage.sql`.
//!
//! WAL with `synchronous=FULL`: when [`LogStore::write`] returns, the group is on disk. Checkpoints run on
//! purpose, in [`LogStore::checkpoint`], never inside a commit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use tributary_audit::EntryRecord;
use tributary_shared::ids::{LaneKey, LaneNo};
use tributary_shared::wire::{BatchContent, History};

use super::group::{Group, GroupEntry, verdicts};
use super::lane::Lane;
use super::messages::{CommitError, LogPos};
use super::queries;
use super::{anchoring, bare, invariants, letters, times, upgrade};
use crate::audit::{self, Anchor};

/// File name within the aggregator's directory.
pub const LOG_FILE: &str = "log.db";
/// What this program writes, and the newest that it reads.
pub const FORMAT_VERSION: i64 = 6;
/// Measured with bodies of 300 KB, one a transaction: 16 KiB pages take 0.8 ms of CPU a commit, 4 KiB pages
/// 1.1 ms (checksums and copies go by the page). Larger pages gain nothing more, and a small commit writes
/// each of its four or five pages whole.
pub const PAGE_SIZE: u32 = 16 << 10;
/// A WAL that grew past this (a reader held it back) is cut to this size when it restarts.
const WAL_SIZE_LIMIT: u64 = 64 << 20;
/// Nothing else writes; only a copy in progress (`VACUUM INTO`, a person's shell) can make us wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// What the file says when it is opened.
#[derive(Debug)]
pub struct Loaded {
    pub lanes: Vec<Lane>,
    /// Dead letters that can be replayed.
    pub open_letters: u64,
    pub newest: LogPos,
    /// Lane numbers up to this one are taken, whether or not a lane has them.
    pub reserved_lanes: u32,
    /// Retention has deleted the entries up to here.
    pub floor: LogPos,
}

/// How a checkpoint went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Pages in the WAL, also those that are in the database file by now.
    pub frames: u64,
    /// A reader was in the way, and not all was done that was asked for.
    pub held_back: bool,
}

/// The one connection that writes.
#[derive(Debug)]
pub struct LogStore {
    pub(super) db: Connection,
    /// The growing end of the audit. What a failed write did to it is forgotten with the store.
    pub(super) audit: Anchor,
    /// Off in `tributary bench lineage` only.
    lineage: bool,
}

/// Path of the log in a directory.
#[must_use]
pub fn log_path(dir: &Path) -> PathBuf {
    dir.join(LOG_FILE)
}

impl LogStore {
    /// Opens the log, and creates it at first contact.
    ///
    /// # Errors
    /// [`CommitError::FormatTooNew`], [`CommitError::Damaged`], or SQLite's own.
    pub fn open(dir: &Path) -> Result<Self, CommitError> {
        let mut db = Connection::open(log_path(dir))?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.pragma_update(None, "page_size", PAGE_SIZE)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "wal_autocheckpoint", 0)?;
        db.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT)?;
        create(&db)?;
        let audit = Anchor::open(&mut db, dir)?;
        Ok(Self {
            db,
            audit,
            lineage: true,
        })
    }

    /// The same without what only lineage needs.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_bare(dir: &Path) -> Result<Self, CommitError> {
        let mut store = Self::open(dir)?;
        store.db.execute_batch("DROP INDEX log_by_lane")?;
        store.lineage = false;
        Ok(store)
    }

    /// Reads lanes and newest position, and checks them.
    ///
    /// # Errors
    /// [`CommitError::Damaged`] when a lane breaks an invariant.
    pub fn load(&self) -> Result<Loaded, CommitError> {
        let rows = queries::lanes(&self.db)?;
        for row in &rows {
            invariants::conservation(row)?;
            invariants::floor_within_mark(row)?;
            let last = queries::last_seq(&self.db, row.lane_no)?;
            invariants::log_ends_at_mark(row, last)?;
        }
        let open_letters = rows.iter().map(|row| row.open).sum();
        let mut histories = queries::histories(&self.db)?;
        let lanes = rows.into_iter().map(|row| {
            let history = histories.remove(&row.lane_no).unwrap_or_default();
            queries::to_lane(row, history)
        });
        let lanes = lanes.collect();
        Ok(Loaded {
            lanes,
            open_letters,
            newest: queries::newest(&self.db)?,
            reserved_lanes: queries::meta_number(&self.db, queries::LANE_FLOOR)?.unwrap_or(0),
            floor: queries::floor(&self.db)?,
        })
    }

    /// For reading what a failed commit may have left.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.db
    }

    /// Writes and removes as many bytes as a write that failed: whether there is room again. Durable, like a
    /// commit, so that a disk which only seems to take them is found out.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn probe(&mut self, bytes: usize) -> Result<(), CommitError> {
        let put = "INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', zeroblob(?1))";
        self.db.execute(put, [bytes])?;
        self.db.execute("DELETE FROM meta WHERE key = 'probe'", [])?;
        Ok(())
    }

    /// Writes a group in one transaction, and what the audit says of it. It is durable when this returns `Ok`; after
    /// `Err` the file must be opened again, because nothing is known. Returns the leaves of the group's acts.
    ///
    /// # Errors
    /// Those of SQLite: disk full, IO error.
    pub fn write(&mut self, group: &Group) -> Result<Vec<u64>, CommitError> {
        let transaction = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now = group.committed_at;
        for lane in &group.opened {
            anchoring::open_lane(&transaction, &mut self.audit, lane, now)?;
        }
        let mut anchored = Vec::with_capacity(group.entries.len() + group.replays.len());
        for entry in &group.entries {
            anchored.push(append(&transaction, entry, now, self.lineage)?);
        }
        for replay in &group.replays {
            anchored.push(letters::settle_replay(&transaction, replay, now)?);
        }
        for discard in &group.discards {
            letters::settle_discard(&transaction, discard, now)?;
        }
        for (no, counts) in &group.lanes {
            transaction
                .prepare_cached(
                    "UPDATE lanes SET mark = ?2, valid = ?3, dead = ?4, dropped = ?5, last_committed_at = ?6
                     WHERE no = ?1",
                )?
                .execute(params![
                    no.0,
                    counts.mark,
                    counts.valid,
                    counts.dead,
                    counts.dropped,
                    group.committed_at
                ])?;
        }
        for (no, history) in &group.histories {
            write_history(&transaction, *no, history)?;
        }
        let acts = anchoring::record(&transaction, &mut self.audit, group, anchored)?;
        transaction.commit()?;
        Ok(acts)
    }

    /// Moves the WAL into the database file, as far as no reader needs it. Does not wait for readers.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn checkpoint(&self) -> Result<Checkpoint, CommitError> {
        self.run_checkpoint("PRAGMA wal_checkpoint(PASSIVE)")
    }

    /// The same, and waits (up to the busy timeout) until the next write can start the WAL over.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn restart_wal(&self) -> Result<Checkpoint, CommitError> {
        self.run_checkpoint("PRAGMA wal_checkpoint(RESTART)")
    }

    /// The same, and empties the WAL file; for an orderly stop.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn truncate_wal(&self) -> Result<Checkpoint, CommitError> {
        self.run_checkpoint("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    fn run_checkpoint(&self, pragma: &str) -> Result<Checkpoint, CommitError> {
        let (busy, frames) = self.db.query_row(pragma, [], |row| {
            Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?))
        })?;
        // -1 when the file is not in WAL mode, which it always is
        Ok(Checkpoint {
            frames: frames.max(0).unsigned_abs(),
            held_back: busy,
        })
    }
}

fn create(db: &Connection) -> Result<(), CommitError> {
    let exists: bool = db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {} {} {} INSERT INTO meta VALUES ('format_version', '{FORMAT_VERSION}'),
             ('log_id', lower(hex(randomblob(16)))); COMMIT;",
            include_str!("schema.sql"),
            upgrade::LINEAGE,
            audit::SCHEMA
        ))?;
        return Ok(());
    }
    let found = format(db)?;
    if found > FORMAT_VERSION {
        let known = FORMAT_VERSION;
        return Err(CommitError::FormatTooNew { found, known });
    }
    upgrade::upgrade(db, found)
}

/// The format that the file says it has.
pub(super) fn format(db: &Connection) -> Result<i64, CommitError> {
    let found: Option<String> = queries::meta(db, "format_version")?;
    let version = found.and_then(|text| text.parse().ok());
    version
        .filter(|version| *version >= 1)
        .ok_or_else(|| CommitError::Damaged {
            what: "log.db has no format version".to_owned(),
        })
}

pub(super) fn insert_lane(db: &Connection, key: &LaneKey, no: LaneNo, now: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO lanes (no, agent, stream, epoch, opened_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            no.0,
            key.agent.as_str(),
            key.stream.as_str(),
            key.epoch.0,
            now
        ])?;
    Ok(())
}

/// All tenures of a lane anew: they change when an agent was started anew, and are few.
fn write_history(db: &Connection, no: LaneNo, history: &History) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM tenures WHERE lane = ?1")?
        .execute([no.0])?;
    let mut insert = db.prepare_cached("INSERT INTO tenures (lane, from_seq, writer) VALUES (?1, ?2, ?3)")?;
    for tenure in history.tenures() {
        insert.execute(params![no.0, tenure.from, tenure.writer])?;
    }
    Ok(())
}

/// Writes an entry, and returns what it is anchored by.
fn append(db: &Connection, entry: &GroupEntry, now: i64, lineage: bool) -> Result<EntryRecord, CommitError> {
    let GroupEntry { pos, batch } = entry;
    let (header, range) = (&batch.header, batch.range());
    let (valid, dead, dropped) = verdicts(batch);
    let schema = header.schema.map(|schema| (schema.id, schema.version)).unzip();
    let hop = if lineage {
        times::insert(db, *pos, header.lane, batch.facts.times)?;
        queries::encode_header(header)?
    } else {
        bare::encode_header(header)?
    };
    db.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?
        .execute(params![
            pos.0,
            header.lane.0,
            range.first,
            range.last,
            valid,
            dead,
            i64::from(dropped > 0),
            schema.0,
            schema.1,
            now,
            hop,
            &batch.columns[..],
        ])?;
    letters::insert(db, *pos, header, &batch.dead, now)?;
    if let BatchContent::Dropped { reason } = &header.content {
        let values = params![header.lane.0, range.first, range.last, reason, dropped];
        let merged = db
            .prepare_cached(
                "UPDATE ledger SET last = ?3, count = count + ?5
                 WHERE lane = ?1 AND last = ?2 - 1 AND reason = ?4",
            )?
            .execute(values)?;
        if merged == 0 {
            db.prepare_cached(
                "INSERT INTO ledger (lane, first, last, reason, count) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(values)?;
        }
    }
    Ok(EntryRecord {
        pos: pos.0,
        lane: header.lane.0,
        first_seq: range.first,
        last_seq: range.last,
        kind: u8::from(dropped > 0),
        digest: batch.facts.digest.with_header(&hop).digest(),
    })
}
