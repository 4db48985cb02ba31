//! Schemas by id, and who refers to whom.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use tributary_schema::language::SchemaFormat;

use super::{Store, json, named};
use crate::registry::error::RegistryError;
use crate::registry::messages::{Reference, StoredSchema};

/// A schema that is to be stored.
#[derive(Debug)]
pub(in crate::registry) struct SchemaRow<'a> {
    pub format: SchemaFormat,
    pub text: &'a str,
    pub references: &'a [Reference],
    pub metadata: Option<&'a Value>,
    pub rule_set: Option<&'a Value>,
    pub key: &'a [u8],
}

pub(super) const SCHEMA_COLUMNS: &str = "s.id, s.format, s.text, s.refs, s.metadata, s.rule_set";

/// Reads [`SCHEMA_COLUMNS`] that begin at `at`.
pub(super) fn stored_schema(row: &Row<'_>, at: usize) -> rusqlite::Result<StoredSchema> {
    Ok(StoredSchema {
        id: row.get(at)?,
        format: named(row, at + 1)?,
        text: row.get(at + 2)?,
        references: json(row, at + 3)?.unwrap_or_default(),
        metadata: json(row, at + 4)?,
        rule_set: json(row, at + 5)?,
    })
}

impl Store {
    pub fn schema(&self, id: u32) -> Result<Option<StoredSchema>, RegistryError> {
        let mut select = self
            .db
            .prepare_cached(&format!("SELECT {SCHEMA_COLUMNS} FROM schemas s WHERE id = ?1"))?;
        Ok(select.query_row([id], |row| stored_schema(row, 0)).optional()?)
    }

    /// The id of the schema with this key.
    pub fn id_of(&self, key: &[u8]) -> Result<Option<u32>, RegistryError> {
        let mut select = self.db.prepare_cached("SELECT id FROM schemas WHERE key = ?1")?;
        Ok(select.query_row([key], |row| row.get(0)).optional()?)
    }

    /// The ids of all schemas.
    pub fn ids(&self) -> Result<Vec<u32>, RegistryError> {
        let mut select = self.db.prepare_cached("SELECT id FROM schemas")?;
        Ok(select
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?)
    }

    pub fn newest_id(&self) -> Result<u32, RegistryError> {
        Ok(self
            .db
            .query_row("SELECT coalesce(max(id), 0) FROM schemas", [], |row| row.get(0))?)
    }

    /// Stores a schema under the next id, or under one that is free.
    pub fn put_schema(
        db: &Transaction<'_>,
        id: Option<u32>,
        schema: &SchemaRow<'_>,
    ) -> Result<u32, RegistryError> {
        let text = |value: Option<&Value>| value.map(Value::to_string);
        let references =
            (!schema.references.is_empty()).then(|| serde_json::json!(schema.references).to_string());
        let id: u32 = db
            .prepare_cached(
                "INSERT INTO schemas (id, format, text, refs, metadata, rule_set, key)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
            )?
            .query_row(
                params![
                    id,
                    schema.format.as_str(),
                    schema.text,
                    references,
                    text(schema.metadata),
                    text(schema.rule_set),
                    schema.key
                ],
                |row| row.get(0),
            )?;
        let mut insert = db
            .prepare_cached("INSERT OR IGNORE INTO refs (subject, version, schema_id) VALUES (?1, ?2, ?3)")?;
        for reference in schema.references {
            insert.execute(params![reference.subject, reference.version, id])?;
        }
        Ok(id)
    }

    /// Deletes the schema if no version has it any more.
    pub fn drop_unused_schema(db: &Transaction<'_>, id: u32) -> Result<(), RegistryError> {
        let used: bool = db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM versions WHERE schema_id = ?1)")?
            .query_row([id], |row| row.get(0))?;
        if !used {
            db.execute("DELETE FROM refs WHERE schema_id = ?1", [id])?;
            db.execute("DELETE FROM schemas WHERE id = ?1", [id])?;
        }
        Ok(())
    }

    /// Ids of the schemas of versions that are not deleted and refer to this version.
    pub fn referenced_by(&self, subject: &str, version: u32) -> Result<Vec<u32>, RegistryError> {
        referenced_by(&self.db, subject, version)
    }
}

fn referenced_by(db: &Connection, subject: &str, version: u32) -> Result<Vec<u32>, RegistryError> {
    let mut select = db.prepare_cached(
        "SELECT schema_id FROM refs r WHERE subject = ?1 AND version = ?2
         AND EXISTS (SELECT 1 FROM versions v WHERE v.schema_id = r.schema_id AND deleted = 0) ORDER BY schema_id",
    )?;
    Ok(select
        .query_map(params![subject, version], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}
