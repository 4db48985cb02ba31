//! The spool's tables and every statement on them. IO without decisions.
//!
//! ```text
//! meta    one row: format, spool id, agent, creation time
//! lanes   one row a lane; ids are never reused
//! blocks  one row a compressed block; blocks and drops of a lane cover (committed_seq, next_seq) without gaps
//! drops   seqs that stand for no event any more, until the aggregator has committed the loss
//! inputs  how far each input has read
//! ```
//!
//! What format 2 added is in [`super::store_host`], what format 3 added in [`super::store_past`], what format 4 added in
//! [`super::store_contexts`].

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tributary_shared::ids::{Epoch, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::Codec;
use tributary_shared::wire::frame::checksum;

use super::group::Packed;
use super::lane::Lane;
use super::messages::{DropRecord, InputPosition, LaneId, RowsBlock};
use super::store_past::{writers_of, writers_text};

pub(super) const TABLES: &str = "
CREATE TABLE meta(
  format_version INTEGER NOT NULL, spool_id TEXT NOT NULL, agent TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE lanes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL,
  committed_seq INTEGER NOT NULL, unsent_from INTEGER, active INTEGER NOT NULL, UNIQUE(stream, epoch));
CREATE TABLE blocks(
  id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  collected_at INTEGER NOT NULL, spooled_at INTEGER NOT NULL, codec INTEGER NOT NULL, raw_len INTEGER NOT NULL,
  bytes INTEGER NOT NULL, crc INTEGER NOT NULL, origin TEXT, body BLOB NOT NULL);
-- covers the check at opening and the search for what to delete: neither touches the bodies
CREATE UNIQUE INDEX blocks_by_seq ON blocks(lane, first_seq, last_seq, bytes);
CREATE TABLE drops(
  lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY(lane, first_seq)) WITHOUT ROWID;
CREATE TABLE inputs(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
";

/// A statement that failed, or content that contradicts itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("damaged: {0}")]
    Damaged(String),
}

/// What a [`StoreError`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The file's content is not a spool's (any more).
    Damage,
    DiskFull,
    ReadOnly,
    Other,
}

impl Trouble {
    /// For programs: the status and a metric's label.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Damage => "damaged",
            Self::DiskFull => "disk_full",
            Self::ReadOnly => "read_only",
            Self::Other => "io",
        }
    }

    pub(super) fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull,
            ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Other,
        }
    }
}

impl StoreError {
    pub(super) fn trouble(&self) -> Trouble {
        use rusqlite::{Error, ErrorCode};
        match self {
            Self::Damaged(_) => Trouble::Damage,
            Self::Io(error) => Trouble::of_io(error),
            Self::Sqlite(error) => match error {
                Error::FromSqlConversionFailure(..)
                | Error::InvalidColumnType(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::QueryReturnedNoRows => Trouble::Damage,
                other => match other.sqlite_error_code() {
                    Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Damage,
                    // the statements here are constant: one that does not compile finds foreign tables
                    Some(ErrorCode::Unknown) => Trouble::Damage,
                    // the WAL's index cannot grow: sqlite has no other word for a full disk there
                    Some(ErrorCode::SystemIoFailure) if extended(other) == SQLITE_IOERR_SHMSIZE => {
                        Trouble::DiskFull
                    }
                    Some(ErrorCode::DiskFull) => Trouble::DiskFull,
                    Some(ErrorCode::ReadOnly) => Trouble::ReadOnly,
                    _ => Trouble::Other,
                },
            },
        }
    }
}

fn extended(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(0, |error| error.extended_code)
}

pub(super) type Result<T> = std::result::Result<T, StoreError>;

/// Seqs are far below 2^63: they start at 1 and rise by one an event.
pub(super) fn to_db(seq: Seq) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn range(row: &Row<'_>, first: usize) -> rusqlite::Result<SeqRange> {
    let range = SeqRange {
        first: seq(row, first)?,
        last: seq(row, first + 1)?,
    };
    if range.first == 0 || range.first > range.last {
        return Err(rusqlite::Error::IntegralValueOutOfRange(
            first,
            to_db(range.first),
        ));
    }
    Ok(range)
}

/// One block as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub range: SeqRange,
    pub bytes: u64,
}

/// The statements, on one connection.
#[derive(Debug)]
pub(super) struct Store {
    pub conn: Connection,
}

