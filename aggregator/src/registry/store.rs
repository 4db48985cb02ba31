//! registry.db: schemas by id, and versions by subject. IO without decisions.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use tributary_shared::time::Millis;
use tributary_shared::wire::SchemaInfo;

use super::messages::{Registered, RegistryError, SchemaFormat, SubjectVersion, Version};

/// File name within the aggregator's directory.
pub const REGISTRY_FILE: &str = "registry.db";
/// What this program writes, and the newest that it reads. Kept in `user_version`.
const FORMAT_VERSION: i64 = 1;

const SCHEMA: &str = "
    BEGIN IMMEDIATE;
    CREATE TABLE schemas (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        format TEXT NOT NULL,
        text   TEXT NOT NULL,
        UNIQUE (format, text)
    );
    CREATE TABLE versions (
        subject       TEXT NOT NULL,
        version       INTEGER NOT NULL,
        schema_id     INTEGER NOT NULL REFERENCES schemas,
        registered_at INTEGER NOT NULL,
        PRIMARY KEY (subject, version)
    ) WITHOUT ROWID;
    PRAGMA user_version = 1;
    COMMIT;";

/// More schemas than anybody registers between a backup and a restore.
const RESERVED_IDS: i64 = 10_000;

/// Leaves out ids that a later state of this registry may have given to other schemas; for a directory that was
/// restored from a copy. A directory without a registry stays without.
///
/// # Errors
/// Those of SQLite.
pub fn reserve_ids(dir: &Path) -> Result<(), RegistryError> {
    let path = dir.join(REGISTRY_FILE);
    if path.exists() {
        Connection::open(path)?.execute(
            "UPDATE sqlite_sequence SET seq = seq + ?1 WHERE name = 'schemas'",
            [RESERVED_IDS],
        )?;
    }
    Ok(())
}

const COLUMNS: &str = "subject, version, registered_at, s.id, s.format, s.text
    FROM versions v JOIN schemas s ON s.id = v.schema_id";

#[derive(Debug)]
pub(super) struct Store {
    db: Connection,
}

fn subject_version(row: &Row<'_>) -> rusqlite::Result<SubjectVersion> {
    let schema = SchemaInfo {
        version: row.get(1)?,
        id: row.get(3)?,
        format: row.get(4)?,
        text: row.get(5)?,
        references: Vec::new(),
    };
    Ok(SubjectVersion {
        subject: row.get(0)?,
        schema,
        registered_at: row.get(2)?,
    })
}

impl Store {
    pub fn open(dir: &Path) -> Result<Self, RegistryError> {
        let db = Connection::open(dir.join(REGISTRY_FILE))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            0 => db.execute_batch(SCHEMA)?,
            FORMAT_VERSION => {}
            found => {
                return Err(RegistryError::FormatTooNew {
                    found,
                    known: FORMAT_VERSION,
                });
            }
        }
        Ok(Self { db })
    }

    /// The same text under the same subject is the same version; under another subject, the same id.
    pub fn register(
        &mut self,
        subject: &str,
        format: SchemaFormat,
        text: &str,
        now: Millis,
    ) -> Result<Registered, RegistryError> {
        let db = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let id: Option<u32> = db
            .query_row(
                "SELECT id FROM schemas WHERE format = ?1 AND text = ?2",
                [format.as_str(), text],
                |row| row.get(0),
            )
            .optional()?;
        let id = match id {
            Some(id) => id,
            None => db.query_row(
                "INSERT INTO schemas (format, text) VALUES (?1, ?2) RETURNING id",
                [format.as_str(), text],
                |row| row.get(0),
            )?,
        };
        let known: Option<u32> = db.query_row(
            "SELECT max(version) FROM versions WHERE subject = ?1 AND schema_id = ?2",
            params![subject, id],
            |row| row.get(0),
        )?;
        if let Some(version) = known {
            return Ok(Registered {
                id,
                version,
                created: false,
            });
        }
        let version: u32 = db.query_row(
            "INSERT INTO versions (subject, version, schema_id, registered_at)
             SELECT ?1, coalesce(max(version), 0) + 1, ?2, ?3 FROM versions WHERE subject = ?1
             RETURNING version",
            params![subject, id, now],
            |row| row.get(0),
        )?;
        db.commit()?;
        Ok(Registered {
            id,
            version,
            created: true,
        })
    }

    pub fn version(&self, subject: &str, version: Version) -> Result<Option<SubjectVersion>, RegistryError> {
        let number = match version {
            Version::Latest => None,
            Version::Number(number) => Some(number),
        };
        let mut select = self.db.prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE subject = ?1 AND version = coalesce(?2, version)
             ORDER BY version DESC LIMIT 1"
        ))?;
        Ok(select
            .query_row(params![subject, number], subject_version)
            .optional()?)
    }

    /// The newest version of the subject that has the schema's id.
    pub fn version_by_id(&self, subject: &str, id: u32) -> Result<Option<SubjectVersion>, RegistryError> {
        let mut select = self.db.prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE subject = ?1 AND s.id = ?2 ORDER BY version DESC LIMIT 1"
        ))?;
        Ok(select
            .query_row(params![subject, id], subject_version)
            .optional()?)
    }

    pub fn text(&self, id: u32) -> Result<Option<(String, String)>, RegistryError> {
        let mut select = self
            .db
            .prepare_cached("SELECT format, text FROM schemas WHERE id = ?1")?;
        Ok(select
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?)
    }

    /// The ids of all schemas.
    pub fn ids(&self) -> Result<Vec<u32>, RegistryError> {
        let mut select = self.db.prepare_cached("SELECT id FROM schemas")?;
        Ok(select
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    }

    pub fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        let mut select = self
            .db
            .prepare_cached("SELECT DISTINCT subject FROM versions ORDER BY subject")?;
        Ok(select
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    }

    pub fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        let mut select = self
            .db
            .prepare_cached("SELECT version FROM versions WHERE subject = ?1 ORDER BY version")?;
        Ok(select
            .query_map([subject], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    }
}
