//! The file: its format, and how older formats become this one.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::Store;
use crate::registry::error::RegistryError;
use crate::registry::language;

/// File name within the aggregator's directory.
pub const REGISTRY_FILE: &str = "registry.db";
/// What this program writes, and the newest that it reads. Kept in `user_version`.
const FORMAT_VERSION: i64 = 2;

/// `key` is what makes two schemas the same, see [`language::key`]. The reference list of a schema is there
/// twice: in its order with the schema, and the other way round in `refs`.
const SCHEMAS: &str = "
    CREATE TABLE schemas (
        id       INTEGER PRIMARY KEY AUTOINCREMENT,
        format   TEXT NOT NULL,
        text     TEXT NOT NULL,
        refs     TEXT,
        metadata TEXT,
        rule_set TEXT,
        key      BLOB NOT NULL UNIQUE
    );";

const VERSIONS: &str = "
    CREATE TABLE versions (
        subject       TEXT NOT NULL,
        version       INTEGER NOT NULL,
        schema_id     INTEGER NOT NULL REFERENCES schemas,
        registered_at INTEGER NOT NULL,
        state         TEXT NOT NULL DEFAULT 'active',
        deleted       INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (subject, version)
    ) WITHOUT ROWID;";

const REST: &str = "
    CREATE INDEX versions_by_schema ON versions (schema_id, subject);
    CREATE TABLE refs (
        subject   TEXT NOT NULL,
        version   INTEGER NOT NULL,
        schema_id INTEGER NOT NULL REFERENCES schemas,
        PRIMARY KEY (subject, version, schema_id)
    ) WITHOUT ROWID;
    CREATE INDEX refs_by_schema ON refs (schema_id);
    CREATE TABLE settings (
        subject   TEXT PRIMARY KEY,
        level     TEXT,
        normalize INTEGER,
        mode      TEXT
    ) WITHOUT ROWID;
    CREATE TABLE governance (
        subject       TEXT PRIMARY KEY,
        owner         TEXT,
        contact       TEXT,
        description   TEXT,
        approver_role TEXT
    ) WITHOUT ROWID;
    CREATE TABLE changes (
        no      INTEGER PRIMARY KEY AUTOINCREMENT,
        at      INTEGER NOT NULL,
        subject TEXT NOT NULL,
        version INTEGER,
        who     TEXT NOT NULL,
        role    TEXT,
        what    TEXT NOT NULL,
        detail  TEXT,
        why     TEXT
    );
    CREATE INDEX changes_by_subject ON changes (subject, no);
    CREATE TABLE usage (
        subject    TEXT NOT NULL,
        version    INTEGER NOT NULL,
        agent      TEXT NOT NULL,
        schema_id  INTEGER NOT NULL,
        rows       INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen  INTEGER NOT NULL,
        PRIMARY KEY (subject, version, agent)
    ) WITHOUT ROWID;
    PRAGMA user_version = 2;";

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

impl Store {
    /// Opens registry.db in a directory that exists; makes it, or converts it, when needed.
    pub fn open(dir: &Path) -> Result<Self, RegistryError> {
        let mut db = Connection::open(dir.join(REGISTRY_FILE))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        // off while a table is built anew under its old name
        db.pragma_update(None, "foreign_keys", false)?;
        let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match found {
            0 => change.execute_batch(&[SCHEMAS, VERSIONS, REST].concat())?,
            1 => from_format_1(&change)?,
            FORMAT_VERSION => {}
            found => {
                return Err(RegistryError::FormatTooNew {
                    found,
                    known: FORMAT_VERSION,
                });
            }
        }
        change.commit()?;
        db.pragma_update(None, "foreign_keys", true)?;
        Ok(Self { db })
    }
}

