//! Compatibility level and mode, of one subject or (the empty name) of all.

use tributary_schema::compat::CompatibilityLevel;
use tributary_shared::time::now_millis;

use super::messages::{By, Deleted, Page, Settings};
use super::rules::{self, Mode};
use super::store::{NewChange, Store};
use super::{Registry, RegistryError};

/// What counts while nobody has said anything else.
pub const DEFAULT_LEVEL: CompatibilityLevel = CompatibilityLevel::Backward;

impl Registry {
    /// What is configured for a subject itself; for all, with the empty name.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn settings(&self, subject: &str) -> Result<Settings, RegistryError> {
        self.store().settings(subject)
    }

    /// The level that counts for a subject.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn level(&self, subject: &str) -> Result<CompatibilityLevel, RegistryError> {
        let store = self.store();
        let own = store.settings(subject)?.level;
        Ok(own.or(store.settings("")?.level).unwrap_or(DEFAULT_LEVEL))
    }

    /// The mode that counts for a subject.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn mode(&self, subject: &str) -> Result<Mode, RegistryError> {
        let store = self.store();
        let (global, own) = (store.settings("")?.mode, store.settings(subject)?.mode);
        Ok(Mode::in_scope(global, own))
    }

    /// Sets level and normalisation; what is `None` stays.
    ///
    /// # Errors
    /// When the mode is against it.
    pub fn set_config(
        &self,
        subject: &str,
        level: Option<CompatibilityLevel>,
        normalize: Option<bool>,
        by: &By,
    ) -> Result<(), RegistryError> {
        named(subject)?;
        let _changing = self.changing();
        rules::may_change(subject, self.mode(subject)?)?;
        let old = self.settings(subject)?;
        let new = Settings {
            level: level.or(old.level),
            normalize: normalize.or(old.normalize),
            ..old
        };
        let detail = match (level, normalize) {
            (Some(level), Some(normalize)) => format!("{level}, normalize {normalize}"),
            (Some(level), None) => level.to_string(),
            (None, normalize) => format!("normalize {}", normalize.unwrap_or(false)),
        };
        self.put(subject, new, "compatibility_set", Some(&detail), by)
    }

    /// Goes back to the level of all, or with the empty name to the default; returns the level that was
    /// there.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`] when the subject has none of its own.
    pub fn unset_config(&self, subject: &str, by: &By) -> Result<CompatibilityLevel, RegistryError> {
        let _changing = self.changing();
        let old = self.settings(subject)?;
        if old.level.is_none() && old.normalize.is_none() && !subject.is_empty() {
            let subject = subject.to_owned();
            return Err(RegistryError::UnknownSubject { subject });
        }
        rules::may_change(subject, self.mode(subject)?)?;
        let new = Settings {
            level: None,
            normalize: None,
            ..old
        };
        self.put(subject, new, "compatibility_unset", None, by)?;
        Ok(old.level.unwrap_or(DEFAULT_LEVEL))
    }

    /// Sets the mode. IMPORT is refused while there are schemas, unless `force`.
    ///
    /// # Errors
    /// [`RegistryError::NotEmpty`].
    pub fn set_mode(&self, subject: &str, mode: Mode, force: bool, by: &By) -> Result<(), RegistryError> {
        named(subject)?;
        let _changing = self.changing();
        let old = self.settings(subject)?;
        if mode == Mode::Import
            && !force
            && old.mode != Some(mode)
            && let Some(subject) = self.one_with_schemas(subject)?
        {
            return Err(RegistryError::NotEmpty { subject });
        }
        let new = Settings {
            mode: Some(mode),
            ..old
        };
        self.put(subject, new, "mode_set", Some(mode.as_str()), by)
    }

    /// Goes back to the mode of all, or with the empty name to READWRITE; returns the mode that was there.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`] when the subject has none of its own.
    pub fn unset_mode(&self, subject: &str, by: &By) -> Result<Mode, RegistryError> {
        let _changing = self.changing();
        let old = self.settings(subject)?;
        let was = match old.mode {
            None if !subject.is_empty() => {
                let subject = subject.to_owned();
                return Err(RegistryError::UnknownSubject { subject });
            }
            was => was.unwrap_or_default(),
        };
        self.put(subject, Settings { mode: None, ..old }, "mode_unset", None, by)?;
        Ok(was)
    }

    /// A subject of the scope that has schemas, other than those that Tributary ships.
    fn one_with_schemas(&self, scope: &str) -> Result<Option<String>, RegistryError> {
        let store = self.store();
        if !scope.is_empty() {
            return Ok(store.has_subject(scope, false)?.then(|| scope.to_owned()));
        }
        let host = format!("{}-value", tributary_shared::host_schema::HOST_STREAM);
        let page = Page {
            offset: 0,
            limit: Some(2),
        };
        let mut found = store.subjects("", Deleted::Without, page)?;
        found.retain(|subject| *subject != host);
        Ok(found.into_iter().next())
    }

    fn put(
        &self,
        subject: &str,
        settings: Settings,
        what: &str,
        detail: Option<&str>,
        by: &By,
    ) -> Result<(), RegistryError> {
        self.store().write(|db| {
            Store::put_settings(db, subject, settings)?;
            let change = NewChange {
                subject,
                version: None,
                what,
                detail,
            };
            Store::record(db, now_millis(), by, change)
        })
    }
}

fn named(subject: &str) -> Result<(), RegistryError> {
    if subject.is_empty() {
        return Ok(());
    }
    rules::subject_name(subject)
}
