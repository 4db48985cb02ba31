//! The schema registry: subjects with numbered versions of schemas, durable in `registry.db`, and the newest
//! schema of every stream in memory.
//!
//! The schema of stream `S` is the latest version of subject `S-value`. The commit thread refuses batches
//! that an older one judged, so a registered schema holds for every event committed after it; sessions push
//! changes to the gateways ([`Registry::changes`]).
//!
//! Calls block on the disk: use `actix_web::web::block` or a thread. [`Registry::cache`] does not.

mod cache;
mod json_schema;
mod messages;
mod store;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tributary_shared::host_schema::{HOST_SCHEMA, HOST_STREAM};
use tributary_shared::ids::StreamName;
use tributary_shared::time::now_millis;
use tributary_shared::wire::SchemaInfo;

pub use cache::{SchemaCache, stream_of, subject_of};
pub use messages::{
    MAX_SCHEMA_BYTES, MAX_SUBJECT, Registered, RegistryError, SchemaChange, SchemaFormat, SubjectVersion,
    Version,
};
use store::Store;
pub use store::{REGISTRY_FILE, reserve_ids};

/// Changes that a session may have missed before it must read the whole [`SchemaCache`] again. People
/// register schemas, so even a deployment script stays below this.
const CHANGES: usize = 64;

/// A handle on the registry; clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    cache: SchemaCache,
    changes: broadcast::Sender<SchemaChange>,
}

impl Registry {
    /// Opens `registry.db` in a directory that exists, and registers the schemas that Tributary ships.
    ///
    /// # Errors
    /// [`RegistryError::FormatTooNew`], or those of SQLite.
    pub fn open(dir: &Path) -> Result<Self, RegistryError> {
        let store = Store::open(dir)?;
        let cache = SchemaCache::default();
        cache.add_ids(store.ids()?);
        for subject in store.subjects()? {
            let newest = store.version(&subject, Version::Latest)?;
            if let Some((stream, newest)) = stream_of(&subject).zip(newest) {
                cache.set(stream, Arc::new(newest.schema));
            }
        }
        let changes = broadcast::Sender::new(CHANGES);
        let registry = Self {
            shared: Arc::new(Shared {
                store: Mutex::new(store),
                cache,
                changes,
            }),
        };
        let host = StreamName::new(HOST_STREAM)
            .map(|stream| subject_of(&stream))
            .unwrap_or_default();
        registry.register(&host, SchemaFormat::Json, HOST_SCHEMA)?;
        Ok(registry)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a schema; durable, visible in the cache and announced when this returns. A text that the
    /// subject has already keeps its version.
    ///
    /// # Errors
    /// [`RegistryError`] naming what is wrong with subject or text, and where.
    pub fn register(
        &self,
        subject: &str,
        format: SchemaFormat,
        text: &str,
    ) -> Result<Registered, RegistryError> {
        if subject.is_empty() || subject.len() > MAX_SUBJECT || subject.chars().any(char::is_control) {
            let subject = subject.chars().take(80).collect();
            return Err(RegistryError::InvalidSubject { subject });
        }
        match format {
            SchemaFormat::Json => json_schema::check(text)?,
        }
        // the lock spans store and cache: two registrations reach both in one order
        let mut store = self.store();
        let registered = store.register(subject, format, text, now_millis())?;
        self.shared.cache.add_ids([registered.id]);
        if registered.created
            && let Some(stream) = stream_of(subject)
        {
            let Registered { id, version, .. } = registered;
            let schema = SchemaInfo {
                id,
                version,
                format: format.as_str().to_owned(),
                text: text.to_owned(),
                references: Vec::new(),
            };
            let schema = Arc::new(schema);
            self.shared.cache.set(stream.clone(), Arc::clone(&schema));
            tracing::info!(%stream, id, version, "schema registered");
            // nobody listening is fine: a session reads the cache when it begins
            let _ = self.shared.changes.send(SchemaChange { stream, schema });
        }
        Ok(registered)
    }

    /// One version of a subject.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`], [`RegistryError::UnknownVersion`].
    pub fn version(&self, subject: &str, version: Version) -> Result<SubjectVersion, RegistryError> {
        let found = self.store().version(subject, version)?;
        found.ok_or_else(|| match version {
            Version::Number(version) if self.versions(subject).is_ok() => RegistryError::UnknownVersion {
                subject: subject.to_owned(),
                version,
            },
            _ => RegistryError::UnknownSubject {
                subject: subject.to_owned(),
            },
        })
    }

    /// Format and text of a schema.
    ///
    /// # Errors
    /// [`RegistryError::UnknownId`].
    pub fn schema(&self, id: u32) -> Result<(String, String), RegistryError> {
        self.store().text(id)?.ok_or(RegistryError::UnknownId { id })
    }

    /// All subjects, by name.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.store().subjects()
    }

