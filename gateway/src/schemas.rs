//! The newest schema of each stream, and those that rows name by their ids, as the aggregator tells them. Kept
//! in memory only: a gateway that restarts asks again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tributary_shared::ids::StreamName;
use tributary_shared::wire::{Reason, SCHEMA_BY_ID_SINCE, SchemaInfo, ToAggregator};

use tributary_schema::decode::{StreamSchema, Writer, Writers};

use crate::writers::{Full, WriterBook};

/// How long a batch waits for the aggregator to name the stream's schema before it is refused.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(5);

type Slot = Option<Arc<StreamSchema>>;

/// Why there is no schema to judge by.
#[derive(Debug, thiserror::Error)]
pub enum SchemaLookupError {
    #[error("the aggregator did not name the schema of stream {0} in time")]
    Timeout(StreamName),
    #[error("the aggregator did not say in time whether schema {id} is one of stream {stream}")]
    WriterTimeout { stream: StreamName, id: u32 },
    #[error(
        "the aggregator is older than this gateway and cannot look schemas up by their ids: upgrade it, the events wait"
    )]
    OldAggregator,
    #[error("too many schemas are being asked for at once")]
    Busy,
}

impl From<Full> for SchemaLookupError {
    fn from(_: Full) -> Self {
        Self::Busy
    }
}

/// Shared by all sessions; filled by the upstream actor.
#[derive(Debug, Clone)]
pub struct SchemaBook {
    slots: Arc<Mutex<HashMap<StreamName, watch::Sender<Slot>>>>,
    writers: Arc<Mutex<WriterBook>>,
    /// The protocol that the aggregator speaks; 0 before the first connection.
    version: Arc<AtomicU16>,
    wanted: mpsc::UnboundedSender<ToAggregator>,
}

impl SchemaBook {
    /// `wanted` gets a question for each stream once, and for each schema that rows name: the streams and the
    /// [`WriterBook`] bound it.
    #[must_use]
    pub fn new(wanted: mpsc::UnboundedSender<ToAggregator>) -> Self {
        Self {
            slots: Arc::default(),
            writers: Arc::default(),
            version: Arc::default(),
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
                    let stream = stream.clone();
                    let _ = self.wanted.send(ToAggregator::GetSchema { stream });
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
        // a change of the subject may have retired a version, or made one of it
        self.writers().forget_answers(Some(&stream));
        self.slots()
            .entry(stream)
            .or_insert_with(|| watch::channel(None).0)
            .send_replace(slot);
    }

    fn writers(&self) -> MutexGuard<'_, WriterBook> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The schemas of a stream, beside the newest, that are known without asking.
    #[must_use]
    pub fn known_writers(&self, stream: &StreamName) -> Arc<Writers> {
        self.writers().known(stream)
    }

    /// What the aggregator says of the schemas with these ids; waits for its answers.
    ///
    /// # Errors
    /// [`SchemaLookupError`] when there is no answer: the batch is to be sent again.
    pub async fn writers_of(&self, stream: &StreamName, ids: &[u32]) -> Result<Writers, SchemaLookupError> {
        if (1..SCHEMA_BY_ID_SINCE).contains(&self.version.load(Ordering::Relaxed)) {
            return Err(SchemaLookupError::OldAggregator);
        }
        let deadline = tokio::time::Instant::now() + SCHEMA_TIMEOUT;
        let mut answers = Vec::with_capacity(ids.len());
        for id in ids {
            let (answer, question) = self.writers().ask(stream, *id, Instant::now())?;
            if let Some(question) = question {
                // a closed channel means that the gateway stops; the wait below then times out
                let _ = self.wanted.send(question);
            }
            answers.push((*id, answer));
        }
        let mut writers = self.known_writers(stream).as_ref().clone();
        for (id, mut answer) in answers {
            let known = tokio::time::timeout_at(deadline, answer.wait_for(Option::is_some)).await;
            match known.map(|known| known.map(|known| known.clone())) {
                Ok(Ok(Some(writer))) => writers.insert(id, writer),
                _ => {
                    self.writers().give_up(stream, id);
                    let stream = stream.clone();
                    return Err(SchemaLookupError::WriterTimeout { stream, id });
                }
            }
        }
        Ok(writers)
    }

    /// The aggregator's word on a schema that a row names. One that this gateway cannot compile is a reason for
    /// dead letters: they can be replayed once it can.
    pub fn put_writer(
        &self,
        stream: &StreamName,
        id: u32,
        schema: Option<&SchemaInfo>,
        refused: Option<Reason>,
    ) {
        let refuse = |message: String| {
            Writer::Refused(Reason {
                path: String::new(),
                rule: "unknown_schema".to_owned(),
                message,
            })
        };
        let writer = match (schema.map(StreamSchema::compile), refused) {
            (Some(Ok(schema)), _) => Writer::Known(Arc::new(schema)),
            (Some(Err(error)), _) => {
                tracing::error!(%stream, id, %error, "cannot compile a schema that rows name");
                refuse(format!("schema {id} cannot be used here: {error}"))
            }
            (None, Some(reason)) => Writer::Refused(reason),
            (None, None) => refuse(format!("the registry does not know schema {id}")),
        };
        self.writers().answer(stream, id, writer, Instant::now());
    }

    /// What the aggregator said of schemas may not hold any more.
    pub fn forget_writers(&self) {
        self.writers().forget_answers(None);
    }

    /// A connection began: what must be asked on it.
    #[must_use]
    pub fn connected(&self, version: u16) -> Vec<ToAggregator> {
        self.version.store(version, Ordering::Relaxed);
        self.forget_writers();
        let streams: Vec<StreamName> = self.slots().keys().cloned().collect();
        let newest = streams
            .into_iter()
            .map(|stream| ToAggregator::GetSchema { stream });
        let by_id = if version >= SCHEMA_BY_ID_SINCE {
            self.writers().open_questions()
        } else {
            Vec::new()
        };
        newest.chain(by_id).collect()
    }
}
