//! Lists over all subjects.

use rusqlite::{Row, params};

use super::schemas::{SCHEMA_COLUMNS, stored_schema};
use super::versions::ACCEPTED;
use super::{Store, named};
use crate::registry::error::RegistryError;
use crate::registry::messages::{Deleted, Page, SubjectVersion};

/// One subject, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectSummary {
    pub subject: String,
    pub versions: u32,
    pub drafts: u32,
    /// The newest version that is active or deprecated.
    pub latest: Option<u32>,
}

impl Deleted {
    /// The values that the column `deleted` may have.
    fn range(self) -> (bool, bool) {
        match self {
            Self::Without => (false, false),
            Self::With => (false, true),
            Self::Only => (true, true),
        }
    }
}

impl Page {
    fn sql(self) -> (i64, i64) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        (self.limit.map_or(-1, number), number(self.offset))
    }
}

fn column<T: rusqlite::types::FromSql>(row: &Row<'_>) -> rusqlite::Result<T> {
    row.get(0)
}

impl Store {
    /// Names of the subjects that begin with `prefix`. `Only`: those without a version that is not deleted.
    pub fn subjects(&self, prefix: &str, deleted: Deleted, page: Page) -> Result<Vec<String>, RegistryError> {
        let filter = match deleted {
            Deleted::Without => "HAVING min(deleted) = 0",
            Deleted::With => "",
            Deleted::Only => "HAVING min(deleted) = 1",
        };
        let (limit, offset) = page.sql();
        let mut select = self.db.prepare_cached(&format!(
            "SELECT subject FROM versions WHERE substr(subject, 1, length(?1)) = ?1
             GROUP BY subject {filter} ORDER BY subject LIMIT ?2 OFFSET ?3"
        ))?;
        Ok(select
            .query_map(params![prefix, limit, offset], column)?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Numbers of a subject's versions, ascending.
    pub fn numbers(&self, subject: &str, deleted: Deleted, page: Page) -> Result<Vec<u32>, RegistryError> {
        let (least, most) = deleted.range();
        let (limit, offset) = page.sql();
        let mut select = self.db.prepare_cached(
            "SELECT version FROM versions WHERE subject = ?1 AND deleted BETWEEN ?2 AND ?3
             ORDER BY version LIMIT ?4 OFFSET ?5",
        )?;
        Ok(select
            .query_map(params![subject, least, most, limit, offset], column)?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Versions of all subjects with a prefix, with their schemas; `latest_only`: the latest of each.
    pub fn schemas(
        &self,
        prefix: &str,
        deleted: bool,
        latest_only: bool,
        page: Page,
    ) -> Result<Vec<SubjectVersion>, RegistryError> {
        let latest = if latest_only {
            format!(
                "AND version = (SELECT max(version) FROM versions m WHERE m.subject = v.subject AND m.{})",
                ACCEPTED.replace("state", "m.state")
            )
        } else {
            String::new()
        };
        let (limit, offset) = page.sql();
        let mut select = self.db.prepare_cached(&format!(
            "SELECT subject, version, state, deleted, registered_at, {SCHEMA_COLUMNS}
             FROM versions v JOIN schemas s ON s.id = v.schema_id
             WHERE substr(subject, 1, length(?1)) = ?1 AND deleted <= ?2 {latest}
             ORDER BY subject, version LIMIT ?3 OFFSET ?4"
        ))?;
        let found = select.query_map(params![prefix, deleted, limit, offset], |row| {
            Ok(SubjectVersion {
                subject: row.get(0)?,
                version: row.get(1)?,
                state: named(row, 2)?,
                deleted: row.get(3)?,
                registered_at: row.get(4)?,
                schema: stored_schema(row, 5)?,
            })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    /// Which versions of which subjects have the schema.
    pub fn versions_of_schema(
        &self,
        id: u32,
        deleted: bool,
        page: Page,
    ) -> Result<Vec<(String, u32)>, RegistryError> {
        let (limit, offset) = page.sql();
        let mut select = self.db.prepare_cached(
            "SELECT subject, version FROM versions WHERE schema_id = ?1 AND deleted <= ?2
             ORDER BY subject, version LIMIT ?3 OFFSET ?4",
        )?;
        Ok(select
            .query_map(params![id, deleted, limit, offset], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Every subject that is not deleted.
    pub fn summaries(&self) -> Result<Vec<SubjectSummary>, RegistryError> {
        let mut select = self.db.prepare_cached(
            "SELECT subject, count(*), sum(state = 'draft'), max(iif(state IN ('active', 'deprecated'), version, NULL))
             FROM versions WHERE deleted = 0 GROUP BY subject ORDER BY subject",
        )?;
        let found = select.query_map([], |row| {
            Ok(SubjectSummary {
                subject: row.get(0)?,
                versions: row.get(1)?,
                drafts: row.get(2)?,
                latest: row.get(3)?,
            })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }
}