/// Format 1 knew JSON Schemas by their exact text, and neither references nor states.
fn from_format_1(db: &Transaction<'_>) -> Result<(), RegistryError> {
    db.execute_batch("ALTER TABLE schemas RENAME TO schemas_1; ALTER TABLE versions RENAME TO versions_1;")?;
    db.execute_batch(&[SCHEMAS, VERSIONS].concat())?;
    copy_schemas(db)?;
    db.execute_batch(
        "INSERT INTO versions (subject, version, schema_id, registered_at)
             SELECT subject, version, schema_id, registered_at FROM versions_1;
         DROP TABLE versions_1;
         UPDATE sqlite_sequence
             SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'schemas_1') WHERE name = 'schemas';
         DROP TABLE schemas_1;",
    )?;
    db.execute_batch(REST)?;
    Ok(())
}

fn copy_schemas(db: &Transaction<'_>) -> Result<(), RegistryError> {
    let mut select = db.prepare("SELECT id, format, text FROM schemas_1 ORDER BY id")?;
    let mut insert =
        db.prepare("INSERT OR IGNORE INTO schemas (id, format, text, key) VALUES (?1, ?2, ?3, ?4)")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, format, text): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let key = language::key_of_old(&format, &text);
        if insert.execute(params![id, format, text, key])? == 0 {
            // two spellings of one schema: both ids are in use, so both stay; the first is the one that is
            // found from now on
            insert.execute(params![id, format, text, language::key_of_spelling(id, &text)])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tributary_schema::language::SchemaFormat;

    use super::*;

    #[test]
    fn a_file_of_format_1_is_converted_and_keeps_its_ids() {
        let dir = tempfile::tempdir().expect("dir");
        let db = Connection::open(dir.path().join(REGISTRY_FILE)).expect("opens");
        db.execute_batch(
            r#"CREATE TABLE schemas (id INTEGER PRIMARY KEY AUTOINCREMENT, format TEXT NOT NULL, text TEXT NOT NULL,
                   UNIQUE (format, text));
               CREATE TABLE versions (subject TEXT NOT NULL, version INTEGER NOT NULL,
                   schema_id INTEGER NOT NULL REFERENCES schemas, registered_at INTEGER NOT NULL,
                   PRIMARY KEY (subject, version)) WITHOUT ROWID;
               INSERT INTO schemas (format, text) VALUES
                   ('JSON', '{"type":"object"}'), ('JSON', '{ "type": "object" }'), ('JSON', '{"type":"string"}');
               INSERT INTO versions VALUES ('a', 1, 1, 10), ('a', 2, 2, 20), ('a', 3, 3, 30), ('b', 1, 1, 40);
               UPDATE sqlite_sequence SET seq = 10003;
               PRAGMA user_version = 1;"#,
        )
        .expect("a file of format 1");
        drop(db);
        let store = Store::open(dir.path()).expect("converted");
        let ids: Vec<u32> = store
            .versions("a")
            .expect("read")
            .iter()
            .map(|row| row.id)
            .collect();
        assert_eq!(ids, [1, 2, 3]);
        let text = |id| store.schema(id).expect("read").expect("kept").text;
        assert_eq!(
            (text(2), text(3)),
            (
                r#"{ "type": "object" }"#.to_owned(),
                r#"{"type":"string"}"#.to_owned()
            )
        );
        assert_eq!(
            store
                .id_of(&language::key_of_old("JSON", "{\"type\" : \"object\"}"))
                .expect("read"),
            Some(1)
        );
        drop(store);
        let mut store = Store::open(dir.path()).expect("opens again");
        let row = super::super::SchemaRow {
            format: SchemaFormat::Json,
            text: "true",
            references: &[],
            metadata: None,
            rule_set: None,
            key: b"k",
        };
        let id = store
            .write(|db| Store::put_schema(db, None, &row))
            .expect("stored");
        assert_eq!(id, 10_004, "the reserved ids stay reserved");
    }

    #[test]
    fn a_file_of_a_newer_program_is_left_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let db = Connection::open(dir.path().join(REGISTRY_FILE)).expect("opens");
        db.pragma_update(None, "user_version", 9).expect("set");
        drop(db);
        let error = Store::open(dir.path()).expect_err("refused");
        assert!(
            matches!(error, RegistryError::FormatTooNew { found: 9, .. }),
            "{error}"
        );
    }
}
