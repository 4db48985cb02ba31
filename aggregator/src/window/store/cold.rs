//! Windows that are not in memory, from the newest committed snapshot.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use tributary_shared::time::Millis;

use super::StoreError;
use crate::window::cold::{ColdError, ColdGroups, WindowFacts};
use crate::window::messages::GroupState;

/// A read-only connection to views.db. The generation of a view is the number of its definition.
#[derive(Debug)]
pub(super) struct StoredWindows {
    db: Connection,
}

impl StoredWindows {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        Ok(Self { db })
    }

    fn one<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, ColdError> {
        let found = self
            .db
            .prepare_cached(sql)
            .and_then(|mut select| select.query_row(params, read).optional());
        found.map_err(unreadable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: rusqlite::Error) -> ColdError {
    ColdError(format!("views.db: {error}"))
}

pub(super) fn facts(row: &Row<'_>, from: usize) -> rusqlite::Result<WindowFacts> {
    Ok(WindowFacts {
        groups: row.get::<_, i64>(from)?.cast_unsigned(),
        key_bytes: row.get::<_, i64>(from + 1)?.cast_unsigned(),
        overflow: row.get(from + 2)?,
    })
}

impl ColdGroups for StoredWindows {
    fn state(&self, view: u64, window: Millis, key: &[u8]) -> Result<Option<Vec<u8>>, ColdError> {
        let sql = "SELECT state FROM window_state WHERE view = ?1 AND window_start = ?2 AND key = ?3";
        self.one(sql, params![view.cast_signed(), window, key], |row| row.get(0))
    }

    fn window(&self, view: u64, window: Millis) -> Result<Option<WindowFacts>, ColdError> {
        let sql = "SELECT groups, key_bytes, overflow FROM windows WHERE view = ?1 AND window_start = ?2";
        self.one(sql, params![view.cast_signed(), window], |row| facts(row, 0))
    }

    fn starts(
        &self,
        view: u64,
        (from, to): (Millis, Millis),
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<Millis>, ColdError> {
        let sql = match newest_first {
            true => {
                "SELECT window_start FROM windows WHERE view = ?1 AND window_start >= ?2 AND window_start < ?3
                 ORDER BY window_start DESC LIMIT ?4"
            }
            false => {
                "SELECT window_start FROM windows WHERE view = ?1 AND window_start >= ?2 AND window_start < ?3
                 ORDER BY window_start LIMIT ?4"
            }
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read_all = || {
            let mut select = self.db.prepare_cached(sql)?;
            let rows = select.query_map(params![view.cast_signed(), from, to, limit], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<Millis>>>()
        };
        read_all().map_err(unreadable)
    }

    fn groups(
        &self,
        view: u64,
        window: Millis,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<GroupState>, ColdError> {
        // no key is empty
        let after = after.unwrap_or_default();
        let sql = "SELECT key, state FROM window_state WHERE view = ?1 AND window_start = ?2 AND key > ?3
                   ORDER BY key LIMIT ?4";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &Row<'_>| {
            Ok(GroupState {
                window_start: window,
                key: row.get(0)?,
                state: row.get(1)?,
            })
        };
        let read_all = || {
            let mut select = self.db.prepare_cached(sql)?;
            let rows = select.query_map(params![view.cast_signed(), window, after, limit], read)?;
            rows.collect::<rusqlite::Result<Vec<GroupState>>>()
        };
        read_all().map_err(unreadable)
    }
}
