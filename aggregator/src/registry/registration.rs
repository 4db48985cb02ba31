//! New versions of subjects, and the look for old ones.

use std::sync::Arc;

use serde_json::Value;
use tributary_schema::language::ParsedSchema;
use tributary_shared::time::now_millis;

use super::messages::{
    By, MAX_ANNEX_BYTES, NewSchema, Reference, Registered, SubjectVersion, Version, VersionRow,
};
use super::rules::{self, Mode, State};
use super::store::{NewChange, NewVersion, SchemaRow, Store};
use super::{Registry, RegistryError, language};

/// A schema that was read, and how it would be stored.
#[derive(Debug)]
pub(super) struct Prepared {
    pub parsed: Arc<ParsedSchema>,
    text: String,
    references: Vec<Reference>,
    key: Vec<u8>,
}

impl Registry {
    /// Registers a schema; durable, visible in the cache and announced when this returns. A schema that the
    /// subject has already keeps its version.
    ///
    /// # Errors
    /// [`RegistryError`] naming what is wrong with subject, schema or mode, and where.
    pub fn register(&self, subject: &str, new: &NewSchema, by: &By) -> Result<Registered, RegistryError> {
        rules::subject_name(subject)?;
        let _changing = self.changing();
        let prepared = self.prepare(subject, new)?;
        if let Some((id, known)) = self.known(subject, &prepared, false)?
            && new.id.is_none_or(|asked| asked == id)
        {
            return known_again(subject, id, known);
        }
        let mode = self.mode(subject)?;
        rules::may_register(subject, mode, new.id.is_some())?;
        let approver = self.store().governance(subject)?.approver_role;
        let state = rules::first_state(approver.as_deref(), mode);
        if mode != Mode::Import {
            self.must_follow(subject, &prepared.parsed)?;
        }
        let registered = self.store_version(subject, new, &prepared, (mode, state), by)?;
        self.shared.cache.add_ids([registered.id]);
        self.refresh(subject)?;
        let Registered { id, version, .. } = registered;
        tracing::info!(subject, id, version, state = state.as_str(), "schema registered");
        Ok(registered)
    }

    /// The version that has a schema.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`], [`RegistryError::UnknownSchema`].
    pub fn lookup(
        &self,
        subject: &str,
        new: &NewSchema,
        deleted: bool,
    ) -> Result<SubjectVersion, RegistryError> {
        if !self.store().has_subject(subject, deleted)? {
            let subject = subject.to_owned();
            return Err(RegistryError::UnknownSubject { subject });
        }
        let prepared = self.prepare(subject, new)?;
        match self.known(subject, &prepared, deleted)? {
            Some((_, known)) => self.version(subject, Version::Number(known.version), deleted),
            None => Err(RegistryError::UnknownSchema {
                subject: subject.to_owned(),
            }),
        }
    }

    /// Reads a schema with all that it refers to.
    pub(super) fn prepare(&self, subject: &str, new: &NewSchema) -> Result<Prepared, RegistryError> {
        annex("metadata", new.metadata.as_ref())?;
        annex("ruleSet", new.rule_set.as_ref())?;
        if new.references.len() > super::messages::MAX_REFERENCES {
            return Err(RegistryError::TooManyReferences);
        }
        let references = self.pin(new)?;
        let texts = self.texts(&references, new.text.len())?;
        let mut parsed = language::read(new.format, &new.text, &texts)?;
        let mut text = new.text.clone();
        if self.normalizes(subject, new)? {
            text = parsed.normalized();
            parsed = language::read(new.format, &text, &texts)?;
        }
        if language::is_descriptor(new.format, &text) {
            parsed.canonical().clone_into(&mut text);
        }
        language::check_fields_of_rules(new.format, &text, &texts)?;
        let key = language::key(
            new.format,
            parsed.canonical(),
            &references,
            new.metadata.as_ref(),
            new.rule_set.as_ref(),
        );
        Ok(Prepared {
            parsed: Arc::new(parsed),
            text,
            references,
            key,
        })
    }

    /// The references with the version that `latest` means now. Deleted versions cannot be referred to.
    fn pin(&self, new: &NewSchema) -> Result<Vec<Reference>, RegistryError> {
        let pinned = new.references.iter().map(|asked| {
            let found = self
                .version(&asked.subject, asked.version, false)
                .map_err(|error| match error {
                    error @ RegistryError::Sqlite(_) => error,
                    error => RegistryError::Reference {
                        name: asked.name.clone(),
                        why: error.to_string(),
                    },
                })?;
            Ok(Reference {
                name: asked.name.clone(),
                subject: found.subject,
                version: found.version,
            })
        });
        pinned.collect()
    }

