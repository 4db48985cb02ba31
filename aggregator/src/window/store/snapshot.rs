//! Snapshots come in slices and are stored in one transaction.

use rusqlite::{OptionalExtension, params};

use tributary_shared::ids::AgentId;

use super::{StoreError, ViewStore, signed};
use crate::window::messages::{LateLine, Snapshot, ViewSnapshot};
use crate::window::saving::SnapshotSlice;

/// Groups of dropped definitions that are deleted in one transaction.
const SWEEP_GROUPS: i64 = 5_000;

/// A definition's number in this file, by the generation of the state that a snapshot is of.
pub(super) type Known = Vec<(u64, i64)>;

impl ViewStore {
    /// Stores what changed, with the position, in one transaction.
    ///
    /// # Errors
    /// When SQLite fails: then nothing of it is stored.
    pub fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.begin_snapshot(snapshot)?;
        for view in &snapshot.views {
            self.put_slice(&SnapshotSlice {
                generation: view.generation,
                groups: view.groups.clone(),
            })?;
        }
        self.commit_snapshot()
    }

    /// Begins to store a snapshot: all but its groups. What was begun before and not committed is forgotten.
    ///
    /// # Errors
    /// When SQLite fails: then nothing of the snapshot is stored.
    pub fn begin_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.abandon_snapshot();
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let mut known = Known::new();
        let begun = self.put_head(snapshot, &mut known);
        if begun.is_err() {
            self.abandon_snapshot();
        } else {
            self.known = known;
        }
        begun
    }

    /// Adds groups to the snapshot that was begun. Those of a definition that is no more are passed over.
    ///
    /// # Errors
    /// When SQLite fails: then nothing of the snapshot is stored.
    pub fn put_slice(&mut self, slice: &SnapshotSlice) -> Result<(), StoreError> {
        let found = self
            .known
            .iter()
            .find(|(generation, _)| *generation == slice.generation);
        let Some((_, id)) = found else {
            return Ok(());
        };
        let put = || {
            let mut put = self.db.prepare_cached(
                "INSERT OR REPLACE INTO window_state(view, window_start, key, state) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for group in &slice.groups {
                put.execute(params![id, group.window_start, group.key, group.state])?;
            }
            Ok(())
        };
        let done: Result<(), StoreError> = put();
        if done.is_err() {
            self.abandon_snapshot();
        }
        done
    }

    /// # Errors
    /// When SQLite fails: then nothing of the snapshot is stored.
    pub fn commit_snapshot(&mut self) -> Result<(), StoreError> {
        let done = self.db.execute_batch("COMMIT").map_err(StoreError::from);
        self.abandon_snapshot();
        done
    }

    fn abandon_snapshot(&mut self) {
        self.known.clear();
        if !self.db.is_autocommit() {
            // what cannot be rolled back is not committed either: the next attempt says why
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    fn put_head(&self, snapshot: &Snapshot, known: &mut Known) -> Result<(), StoreError> {
        for view in &snapshot.views {
            if let Some(id) = self.put_view_head(view)? {
                known.push((view.generation, id));
            }
        }
        let mut lane = self.db.prepare_cached(
            "INSERT OR REPLACE INTO lane_watermarks(lane, stream, watermark, last_commit, agent, future_events)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for mark in &snapshot.lanes {
            lane.execute(params![
                mark.lane.0,
                mark.stream.as_str(),
                mark.watermark,
                mark.last_commit,
                mark.agent.as_ref().map(AgentId::as_str),
                mark.future_events.cast_signed(),
            ])?;
        }
        self.db.execute(
            "INSERT OR REPLACE INTO meta(key, value) VALUES ('position', ?1)",
            [signed(snapshot.position)],
        )?;
        Ok(())
    }

    /// `None` when there is no such definition any more.
    fn put_view_head(&self, view: &ViewSnapshot) -> Result<Option<i64>, StoreError> {
        let counters = serde_json::to_string(&view.counters).map_err(|error| StoreError::Counters {
            view: view.view.to_string(),
            error,
        })?;
        let id: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT id FROM view_defs WHERE name = ?1 AND sql = ?2 ORDER BY id = ?3 DESC, id DESC LIMIT 1",
            )?
            .query_row(params![view.view, view.sql, view.generation.cast_signed()], |row| {
                row.get(0)
            })
            .optional()?;
        let Some(id) = id else { return Ok(None) };
        self.db
            .prepare_cached("UPDATE view_defs SET position = ?2, counters = ?3 WHERE id = ?1")?
            .execute(params![id, signed(view.position), counters])?;
        if view.reset {
            self.db
                .execute("DELETE FROM window_state WHERE view = ?1", [id])?;
            self.db.execute("DELETE FROM windows WHERE view = ?1", [id])?;
            self.db.execute("DELETE FROM too_late WHERE view = ?1", [id])?;
        }
        self.put_late(id, &view.late)?;
        self.delete_windows(id, &view.expired)?;
        let mut empty = self
            .db
            .prepare_cached("DELETE FROM windows WHERE view = ?1 AND window_start = ?2")?;
        for window in &view.emptied {
            empty.execute(params![id, window])?;
        }
        let mut delete = self
            .db
            .prepare_cached("DELETE FROM window_state WHERE view = ?1 AND window_start = ?2 AND key = ?3")?;
        for group in &view.removed {
            delete.execute(params![id, group.window_start, group.key])?;
        }
        let mut put = self.db.prepare_cached(
            "INSERT OR REPLACE INTO windows(view, window_start, groups, key_bytes, overflow) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (window, facts) in &view.windows {
            let (groups, key_bytes) = (facts.groups.cast_signed(), facts.key_bytes.cast_signed());
            put.execute(params![id, window, groups, key_bytes, facts.overflow])?;
        }
        Ok(Some(id))
    }

    fn put_late(&self, id: i64, lines: &[LateLine]) -> Result<(), StoreError> {
        let mut put = self.db.prepare_cached(
            "INSERT OR REPLACE INTO too_late(view, lane, first_seq, last_seq, count) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for LateLine { lane, range, count } in lines {
            let (first, last) = (range.first.cast_signed(), range.last.cast_signed());
            put.execute(params![id, lane.0, first, last, count.cast_signed()])?;
        }
        Ok(())
    }

    fn delete_windows(&self, id: i64, windows: &[i64]) -> Result<(), StoreError> {
        for table in ["window_state", "windows"] {
            let sql = format!("DELETE FROM {table} WHERE view = ?1 AND window_start = ?2");
            let mut delete = self.db.prepare_cached(&sql)?;
            for window in windows {
                delete.execute(params![id, window])?;
            }
        }
        Ok(())
    }

    /// Deletes some of the state of definitions that are no more. Returns whether there may be more of it.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn sweep(&mut self) -> Result<bool, StoreError> {
        let tx = self.db.transaction()?;
        let id: Option<i64> = tx
            .query_row("SELECT view FROM leftovers LIMIT 1", [], |row| row.get(0))
            .optional()?;
        let Some(id) = id else { return Ok(false) };
        let deleted = tx.execute(
            "DELETE FROM window_state WHERE (view, window_start, key) IN
             (SELECT view, window_start, key FROM window_state WHERE view = ?1 LIMIT ?2)",
            params![id, SWEEP_GROUPS],
        )?;
        if deleted == 0 {
            tx.execute("DELETE FROM windows WHERE view = ?1", [id])?;
            tx.execute("DELETE FROM too_late WHERE view = ?1", [id])?;
            tx.execute("DELETE FROM leftovers WHERE view = ?1", [id])?;
        }
        tx.commit()?;
        Ok(true)
    }
}
