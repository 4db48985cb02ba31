//! Telemetry leaves the process: over HTTP to a listener that keeps what it gets, and into the void, counted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tributary_shared::metrics::{self, MetricName};
use tributary_shared::telemetry::{self, BatchSpan, Otlp, Protocol, Stage, attr};

/// The export is the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Path and body of every request.
type Requests = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector that takes everything. Its threads end with the process.
fn collector() -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || serve(connection, &kept));
        }
    });
    (endpoint, requests)
}

fn serve(connection: TcpStream, kept: &Requests) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        kept.lock().expect("unpoisoned").push((path, body));
        reader
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
    }
}

/// Whether a request to this path holds this text: protobuf keeps texts as they are.
fn holds(requests: &Requests, path: &str, text: &str) -> bool {
    let requests = requests.lock().expect("unpoisoned");
    let mut bodies = requests.iter().filter(|(to, _)| to == path).map(|(_, body)| body);
    bodies.any(|body| body.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn spans_metrics_and_logs_arrive_over_http() {
    let _alone = alone();
    let (endpoint, requests) = collector();
    metrics::counter(MetricName::CommitBatches, &[("when", "before")]).inc();
    metrics::histogram(MetricName::CommitSeconds, &[]).observe(0.004);
    let otlp = Otlp {
        endpoint,
        protocol: Protocol::HttpProtobuf,
    };

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

#[test]
fn what_no_collector_takes_is_counted_and_hurts_nobody() {
    let _alone = alone();
    // bound and closed: nobody listens there
    let address = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let dropped = metrics::counter(MetricName::TelemetryDropped, &[("signal", "traces")]);
    for (protocol, endpoint) in [
        (Protocol::Grpc, format!("http://{address}")),
        (Protocol::HttpProtobuf, format!("http://{address}")),
    ] {
        let before = dropped.get();
        let guard = telemetry::init_with(Some(&Otlp { endpoint, protocol }), "agent", "press-7");
        for at in 0..3 {
            BatchSpan::root(Stage::Batch, at).end_at(at + 1);
        }
        drop(guard);
        assert_eq!(dropped.get() - before, 3, "{protocol:?}");
    }
}

#[test]
fn the_guard_may_end_in_async_code() {
    let _alone = alone();
    let (endpoint, requests) = collector();
    let otlp = Otlp {
        endpoint,
        protocol: Protocol::HttpProtobuf,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for (stage, dropped) in [(Stage::Batch, true), (Stage::Collect, false)] {
        runtime.block_on(async {
            let guard = telemetry::init_with(Some(&otlp), "agent", "press-7");
            BatchSpan::root(stage, 0).end_at(1);
            if dropped {
                drop(guard);
            } else {
                guard.shutdown().await;
            }
        });
        assert!(holds(&requests, "/v1/traces", stage.as_str()), "{stage:?}");
    }
}
