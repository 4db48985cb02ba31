//! Counters, gauges and histograms of this process, by name. One registry a process: `/metrics` shows it in
//! OpenMetrics text, and OTLP exports the same values when it is on.
//!
//! Names are an enum ([`MetricName`]), so that no two places can spell one metric differently.

mod names;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as PromCounter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge as PromGauge;
use prometheus_client::metrics::histogram::{Histogram as PromHistogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use names::MetricName;

/// Content type of [`encode_text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Only ever rises.
pub type Counter = PromCounter<u64>;
/// Rises and falls.
pub type Gauge = PromGauge<f64, AtomicU64>;
/// Seconds or bytes, by the metric's name.
pub type Histogram = PromHistogram;

type Labels = Vec<(String, String)>;

#[derive(Clone, Debug)]
struct HistogramShape;

impl MetricConstructor<PromHistogram> for HistogramShape {
    fn new_metric(&self) -> PromHistogram {
        // half a millisecond to about a minute, which is what every latency here is between
        PromHistogram::new(exponential_buckets(0.0005, 2.0, 18))
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Counter(Family<Labels, Counter>),
    Gauge(Family<Labels, Gauge>),
    Histogram(Family<Labels, Histogram, HistogramShape>),
}

#[derive(Debug, Default)]
struct Metrics {
    registry: Registry,
    families: HashMap<MetricName, Kind>,
}

fn metrics() -> MutexGuard<'static, Metrics> {
    static METRICS: OnceLock<Mutex<Metrics>> = OnceLock::new();
    METRICS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The counter of this name and labels. Keep it: looking it up takes a lock.
#[must_use]
pub fn counter(name: MetricName, with: &[(&str, &str)]) -> Counter {
    let mut all = metrics();
    let Metrics { registry, families } = &mut *all;
    let kind = families.entry(name).or_insert_with(|| {
        let family = Family::<Labels, Counter>::default();
        registry.register(name.as_str(), name.help(), family.clone());
        Kind::Counter(family)
    });
    match kind {
        Kind::Counter(family) => family.get_or_create_owned(&labels(with)),
        Kind::Gauge(_) | Kind::Histogram(_) => unreachable!("{name:?} is not a counter"),
    }
}

/// The gauge of this name and labels.
#[must_use]
pub fn gauge(name: MetricName, with: &[(&str, &str)]) -> Gauge {
    let mut all = metrics();
    let Metrics { registry, families } = &mut *all;
    let kind = families.entry(name).or_insert_with(|| {
        let family = Family::<Labels, Gauge>::default();
        registry.register(name.as_str(), name.help(), family.clone());
        Kind::Gauge(family)
    });
    match kind {
        Kind::Gauge(family) => family.get_or_create_owned(&labels(with)),
        Kind::Counter(_) | Kind::Histogram(_) => unreachable!("{name:?} is not a gauge"),
    }
}

/// The histogram of this name and labels.
#[must_use]
pub fn histogram(name: MetricName, with: &[(&str, &str)]) -> Histogram {
    let mut all = metrics();
    let Metrics { registry, families } = &mut *all;
    let kind = families.entry(name).or_insert_with(|| {
        let family = Family::<Labels, Histogram, HistogramShape>::new_with_constructor(HistogramShape);
        registry.register(name.as_str(), name.help(), family.clone());
        Kind::Histogram(family)
    });
    match kind {
        Kind::Histogram(family) => family.get_or_create_owned(&labels(with)),
        Kind::Counter(_) | Kind::Gauge(_) => unreachable!("{name:?} is not a histogram"),
    }
}

/// All metrics of this process as OpenMetrics text.
#[must_use]
pub fn encode_text() -> String {
    let mut text = String::new();
    // writing into a String cannot fail
    let _ = encode(&mut text, &metrics().registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_series_however_often_it_is_asked_for() {
        counter(MetricName::IntakeEvents, &[("stream", "a")]).inc_by(2);
        counter(MetricName::IntakeEvents, &[("stream", "a")]).inc();
        gauge(MetricName::SpoolBytes, &[]).set(7.0);
        histogram(MetricName::CommitSeconds, &[]).observe(0.01);
        let text = encode_text();
        assert!(text.contains("tributary_intake_events_total{stream=\"a\"} 3"), "{text}");
        assert!(text.contains("tributary_spool_bytes{} 7.0"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
