//! Versions of subjects.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use tributary_shared::time::Millis;

use super::schemas::{SCHEMA_COLUMNS, stored_schema};
use super::{Store, named};
use crate::registry::error::RegistryError;
use crate::registry::messages::{SubjectVersion, VersionRow};
use crate::registry::rules::State;

/// A version that is to be stored.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry) struct NewVersion<'a> {
    pub subject: &'a str,
    pub version: u32,
    pub id: u32,
    pub state: State,
    pub at: Millis,
}

const ROW: &str = "version, schema_id, state, deleted, registered_at";
/// The versions that count, see [`State::accepted`].
pub(super) const ACCEPTED: &str = "deleted = 0 AND state IN ('active', 'deprecated')";

fn version_row(row: &Row<'_>) -> rusqlite::Result<VersionRow> {
    Ok(VersionRow {
        version: row.get(0)?,
        id: row.get(1)?,
        state: named(row, 2)?,
        deleted: row.get(3)?,
        registered_at: row.get(4)?,
    })
}

fn subject_version(row: &Row<'_>) -> rusqlite::Result<SubjectVersion> {
    Ok(SubjectVersion {
        subject: row.get(0)?,
        version: row.get(1)?,
        state: named(row, 2)?,
        deleted: row.get(3)?,
        registered_at: row.get(4)?,
        schema: stored_schema(row, 5)?,
    })
}

impl Store {
    /// The version with its schema, deleted or not.
    pub fn version(&self, subject: &str, version: u32) -> Result<Option<SubjectVersion>, RegistryError> {
        self.one(subject, "version = ?2", version)
    }

    /// The newest version that is active or deprecated.
    pub fn latest(&self, subject: &str) -> Result<Option<SubjectVersion>, RegistryError> {
        self.one(subject, &format!("{ACCEPTED} AND version > ?2"), 0)
    }

    /// The newest version that is deleted.
    pub fn latest_deleted(&self, subject: &str) -> Result<Option<SubjectVersion>, RegistryError> {
        self.one(subject, "deleted = 1 AND version > ?2", 0)
    }

    fn one(&self, subject: &str, filter: &str, number: u32) -> Result<Option<SubjectVersion>, RegistryError> {
        let mut select = self.db.prepare_cached(&format!(
            "SELECT subject, version, state, deleted, registered_at, {SCHEMA_COLUMNS}
             FROM versions v JOIN schemas s ON s.id = v.schema_id
             WHERE subject = ?1 AND {filter} ORDER BY version DESC LIMIT 1"
        ))?;
        Ok(select
            .query_row(params![subject, number], subject_version)
            .optional()?)
    }

    /// All versions of a subject, ascending; deleted ones too.
    pub fn versions(&self, subject: &str) -> Result<Vec<VersionRow>, RegistryError> {
        let mut select = self.db.prepare_cached(&format!(
            "SELECT {ROW} FROM versions WHERE subject = ?1 ORDER BY version"
        ))?;
        Ok(select
            .query_map([subject], version_row)?
            .collect::<rusqlite::Result<_>>()?)
    }

    pub fn version_row(&self, subject: &str, version: u32) -> Result<Option<VersionRow>, RegistryError> {
        let mut select = self.db.prepare_cached(&format!(
            "SELECT {ROW} FROM versions WHERE subject = ?1 AND version = ?2"
        ))?;
        Ok(select
            .query_row(params![subject, version], version_row)
            .optional()?)
    }

    /// Ids of the versions that new ones must be compatible with, newest first.
    pub fn accepted_ids(&self, subject: &str, limit: Option<u32>) -> Result<Vec<(u32, u32)>, RegistryError> {
        let mut select = self.db.prepare_cached(&format!(
            "SELECT version, schema_id FROM versions WHERE subject = ?1 AND {ACCEPTED}
             ORDER BY version DESC LIMIT ?2"
        ))?;
        let limit = limit.map_or(-1, i64::from);
        Ok(select
            .query_map(params![subject, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// The newest version of the subject with this schema; deleted ones only when asked for.
    pub fn version_with(
        &self,
        subject: &str,
        id: u32,
        deleted: bool,
    ) -> Result<Option<VersionRow>, RegistryError> {
        let mut select = self.db.prepare_cached(&format!(
            "SELECT {ROW} FROM versions WHERE schema_id = ?2 AND subject = ?1 AND deleted <= ?3
             ORDER BY deleted, version DESC LIMIT 1"
        ))?;
        Ok(select
            .query_row(params![subject, id, deleted], version_row)
            .optional()?)
    }

    /// The highest number that the subject has given to a version; deleted ones count.
    pub fn newest_number(&self, subject: &str) -> Result<Option<u32>, RegistryError> {
        let mut select = self
            .db
            .prepare_cached("SELECT max(version) FROM versions WHERE subject = ?1")?;
        Ok(select.query_row([subject], |row| row.get(0))?)
    }

    /// Whether the subject has a version; one that is deleted only when `deleted`.
    pub fn has_subject(&self, subject: &str, deleted: bool) -> Result<bool, RegistryError> {
        let mut select = self
            .db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM versions WHERE subject = ?1 AND deleted <= ?2)")?;
        Ok(select.query_row(params![subject, deleted], |row| row.get(0))?)
    }

    pub fn put_version(db: &Transaction<'_>, new: NewVersion<'_>) -> Result<(), RegistryError> {
        db.prepare_cached(
            "INSERT INTO versions (subject, version, schema_id, registered_at, state)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            new.subject,
            new.version,
            new.id,
            new.at,
            new.state.as_str()
        ])?;
        Ok(())
    }

    pub fn set_state(
        db: &Transaction<'_>,
        subject: &str,
        version: u32,
        state: State,
    ) -> Result<(), RegistryError> {
        db.execute(
            "UPDATE versions SET state = ?3 WHERE subject = ?1 AND version = ?2",
            params![subject, version, state.as_str()],
        )?;
        Ok(())
    }

    /// Archives a version: still readable, counted nowhere.
    pub fn archive(db: &Transaction<'_>, subject: &str, version: u32) -> Result<(), RegistryError> {
        db.prepare_cached("UPDATE versions SET deleted = 1 WHERE subject = ?1 AND version = ?2")?
            .execute(params![subject, version])?;
        Ok(())
    }

    /// Deletes a version for ever, with what is known of its use.
    pub fn remove(db: &Transaction<'_>, subject: &str, row: VersionRow) -> Result<(), RegistryError> {
        db.prepare_cached("DELETE FROM versions WHERE subject = ?1 AND version = ?2")?
            .execute(params![subject, row.version])?;
        db.prepare_cached("DELETE FROM usage WHERE subject = ?1 AND version = ?2")?
            .execute(params![subject, row.version])?;
        Self::drop_unused_schema(db, row.id)
    }
}
