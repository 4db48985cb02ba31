//! Logs to stderr for everyone, and OpenTelemetry for who asks for it.
//!
//! Without `OTEL_EXPORTER_OTLP_ENDPOINT` there is a log subscriber and nothing else: no thread, no queue, and
//! [`tracing_on`] is one relaxed load. With it, traces of batches ([`trace`]), the metrics of
//! [`crate::metrics`], and the log lines go out by OTLP. Exporters have their own threads behind bounded
//! queues: a collector that is slow, away, or broken costs telemetry, which is counted
//! ([`MetricName::TelemetryDropped`](crate::metrics::MetricName::TelemetryDropped)), and never time.
//!
//! Which traces are exported is decided when they begin ([`sampling`]); an error, a dead letter or a slow batch
//! overrules it ([`promote`], [`held`]). What became of telemetry: [`report`].

mod context;
mod export;
mod held;
mod pairs;
mod queue;
mod report;
mod resource;
mod sampling;
mod settings;
pub mod trace;

use std::io::IsTerminal as _;

use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing_subscriber::filter::{FilterFn, LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

pub use context::SpanCtx;
pub use export::Guard;
pub use report::{SignalReport, report};
pub use sampling::Sampler;
pub use settings::{Destination, Otlp, Protocol, SettingsError, Signal};
pub use trace::{BatchSpan, MAX_LINKS, Stage, attr, is_slow, promote, set_public_url, tracing_on};

/// What the exporters themselves are made of. Their log lines go to stderr only: sent to OTLP, each export
/// would give the next one something to export.
const EXPORTER_TARGETS: [&str; 6] = ["opentelemetry", "tonic", "h2", "hyper", "tower", module_path!()];

/// Sets up logs and, if the environment asks for it, OTLP. `role` is `agent`, `gateway` or `aggregator`,
/// `instance` the process's id. Call it once, before the first log line; keep the guard until the end.
///
/// A broken `OTEL_…` variable is logged as an error, and the program runs without OTLP.
#[must_use = "dropping the guard ends the export"]
pub fn init(role: &'static str, instance: &str) -> Guard {
    match Otlp::from_env() {
        Ok(otlp) => init_with(otlp.as_ref(), role, instance),
        Err(error) => {
            let guard = init_with(None, role, instance);
            tracing::error!(%error, "otlp export is off");
            guard
        }
    }
}

/// [`init`] with the settings as an argument.
#[must_use = "dropping the guard ends the export"]
pub fn init_with(otlp: Option<&Otlp>, role: &'static str, instance: &str) -> Guard {
    let started = otlp.map(|otlp| export::start(otlp, role, instance));
    let (guard, problem) = match started {
        Some(Ok(guard)) => (guard, None),
        Some(Err(error)) => (Guard::default(), Some(error)),
        None => (Guard::default(), None),
    };
    subscribe(guard.logs());
    if let Some(error) = problem {
        tracing::error!(%error, "otlp export is off");
    }
    guard
}

fn subscribe(logs: Option<&SdkLoggerProvider>) {
    // levels by target: the whole language of `EnvFilter` would bring a regular expression engine to every agent
    let info = || Targets::new().with_default(LevelFilter::INFO);
    let (filter, problem) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => match text.parse::<Targets>() {
            Ok(filter) => (filter, None),
            Err(error) => (info(), Some(error)),
        },
        _ => (info(), None),
    };
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let ours = FilterFn::new(|metadata| {
        !EXPORTER_TARGETS
            .iter()
            .any(|target| metadata.target().starts_with(target))
    });
    let otlp = logs.map(|logs| OpenTelemetryTracingBridge::new(logs).with_filter(ours));
    // an error: the host of this library (a test, say) has a subscriber of its own, and keeps it
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(stderr)
        .with(otlp)
        .try_init();
    if let Some(error) = problem {
        tracing::error!(%error, "RUST_LOG is not understood, using info");
    }
}
