//! The exporters: one thread for each signal (the SDK's), one small runtime for their sockets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol as OtlpProtocol, SpanExporter,
    WithExportConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchLogProcessor, LogBatch, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanProcessor as _};
use opentelemetry_sdk::{logs, trace as sdk_trace};
use tokio::runtime::{Handle, Runtime};

use super::queue::{self, Gate, GatedLogs, MAX_QUEUED};
use super::resource::resource;
use super::settings::{Destination, Otlp, Protocol, Signal};
use super::{report, trace};
use crate::metrics;

/// Items of one request.
const MAX_BATCH: usize = 512;
/// A person who watches a trace waits so long for it.
const DELAY: Duration = Duration::from_secs(1);
/// What a stopping program spends on each signal's last request.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the export cannot start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("no thread for the export: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("the exporter cannot be built: {0}")]
    Build(#[from] ExporterBuildError),
}

/// Keeps the export alive; flushes and ends it when it is dropped.
#[derive(Debug, Default)]
#[must_use = "dropping the guard ends the export"]
pub struct Guard(Option<Pipelines>);

#[derive(Debug)]
struct Pipelines {
    runtime: Runtime,
    logs: Option<SdkLoggerProvider>,
    meters: Option<SdkMeterProvider>,
}

impl Guard {
    pub(super) fn logs(&self) -> Option<&SdkLoggerProvider> {
        self.0.as_ref().and_then(|pipelines| pipelines.logs.as_ref())
    }

    /// Sends what is queued and ends the export, as a drop does, but without blocking the caller's thread.
    /// Takes a few seconds at most.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn shutdown(self) {
        if self.0.is_some() {
            // an error: the runtime is going down, and the guard went down with the task
            let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(Pipelines {
            runtime,
            logs,
            meters,
        }) = self.0.take()
        else {
            return;
        };
        trace::set_tracing_on(false);
        let results = [
            (Signal::Traces, Some(queue::close(SHUTDOWN_TIMEOUT))),
            (
                Signal::Metrics,
                meters.map(|meters| meters.shutdown_with_timeout(SHUTDOWN_TIMEOUT)),
            ),
            (
                Signal::Logs,
                logs.map(|logs| logs.shutdown_with_timeout(SHUTDOWN_TIMEOUT)),
            ),
        ];
        for (signal, result) in results {
            if let Some(Err(error)) = result {
                tracing::warn!(signal = signal.as_str(), %error, "last telemetry was not delivered");
            }
        }
        report::end();
        // a plain drop would block, which an async caller must not
        runtime.shutdown_background();
    }
}

/// Starts the exports that have a destination.
pub(super) fn start(otlp: &Otlp, role: &'static str, instance: &str) -> Result<Guard, StartError> {
    // A runtime of its own: the exporters' threads need one for their sockets, and with the program's own
    // the last flush would wait for a runtime that is waiting for the flush.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp")
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let resource = resource(role, instance, &otlp.attributes);
    let spans = match &otlp.traces {
        Some(to) => Some(spans(to, &resource, &runtime)?),
        None => None,
    };
    let logs = match &otlp.logs {
        Some(to) => Some(logger(to, &resource, &runtime)?),
        None => None,
    };
    let meters = match &otlp.metrics {
        Some(to) => Some(meters(to, resource, &runtime)?),
        None => None,
    };
    // nothing is let in before everything could be built
    if let Some(meters) = &meters {
        metrics::export_through(meters.meter("tributary"));
    }
    if let Some((gate, spans)) = spans {
        trace::configure(otlp);
        queue::open(gate, spans);
        trace::set_tracing_on(true);
    }
    drop(entered);
    Ok(Guard(Some(Pipelines {
        runtime,
        logs,
        meters,
    })))
}

fn spans(
    to: &Destination,
    resource: &Resource,
    runtime: &Runtime,
) -> Result<(Gate, BatchSpanProcessor), StartError> {
    let gate = Gate::new(Signal::Traces);
    let exporter = Exporter::new(span_exporter(to)?, (Signal::Traces, to), gate.clone(), runtime);
    let mut spans = BatchSpanProcessor::new(
        exporter,
        sdk_trace::BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUED)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(DELAY)
            .build(),
    );
    spans.set_resource(resource);
    Ok((gate, spans))
}

