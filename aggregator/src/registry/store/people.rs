//! Whose a subject is, who changed what, and which agents use it.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use tributary_shared::time::Millis;

use super::Store;
use crate::registry::error::RegistryError;
use crate::registry::messages::{By, Change, Governance, Usage};

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    Ok(Change {
        no: row.get(0)?,
        at: row.get(1)?,
        subject: row.get(2)?,
        version: row.get(3)?,
        who: row.get(4)?,
        role: row.get(5)?,
        what: row.get(6)?,
        detail: row.get(7)?,
        why: row.get(8)?,
    })
}

/// A change that is to be recorded.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry) struct NewChange<'a> {
    pub subject: &'a str,
    pub version: Option<u32>,
    pub what: &'a str,
    pub detail: Option<&'a str>,
}

impl Store {
    pub fn governance(&self, subject: &str) -> Result<Governance, RegistryError> {
        let mut select = self.db.prepare_cached(
            "SELECT owner, contact, description, approver_role FROM governance WHERE subject = ?1",
        )?;
        let found = select
            .query_row([subject], |row| {
                Ok(Governance {
                    owner: row.get(0)?,
                    contact: row.get(1)?,
                    description: row.get(2)?,
                    approver_role: row.get(3)?,
                })
            })
            .optional()?;
        Ok(found.unwrap_or_default())
    }

    pub fn put_governance(
        db: &Transaction<'_>,
        subject: &str,
        new: &Governance,
    ) -> Result<(), RegistryError> {
        db.execute(
            "INSERT OR REPLACE INTO governance (subject, owner, contact, description, approver_role)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                subject,
                new.owner,
                new.contact,
                new.description,
                new.approver_role
            ],
        )?;
        Ok(())
    }

    pub fn record(
        db: &Transaction<'_>,
        at: Millis,
        by: &By,
        change: NewChange<'_>,
    ) -> Result<(), RegistryError> {
        db.prepare_cached(
            "INSERT INTO changes (at, subject, version, who, role, what, detail, why)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            at,
            change.subject,
            change.version,
            by.who,
            by.role,
            change.what,
            change.detail,
            by.why
        ])?;
        Ok(())
    }

    /// Newest first; only those with a number below `before`.
    pub fn changes(
        &self,
        subject: Option<&str>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Change>, RegistryError> {
        const COLUMNS: &str = "no, at, subject, version, who, role, what, detail, why";
        let filter = if subject.is_some() {
            "subject = ?1 AND"
        } else {
            "?1 IS NULL AND"
        };
        let mut select = self.db.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM changes WHERE {filter} no < ?2 ORDER BY no DESC LIMIT ?3"
        ))?;
        Ok(select
            .query_map(params![subject, before, limit], change)?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Who uses which version of a subject, newest versions first.
    pub fn usage(&self, subject: &str) -> Result<Vec<Usage>, RegistryError> {
        let mut select = self.db.prepare_cached(
            "SELECT agent, version, schema_id, rows, first_seen, last_seen FROM usage
             WHERE subject = ?1 ORDER BY version DESC, agent",
        )?;
        let found = select.query_map([subject], |row| {
            Ok(Usage {
                agent: row.get(0)?,
                version: row.get(1)?,
                id: row.get(2)?,
                rows: row.get(3)?,
                first_seen: row.get(4)?,
                last_seen: row.get(5)?,
            })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    pub fn add_usage(db: &Transaction<'_>, subject: &str, usage: &Usage) -> Result<(), RegistryError> {
        db.prepare_cached(
            "INSERT INTO usage (subject, version, agent, schema_id, rows, first_seen, last_seen)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (subject, version, agent) DO UPDATE SET
                 rows = rows + excluded.rows,
                 first_seen = min(first_seen, excluded.first_seen),
                 last_seen = max(last_seen, excluded.last_seen)",
        )?
        .execute(params![
            subject,
            usage.version,
            usage.agent,
            usage.id,
            usage.rows,
            usage.first_seen,
            usage.last_seen
        ])?;
        Ok(())
    }
}
