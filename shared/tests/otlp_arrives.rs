//! Telemetry leaves the process over HTTP. In a program of its own: a process has one export, and the first
//! subscriber stays.

mod collector;

use collector::{collector, holds};
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::telemetry::{self, BatchSpan, Otlp, Protocol, Stage, attr};

#[test]
fn spans_metrics_and_logs_arrive_over_http() {
    let (endpoint, requests) = collector();
    metrics::counter(MetricName::CommitBatches, &[("when", "before")]).inc();
    metrics::histogram(MetricName::CommitSeconds, &[]).observe(0.004);
    let otlp = Otlp::to(&endpoint, Protocol::HttpProtobuf);

    let guard = telemetry::init_with(Some(&otlp), "gateway", "gw-1");
    assert!(telemetry::tracing_on());
    let ship = BatchSpan::root(Stage::Ship, 1_000).text(attr::LANE, "press-7/readings/1");
    let admit = BatchSpan::child_of_header(ship.traceparent().as_deref(), Stage::Admit, 2_000);
    admit.number(attr::VALID, 41u32).end_at(3_000);
    ship.end_at(4_000);
    metrics::gauge(MetricName::SpoolBytes, &[("when", "after")]).set(7.0);
    metrics::histogram(MetricName::CommitSeconds, &[]).observe(0.004);
    metrics::histogram(MetricName::ApplySeconds, &[("view", "after")]).observe(0.004);
    tracing::info!(lane = "press-7/readings/1", "lane opened");
    tracing::info!(target: "hyper::client", "exporter chatter");
    drop(guard);
    assert!(!telemetry::tracing_on());

    for text in [
        "ship",
        "admit",
        attr::LANE,
        "press-7/readings/1",
        "tributary-gateway",
        "gw-1",
        "service.version",
    ] {
        assert!(holds(&requests, "/v1/traces", text), "{text} in the traces");
    }
    for name in [
        MetricName::CommitBatches,
        MetricName::CommitSeconds,
        MetricName::SpoolBytes,
        MetricName::ApplySeconds,
    ] {
        assert!(
            holds(&requests, "/v1/metrics", name.as_str()),
            "{name:?} in the metrics"
        );
    }
    for text in ["before", "after", "tributary-gateway"] {
        assert!(holds(&requests, "/v1/metrics", text), "{text} in the metrics");
    }
    for text in ["lane opened", "press-7/readings/1", "tributary-gateway"] {
        assert!(holds(&requests, "/v1/logs", text), "{text} in the logs");
    }
    assert!(
        !holds(&requests, "/v1/logs", "exporter chatter"),
        "an export must not cause the next"
    );
}
