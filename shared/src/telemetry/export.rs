//! The exporters: one thread for each signal (the SDK's), one small runtime for their sockets.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use opentelemetry::KeyValue;
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
use super::settings::{Otlp, Protocol};
use super::trace;
use crate::metrics;

/// Items of one request.
const MAX_BATCH: usize = 512;
/// A person who watches a trace waits so long for it.
const DELAY: Duration = Duration::from_secs(1);
/// What one request may take. An exporter that waits holds its queue, nothing else.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
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
    logs: SdkLoggerProvider,
    meters: SdkMeterProvider,
}

impl Guard {
    pub(super) fn logs(&self) -> Option<&SdkLoggerProvider> {
        self.0.as_ref().map(|pipelines| &pipelines.logs)
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
            ("traces", queue::close(SHUTDOWN_TIMEOUT)),
            ("metrics", meters.shutdown_with_timeout(SHUTDOWN_TIMEOUT)),
            ("logs", logs.shutdown_with_timeout(SHUTDOWN_TIMEOUT)),
        ];
        for (signal, result) in results {
            if let Err(error) = result {
                tracing::warn!(signal, %error, "last telemetry was not delivered");
            }
        }
        // a plain drop would block, which an async caller must not
        runtime.shutdown_background();
    }
}

/// Starts all three exports.
pub(super) fn start(otlp: &Otlp, role: &'static str, instance: &str) -> Result<Guard, StartError> {
    // A runtime of its own: the exporters' threads need one for their sockets, and with the program's own
    // the last flush would wait for a runtime that is waiting for the flush.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("otlp")
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let resource = resource(role, instance);

    let span_gate = Gate::new("traces");
    let exporter = Exporter::new(span_exporter(otlp)?, "traces", Some(span_gate.clone()), &runtime);
    let mut spans = BatchSpanProcessor::new(
        exporter,
        sdk_trace::BatchConfigBuilder::default()
            .with_max_queue_size(MAX_QUEUED)
            .with_max_export_batch_size(MAX_BATCH)
            .with_scheduled_delay(DELAY)
            .build(),
    );
    spans.set_resource(&resource);

    let log_gate = Gate::new("logs");
    let exporter = Exporter::new(log_exporter(otlp)?, "logs", Some(log_gate.clone()), &runtime);
    let inner = BatchLogProcessor::builder(exporter)
        .with_batch_config(
            logs::BatchConfigBuilder::default()
                .with_max_queue_size(MAX_QUEUED)
                .with_max_export_batch_size(MAX_BATCH)
                .with_scheduled_delay(DELAY)
                .build(),
        )
        .build();
    let logs = SdkLoggerProvider::builder()
        .with_log_processor(GatedLogs {
            gate: log_gate,
            inner,
        })
        .with_resource(resource.clone())
        .build();

    let exporter = Exporter::new(metric_exporter(otlp)?, "metrics", None, &runtime);
    let meters = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(exporter).build())
        .with_resource(resource)
        .build();
    metrics::export_through(meters.meter("tributary"));

    queue::open(span_gate, spans);
    trace::set_tracing_on(true);
    drop(_entered);
    Ok(Guard(Some(Pipelines {
        runtime,
        logs,
        meters,
    })))
}

fn resource(role: &'static str, instance: &str) -> Resource {
    Resource::builder()
        .with_service_name(format!("tributary-{role}"))
        .with_attributes([
            KeyValue::new("service.instance.id", instance.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build()
}

/// The same three choices for each of the SDK's three builder types, which share no trait that could say so.
macro_rules! build_exporter {
    ($exporter:ident, $otlp:expr, $path:literal) => {
        match $otlp.protocol {
            Protocol::Grpc => $exporter::builder()
                .with_tonic()
                .with_endpoint(&$otlp.endpoint)
                .with_timeout(REQUEST_TIMEOUT)
                .build(),
            Protocol::HttpProtobuf => $exporter::builder()
                .with_http()
                .with_protocol(OtlpProtocol::HttpBinary)
                .with_endpoint(format!("{}{}", $otlp.endpoint, $path))
                .with_timeout(REQUEST_TIMEOUT)
                .build(),
        }
    };
}

fn span_exporter(otlp: &Otlp) -> Result<SpanExporter, ExporterBuildError> {
    build_exporter!(SpanExporter, otlp, "/v1/traces")
}

fn log_exporter(otlp: &Otlp) -> Result<LogExporter, ExporterBuildError> {
    build_exporter!(LogExporter, otlp, "/v1/logs")
}

fn metric_exporter(otlp: &Otlp) -> Result<MetricExporter, ExporterBuildError> {
    build_exporter!(MetricExporter, otlp, "/v1/metrics")
}

/// An exporter whose sockets live on our runtime, and whose failures are counted and told once.
#[derive(Debug)]
struct Exporter<E> {
    inner: E,
    signal: &'static str,
    /// `None` for metrics: their values are cumulative, and the next export carries what this one could not.
    gate: Option<Gate>,
    handle: Handle,
    failing: AtomicBool,
}

impl<E> Exporter<E> {
    fn new(inner: E, signal: &'static str, gate: Option<Gate>, runtime: &Runtime) -> Self {
        Self {
            inner,
            signal,
            gate,
            handle: runtime.handle().clone(),
            failing: AtomicBool::new(false),
        }
    }

    async fn send(&self, items: usize, export: impl Future<Output = OTelSdkResult> + Send) -> OTelSdkResult {
        if let Some(gate) = &self.gate {
            gate.leave(items);
        }
        let result = InRuntime {
            handle: self.handle.clone(),
            inner: Box::pin(export),
        }
        .await;
        let failed = result.is_err();
        if let (true, Some(gate)) = (failed, &self.gate) {
            gate.lost(items);
        }
        // told when it changes, not with every request
        let failed_before = self.failing.swap(failed, Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => tracing::warn!(signal = self.signal, %error, "otlp export fails"),
            Ok(()) if failed_before => tracing::info!(signal = self.signal, "otlp export works again"),
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
