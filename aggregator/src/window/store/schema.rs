//! The tables of views.db, and how older files become like them.

use rusqlite::{Connection, Transaction};

use super::{FORMAT, StoreError};
use crate::view::ViewOptions;

/// Definitions are numbered; the newest of a name is the one that was put last, and an older one serves until that
/// one is back-filled. State is kept by the definition's number, which is never used again.
const DEFINITIONS: &str = "
CREATE TABLE view_defs(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    sql TEXT NOT NULL,
    options TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    applies_from INTEGER NOT NULL,
    position INTEGER NOT NULL,
    counters TEXT NOT NULL
);
CREATE INDEX view_names ON view_defs(name, id);
CREATE TABLE windows(
    view INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    groups INTEGER NOT NULL,
    key_bytes INTEGER NOT NULL,
    overflow INTEGER NOT NULL,
    PRIMARY KEY(view, window_start)
) WITHOUT ROWID;
CREATE TABLE window_state(
    view INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    key BLOB NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY(view, window_start, key)
) WITHOUT ROWID;
CREATE TABLE too_late(
    view INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY(view, lane)
) WITHOUT ROWID;
CREATE TABLE leftovers(view INTEGER PRIMARY KEY);
";

const REST: &str = "
CREATE TABLE lane_watermarks(
    lane INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    watermark INTEGER,
    last_commit INTEGER NOT NULL,
    agent TEXT,
    future_events INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// Makes the tables of a new file.
pub(super) fn create(db: &mut Connection) -> Result<(), StoreError> {
    let tx = db.transaction()?;
    tx.execute_batch(DEFINITIONS)?;
    tx.execute_batch(REST)?;
    finish(tx)
}

/// From format 1, which kept state by the name of the view, and knew neither options nor what a window holds.
pub(super) fn upgrade(db: &mut Connection) -> Result<(), StoreError> {
    let tx = db.transaction()?;
    tx.execute_batch(
        "ALTER TABLE view_defs RENAME TO old_defs;
         ALTER TABLE window_state RENAME TO old_state;
         ALTER TABLE lane_watermarks ADD COLUMN agent TEXT;
         ALTER TABLE lane_watermarks ADD COLUMN future_events INTEGER NOT NULL DEFAULT 0;",
    )?;
    tx.execute_batch(DEFINITIONS)?;
    let options = serde_json::to_string(&ViewOptions::default()).map_err(|error| StoreError::Options {
        view: String::new(),
        error,
    })?;
    tx.execute(
        "INSERT INTO view_defs(name, sql, options, created_at, applies_from, position, counters)
         SELECT name, sql, ?1, created_at, applies_from, position, counters FROM old_defs ORDER BY name",
        [options],
    )?;
    tx.execute_batch(
        "INSERT INTO window_state(view, window_start, key, state)
         SELECT id, window_start, key, state FROM view_defs JOIN old_state ON name = view
         ORDER BY id, window_start, key;
         INSERT INTO windows(view, window_start, groups, key_bytes, overflow)
         SELECT view, window_start, count(*), sum(length(key)), 0 FROM window_state GROUP BY view, window_start;
         DROP TABLE old_defs;
         DROP TABLE old_state;",
    )?;
    finish(tx)
}

fn finish(tx: Transaction<'_>) -> Result<(), StoreError> {
    tx.pragma_update(None, "user_version", FORMAT)?;
    Ok(tx.commit()?)
}
