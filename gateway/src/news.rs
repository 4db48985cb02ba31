//! The newest schemas as their texts, and the newest head of the aggregator's audit, for the sessions to tell their agents. Beside the compiled ones, which
//! judge: a schema that this gateway cannot compile is told all the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tributary_shared::ids::StreamName;
use tributary_shared::wire::SchemaInfo;

/// Shared by all sessions; filled by the upstream actor. It has what the aggregator has told, of the streams that
/// agents have.
#[derive(Debug, Clone, Default)]
pub struct SchemaNews {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    told: Mutex<HashMap<StreamName, Option<Arc<SchemaInfo>>>>,
    changes: AtomicU64,
    head: Mutex<Option<Arc<str>>>,
}

impl SchemaNews {
    pub fn put(&self, stream: StreamName, schema: Option<SchemaInfo>) {
        let mut told = self.inner.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(stream, schema.map(Arc::new));
        // within the lock: whoever sees the count sees the schema
        self.inner.changes.fetch_add(1, Ordering::Release);
    }

    /// A head of the aggregator's audit.
    pub fn put_head(&self, head: String) {
        *self.inner.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.into());
    }

    /// The newest head that was told.
    #[must_use]
    pub fn head(&self) -> Option<Arc<str>> {
        self.inner
            .head
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Counts what was put: a session that has seen this count has nothing to look for.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::Acquire)
    }

    /// The aggregator's word on a stream; `None` when it has not said anything yet.
    #[must_use]
    #[expect(
        clippy::option_option,
        reason = "not told, and told that there is none, are two things"
    )]
    pub fn told(&self, stream: &StreamName) -> Option<Option<Arc<SchemaInfo>>> {
        let told = self.inner.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(stream).cloned()
    }
}
