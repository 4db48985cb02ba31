//! A damaged database as a source of rows: reads what can be read, and steps over what cannot.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use tributary_shared::ids::{Epoch, Seq, SeqRange, StreamName};
use tributary_shared::protocol::RetiredLane;
use tributary_shared::time::Millis;
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{Codec, History, Segment};

use super::messages::InputPosition;
use super::salvage::{Marks, OldLane};
use super::store::{StoreError, range, seq};
use super::store_past::{retired_lane, writers_of};

/// One row of `blocks`; its body matches its checksum.
#[derive(Debug)]
pub(super) struct DamagedBlock {
    /// The lane's number in the damaged file.
    pub lane: i64,
    pub range: SeqRange,
    pub times: (Millis, Millis),
    pub origin: Option<String>,
    pub codec: Codec,
    pub raw_len: u32,
    pub crc: u32,
    pub body: Vec<u8>,
}

impl DamagedBlock {
    pub(super) fn segment(&self) -> Option<Segment> {
        Some(Segment {
            count: u32::try_from(self.range.count()).ok()?,
            collected_at: self.times.0,
            spooled_at: self.times.1,
            codec: self.codec,
            len: u32::try_from(self.body.len()).ok()?,
            raw_len: self.raw_len,
            origin: None,
        })
    }
}

/// What lies behind a row.
#[derive(Debug)]
pub(super) enum Scan {
    Block {
        id: i64,
        block: Box<DamagedBlock>,
    },
    /// Nothing can be read up to this row.
    Damaged {
        id: i64,
    },
    /// Nothing can be read any more, and there may have been something.
    Unreachable,
    End,
}

#[derive(Debug)]
pub(super) struct Source {
    conn: Connection,
}

