//! The bounded ways into the exporters, and the count of what did not fit.
//!
//! The SDK's batch processors are bounded too, but tell nobody what they drop. So the same bound is kept
//! here, one step earlier, where a drop can be counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchLogProcessor, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};

use crate::metrics::{self, Counter, MetricName};

/// Items that may wait for the exporter. Seven spans a batch and a hundred batches a second fill it in six
/// seconds, longer than a collector takes to restart; a few hundred bytes each bound it at about 2 MiB.
pub(super) const MAX_QUEUED: usize = 4_096;

/// Counts what is between us and the wire, and what was lost on the way.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    queued: Arc<AtomicUsize>,
    dropped: Counter,
}

impl Gate {
    pub(super) fn new(signal: &'static str) -> Self {
        let dropped = metrics::counter(MetricName::TelemetryDropped, &[("signal", signal)]);
        Self {
            queued: Arc::default(),
            dropped,
        }
    }

    /// Takes a place in the queue, or counts a drop.
    fn enter(&self) -> bool {
        let entered = self.queued.fetch_add(1, Ordering::Relaxed) < MAX_QUEUED;
        if !entered {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.dropped.inc();
        }
        entered
    }

    /// The exporter has taken so many out of the queue.
    pub(super) fn leave(&self, items: usize) {
        self.queued.fetch_sub(items, Ordering::Relaxed);
    }

    /// So many were taken out and could not be delivered.
    pub(super) fn lost(&self, items: usize) {
        self.dropped.inc_by(items as u64);
    }
}

/// Spans come from every thread, without a provider in hand.
static SPANS: RwLock<Option<(Gate, BatchSpanProcessor)>> = RwLock::new(None);

/// Lets spans in from now on.
pub(super) fn open(gate: Gate, processor: BatchSpanProcessor) {
    *SPANS.write().unwrap_or_else(PoisonError::into_inner) = Some((gate, processor));
}

/// Lets no more spans in, and waits so long for what is queued.
pub(super) fn close(timeout: Duration) -> OTelSdkResult {
    match SPANS.write().unwrap_or_else(PoisonError::into_inner).take() {
        Some((_, processor)) => processor.shutdown_with_timeout(timeout),
        None => Ok(()),
    }
}

/// Never blocks: a full queue drops and counts.
pub(super) fn submit(span: SpanData) {
    if let Some((gate, processor)) = &*SPANS.read().unwrap_or_else(PoisonError::into_inner)
        && gate.enter()
    {
        processor.on_end(span);
    }
}

/// A log processor behind a [`Gate`].
#[derive(Debug)]
pub(super) struct GatedLogs {
    pub gate: Gate,
    pub inner: BatchLogProcessor,
}

impl LogProcessor for GatedLogs {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.gate.enter() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_drops_and_counts() {
        let gate = Gate::new("test");
        let entered = (0..MAX_QUEUED + 3).filter(|_| gate.enter()).count();
        assert_eq!((entered, gate.dropped.get()), (MAX_QUEUED, 3));
        gate.leave(2);
        assert!(gate.enter() && gate.enter() && !gate.enter());
        gate.lost(5);
        assert_eq!(gate.dropped.get(), 9);
    }
}
