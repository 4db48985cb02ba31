//! Decoding is CPU work of milliseconds: it runs beside the actors, on as many threads as there are cores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tributary_shared::ids::StreamName;

use tributary_schema::decode::Decoder;

/// Decoders that are kept for the next batch of a stream, for what they learned about its columns.
const KEPT_PER_STREAM: usize = 4;
/// Streams whose decoders are kept. Beyond this, decoders are made anew for each batch.
const KEPT_STREAMS: usize = 256;

/// Lends decoders to batches, as many at a time as there are cores.
#[derive(Debug, Clone)]
pub struct DecodePool {
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<HashMap<StreamName, Vec<Decoder>>>>,
}

impl DecodePool {
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(threads.max(1))),
            idle: Arc::default(),
        }
    }

    /// Runs `job` on a thread where blocking is fine. `None` when the job panicked.
    pub async fn run<T, F>(&self, stream: &StreamName, job: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Decoder) -> T + Send + 'static,
    {
        let _permit = self.permits.acquire().await.ok()?;
        let mut decoder = self.take(stream);
        let done = tokio::task::spawn_blocking(move || {
            let out = job(&mut decoder);
            (out, decoder)
        });
        let (out, decoder) = done.await.ok()?;
        self.put(stream, decoder);
        Some(out)
    }

    fn take(&self, stream: &StreamName) -> Decoder {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.get_mut(stream).and_then(Vec::pop).unwrap_or_default()
    }

    fn put(&self, stream: &StreamName, decoder: Decoder) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= KEPT_STREAMS && !idle.contains_key(stream) {
            return;
        }
        let kept = idle.entry(stream.clone()).or_default();
        if kept.len() < KEPT_PER_STREAM {
            kept.push(decoder);
        }
    }
}
