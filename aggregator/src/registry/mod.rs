//! The schema registry: subjects with numbered versions of schemas in three languages, durable in
//! `registry.db`, and in memory the schema that judges each stream.
//!
//! The schema of stream `S` is the newest version of subject `S-value` that is active or deprecated. The commit
//! thread refuses batches that another one judged, so a registered schema holds for every event committed after
//! it; sessions push changes to the gateways ([`Registry::changes`]).
//!
//! What is allowed is decided in [`rules`], without IO. One writer at a time: it holds a lock of its own, and the
//! database's only while it reads or writes, so that a long compatibility check keeps nobody from reading.
//!
//! Calls block on the disk: use `actix_web::web::block` or a thread. [`Registry::cache`] and
//! [`Registry::note_use`] do not.

mod cache;
mod check;
mod deletion;
mod error;
mod language;
mod lifecycle;
mod messages;
mod reading;
mod references;
mod registration;
pub mod rules;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod usage;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tributary_schema::language::SchemaFormat;
use tributary_shared::host_schema::{HOST_SCHEMA, HOST_STREAM};
use tributary_shared::ids::StreamName;

pub use cache::{SchemaCache, stream_of, subject_of};
pub use error::RegistryError;
pub use messages::{
    By, Change, Deleted, Governance, MAX_SCHEMA_BYTES, MAX_SUBJECT, NewSchema, Page, Reference,
    ReferenceAsked, Registered, SchemaChange, Settings, StoredSchema, SubjectVersion, Usage, Verdict,
    Version, VersionRow,
};
pub use settings::DEFAULT_LEVEL;
pub use store::{REGISTRY_FILE, SubjectSummary, reserve_ids};

use language::ParsedCache;
use store::Store;
use usage::UsageBook;

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
    /// Held by whoever changes something, from the first look to the end; taken before `store`.
    writer: Mutex<()>,
    store: Mutex<Store>,
    parsed: ParsedCache,
    cache: SchemaCache,
    usage: UsageBook,
    changes: broadcast::Sender<SchemaChange>,
}

impl Registry {
    /// Opens `registry.db` in a directory that exists, and registers the schemas that Tributary ships.
    ///
    /// # Errors
    /// [`RegistryError::FormatTooNew`], or those of SQLite.
    pub fn open(dir: &Path) -> Result<Self, RegistryError> {
        let registry = Self {
            shared: Arc::new(Shared {
                writer: Mutex::new(()),
                store: Mutex::new(Store::open(dir)?),
                parsed: ParsedCache::default(),
                cache: SchemaCache::default(),
                usage: UsageBook::default(),
                changes: broadcast::Sender::new(CHANGES),
            }),
        };
        registry.shared.cache.add_ids(registry.store().ids()?);
        for subject in registry.subjects("", Deleted::Without, Page::default())? {
            registry.refresh(&subject)?;
        }
        registry.ship()?;
        Ok(registry)
    }

    /// A registry that refuses what Tributary ships (its mode, or an own schema under that name) is left as it is.
    fn ship(&self) -> Result<(), RegistryError> {
        let host = StreamName::new(HOST_STREAM)
            .map(|stream| subject_of(&stream))
            .unwrap_or_default();
        let new = NewSchema::new(SchemaFormat::Json, HOST_SCHEMA);
        match self.register(&host, &new, &By::itself("shipped with Tributary")) {
            Err(error @ RegistryError::Sqlite(_)) => Err(error),
            Err(error) => {
                tracing::warn!(subject = host, %error, "the shipped schema is not registered");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the cache up to date with a subject, and announces what changed. Holding the writer's lock, two
    /// changes reach store and cache in one order.
    fn refresh(&self, subject: &str) -> Result<(), RegistryError> {
        let Some(stream) = stream_of(subject) else {
            return Ok(());
        };
        let latest = self.store().latest(subject)?;
        let cached = self.shared.cache.latest_ref(&stream);
        let now = latest.as_ref().map(|latest| (latest.schema.id, latest.version));
        if now == cached.map(|cached| (cached.id, cached.version)) {
            return Ok(());
        }
        let schema = match latest {
            None => {
                self.shared.cache.clear(&stream);
                tracing::info!(%stream, "the stream has no schema any more");
                None
            }
            Some(latest) => {
                let (id, version) = (latest.schema.id, latest.version);
                let schema = Arc::new(self.info(latest)?);
                self.shared.cache.set(stream.clone(), Arc::clone(&schema));
                tracing::info!(%stream, id, version, "a schema judges the stream");
                Some(schema)
            }
        };
        // nobody listening is fine: a session reads the cache when it begins
        let _ = self.shared.changes.send(SchemaChange { stream, schema });
        Ok(())
    }

    /// The schema that judges each stream.
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