fn logger(to: &Destination, resource: &Resource, runtime: &Runtime) -> Result<SdkLoggerProvider, StartError> {
    let gate = Gate::new(Signal::Logs);
    let exporter = Exporter::new(log_exporter(to)?, (Signal::Logs, to), gate.clone(), runtime);
    let inner = BatchLogProcessor::builder(exporter)
        .with_batch_config(
            logs::BatchConfigBuilder::default()
                .with_max_queue_size(MAX_QUEUED)
                .with_max_export_batch_size(MAX_BATCH)
                .with_scheduled_delay(DELAY)
                .build(),
        )
        .build();
    Ok(SdkLoggerProvider::builder()
        .with_log_processor(GatedLogs { gate, inner })
        .with_resource(resource.clone())
        .build())
}

fn meters(to: &Destination, resource: Resource, runtime: &Runtime) -> Result<SdkMeterProvider, StartError> {
    let gate = Gate::new(Signal::Metrics);
    let exporter = Exporter::new(metric_exporter(to)?, (Signal::Metrics, to), gate, runtime);
    Ok(SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(exporter).build())
        .with_resource(resource)
        .build())
}

/// The same three choices for each of the SDK's three builder types, which share no trait that could say so.
/// Headers are read from the environment by the builders themselves.
macro_rules! build_exporter {
    ($exporter:ident, $to:expr) => {
        match $to.protocol {
            Protocol::Grpc => $exporter::builder()
                .with_tonic()
                .with_endpoint(&$to.url)
                .with_timeout($to.timeout)
                .build(),
            Protocol::HttpProtobuf => $exporter::builder()
                .with_http()
                .with_protocol(OtlpProtocol::HttpBinary)
                .with_endpoint(&$to.url)
                .with_timeout($to.timeout)
                .build(),
        }
    };
}

fn span_exporter(to: &Destination) -> Result<SpanExporter, ExporterBuildError> {
    build_exporter!(SpanExporter, to)
}

fn log_exporter(to: &Destination) -> Result<LogExporter, ExporterBuildError> {
    build_exporter!(LogExporter, to)
}

fn metric_exporter(to: &Destination) -> Result<MetricExporter, ExporterBuildError> {
    build_exporter!(MetricExporter, to)
}

/// An exporter whose sockets live on our runtime, and whose failures are counted and told once.
#[derive(Debug)]
struct Exporter<E> {
    inner: E,
    signal: Signal,
    gate: Gate,
    handle: Handle,
    failing: Arc<AtomicBool>,
}

impl<E> Exporter<E> {
    fn new(inner: E, (signal, to): (Signal, &Destination), gate: Gate, runtime: &Runtime) -> Self {
        let failing = Arc::new(AtomicBool::new(false));
        report::begin(signal, to, Arc::clone(&failing));
        Self {
            inner,
            signal,
            gate,
            handle: runtime.handle().clone(),
            failing,
        }
    }

    async fn send(&self, items: usize, export: impl Future<Output = OTelSdkResult> + Send) -> OTelSdkResult {
        self.gate.leave(items);
        let result = InRuntime {
            handle: self.handle.clone(),
            inner: Box::pin(export),
        }
        .await;
        self.gate.left(items, result.is_ok());
        // told when it changes, not with every request
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        let signal = self.signal.as_str();
        match &result {
            Err(error) if !failed_before => tracing::warn!(signal, %error, "otlp export fails"),
            Ok(()) if failed_before => tracing::info!(signal, "otlp export works again"),
            _ => {}
        }
        result
    }
}

impl opentelemetry_sdk::trace::SpanExporter for Exporter<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.send(batch.len(), self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl opentelemetry_sdk::logs::LogExporter for Exporter<LogExporter> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.send(batch.iter().count(), self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl PushMetricExporter for Exporter<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // one request: values are cumulative, so the next export carries what this one could not
        self.gate.pass();
        self.send(1, self.inner.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

/// Polls a future as if the runtime did. The SDK's threads block on exports outside of any runtime, where
/// the HTTP client could neither open a socket nor start a timer.
struct InRuntime<F> {
    handle: Handle,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for InRuntime<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let _entered = this.handle.enter();
        this.inner.as_mut().poll(context)
    }
}
