//! `views.db`: the views' definitions, and the last snapshot of their windows.
//!
//! Definitions are the only thing here that cannot be computed again. A view's state is stored for one text of
//! its SQL: writing another definition, or none, deletes the state in the same transaction, and a snapshot of
//! a definition that is not current any more is passed over.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tributary_shared::ids::{AgentId, InvalidId, LaneNo, SeqRange, StreamName};
use tributary_shared::time::Millis;

use super::engine::Engine;
use super::messages::{GroupState, LaneWatermark, LateLine, Snapshot, ViewCounters, ViewSnapshot};
use crate::commit::LogPos;
use crate::view::{ViewDef, ViewError, ViewOptions, ViewPlan};

/// Format of the database, in its `user_version`.
const FORMAT: i64 = 2;
/// Without options and without the log positions of groups' last changes.
const FORMAT_1: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE view_defs(
    name TEXT PRIMARY KEY,
    sql TEXT NOT NULL,
    options TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    applies_from INTEGER NOT NULL,
    position INTEGER NOT NULL,
    counters TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE window_state(
    view TEXT NOT NULL,
    window_start INTEGER NOT NULL,
    key BLOB NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY(view, window_start, key)
) WITHOUT ROWID;
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

const TOO_LATE: &str = "
CREATE TABLE too_late(
    view TEXT NOT NULL,
    lane INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY(view, lane)
) WITHOUT ROWID;
";

/// Why views.db cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("views.db: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("views.db has format {found}, this program reads {FORMAT}; use the program that wrote it")]
    Format { found: i64 },
    #[error("views.db names a stream that is none: {0}")]
    Stream(#[from] InvalidId),
    #[error("views.db holds unreadable counters of view {view:?}: {error}")]
    Counters { view: String, error: serde_json::Error },
    #[error("views.db holds unreadable options of view {view:?}: {error}")]
    Options { view: String, error: serde_json::Error },
}

/// What loading found.
#[derive(Debug, Default)]
pub struct LoadReport {
    /// All definitions, by name.
    pub defs: Vec<ViewDef>,
    /// Views whose stored state could not be used: they begin anew and catch up from the log.
    pub rebuilt: Vec<(String, super::StateError)>,
    /// Views whose definition this program refuses. They stay stored and are not computed.
    pub refused: Vec<(String, ViewError)>,
}

/// What views.db says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewFacts {
    /// The log position of the snapshot.
    pub position: LogPos,
    pub views: u64,
}

