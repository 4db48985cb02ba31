//! `views.db`: the views' definitions, and the last snapshot of their windows.
//!
//! Definitions are the only thing here that cannot be computed again. State belongs to one definition, and a
//! snapshot of a definition that is no more is passed over. Of a view that is replaced there are two, with the state
//! of both, until the newer one has caught up with the log.

mod cold;
mod load;
mod schema;
mod snapshot;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tributary_shared::ids::InvalidId;

use crate::commit::LogPos;
use crate::view::{ViewDef, ViewError, ViewOptions};

/// Format of the database, in its `user_version`.
const FORMAT: i64 = 2;
/// Without options and without the log positions of groups' last changes.
const FORMAT_1: i64 = 1;

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
    pub rebuilt: Vec<(String, crate::window::StateError)>,
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
        views: db.query_row("SELECT count(DISTINCT name) FROM view_defs", [], |row| row.get(0))?,
    })
}

/// Owns the connection to views.db that writes.
#[derive(Debug)]
pub struct ViewStore {
    db: Connection,
    path: PathBuf,
    /// Definitions that the snapshot that was begun is of.
    known: snapshot::Known,
}

/// What became of a definition that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was there already.
    Known,
    /// It is there with another allowed lateness now; the windows stay.
    Retimed,
    /// It is what serves; what was to replace it is forgotten.
    Returned,
    /// It is stored, under this number, and its windows begin anew.
    Begun(u64),
}

/// A stored definition, with what its windows begin with.
#[derive(Debug)]
struct Stored {
    id: i64,
    def: ViewDef,
    position: LogPos,
    counters: String,
}

impl ViewStore {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// When SQLite cannot, or a newer program wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut db = Connection::open(path)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        // a definition is told as stored only when it is
        db.pragma_update(None, "synchronous", "FULL")?;
        let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            FORMAT => {}
            0 => schema::create(&mut db)?,
            FORMAT_1 => schema::upgrade(&mut db)?,
            found => return Err(StoreError::Format { found }),
        }
        let (path, known) = (path.to_owned(), snapshot::Known::new());
        Ok(Self { db, path, known })
    }

    /// Stores a definition. Returns false when the view has it already.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put_view(&mut self, def: &ViewDef) -> Result<bool, StoreError> {
        Ok(self.put(def)? != Put::Known)
    }

    /// Stores a definition. One that it replaces stays beside it, with its windows, until [`Self::cut_over`]; but
    /// one that has not caught up is forgotten when there is an older one to serve.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn put(&mut self, def: &ViewDef) -> Result<Put, StoreError> {
        let options = options_text(def)?;
        let stored = self.stored_of(&def.name)?;
        let tx = self.db.transaction()?;
        if let Some(newest) = stored.last()
            && newest.def.sql == def.sql
        {
            if newest.def.options == def.options {
                return Ok(Put::Known);
            }
            if newest.def.options.same_windows(&def.options) {
                tx.execute(
                    "UPDATE view_defs SET options = ?2 WHERE id = ?1",
                    params![newest.id, options],
                )?;
                tx.commit()?;
                return Ok(Put::Retimed);
            }
        }
        for coming in stored.iter().skip(1) {
            forget(&tx, coming.id)?;
        }
        if stored.len() > 1
            && stored[0].def.sql == def.sql
            && stored[0].def.options.same_windows(&def.options)
        {
            tx.execute(
                "UPDATE view_defs SET options = ?2 WHERE id = ?1",
                params![stored[0].id, options],
            )?;
            tx.commit()?;
            return Ok(Put::Returned);
        }
        tx.execute(
            "INSERT INTO view_defs(name, sql, options, created_at, applies_from, position, counters)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, '{}')",
            params![
                def.name,
                def.sql,
                options,
                def.created_at,
                signed(def.applies_from)
            ],
        )?;
        let id = tx.last_insert_rowid();
        tx.commit()?;
        Ok(Put::Begun(id.cast_unsigned()))
    }

    /// Forgets the definitions of a view but this one, which serves from now on.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn cut_over(&mut self, name: &str, id: u64) -> Result<(), StoreError> {
        let stored = self.stored_of(name)?;
        let tx = self.db.transaction()?;
        for old in stored.iter().filter(|stored| stored.id < id.cast_signed()) {
            forget(&tx, old.id)?;
        }
        Ok(tx.commit()?)
    }

    /// Deletes a view. Its state follows with [`Self::sweep`]. Returns whether there was one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn drop_view(&mut self, name: &str) -> Result<bool, StoreError> {
        let stored = self.stored_of(name)?;
        let tx = self.db.transaction()?;
        for old in &stored {
            forget(&tx, old.id)?;
        }
        tx.commit()?;
        Ok(!stored.is_empty())
    }

    /// The definitions, by name: of each view the one that was put last.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn views(&self) -> Result<Vec<ViewDef>, StoreError> {
        let mut defs: Vec<ViewDef> = Vec::new();
        for Stored { def, .. } in self.stored()? {
            defs.pop_if(|last| last.name == def.name);
            defs.push(def);
        }
        Ok(defs)
    }

    fn stored_of(&self, name: &str) -> Result<Vec<Stored>, StoreError> {
        let mut all = self.stored()?;
        all.retain(|stored| stored.def.name == name);
        Ok(all)
    }

    /// All definitions, by name, the older ones first.
    fn stored(&self) -> Result<Vec<Stored>, StoreError> {
        let mut select = self.db.prepare(
            "SELECT id, name, sql, options, created_at, applies_from, position, counters FROM view_defs
             ORDER BY name, id",
        )?;
        let mut rows = select.query([])?;
        let mut stored = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, options): (String, String) = (row.get(1)?, row.get(3)?);
            let def = ViewDef {
                options: read_options(&name, &options)?,
                name,
                sql: row.get(2)?,
                created_at: row.get(4)?,
                applies_from: LogPos(row.get::<_, i64>(5)?.cast_unsigned()),
            };
            stored.push(Stored {
                id: row.get(0)?,
                def,
                position: LogPos(row.get::<_, i64>(6)?.cast_unsigned()),
                counters: row.get(7)?,
            });
        }
        Ok(stored)
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
             DELETE FROM windows;
             DELETE FROM too_late;
             DELETE FROM leftovers;
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

/// Forgets a definition; its state is swept later.
fn forget(tx: &Transaction<'_>, id: i64) -> Result<(), StoreError> {
    tx.execute("DELETE FROM view_defs WHERE id = ?1", [id])?;
    tx.execute("INSERT OR IGNORE INTO leftovers(view) VALUES (?1)", [id])?;
    Ok(())
}

/// SQLite's integers are signed. Positions count entries and stay far below 2^63.
fn signed(pos: LogPos) -> i64 {
    pos.0.cast_signed()
}
