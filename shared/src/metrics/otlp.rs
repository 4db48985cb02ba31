//! The same metrics over OTLP. Counters and gauges are read when a reader collects; a histogram's observations
//! are given to both, since OpenTelemetry has no observable histogram.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram as OtlpHistogram, Meter};
use prometheus_client::metrics::histogram::Histogram as PromHistogram;

use super::{Counter, Gauge, Labels, MetricName, bucket_bounds};

/// Every series of one name, by labels. The values are shared with the registry's family, which cannot be
/// iterated.
#[derive(Debug)]
pub(super) struct Series<M>(Arc<Mutex<HashMap<Labels, Member<M>>>>);

#[derive(Debug)]
struct Member<M> {
    metric: M,
    attributes: Vec<KeyValue>,
}

impl<M> Clone for Series<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Default for Series<M> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<M: Clone> Series<M> {
    /// The series of these labels; `new` takes it from the family at first use.
    pub(super) fn member(&self, with: &[(&str, &str)], new: impl FnOnce(&Labels) -> M) -> M {
        let labels: Labels = with
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = members.get(&labels) {
            return member.metric.clone();
        }
        let metric = new(&labels);
        members.insert(
            labels,
            Member {
                metric: metric.clone(),
                attributes: attributes(with),
            },
        );
        metric
    }

    fn each(&self, mut visit: impl FnMut(&[KeyValue], &M)) {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members
            .values()
            .for_each(|member| visit(&member.attributes, &member.metric));
    }
}

fn attributes(with: &[(&str, &str)]) -> Vec<KeyValue> {
    with.iter()
        .map(|(key, value)| KeyValue::new((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// OpenTelemetry's unit (UCUM), by the ending of the name.
fn unit(name: MetricName) -> &'static str {
    let name = name.as_str();
    if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        ""
    }
}

pub(super) fn observe_counters(meter: &Meter, name: MetricName, series: Series<Counter>) {
    let builder = meter
        .u64_observable_counter(name.as_str())
        .with_description(name.help())
        .with_unit(unit(name));
    builder
        .with_callback(move |to| series.each(|attributes, counter| to.observe(counter.get(), attributes)))
        .build();
}

pub(super) fn observe_gauges(meter: &Meter, name: MetricName, series: Series<Gauge>) {
    let builder = meter
        .f64_observable_gauge(name.as_str())
        .with_description(name.help())
        .with_unit(unit(name));
    builder
        .with_callback(move |to| series.each(|attributes, gauge| to.observe(gauge.get(), attributes)))
        .build();
}

/// The series of one histogram, and its instrument once OTLP is on.
#[derive(Default)]
pub(super) struct HistogramSeries {
    series: Series<Histogram>,
    instrument: Option<OtlpHistogram<f64>>,
}

impl HistogramSeries {
    pub(super) fn member(
        &self,
        with: &[(&str, &str)],
        new: impl FnOnce(&Labels) -> PromHistogram,
    ) -> Histogram {
        let histogram = self.series.member(with, |labels| Histogram {
            prom: new(labels),
            otlp: Arc::default(),
        });
        if let Some(instrument) = &self.instrument {
            histogram.record_to(instrument, attributes(with));
        }
        histogram
    }

    /// Gives every series its OTLP side.
    pub(super) fn export(&mut self, meter: &Meter, name: MetricName) {
        let builder = meter
            .f64_histogram(name.as_str())
            .with_description(name.help())
            .with_unit(unit(name));
        let instrument = builder.with_boundaries(bucket_bounds().collect()).build();
        self.series
            .each(|attributes, histogram| histogram.record_to(&instrument, attributes.to_vec()));
        self.instrument = Some(instrument);
    }
}

/// Counts observations in buckets. Seconds or bytes, by the metric's name.
#[derive(Debug, Clone)]
pub struct Histogram {
    prom: PromHistogram,
    otlp: Arc<OnceLock<(OtlpHistogram<f64>, Vec<KeyValue>)>>,
}

impl Histogram {
    /// Does nothing to a histogram that has its instrument.
    fn record_to(&self, instrument: &OtlpHistogram<f64>, attributes: Vec<KeyValue>) {
        self.otlp.get_or_init(|| (instrument.clone(), attributes));
    }

    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        self.prom.observe(value);
        if let Some((instrument, attributes)) = self.otlp.get() {
            instrument.record(value, attributes);
        }
    }
}