/// Reads and checks what is in views.db, without changing anything.
///
/// # Errors
/// When SQLite fails, or another program wrote it.
pub fn inspect(db: &Connection) -> Result<ViewFacts, StoreError> {
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found != FORMAT && found != FORMAT_1 {
        return Err(StoreError::Format { found });
    }
    let position: Option<i64> = db
        .query_row("SELECT value FROM meta WHERE key = 'position'", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(ViewFacts {
        position: LogPos(position.unwrap_or(0).cast_unsigned()),
        views: db.query_row("SELECT count(*) FROM view_defs", [], |row| row.get(0))?,
    })
}

/// Owns the connection to views.db.
#[derive(Debug)]
pub struct ViewStore {
    db: Connection,
}

impl ViewStore {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// When SQLite cannot, or a newer program wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::prepare(Connection::open(path)?)
    }

    fn prepare(mut db: Connection) -> Result<Self, StoreError> {
        db.pragma_update(None, "journal_mode", "WAL")?;
        // a definition is told as stored only when it is
        db.pragma_update(None, "synchronous", "FULL")?;
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            FORMAT => {}
            0 => {
                let tx = db.transaction()?;
                tx.execute_batch(SCHEMA)?;
                tx.execute_batch(TOO_LATE)?;
                tx.pragma_update(None, "user_version", FORMAT)?;
                tx.commit()?;
            }
            FORMAT_1 => upgrade(&mut db)?,
            found => return Err(StoreError::Format { found }),
        }
        Ok(Self { db })
    }

    /// Stores a definition. Returns false when the view has it already. The windows stay when nothing but the
    /// allowed lateness is another.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put_view(&mut self, def: &ViewDef) -> Result<bool, StoreError> {
        let tx = self.db.transaction()?;
        let options = options_text(def)?;
        let known: Option<(String, String)> = tx
            .query_row(
                "SELECT sql, options FROM view_defs WHERE name = ?1",
                [&def.name],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((sql, known)) = known
            && sql == def.sql
        {
            if known == options {
                return Ok(false);
            }
            if read_options(&def.name, &known)?.same_windows(&def.options) {
                tx.execute(
                    "UPDATE view_defs SET options = ?2 WHERE name = ?1",
                    params![def.name, options],
                )?;
                tx.commit()?;
                return Ok(true);
            }
        }
        tx.execute("DELETE FROM window_state WHERE view = ?1", [&def.name])?;
        tx.execute("DELETE FROM too_late WHERE view = ?1", [&def.name])?;
        tx.execute(
            "INSERT OR REPLACE INTO view_defs(name, sql, options, created_at, applies_from, position, counters)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, '{}')",
            params![def.name, def.sql, options, def.created_at, signed(def.applies_from)],
        )?;
        tx.commit()?;
        Ok(true)
    }

    /// Deletes a view with its state. Returns whether there was one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn drop_view(&mut self, name: &str) -> Result<bool, StoreError> {
        let tx = self.db.transaction()?;
        tx.execute("DELETE FROM window_state WHERE view = ?1", [name])?;
        tx.execute("DELETE FROM too_late WHERE view = ?1", [name])?;
        let found = tx.execute("DELETE FROM view_defs WHERE name = ?1", [name])? > 0;
        tx.commit()?;
        Ok(found)
    }

    /// The definitions, by name.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn views(&self) -> Result<Vec<ViewDef>, StoreError> {
        let mut select = self
            .db
            .prepare("SELECT name, sql, created_at, applies_from, options FROM view_defs ORDER BY name")?;
        let mut rows = select.query([])?;
        let mut defs = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, options): (String, String) = (row.get(0)?, row.get(4)?);
            defs.push(ViewDef {
                options: read_options(&name, &options)?,
                name,
                sql: row.get(1)?,
                created_at: row.get(2)?,
                applies_from: LogPos(row.get::<_, i64>(3)?.cast_unsigned()),
            });
        }
        Ok(defs)
    }

    /// Whether no view was ever stored: the time to add the default views.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn is_new(&self) -> Result<bool, StoreError> {
        Ok(self.meta("initialised")?.is_none())
    }

    /// Remembers that the default views were added, so that one that is deleted stays deleted.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn set_initialised(&mut self) -> Result<(), StoreError> {
        self.db.execute(
            "INSERT OR REPLACE INTO meta(key, value) VALUES ('initialised', 1)",
            [],
        )?;
        Ok(())
    }

    /// A number that tells the log that the state was computed from; `None` before the first start.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn origin(&self) -> Result<Option<i64>, StoreError> {
        self.meta("log")
    }

    /// Forgets all state, but no definition, and remembers the log that it will be computed from.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn begin_anew(&mut self, origin: i64) -> Result<(), StoreError> {
        let tx = self.db.transaction()?;
        tx.execute_batch(
            "DELETE FROM window_state;
             DELETE FROM too_late;
             DELETE FROM lane_watermarks;
             UPDATE view_defs SET position = 0, counters = '{}';
             DELETE FROM meta WHERE key = 'position';",
        )?;
        tx.execute(
            "INSERT OR REPLACE INTO meta(key, value) VALUES ('log', ?1)",
            [origin],
        )?;
        tx.commit()?;
        Ok(())
    }

    fn meta(&self, key: &str) -> Result<Option<i64>, StoreError> {
        Ok(self
            .db
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()?)
    }

    /// Stores what changed, with the position, in one transaction.
    ///
    /// # Errors
    /// When SQLite fails. The snapshot must then be saved again, before any later one.
    pub fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let tx = self.db.transaction()?;
        for view in &snapshot.views {
            save_view(&tx, view)?;
        }
        let mut lane = tx.prepare_cached(
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
        drop(lane);
        let position = signed(snapshot.position);
        tx.execute(
            "INSERT OR REPLACE INTO meta(key, value) VALUES ('position', ?1)",
            [position],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// Loads clocks, views and windows into a new engine. The log behind [`Engine::position`] must be applied
    /// next, and what [`Engine::behind`] names must catch up.
    ///
    /// # Errors
    /// When SQLite fails. State that cannot be read is no error: see [`LoadReport`].
    pub fn load_into(&self, engine: &mut Engine) -> Result<LoadReport, StoreError> {
        let position = self.meta("position")?.unwrap_or(0).cast_unsigned();
        engine.restore_clocks(LogPos(position), self.lanes()?);
        let mut report = LoadReport {
            defs: self.views()?,
            ..LoadReport::default()
        };
        for def in &report.defs {
            let plan = match ViewPlan::compile(&def.name, &def.sql) {
                Ok(plan) => Arc::new(plan),
                Err(error) => {
                    report.refused.push((def.name.clone(), error));
                    continue;
                }
            };
            engine.put_view_with(plan, def.options);
            if let Err(error) = self.load_view(engine, &def.name)? {
                engine.reset_view(&def.name);
                report.rebuilt.push((def.name.clone(), error));
            }
        }
        Ok(report)
    }

    fn lanes(&self) -> Result<Vec<LaneWatermark>, StoreError> {
        let mut select = self.db.prepare(
            "SELECT lane, stream, watermark, last_commit, agent, future_events FROM lane_watermarks",
        )?;
        let mut rows = select.query([])?;
        let mut lanes = Vec::new();
        while let Some(row) = rows.next()? {
            let stream = StreamName::new(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
            let (watermark, last_commit): (Option<Millis>, Millis) = (row.get(2)?, row.get(3)?);
            let agent: Option<String> = row.get(4)?;
            lanes.push(LaneWatermark {
                agent: agent.as_deref().map(AgentId::new).transpose()?,
                future_events: row.get::<_, i64>(5)?.cast_unsigned(),
                lane: LaneNo(row.get(0)?),
                stream,
                watermark,
                last_commit,
            });
        }
        Ok(lanes)
    }

    fn late(&self, view: &str) -> Result<Vec<LateLine>, StoreError> {
        let mut select = self
            .db
            .prepare("SELECT lane, first_seq, last_seq, count FROM too_late WHERE view = ?1")?;
        let lines = select.query_map([view], |row| {
            Ok(LateLine {
                lane: LaneNo(row.get(0)?),
                range: SeqRange {
                    first: row.get::<_, i64>(1)?.cast_unsigned(),
                    last: row.get::<_, i64>(2)?.cast_unsigned(),
                },
                count: row.get::<_, i64>(3)?.cast_unsigned(),
            })
        })?;
        Ok(lines.collect::<Result<_, _>>()?)
    }

    fn load_view(
        &self,
        engine: &mut Engine,
        view: &str,
    ) -> Result<Result<(), super::StateError>, StoreError> {
        let (position, counters): (i64, String) = self.db.query_row(
            "SELECT position, counters FROM view_defs WHERE name = ?1",
            [view],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let counters: ViewCounters =
            serde_json::from_str(&counters).map_err(|error| StoreError::Counters {
                view: view.to_owned(),
                error,
            })?;
        let mut select = self
            .db
            .prepare("SELECT window_start, key, state FROM window_state WHERE view = ?1")?;
        let mut rows = select.query([view])?;
        while let Some(row) = rows.next()? {
            let group = GroupState {
                window_start: row.get(0)?,
                key: row.get(1)?,
                state: row.get(2)?,
            };
            if let Err(error) = engine.restore_group(view, &group) {
                return Ok(Err(error));
            }
        }
        for line in self.late(view)? {
            engine.restore_late(view, line);
        }
        engine.restored(view, LogPos(position.cast_unsigned()), counters);
        Ok(Ok(()))
    }
}

fn options_text(def: &ViewDef) -> Result<String, StoreError> {
    serde_json::to_string(&def.options).map_err(|error| StoreError::Options {
        view: def.name.clone(),
        error,
    })
}

fn read_options(view: &str, text: &str) -> Result<ViewOptions, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Options {
        view: view.to_owned(),
        error,
    })
}

/// Views get the options that were in force before there were any to choose.
fn upgrade(db: &mut Connection) -> Result<(), StoreError> {
    let tx = db.transaction()?;
    tx.execute_batch(
        "ALTER TABLE view_defs ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
         ALTER TABLE lane_watermarks ADD COLUMN agent TEXT;
         ALTER TABLE lane_watermarks ADD COLUMN future_events INTEGER NOT NULL DEFAULT 0;",
    )?;
    tx.execute_batch(TOO_LATE)?;
    let options = serde_json::to_string(&ViewOptions::default()).map_err(|error| StoreError::Options {
        view: String::new(),
        error,
    })?;
    tx.execute("UPDATE view_defs SET options = ?1", [options])?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    tx.commit()?;
    Ok(())
}

fn save_view(tx: &Transaction<'_>, view: &ViewSnapshot) -> Result<(), StoreError> {
    let counters = serde_json::to_string(&view.counters).map_err(|error| StoreError::Counters {
        view: view.view.to_string(),
        error,
    })?;
    let current = tx
        .prepare_cached("UPDATE view_defs SET position = ?3, counters = ?4 WHERE name = ?1 AND sql = ?2")?
        .execute(params![view.view, view.sql, signed(view.position), counters])?;
    if current == 0 {
        return Ok(());
    }
    if view.reset {
        tx.execute("DELETE FROM window_state WHERE view = ?1", [&view.view])?;
        tx.execute("DELETE FROM too_late WHERE view = ?1", [&view.view])?;
    }
    let mut late = tx.prepare_cached(
        "INSERT OR REPLACE INTO too_late(view, lane, first_seq, last_seq, count) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for line in &view.late {
        let LateLine { lane, range, count } = line;
        let (first, last) = (range.first.cast_signed(), range.last.cast_signed());
        late.execute(params![view.view, lane.0, first, last, count.cast_signed()])?;
    }
    let mut delete =
        tx.prepare_cached("DELETE FROM window_state WHERE view = ?1 AND window_start = ?2 AND key = ?3")?;
    for group in &view.removed {
        delete.execute(params![view.view, group.window_start, group.key])?;
    }
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO window_state(view, window_start, key, state) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for group in &view.groups {
        put.execute(params![view.view, group.window_start, group.key, group.state])?;
    }
    Ok(())
}

/// SQLite's integers are signed. Positions count entries and stay far below 2^63.
fn signed(pos: LogPos) -> i64 {
    pos.0.cast_signed()
}