    fn normalizes(&self, subject: &str, new: &NewSchema) -> Result<bool, RegistryError> {
        if new.normalize {
            return Ok(true);
        }
        let store = self.store();
        let own = store.settings(subject)?.normalize;
        let all = store.settings("")?.normalize;
        Ok(own.or(all).unwrap_or(false))
    }

    fn known(
        &self,
        subject: &str,
        prepared: &Prepared,
        deleted: bool,
    ) -> Result<Option<(u32, VersionRow)>, RegistryError> {
        let store = self.store();
        let Some(id) = store.id_of(&prepared.key)? else {
            return Ok(None);
        };
        Ok(store.version_with(subject, id, deleted)?.map(|row| (id, row)))
    }

    /// # Errors
    /// [`RegistryError::Incompatible`].
    pub(super) fn must_follow(&self, subject: &str, new: &ParsedSchema) -> Result<(), RegistryError> {
        let level = self.level(subject)?;
        let verdict = self.judge(subject, level, new)?;
        if verdict.messages.is_empty() {
            return Ok(());
        }
        Err(RegistryError::Incompatible {
            subject: subject.to_owned(),
            level,
            messages: verdict.messages,
        })
    }

    fn store_version(
        &self,
        subject: &str,
        new: &NewSchema,
        prepared: &Prepared,
        (mode, state): (Mode, State),
        by: &By,
    ) -> Result<Registered, RegistryError> {
        let mut store = self.store();
        let version = rules::next_version(mode, store.newest_number(subject)?, new.version)?;
        let held = store.version_row(subject, version)?;
        if held.is_some() {
            let subject = subject.to_owned();
            return Err(RegistryError::VersionTaken { subject, version });
        }
        let known = store.id_of(&prepared.key)?;
        if let Some(asked) = new.id {
            match known {
                Some(id) if id != asked => return Err(RegistryError::OtherId { id }),
                None if store.schema(asked)?.is_some() => return Err(RegistryError::IdTaken { id: asked }),
                _ => {}
            }
        }
        let row = SchemaRow {
            format: new.format,
            text: &prepared.text,
            references: &prepared.references,
            metadata: new.metadata.as_ref(),
            rule_set: new.rule_set.as_ref(),
            key: &prepared.key,
        };
        let at = now_millis();
        let what = if state == State::Draft {
            "proposed"
        } else {
            "registered"
        };
        let id = store.write(|db| {
            let id = match known {
                Some(id) => id,
                None => Store::put_schema(db, new.id, &row)?,
            };
            let new = NewVersion {
                subject,
                version,
                id,
                state,
                at,
            };
            Store::put_version(db, new)?;
            let change = NewChange {
                subject,
                version: Some(version),
                what,
                detail: None,
            };
            Store::record(db, at, by, change)?;
            Ok(id)
        })?;
        Ok(Registered {
            id,
            version,
            state,
            created: true,
        })
    }
}

fn known_again(subject: &str, id: u32, known: VersionRow) -> Result<Registered, RegistryError> {
    let VersionRow { version, state, .. } = known;
    if state == State::Retired {
        let subject = subject.to_owned();
        return Err(RegistryError::Retired { subject, version });
    }
    Ok(Registered {
        id,
        version,
        state,
        created: false,
    })
}

fn annex(what: &'static str, value: Option<&Value>) -> Result<(), RegistryError> {
    match value {
        Some(value) if value.to_string().len() > MAX_ANNEX_BYTES => {
            Err(RegistryError::TooLargeAnnex { what })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
impl Registry {
    /// Registers many schemas in one transaction, unchecked.
    pub(super) fn fill(&self, subject: &str, texts: impl Iterator<Item = String>) -> Vec<u32> {
        let format = tributary_schema::language::SchemaFormat::Json;
        let _changing = self.changing();
        let newest = self.store().newest_number(subject).expect("read").unwrap_or(0);
        let write = |db: &rusqlite::Transaction<'_>| {
            let store = |(text, version): (String, u32)| {
                let row = SchemaRow {
                    format,
                    key: &language::key(format, &text, &[], None, None),
                    text: &text,
                    references: &[],
                    metadata: None,
                    rule_set: None,
                };
                let id = Store::put_schema(db, None, &row)?;
                let new = NewVersion {
                    subject,
                    version,
                    id,
                    state: State::Active,
                    at: 0,
                };
                Store::put_version(db, new)?;
                Ok(id)
            };
            texts.zip(newest + 1..).map(store).collect()
        };
        self.store().write(write).expect("stored")
    }
}