    /// The versions of a subject, ascending.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`].
    pub fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        let versions = self.store().versions(subject)?;
        if versions.is_empty() {
            return Err(RegistryError::UnknownSubject {
                subject: subject.to_owned(),
            });
        }
        Ok(versions)
    }

    /// The newest schema of every stream.
    #[must_use]
    pub fn cache(&self) -> SchemaCache {
        self.shared.cache.clone()
    }

    /// Every change from now on. After `Lagged`, read the whole cache.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<SchemaChange> {
        self.shared.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#;
    const TWO: &str = r#"{"type":"object","properties":{"a":{"type":"number"}}}"#;

    fn stream(name: &str) -> StreamName {
        StreamName::new(name).expect("valid")
    }

    #[test]
    fn the_same_text_has_one_id_and_a_version_in_each_subject() {
        let dir = tempfile::tempdir().expect("dir");
        let registry = Registry::open(dir.path()).expect("open");
        let json = SchemaFormat::Json;
        let first = registry.register("a-value", json, ONE).expect("registered");
        let second = registry.register("a-value", json, TWO).expect("registered");
        let elsewhere = registry.register("b-value", json, ONE).expect("registered");
        let again = registry.register("a-value", json, ONE).expect("known");
        assert_eq!((first.version, second.version, elsewhere.version), (1, 2, 1));
        assert_eq!(elsewhere.id, first.id);
        assert_ne!(second.id, first.id);
        assert_eq!(
            again,
            Registered {
                created: false,
                ..first
            }
        );
        assert_eq!(
            registry.cache().latest(&stream("a")).map(|s| s.version),
            Some(2),
            "an old text stays old"
        );
        assert_eq!(registry.versions("a-value").expect("known"), [1, 2]);
        assert_eq!(
            registry.subjects().expect("read"),
            ["a-value", "b-value", "host-value"]
        );
        assert_eq!(
            registry
                .version("a-value", Version::Latest)
                .expect("known")
                .schema
                .text,
            TWO
        );
        assert_eq!(
            registry
                .version("a-value", Version::Number(1))
                .expect("known")
                .schema
                .text,
            ONE
        );
        assert!(matches!(
            registry.version("a-value", Version::Number(9)),
            Err(RegistryError::UnknownVersion { version: 9, .. })
        ));
        assert!(matches!(
            registry.version("c", Version::Number(1)),
            Err(RegistryError::UnknownSubject { .. })
        ));
        assert!(matches!(
            registry.schema(99),
            Err(RegistryError::UnknownId { id: 99 })
        ));
    }

    #[test]
    fn a_change_is_announced_once_and_outlives_the_process() {
        let dir = tempfile::tempdir().expect("dir");
        let registry = Registry::open(dir.path()).expect("open");
        let mut changes = registry.changes();
        registry
            .register("a-value", SchemaFormat::Json, ONE)
            .expect("registered");
        registry
            .register("a-value", SchemaFormat::Json, ONE)
            .expect("known");
        registry
            .register("not-a-streams", SchemaFormat::Json, TWO)
            .expect("registered");
        assert_eq!(changes.try_recv().expect("announced").stream, stream("a"));
        assert!(changes.try_recv().is_err());
        drop(registry);
        let registry = Registry::open(dir.path()).expect("open again");
        let latest = registry.cache().latest(&stream("a")).expect("kept");
        assert_eq!(
            (latest.version, latest.text.as_str(), latest.format.as_str()),
            (1, ONE, "JSON")
        );
        assert_eq!(
            registry.versions("host-value").expect("shipped"),
            [1],
            "shipped once, not at every start"
        );
    }

    #[test]
    fn nothing_is_stored_of_a_refused_schema() {
        let dir = tempfile::tempdir().expect("dir");
        let registry = Registry::open(dir.path()).expect("open");
        assert!(
            registry
                .register("a-value", SchemaFormat::Json, r#"{"type":"nummer"}"#)
                .is_err()
        );
        assert!(registry.register("", SchemaFormat::Json, ONE).is_err());
        assert!(registry.cache().latest(&stream("a")).is_none());
        assert_eq!(registry.subjects().expect("read"), ["host-value"]);
        assert!(matches!(
            "AVRO".parse::<SchemaFormat>(),
            Err(RegistryError::UnknownFormat { .. })
        ));
    }
}
