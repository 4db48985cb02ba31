//! What is configured, for one subject or (the empty name) for all.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use tributary_schema::compat::CompatibilityLevel;

use super::{Store, maybe_named};
use crate::registry::error::RegistryError;
use crate::registry::messages::Settings;
use crate::registry::rules::Mode;

fn settings(row: &Row<'_>) -> rusqlite::Result<Settings> {
    Ok(Settings {
        level: maybe_named(row, 0)?,
        normalize: row.get(1)?,
        mode: maybe_named(row, 2)?,
    })
}

impl Store {
    pub fn settings(&self, subject: &str) -> Result<Settings, RegistryError> {
        let mut select = self
            .db
            .prepare_cached("SELECT level, normalize, mode FROM settings WHERE subject = ?1")?;
        Ok(select
            .query_row([subject], settings)
            .optional()?
            .unwrap_or_default())
    }

    pub fn put_settings(
        db: &Transaction<'_>,
        subject: &str,
        settings: Settings,
    ) -> Result<(), RegistryError> {
        if settings == Settings::default() {
            db.execute("DELETE FROM settings WHERE subject = ?1", [subject])?;
            return Ok(());
        }
        let level = settings.level.map(CompatibilityLevel::as_str);
        let mode = settings.mode.map(Mode::as_str);
        db.execute(
            "INSERT OR REPLACE INTO settings (subject, level, normalize, mode) VALUES (?1, ?2, ?3, ?4)",
            params![subject, level, settings.normalize, mode],
        )?;
        Ok(())
    }
}
