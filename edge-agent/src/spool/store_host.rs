//! The tables that format 2 added, and every statement on them: what the spool knows of its host and its past.
//!
//! ```text
//! clock_steps    when this host's clock was set, and by how much
//! salvage        at most one row: how far the latest salvage of a damaged file is
//! salvage_lanes  the damaged file's lanes while they are brought over, and those that take their events
//! host           one row: which machine and which file this is, to tell a copy
//! ```

use std::path::Path;

use rusqlite::{OptionalExtension, Row, params};
use tributary_shared::ids::Seq;

use super::age::{MAX_STEPS, Step};
use super::host::Host;
use super::messages::{LaneId, Salvage};
use super::store::{Result, Store, seq, to_db};

/// What format 2 adds to [`TABLES`], which are those of format 1. Added last, so that the root pages of the
/// others are the same in a file that was migrated.
pub(super) const TABLES_OF_FORMAT_2: &str = "
CREATE TABLE clock_steps(from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, delta_ms INTEGER NOT NULL);
CREATE TABLE salvage(
  file TEXT NOT NULL, next_id INTEGER NOT NULL, done INTEGER NOT NULL, saved_events INTEGER NOT NULL,
  saved_bytes INTEGER NOT NULL, lost_events INTEGER NOT NULL, problems TEXT NOT NULL);
CREATE TABLE salvage_lanes(old INTEGER PRIMARY KEY, lane INTEGER NOT NULL);
CREATE TABLE host(machine TEXT, inode INTEGER);
";

/// How far the salvage of a damaged file is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SalvageRow {
    /// Its name in the spool's directory.
    pub file: String,
    /// The last row that was looked at.
    pub next_id: i64,
    pub done: bool,
    pub saved_events: u64,
    pub saved_bytes: u64,
    /// Known once it is done.
    pub lost_events: u64,
    /// What could not be read, for people.
    pub problems: Vec<String>,
}

impl SalvageRow {
    pub(super) fn report(&self, dir: &Path) -> Salvage {
        Salvage {
            file: dir.join(&self.file).display().to_string(),
            running: !self.done,
            saved_events: self.saved_events,
            saved_bytes: self.saved_bytes,
            lost_events: self.lost_events,
            problems: self.problems.clone(),
        }
    }
}

