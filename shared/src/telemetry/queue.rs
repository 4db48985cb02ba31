//! The bounded ways into the exporters, and the counts of what became of each item.
//!
//! The SDK's batch processors are bounded too, but tell nobody what they drop. So the same bound is kept
//! here, one step earlier, where a drop can be counted. Of each signal, what was recorded is what was exported, what
//! was dropped, and what is queued.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanContext, TraceFlags, TraceId};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchLogProcessor, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor};

use super::held::Held;
use super::settings::Signal;
use crate::metrics::{self, Counter, MetricName};

/// Items that may wait for the exporter. Seven spans a batch and a hundred batches a second fill it in six
/// seconds, longer than a collector takes to restart; a few hundred bytes each bound it at about 2 MiB.
pub(super) const MAX_QUEUED: usize = 4_096;

/// Counts what is between us and the wire, and what was lost on the way.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    queued: Arc<AtomicUsize>,
    counts: Counts,
}

/// The counters of one signal.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    pub recorded: Counter,
    pub exported: Counter,
    pub dropped: Counter,
}

impl Counts {
    pub(super) fn of(signal: Signal) -> Self {
        let counter = |name| metrics::counter(name, &[("signal", signal.as_str())]);
        Self {
            recorded: counter(MetricName::TelemetryRecorded),
            exported: counter(MetricName::TelemetryExported),
            dropped: counter(MetricName::TelemetryDropped),
        }
    }
}

impl Gate {
    pub(super) fn new(signal: Signal) -> Self {
        Self {
            queued: Arc::default(),
            counts: Counts::of(signal),
        }
    }

    /// Takes a place in the queue, or counts a drop.
    fn enter(&self) -> bool {
        self.counts.recorded.inc();
        let entered = self.queued.fetch_add(1, Ordering::Relaxed) < MAX_QUEUED;
        if !entered {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.inc();
        }
        entered
    }

    /// The exporter has taken so many out of the queue.
    pub(super) fn leave(&self, items: usize) {
        self.queued.fetch_sub(items, Ordering::Relaxed);
    }

    /// So many were taken out, and the receiver has them, or nobody.
    pub(super) fn left(&self, items: usize, delivered: bool) {
        let counter = if delivered {
            &self.counts.exported
        } else {
            &self.counts.dropped
        };
        counter.inc_by(items as u64);
    }

    /// An item that passes no queue.
    pub(super) fn pass(&self) {
        self.counts.recorded.inc();
        self.queued.fetch_add(1, Ordering::Relaxed);
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
    // whoever ends a span meanwhile must not wait for the last request
    let open = SPANS.write().unwrap_or_else(PoisonError::into_inner).take();
    match open {
        Some((_, processor)) => processor.shutdown_with_timeout(timeout),
        None => Ok(()),
    }
}

/// Spans of traces that the sampler left out.
static HELD: Mutex<Option<Held>> = Mutex::new(None);

/// Never blocks: a full queue drops and counts, and what is not sampled is held for a while.
pub(super) fn submit(span: SpanData) {
    if span.span_context.is_sampled() {
        return export(span);
    }
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let back = held.get_or_insert_default().hold(span);
    drop(held);
    back.into_iter().for_each(|span| export(sampled(span)));
}

/// Exports what is held of a trace, and what comes of it from now on.
pub(super) fn promote(trace: TraceId) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let spans = held.get_or_insert_default().promote(trace);
    drop(held);
    spans.into_iter().for_each(|span| export(sampled(span)));
}

/// The processor drops what is not sampled.
fn sampled(mut span: SpanData) -> SpanData {
    let context = &span.span_context;
    span.span_context = SpanContext::new(
        context.trace_id(),
        context.span_id(),
        TraceFlags::SAMPLED,
        context.is_remote(),
        context.trace_state().clone(),
    );
    span
}

fn export(span: SpanData) {
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
        let gate = Gate::new(Signal::Logs);
        let (recorded, dropped) = (gate.counts.recorded.get(), gate.counts.dropped.get());
        let entered = (0..MAX_QUEUED + 3).filter(|_| gate.enter()).count();
        assert_eq!((entered, gate.counts.dropped.get() - dropped), (MAX_QUEUED, 3));
        assert_eq!(gate.counts.recorded.get() - recorded, MAX_QUEUED as u64 + 3);
        gate.leave(2);
        assert!(gate.enter() && gate.enter() && !gate.enter());
        gate.left(5, false);
        gate.left(7, true);
        assert_eq!(gate.counts.dropped.get() - dropped, 9);
        assert!(gate.counts.exported.get() >= 7);
    }
}
