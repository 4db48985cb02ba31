//! The newest schema of each stream, as the aggregator tells it. Kept in memory only: a gateway that
//! restarts asks again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tributary_shared::ids::StreamName;
use tributary_shared::wire::SchemaInfo;

use tributary_schema::decode::StreamSchema;

/// How long a batch waits for the aggregator to name the stream's schema before it is refused.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(5);

type Slot = Option<Arc<StreamSchema>>;

/// Why there is no schema to judge by.
#[derive(Debug, thiserror::Error)]
pub enum SchemaLookupError {
    #[error("the aggregator did not name the schema of stream {0} in time")]
    Timeout(StreamName),
}

/// Shared by all sessions; filled by the upstream actor.
#[derive(Debug, Clone)]
pub struct SchemaBook {
    slots: Arc<Mutex<HashMap<StreamName, watch::Sender<Slot>>>>,
    wanted: mpsc::UnboundedSender<StreamName>,
}

impl SchemaBook {
    /// `wanted` gets each stream once, when it is first asked for: the number of streams bounds it.
    #[must_use]
    pub fn new(wanted: mpsc::UnboundedSender<StreamName>) -> Self {
        Self {
            slots: Arc::default(),
            wanted,
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<StreamName, watch::Sender<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest schema of a stream; waits for the aggregator's first answer.
    ///
    /// # Errors
    /// [`SchemaLookupError::Timeout`] when the aggregator does not answer.
    pub async fn get(&self, stream: &StreamName) -> Result<Arc<StreamSchema>, SchemaLookupError> {
        let mut receiver = {
            let mut slots = self.slots();
            match slots.get(stream) {
                Some(sender) => sender.subscribe(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    slots.insert(stream.clone(), sender);
                    // a closed channel means that the gateway stops; the wait below then times out
                    let _ = self.wanted.send(stream.clone());
                    receiver
                }
            }
        };
        let timeout = || SchemaLookupError::Timeout(stream.clone());
        let known = tokio::time::timeout(SCHEMA_TIMEOUT, receiver.wait_for(Option::is_some)).await;
        let slot = known.map_err(|_| timeout())?.map_err(|_| timeout())?;
        slot.clone().ok_or_else(timeout)
    }

    /// The aggregator's word. A schema that this gateway cannot compile is logged, and the stream's batches
    /// wait at the agents until one comes that it can.
    pub fn put(&self, stream: StreamName, schema: Option<&SchemaInfo>) {
        let compiled = match schema {
            None => Ok(StreamSchema::schemaless()),
            Some(info) => StreamSchema::compile(info),
        };
        let slot = match compiled {
            Ok(schema) => Some(Arc::new(schema)),
            Err(error) => {
                tracing::error!(%stream, %error, "cannot compile a registered schema: the stream waits");
                None
            }
        };
        self.slots()
            .entry(stream)
            .or_insert_with(|| watch::channel(None).0)
            .send_replace(slot);
    }

    /// The streams that were asked for so far, to ask again after a reconnect.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamName> {
        self.slots().keys().cloned().collect()
    }
}
