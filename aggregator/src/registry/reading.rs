//! What is asked of the registry without changing it.

use std::sync::Arc;

use tributary_schema::language::ParsedSchema;
use tributary_shared::wire::{NamedText, SchemaInfo};

use super::messages::{
    Change, Deleted, Governance, Page, Reference, StoredSchema, SubjectVersion, Usage, Version, VersionRow,
};
use super::store::SubjectSummary;
use super::{Registry, RegistryError, language, references};

impl Registry {
    /// One version of a subject. Deleted ones only when asked for.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`], [`RegistryError::UnknownVersion`], [`RegistryError::NoLatest`].
    pub fn version(
        &self,
        subject: &str,
        version: Version,
        deleted: bool,
    ) -> Result<SubjectVersion, RegistryError> {
        let store = self.store();
        let found = match version {
            Version::Number(number) => store
                .version(subject, number)?
                .filter(|found| deleted || !found.deleted),
            Version::Latest => match store.latest(subject)? {
                None if deleted => store.latest_deleted(subject)?,
                found => found,
            },
        };
        if let Some(found) = found {
            return Ok(found);
        }
        let known = store.has_subject(subject, deleted)?;
        let subject = subject.to_owned();
        Err(match version {
            _ if !known => RegistryError::UnknownSubject { subject },
            Version::Number(version) => RegistryError::UnknownVersion { subject, version },
            Version::Latest => RegistryError::NoLatest { subject },
        })
    }

    /// A schema by its id.
    ///
    /// # Errors
    /// [`RegistryError::UnknownId`].
    pub fn schema(&self, id: u32) -> Result<StoredSchema, RegistryError> {
        self.store().schema(id)?.ok_or(RegistryError::UnknownId { id })
    }

    /// The highest id of any schema; 0 when there is none.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn newest_id(&self) -> Result<u32, RegistryError> {
        self.store().newest_id()
    }

    /// Names of subjects that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn subjects(&self, prefix: &str, deleted: Deleted, page: Page) -> Result<Vec<String>, RegistryError> {
        self.store().subjects(prefix, deleted, page)
    }

    /// The numbers of a subject's versions, ascending.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`].
    pub fn numbers(&self, subject: &str, deleted: Deleted, page: Page) -> Result<Vec<u32>, RegistryError> {
        let store = self.store();
        if !store.has_subject(subject, deleted != Deleted::Without)? {
            let subject = subject.to_owned();
            return Err(RegistryError::UnknownSubject { subject });
        }
        store.numbers(subject, deleted, page)
    }

    /// All versions of a subject, ascending, archived ones too.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`].
    pub fn versions(&self, subject: &str) -> Result<Vec<VersionRow>, RegistryError> {
        let versions = self.store().versions(subject)?;
        if versions.is_empty() {
            let subject = subject.to_owned();
            return Err(RegistryError::UnknownSubject { subject });
        }
        Ok(versions)
    }

    /// Versions of all subjects, with their schemas.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn schemas(
        &self,
        prefix: &str,
        deleted: bool,
        latest_only: bool,
        page: Page,
    ) -> Result<Vec<SubjectVersion>, RegistryError> {
        self.store().schemas(prefix, deleted, latest_only, page)
    }

    /// Which versions of which subjects have a schema.
    ///
    /// # Errors
    /// [`RegistryError::UnknownId`].
    pub fn versions_of_schema(
        &self,
        id: u32,
        deleted: bool,
        page: Page,
    ) -> Result<Vec<(String, u32)>, RegistryError> {
        let store = self.store();
        if store.schema(id)?.is_none() {
            return Err(RegistryError::UnknownId { id });
        }
        store.versions_of_schema(id, deleted, page)
    }

    /// Ids of the schemas that refer to a version.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`], [`RegistryError::UnknownVersion`].
    pub fn referenced_by(&self, subject: &str, version: Version) -> Result<Vec<u32>, RegistryError> {
        let found = self.version(subject, version, true)?;
        self.store().referenced_by(subject, found.version)
    }

    /// Every subject that is not deleted, in numbers.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn summaries(&self) -> Result<Vec<SubjectSummary>, RegistryError> {
        self.store().summaries()
    }

    /// Whose a subject is; nobody's when nothing was said.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn governance(&self, subject: &str) -> Result<Governance, RegistryError> {
        self.store().governance(subject)
    }

    /// The record of changes, newest first: of one subject or of all, below number `before`.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn recorded(
        &self,
        subject: Option<&str>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<Change>, RegistryError> {
        self.store().changes(subject, before.unwrap_or(i64::MAX), limit)
    }

    /// Which agents send events that a subject's versions judged, up to this moment.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn usage(&self, subject: &str) -> Result<Vec<Usage>, RegistryError> {
        self.save_usage()?;
        self.store().usage(subject)
    }

    /// What a version's schema is, as gateways and agents get it.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn info(&self, found: SubjectVersion) -> Result<SchemaInfo, RegistryError> {
        let references = self.texts(&found.schema.references, found.schema.text.len())?;
        Ok(SchemaInfo {
            id: found.schema.id,
            version: found.version,
            format: found.schema.format.as_str().to_owned(),
            text: found.schema.text,
            references,
        })
    }

    /// The texts behind references, those that they need themselves included and first.
    pub(super) fn texts(
        &self,
        wanted: &[Reference],
        own_bytes: usize,
    ) -> Result<Vec<NamedText>, RegistryError> {
        let store = self.store();
        references::resolve(wanted, own_bytes, &mut |subject, version| {
            Ok(store.version(subject, version)?.map(|found| found.schema))
        })
    }

    /// The parsed form of a stored schema.
    ///
    /// # Errors
    /// [`RegistryError::Language`] for a schema of an older program that this one would refuse.
    pub fn parsed(&self, id: u32) -> Result<Arc<ParsedSchema>, RegistryError> {
        if let Some(parsed) = self.shared.parsed.get(id) {
            return Ok(parsed);
        }
        let schema = self.schema(id)?;
        let texts = self.texts(&schema.references, schema.text.len())?;
        let parsed = Arc::new(language::read(schema.format, &schema.text, &texts)?);
        let bytes = schema.text.len() + texts.iter().map(|named| named.text.len()).sum::<usize>();
        self.shared.parsed.put(id, Arc::clone(&parsed), bytes);
        Ok(parsed)
    }
}
