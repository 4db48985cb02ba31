//! The schema that judges each stream, in memory: what the commit thread asks for each batch.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tributary_shared::ids::StreamName;
use tributary_shared::wire::{SchemaInfo, SchemaRef};

/// What a subject's name ends with when it holds the schema of a stream's events.
const VALUE_SUFFIX: &str = "-value";

/// The subject that holds the schema of a stream.
#[must_use]
pub fn subject_of(stream: &StreamName) -> String {
    format!("{stream}{VALUE_SUFFIX}")
}

/// The stream whose schema a subject holds, if it is one of a stream.
#[must_use]
pub fn stream_of(subject: &str) -> Option<StreamName> {
    subject
        .strip_suffix(VALUE_SUFFIX)
        .and_then(|name| StreamName::new(name).ok())
}

/// A shared view of the registry; clones see the same schemas.
#[derive(Debug, Clone, Default)]
pub struct SchemaCache(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    newest: HashMap<StreamName, Arc<SchemaInfo>>,
    /// Of every schema that the registry has.
    ids: HashSet<u32>,
}

impl SchemaCache {
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest schema of a stream; `None` when it has none.
    #[must_use]
    pub fn latest(&self, stream: &StreamName) -> Option<Arc<SchemaInfo>> {
        self.read().newest.get(stream).cloned()
    }

    /// The same, without its text.
    #[must_use]
    pub fn latest_ref(&self, stream: &StreamName) -> Option<SchemaRef> {
        self.read().newest.get(stream).map(|schema| SchemaRef {
            id: schema.id,
            version: schema.version,
        })
    }

    /// Every stream that has a schema, with the newest one.
    #[must_use]
    pub fn all(&self) -> Vec<(StreamName, Arc<SchemaInfo>)> {
        let known = self.read();
        let all = known.newest.iter();
        all.map(|(stream, schema)| (stream.clone(), Arc::clone(schema)))
            .collect()
    }

    /// Whether the registry has a schema with this id.
    #[must_use]
    pub fn knows(&self, id: u32) -> bool {
        self.read().ids.contains(&id)
    }

    pub(crate) fn add_ids(&self, ids: impl IntoIterator<Item = u32>) {
        self.write().ids.extend(ids);
    }

    pub(crate) fn set(&self, stream: StreamName, schema: Arc<SchemaInfo>) {
        let mut known = self.write();
        known.ids.insert(schema.id);
        known.newest.insert(stream, schema);
    }
    pub(crate) fn clear(&self, stream: &StreamName) {
        self.write().newest.remove(stream);
    }

    pub(crate) fn drop_ids(&self, ids: impl IntoIterator<Item = u32>) {
        let mut known = self.write();
        for id in ids {
            known.ids.remove(&id);
        }
    }
}
