//! What became of telemetry, for status pages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use super::queue::Counts;
use super::settings::{Destination, Signal};

/// One signal's account since the process began: `recorded` is `exported`, `dropped`, and what waits for the exporter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignalReport {
    pub signal: &'static str,
    pub endpoint: String,
    /// The last request failed.
    pub failing: bool,
    pub recorded: u64,
    /// The receiver has answered that it took them.
    pub exported: u64,
    /// They found no room in the queue, or no receiver.
    pub dropped: u64,
}

#[derive(Debug)]
struct Active {
    signal: Signal,
    endpoint: String,
    failing: Arc<AtomicBool>,
    counts: Counts,
}

static ACTIVE: RwLock<Vec<Active>> = RwLock::new(Vec::new());

/// The signal goes out from now on; `failing` is kept up to date by its exporter.
pub(super) fn begin(signal: Signal, to: &Destination, failing: Arc<AtomicBool>) {
    let active = Active {
        signal,
        endpoint: to.url.clone(),
        failing,
        counts: Counts::of(signal),
    };
    let mut all = ACTIVE.write().unwrap_or_else(PoisonError::into_inner);
    all.retain(|known| known.signal != signal);
    all.push(active);
}

/// No signal goes out any more.
pub(super) fn end() {
    ACTIVE.write().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Each signal that is exported; empty without OTLP.
#[must_use]
pub fn report() -> Vec<SignalReport> {
    let all = ACTIVE.read().unwrap_or_else(PoisonError::into_inner);
    let report = |active: &Active| SignalReport {
        signal: active.signal.as_str(),
        endpoint: active.endpoint.clone(),
        failing: active.failing.load(Ordering::Relaxed),
        // in this order, so that nothing is counted as gone that was not counted as recorded
        exported: active.counts.exported.get(),
        dropped: active.counts.dropped.get(),
        recorded: active.counts.recorded.get(),
    };
    all.iter().map(report).collect()
}
