//! Counters, gauges and histograms of this process, by name. One registry a process: `/metrics` shows it in
//! OpenMetrics text, and OTLP exports the same values when it is on.
//!
//! Names are an enum ([`MetricName`]), so that no two places can spell one metric differently.

mod names;
mod otlp;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use opentelemetry::metrics::Meter;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as PromCounter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge as PromGauge;
use prometheus_client::metrics::histogram::{Histogram as PromHistogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

pub use names::MetricName;
pub use otlp::Histogram;
use otlp::{HistogramSeries, Series};

/// Content type of [`encode_text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Only ever rises.
pub type Counter = PromCounter<u64>;
/// Rises and falls.
pub type Gauge = PromGauge<f64, AtomicU64>;

type Labels = Vec<(String, String)>;

/// Half a millisecond to about a minute, which is what every latency here is between.
fn bucket_bounds() -> impl Iterator<Item = f64> {
    exponential_buckets(0.0005, 2.0, 18)
}

#[derive(Clone, Debug)]
struct HistogramShape;

impl MetricConstructor<PromHistogram> for HistogramShape {
    fn new_metric(&self) -> PromHistogram {
        PromHistogram::new(bucket_bounds())
    }
}

/// All series of one name: the registry's family for the exposition, and the same values for OTLP.
enum Kind {
    Counter(Family<Labels, Counter>, Series<Counter>),
    Gauge(Family<Labels, Gauge>, Series<Gauge>),
    Histogram(Family<Labels, PromHistogram, HistogramShape>, HistogramSeries),
}

impl Kind {
    fn export(&mut self, name: MetricName, meter: &Meter) {
        match self {
            Self::Counter(_, series) => otlp::observe_counters(meter, name, series.clone()),
            Self::Gauge(_, series) => otlp::observe_gauges(meter, name, series.clone()),
            Self::Histogram(_, series) => series.export(meter, name),
        }
    }
}

#[derive(Default)]
struct Metrics {
    registry: Registry,
    families: HashMap<MetricName, Kind>,
    /// Set once OTLP is on.
    meter: Option<Meter>,
}

impl Metrics {
    /// The kind of this name; at first use `kind` makes it of an `empty` family.
    fn kind<F: Metric + Clone>(
        &mut self,
        name: MetricName,
        empty: impl FnOnce() -> F,
        kind: impl FnOnce(F) -> Kind,
    ) -> &mut Kind {
        let Self {
            registry,
            families,
            meter,
        } = self;
        families.entry(name).or_insert_with(|| {
            let family = empty();
            registry.register(name.as_str(), name.help(), family.clone());
            let mut kind = kind(family);
            if let Some(meter) = meter {
                kind.export(name, meter);
            }
            kind
        })
    }
}

fn metrics() -> MutexGuard<'static, Metrics> {
    static METRICS: OnceLock<Mutex<Metrics>> = OnceLock::new();
    METRICS
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// The counter of this name and labels. Keep it: looking it up takes a lock.
#[must_use]
pub fn counter(name: MetricName, with: &[(&str, &str)]) -> Counter {
    match metrics().kind(name, Family::default, |family| {
        Kind::Counter(family, Series::default())
    }) {
        Kind::Counter(family, series) => series.member(with, |labels| family.get_or_create_owned(labels)),
        Kind::Gauge(..) | Kind::Histogram(..) => unreachable!("{name:?} is not a counter"),
    }
}

/// The gauge of this name and labels. Keep it: looking it up takes a lock.
#[must_use]
pub fn gauge(name: MetricName, with: &[(&str, &str)]) -> Gauge {
    match metrics().kind(name, Family::default, |family| {
        Kind::Gauge(family, Series::default())
    }) {
        Kind::Gauge(family, series) => series.member(with, |labels| family.get_or_create_owned(labels)),
        Kind::Counter(..) | Kind::Histogram(..) => unreachable!("{name:?} is not a gauge"),
    }
}

/// The histogram of this name and labels. Keep it: looking it up takes a lock.
#[must_use]
pub fn histogram(name: MetricName, with: &[(&str, &str)]) -> Histogram {
    let empty = || Family::new_with_constructor(HistogramShape);
    match metrics().kind(name, empty, |family| {
        Kind::Histogram(family, HistogramSeries::default())
    }) {
        Kind::Histogram(family, series) => series.member(with, |labels| family.get_or_create_owned(labels)),
        Kind::Counter(..) | Kind::Gauge(..) => unreachable!("{name:?} is not a histogram"),
    }
}

/// From now on every metric, present ones too, is also exported through this meter. Once a process: what a
/// second meter is given is what is new by then.
pub fn export_through(meter: Meter) {
    let Metrics {
        families,
        meter: exported,
        ..
    } = &mut *metrics();
    for (name, kind) in families.iter_mut() {
        kind.export(*name, &meter);
    }
    *exported = Some(meter);
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
        assert!(
            text.contains("tributary_intake_events_total{stream=\"a\"} 3"),
            "{text}"
        );
        assert!(text.contains("tributary_spool_bytes{} 7.0"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
