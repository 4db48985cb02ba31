//! The schema that judges each stream, in memory: what the commit thread asks for each batch.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

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
pub struct SchemaCache(Arc<RwLock<HashMap<StreamName, Arc<SchemaInfo>>>>);

impl SchemaCache {
    /// The newest schema of a stream; `None` when it has none.
    #[must_use]
    pub fn latest(&self, stream: &StreamName) -> Option<Arc<SchemaInfo>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(stream)
            .cloned()
    }

    /// The same, without its text.
    #[must_use]
    pub fn latest_ref(&self, stream: &StreamName) -> Option<SchemaRef> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(stream).map(|schema| SchemaRef {
            id: schema.id,
            version: schema.version,
        })
    }

    /// Every stream that has a schema, with the newest one.
    #[must_use]
    pub fn all(&self) -> Vec<(StreamName, Arc<SchemaInfo>)> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(stream, schema)| (stream.clone(), Arc::clone(schema)))
            .collect()
    }

    pub(crate) fn set(&self, stream: StreamName, schema: Arc<SchemaInfo>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(stream, schema);
    }

    pub(crate) fn clear(&self, stream: &StreamName) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(stream);
    }
}