impl Source {
    /// Opens the file without changing it; its WAL counts.
    ///
    /// # Errors
    /// When its first page does not name the tables.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.execute_batch(
            "PRAGMA cache_size = -1024; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF",
        )?;
        for table in ["lanes", "blocks", "drops", "inputs"] {
            // compiles, and reads nothing
            conn.prepare(&format!("SELECT * FROM {table}"))?;
        }
        Ok(Self { conn })
    }

    /// The lanes, by their rows or at least by the index of their names.
    pub(super) fn lanes(&self, problems: &mut Vec<String>) -> Vec<OldLane> {
        let mut lanes = Vec::new();
        let by_rows = "SELECT id, stream, epoch, next_seq, committed_seq, unsent_from FROM lanes NOT INDEXED";
        self.collect(by_rows, problems, |row| {
            let unsent: Option<i64> = row.get(5)?;
            let marks = Marks {
                next_seq: seq(row, 3)?,
                committed_seq: seq(row, 4)?,
                unsent_from: unsent.map(i64::unsigned_abs),
            };
            lanes.push(old_lane(row, Some(marks))?);
            Ok(())
        });
        let by_index = "SELECT id, stream, epoch FROM lanes INDEXED BY sqlite_autoindex_lanes_1";
        self.collect(by_index, problems, |row| {
            let lane = old_lane(row, None)?;
            if lanes.iter().all(|known| known.id != lane.id) {
                lanes.push(lane);
            }
            Ok(())
        });
        // without them its events count as of unknown writers, as in a file of an older format
        let mut unread = Vec::new();
        self.collect("SELECT id, writers FROM lanes NOT INDEXED", &mut unread, |row| {
            let (id, history): (i64, _) = (row.get(0)?, writers_of(row, 1)?);
            if let Some(lane) = lanes.iter_mut().find(|lane| lane.id == id) {
                lane.history = history;
            }
            Ok(())
        });
        for lane in &mut lanes {
            lane.held = self.held(lane.id);
        }
        lanes
    }

    /// What the index, or else the rows, say of a lane's blocks.
    fn held(&self, lane: i64) -> Option<SeqRange> {
        ["INDEXED BY blocks_by_seq", "NOT INDEXED"].iter().find_map(|how| {
            let sql = format!(
                "SELECT min(first_seq), max(last_seq) FROM blocks {how} WHERE lane = ?1 HAVING count(*) > 0"
            );
            self.conn.query_row(&sql, [lane], |row| range(row, 0)).ok()
        })
    }

    /// Visits rows until the first that cannot be read.
    fn collect(
        &self,
        sql: &str,
        problems: &mut Vec<String>,
        mut visit: impl FnMut(&Row<'_>) -> Result<(), rusqlite::Error>,
    ) {
        let outcome = self.conn.prepare(sql).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let Err(error) = visit(row) {
                    problems.push(format!("a row makes no sense: {error}"));
                }
            }
            Ok(())
        });
        if let Err(error) = outcome {
            problems.push(format!("rows cannot be read ({sql}): {error}"));
        }
    }

    /// Those that can be read: a file of an older format has none.
    pub(super) fn each_retired(
        &self,
        mut visit: impl FnMut(RetiredLane) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let sql = "SELECT no, stream, epoch, committed_seq, writers FROM retired ORDER BY no";
        let (mut outcome, mut unread) = (Ok(()), Vec::new());
        self.collect(sql, &mut unread, |row| {
            let lane = retired_lane(row)?;
            if outcome.is_ok() {
                outcome = visit(lane);
            }
            Ok(())
        });
        if !unread.is_empty() {
            tracing::warn!(
                ?unread,
                "lanes that were drained before the damage are not known any more"
            );
        }
        outcome
    }

    pub(super) fn each_position(
        &self,
        problems: &mut Vec<String>,
        mut visit: impl FnMut(InputPosition) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        self.collect("SELECT key, value FROM inputs", problems, |row| {
            let (key, value) = (row.get(0)?, row.get(1)?);
            if outcome.is_ok() {
                outcome = visit(InputPosition { key, value });
            }
            Ok(())
        });
        outcome
    }

    pub(super) fn each_drop(
        &self,
        problems: &mut Vec<String>,
        mut visit: impl FnMut(i64, SeqRange, &str) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        self.collect(
            "SELECT lane, first_seq, last_seq, reason FROM drops",
            problems,
            |row| {
                let (lane, reason): (_, String) = (row.get(0)?, row.get(3)?);
                let range = range(row, 1)?;
                if outcome.is_ok() {
                    outcome = visit(lane, range, &reason);
                }
                Ok(())
            },
        );
        outcome
    }

    /// The first readable row behind `after`.
    pub(super) fn next_block(&self, after: i64) -> Scan {
        match self.read(after) {
            Ok(None) => Scan::End,
            // a damaged tree may lead back to rows that were there already
            Ok(Some((id, _))) if id <= after => self.step_over(after),
            Ok(Some((id, Some(block)))) => Scan::Block {
                id,
                block: Box::new(block),
            },
            Ok(Some((id, None))) => Scan::Damaged { id },
            Err(_) => self.step_over(after),
        }
    }

    fn read(&self, after: i64) -> Result<Option<(i64, Option<DamagedBlock>)>, rusqlite::Error> {
        let sql = "SELECT id, lane, first_seq, last_seq, collected_at, spooled_at, codec, raw_len, crc, origin, body
                   FROM blocks NOT INDEXED WHERE id > ?1 ORDER BY id LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, block(row).unwrap_or(None)));
        statement.query_row([after], row).optional()
    }

    /// Some row behind `after` cannot be read. Looks for the next one that can be: on a tree with a damaged
    /// page, keys far enough behind lead to other pages.
    fn step_over(&self, after: i64) -> Scan {
        // the key without the body: then only the body is damaged
        if let Ok(Some(id)) = self.key(after) {
            return Scan::Damaged { id };
        }
        let (mut unreadable, mut step) = (after, 1i64);
        let mut readable = loop {
            let probe = after.saturating_add(step);
            match self.key(probe) {
                Ok(Some(_)) => break probe,
                // behind the last row
                Ok(None) => return Scan::Unreachable,
                Err(_) if probe == i64::MAX => return Scan::Unreachable,
                Err(_) => unreadable = probe,
            }
            step = step.saturating_mul(2);
        };
        while readable - unreadable > 1 {
            let middle = unreadable + (readable - unreadable) / 2;
            match self.key(middle) {
                Ok(Some(_)) => readable = middle,
                _ => unreadable = middle,
            }
        }
        Scan::Damaged { id: readable }
    }

    fn key(&self, after: i64) -> Result<Option<i64>, rusqlite::Error> {
        let sql = "SELECT id FROM blocks NOT INDEXED WHERE id > ?1 ORDER BY id LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let found: Option<i64> = statement.query_row([after], |row| row.get(0)).optional()?;
        match found {
            Some(id) if id <= after => Err(rusqlite::Error::IntegralValueOutOfRange(0, id)),
            found => Ok(found),
        }
    }
}

fn old_lane(row: &Row<'_>, marks: Option<Marks>) -> Result<OldLane, rusqlite::Error> {
    let stream: String = row.get(1)?;
    let stream = StreamName::new(&stream)
        .map_err(|_| rusqlite::Error::InvalidColumnType(1, stream, rusqlite::types::Type::Text))?;
    let epoch: Seq = seq(row, 2)?;
    Ok(OldLane {
        id: row.get(0)?,
        stream,
        epoch: Epoch(epoch),
        marks,
        held: None,
        history: History::default(),
    })
}

/// `None` when the body does not match its checksum.
fn block(row: &Row<'_>) -> Result<Option<DamagedBlock>, rusqlite::Error> {
    let body: Vec<u8> = row.get(10)?;
    let crc: u32 = row.get(8)?;
    let Some(codec) = Codec::from_tag(row.get(6)?).filter(|_| checksum(&body) == crc) else {
        return Ok(None);
    };
    Ok(Some(DamagedBlock {
        lane: row.get(1)?,
        range: range(row, 2)?,
        times: (row.get(4)?, row.get(5)?),
        origin: row.get(9)?,
        codec,
        raw_len: row.get(7)?,
        crc,
        body,
    }))
}