impl Store {
    /// Runs `work` in one transaction, which is durable when this returns.
    pub(super) fn transaction<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let tx = self.conn.unchecked_transaction()?;
        let out = work()?;
        tx.commit()?;
        Ok(out)
    }

    fn pragma(&self, sql: &str) -> Result<u64> {
        let value: i64 = self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(value.unsigned_abs())
    }

    /// Bytes of the pages in use, as the running transaction sees them.
    pub(super) fn pages_in_use(&self) -> Result<u64> {
        let free = self.pragma("PRAGMA freelist_count")?;
        let pages = self.pragma("PRAGMA page_count")?.saturating_sub(free);
        Ok(pages * self.pragma("PRAGMA page_size")?)
    }

    /// Bytes of the pages that are free: they take events without a larger file.
    pub(super) fn free_bytes(&self) -> Result<u64> {
        Ok(self.pragma("PRAGMA freelist_count")? * self.pragma("PRAGMA page_size")?)
    }

    pub(super) fn insert_lane(&self, stream: &StreamName, epoch: Epoch, active: bool) -> Result<Lane> {
        self.conn
            .prepare_cached(
                "INSERT INTO lanes(stream, epoch, next_seq, committed_seq, active) VALUES (?1, ?2, 1, 0, ?3)",
            )?
            .execute(params![stream.as_str(), to_db(epoch.0), active])?;
        Ok(Lane::new(
            LaneId(self.conn.last_insert_rowid()),
            stream.clone(),
            epoch,
            active,
        ))
    }

    /// Writes every column of a lane that changes.
    pub(super) fn update_lane(&self, lane: &Lane) -> Result<()> {
        self.conn
            .prepare_cached(
                "UPDATE lanes SET next_seq = ?2, committed_seq = ?3, unsent_from = ?4, active = ?5, writers = ?6
                 WHERE id = ?1",
            )?
            .execute(params![
                lane.id.0,
                to_db(lane.next_seq),
                to_db(lane.committed_seq),
                lane.unsent_from.map(to_db),
                lane.active,
                writers_text(&lane.history)
            ])?;
        Ok(())
    }

    pub(super) fn delete_lane(&self, lane: LaneId) -> Result<()> {
        self.conn
            .prepare_cached("DELETE FROM lanes WHERE id = ?1")?
            .execute([lane.0])?;
        Ok(())
    }

    /// The rows of `lanes`, with nothing known of their blocks yet.
    pub(super) fn lanes(&self) -> Result<Vec<Lane>> {
        // an operator's commands look at files of older formats as they are
        let writers = if self.conn.prepare("SELECT writers FROM lanes").is_ok() {
            "writers"
        } else {
            "''"
        };
        let mut statement = self.conn.prepare(&format!(
            "SELECT id, stream, epoch, next_seq, committed_seq, unsent_from, active, {writers} FROM lanes ORDER BY id"
        ))?;
        let rows = statement.query_map([], |row| {
            let stream: String = row.get(1)?;
            let stream = StreamName::new(&stream)
                .map_err(|_| rusqlite::Error::InvalidColumnType(1, stream, rusqlite::types::Type::Text))?;
            let unsent: Option<i64> = row.get(5)?;
            Ok(Lane {
                next_seq: seq(row, 3)?,
                committed_seq: seq(row, 4)?,
                unsent_from: unsent.map(i64::unsigned_abs),
                history: writers_of(row, 7)?,
                ..Lane::new(LaneId(row.get(0)?), stream, Epoch(seq(row, 2)?), row.get(6)?)
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Visits all blocks and drops of all lanes by (lane, seq); bytes are `None` for a drop.
    pub(super) fn each_extent(
        &self,
        mut visit: impl FnMut(LaneId, SeqRange, Option<u64>) -> Result<()>,
    ) -> Result<()> {
        let sql = "SELECT lane, first_seq, last_seq, bytes FROM blocks
                   UNION ALL SELECT lane, first_seq, last_seq, NULL FROM drops ORDER BY 1, 2";
        let mut statement = self.conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let bytes: Option<i64> = row.get(3)?;
            visit(LaneId(row.get(0)?), range(row, 1)?, bytes.map(i64::unsigned_abs))?;
        }
        Ok(())
    }

    /// Seqs that a process gives out from now on count as unsent until the aggregator is heard.
    pub(super) fn note_process_start(&self) -> Result<()> {
        self.conn.execute(
            "UPDATE lanes SET unsent_from = next_seq WHERE unsent_from IS NULL",
            [],
        )?;
        Ok(())
    }

    pub(super) fn insert_block(
        &self,
        lane: LaneId,
        range: SeqRange,
        times: (Millis, Millis),
        origin: Option<&str>,
        block: &Packed,
    ) -> Result<()> {
        let sql =
            "INSERT INTO blocks(lane, first_seq, last_seq, collected_at, spooled_at, codec, raw_len, bytes,
                     crc, origin, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let (first, last) = (to_db(range.first), to_db(range.last));
        let codec = block.codec.to_tag();
        self.conn.prepare_cached(sql)?.execute(params![
            lane.0,
            first,
            last,
            times.0,
            times.1,
            codec,
            block.raw_len,
            to_db(block.body.len() as u64),
            block.crc,
            origin,
            block.body
        ])?;
        Ok(())
    }

    /// The lane's first block that ends at or above `from`, without its body.
    pub(super) fn block_at(&self, lane: LaneId, from: Seq) -> Result<Option<Extent>> {
        let sql = "SELECT first_seq, last_seq, bytes FROM blocks WHERE lane = ?1 AND last_seq >= ?2
                     AND first_seq >= coalesce((SELECT max(first_seq) FROM blocks WHERE lane = ?1 AND first_seq <= ?2), 0)
                   ORDER BY first_seq LIMIT 1";
        let extent = |row: &Row<'_>| {
            Ok(Extent {
                range: range(row, 0)?,
                bytes: seq(row, 2)?,
            })
        };
        Ok(self
            .conn
            .prepare_cached(sql)?
            .query_row([lane.0, to_db(from)], extent)
            .optional()?)
    }

    /// When the block that begins with `first` was spooled.
    pub(super) fn spooled_at(&self, lane: LaneId, first: Seq) -> Result<Option<Millis>> {
        Ok(self
            .conn
            .prepare_cached("SELECT spooled_at FROM blocks WHERE lane = ?1 AND first_seq = ?2")?
            .query_row([lane.0, to_db(first)], |row| row.get(0))
            .optional()?)
    }

    /// A whole block, without its contexts; `None` when it is not there, or its body does not match its checksum.
    pub(super) fn block(&self, lane: LaneId, first: Seq) -> Result<Option<RowsBlock>> {
        let sql = "SELECT first_seq, last_seq, collected_at, spooled_at, codec, raw_len, crc, origin, body
                   FROM blocks WHERE lane = ?1 AND first_seq = ?2";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([lane.0, to_db(first)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let body = row.get_ref(8)?.as_blob().map_err(rusqlite::Error::from)?;
        let crc: u32 = row.get(6)?;
        let codec = Codec::from_tag(row.get(4)?);
        let (Some(codec), true) = (codec, checksum(body) == crc) else {
            return Ok(None);
        };
        Ok(Some(RowsBlock {
            range: range(row, 0)?,
            collected_at: row.get(2)?,
            spooled_at: row.get(3)?,
            codec,
            raw_len: row.get(5)?,
            origin: row.get::<_, Option<String>>(7)?.map(Arc::from),
            contexts: Vec::new(),
            body: Bytes::copy_from_slice(body),
            crc,
        }))
    }

    pub(super) fn delete_block(&self, lane: LaneId, first: Seq) -> Result<()> {
        self.conn
            .prepare_cached("DELETE FROM blocks WHERE lane = ?1 AND first_seq = ?2")?
            .execute([lane.0, to_db(first)])?;
        Ok(())
    }

    /// Deletes the lane's blocks that end at or below `mark`, and returns their bytes.
    pub(super) fn delete_blocks(&self, lane: LaneId, mark: Seq) -> Result<u64> {
        let bounds = [lane.0, to_db(mark)];
        let covered = "FROM blocks WHERE lane = ?1 AND first_seq <= ?2 AND last_seq <= ?2";
        let bytes: i64 = self
            .conn
            .prepare_cached(&format!("SELECT coalesce(sum(bytes), 0) {covered}"))?
            .query_row(bounds, |row| row.get(0))?;
        self.conn
            .prepare_cached(&format!("DELETE {covered}"))?
            .execute(bounds)?;
        Ok(bytes.unsigned_abs())
    }

    /// Gives the lane's blocks, drops and contexts to another lane, with seqs that are lower by `shift`.
    pub(super) fn move_to(&self, from: LaneId, to: LaneId, shift: Seq) -> Result<()> {
        for table in ["blocks", "drops", "contexts"] {
            let sql = format!(
                "UPDATE {table} SET lane = ?2, first_seq = first_seq - ?3, last_seq = last_seq - ?3 WHERE lane = ?1"
            );
            self.conn.execute(&sql, [from.0, to.0, to_db(shift)])?;
        }
        Ok(())
    }

    /// Records a loss, in one record with its neighbours of the same reason.
    pub(super) fn insert_drop(&self, lane: LaneId, range: SeqRange, reason: &str) -> Result<()> {
        let neighbour = |sql, at: Seq| -> Result<Option<SeqRange>> {
            let found = |row: &Row<'_>| self::range(row, 0);
            Ok(self
                .conn
                .prepare_cached(sql)?
                .query_row(params![lane.0, to_db(at), reason], found)
                .optional()?)
        };
        let before = neighbour(
            "SELECT first_seq, last_seq FROM (SELECT * FROM drops WHERE lane = ?1 AND first_seq <= ?2
               ORDER BY first_seq DESC LIMIT 1) WHERE last_seq = ?2 AND reason = ?3",
            range.first - 1,
        )?;
        let after = neighbour(
            "SELECT first_seq, last_seq FROM drops WHERE lane = ?1 AND first_seq = ?2 AND reason = ?3",
            range.last + 1,
        )?;
        if let Some(after) = after {
            self.delete_drop(lane, after.first)?;
        }
        let first = before.map_or(range.first, |r| r.first);
        let last = after.map_or(range.last, |r| r.last);
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO drops(lane, first_seq, last_seq, reason) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![lane.0, to_db(first), to_db(last), reason])?;
        Ok(())
    }

    pub(super) fn delete_drop(&self, lane: LaneId, first: Seq) -> Result<()> {
        self.conn
            .prepare_cached("DELETE FROM drops WHERE lane = ?1 AND first_seq = ?2")?
            .execute([lane.0, to_db(first)])?;
        Ok(())
    }

    /// The lane's drop records that end at or above `from`, ascending.
    pub(super) fn drops(&self, lane: LaneId, from: Seq, limit: usize) -> Result<Vec<DropRecord>> {
        let sql = "SELECT first_seq, last_seq, reason FROM drops WHERE lane = ?1 AND last_seq >= ?2
                     AND first_seq >= coalesce((SELECT max(first_seq) FROM drops WHERE lane = ?1 AND first_seq <= ?2), 0)
                   ORDER BY first_seq LIMIT ?3";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params![lane.0, to_db(from), to_db(limit as u64)], |row| {
            Ok(DropRecord {
                range: range(row, 0)?,
                reason: row.get::<_, String>(2)?.into(),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets losses at or below `mark`, and returns how many seqs they were.
    pub(super) fn delete_drops(&self, lane: LaneId, mark: Seq) -> Result<u64> {
        let bounds = [lane.0, to_db(mark)];
        let count: i64 = self
            .conn
            .prepare_cached(
                "SELECT coalesce(sum(min(last_seq, ?2) - first_seq + 1), 0) FROM drops WHERE lane = ?1 AND first_seq <= ?2",
            )?
            .query_row(bounds, |row| row.get(0))?;
        if count > 0 {
            self.conn
                .prepare_cached("DELETE FROM drops WHERE lane = ?1 AND first_seq <= ?2 AND last_seq <= ?2")?
                .execute(bounds)?;
            // at most one record lies across the mark
            self.conn
                .prepare_cached("UPDATE drops SET first_seq = ?2 + 1 WHERE lane = ?1 AND first_seq <= ?2")?
                .execute(bounds)?;
        }
        Ok(count.unsigned_abs())
    }

    pub(super) fn set_position(&self, position: &InputPosition) -> Result<()> {
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO inputs(key, value) VALUES (?1, ?2)")?
            .execute(params![position.key, position.value])?;
        Ok(())
    }

    pub(super) fn forget_position(&self, key: &str) -> Result<()> {
        self.conn
            .prepare_cached("DELETE FROM inputs WHERE key = ?1")?
            .execute([key])?;
        Ok(())
    }

    pub(super) fn position(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let mut statement = self
            .conn
            .prepare_cached("SELECT value FROM inputs WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    pub(super) fn positions(&self, prefix: &str) -> Result<Vec<InputPosition>> {
        let sql =
            "SELECT key, value FROM inputs WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1 ORDER BY key";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([prefix], |row| {
            Ok(InputPosition {
                key: row.get(0)?,
                value: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