impl Store {
    pub(super) fn clock_steps(&self) -> Result<Vec<Step>> {
        let sql = "SELECT from_ms, to_ms, delta_ms FROM clock_steps ORDER BY rowid";
        let mut statement = self.conn.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Step {
                from: row.get(0)?,
                to: row.get(1)?,
                delta: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Adds a step, and forgets the oldest beyond [`MAX_STEPS`].
    pub(super) fn add_clock_step(&self, step: Step) -> Result<()> {
        self.transaction(|| {
            let sql = "INSERT INTO clock_steps(from_ms, to_ms, delta_ms) VALUES (?1, ?2, ?3)";
            self.conn.execute(sql, [step.from, step.to, step.delta])?;
            let sql = "DELETE FROM clock_steps WHERE rowid <= (SELECT max(rowid) FROM clock_steps) - ?1";
            self.conn.execute(sql, [to_db(MAX_STEPS as u64)])?;
            Ok(())
        })
    }

    pub(super) fn salvage(&self) -> Result<Option<SalvageRow>> {
        let sql = "SELECT file, next_id, done, saved_events, saved_bytes, lost_events, problems FROM salvage";
        let salvage = |row: &Row<'_>| {
            let problems: String = row.get(6)?;
            Ok(SalvageRow {
                file: row.get(0)?,
                next_id: row.get(1)?,
                done: row.get(2)?,
                saved_events: seq(row, 3)?,
                saved_bytes: seq(row, 4)?,
                lost_events: seq(row, 5)?,
                problems: problems.lines().map(str::to_owned).collect(),
            })
        };
        Ok(self.conn.query_row(sql, [], salvage).optional()?)
    }

    pub(super) fn put_salvage(&self, row: &SalvageRow) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM salvage")?.execute([])?;
        let sql = "INSERT INTO salvage(file, next_id, done, saved_events, saved_bytes, lost_events, problems)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.conn.prepare_cached(sql)?.execute(params![
            row.file,
            row.next_id,
            row.done,
            to_db(row.saved_events),
            to_db(row.saved_bytes),
            to_db(row.lost_events),
            row.problems.join("\n")
        ])?;
        Ok(())
    }

    /// Events of the damaged file's lane go to this one.
    pub(super) fn map_salvaged(&self, old: i64, lane: LaneId) -> Result<()> {
        self.conn
            .prepare_cached("INSERT INTO salvage_lanes(old, lane) VALUES (?1, ?2)")?
            .execute([old, lane.0])?;
        Ok(())
    }

    /// The lane that takes the events of the damaged file's lane, and its mark.
    pub(super) fn salvaged_lane(&self, old: i64) -> Result<Option<(LaneId, Seq)>> {
        let sql = "SELECT lanes.id, lanes.committed_seq FROM salvage_lanes JOIN lanes ON lanes.id = lane
                   WHERE old = ?1";
        let lane = |row: &Row<'_>| Ok((LaneId(row.get(0)?), seq(row, 1)?));
        Ok(self.conn.prepare_cached(sql)?.query_row([old], lane).optional()?)
    }

    pub(super) fn salvaged_lanes(&self) -> Result<Vec<LaneId>> {
        let mut statement = self.conn.prepare_cached("SELECT lane FROM salvage_lanes")?;
        let rows = statement.query_map([], |row| Ok(LaneId(row.get(0)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn end_salvage(&self) -> Result<()> {
        self.conn.execute("DELETE FROM salvage_lanes", [])?;
        Ok(())
    }

    /// How many of the lane's seqs are dropped for this reason.
    pub(super) fn damaged_events(&self, lane: LaneId, reason: &str) -> Result<u64> {
        let sql =
            "SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM drops WHERE lane = ?1 AND reason = ?2";
        let mut statement = self.conn.prepare_cached(sql)?;
        Ok(statement.query_row(params![lane.0, reason], |row| seq(row, 0))?)
    }

    pub(super) fn host(&self) -> Result<Option<Host>> {
        let host = |row: &Row<'_>| {
            let (machine, inode) = (row.get(0)?, row.get(1)?);
            Ok(Host { machine, inode })
        };
        let sql = "SELECT machine, inode FROM host";
        Ok(self.conn.query_row(sql, [], host).optional()?)
    }

    pub(super) fn put_host(&self, host: &Host) -> Result<()> {
        self.conn.execute("DELETE FROM host", [])?;
        let sql = "INSERT INTO host(machine, inode) VALUES (?1, ?2)";
        self.conn.execute(sql, params![host.machine, host.inode])?;
        Ok(())
    }

    /// No lane takes new events any more, not even one that has given out no seq: the original would begin with
    /// the same. Those that hold nothing go. What the others hold, the original has as well, and may have sent.
    /// Returns how many lanes took events.
    pub(super) fn retire_lanes(&self) -> Result<usize> {
        self.conn.execute("UPDATE lanes SET unsent_from = next_seq", [])?;
        let used = self
            .conn
            .execute("UPDATE lanes SET active = 0 WHERE active", [])?;
        self.conn.execute(
            "INSERT OR REPLACE INTO retired(stream, epoch, committed_seq, writers)
               SELECT stream, epoch, committed_seq, writers FROM lanes
               WHERE NOT active AND committed_seq + 1 = next_seq AND committed_seq > 0 ORDER BY id",
            [],
        )?;
        self.prune_retired()?;
        self.conn.execute(
            "DELETE FROM lanes WHERE NOT active AND committed_seq + 1 = next_seq",
            [],
        )?;
        Ok(used)
    }
}
