//! Telemetry that finds nobody, and guards that end in async code.

mod collector;

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use collector::{collector, holds};
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::telemetry::{self, BatchSpan, Otlp, Protocol, Stage};

/// The export is the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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
        let guard = telemetry::init_with(Some(&Otlp::to(&endpoint, protocol)), "agent", "press-7");
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
    let otlp = Otlp::to(&endpoint, Protocol::HttpProtobuf);
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

/// A receiver that says this to everyone who connects, and keeps the connection.
fn saying(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut connection in listener.incoming().flatten() {
            // a client that is gone needs no answer
            let _ = connection.write_all(words);
            kept.push(connection);
        }
    });
    endpoint
}

#[test]
fn a_receiver_that_never_answers_or_refuses_costs_telemetry_and_no_time() {
    let _alone = alone();
    let refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let count = |name| metrics::counter(name, &[("signal", "traces")]);
    let (recorded, dropped) = (
        count(MetricName::TelemetryRecorded),
        count(MetricName::TelemetryDropped),
    );
    let exported = count(MetricName::TelemetryExported);
    for words in [&b""[..], &refusal[..]] {
        let mut otlp = Otlp::to(&saying(words), Protocol::HttpProtobuf);
        (otlp.metrics, otlp.logs) = (None, None);
        let timeout = Duration::from_millis(100);
        otlp.traces.iter_mut().for_each(|to| to.timeout = timeout);
        let before = (recorded.get(), exported.get(), dropped.get());
        let guard = telemetry::init_with(Some(&otlp), "agent", "press-7");
        let begun = Instant::now();
        for at in 0..10_000 {
            BatchSpan::root(Stage::Batch, at).end_at(at + 1);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(recorded.get() - before.0, 10_000);
        while dropped.get() - before.2 < 10_000 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} dropped",
                dropped.get() - before.2
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(telemetry::report().iter().all(|signal| signal.failing));
        assert_eq!(exported.get(), before.1);
        drop(guard);
    }
}

#[test]
fn whoever_ends_a_span_does_not_wait_for_the_last_request() {
    let _alone = alone();
    let otlp = Otlp::to(&saying(b""), Protocol::HttpProtobuf);
    let guard = telemetry::init_with(Some(&otlp), "agent", "press-7");
    BatchSpan::root(Stage::Batch, 0).end_at(1);
    let mut spans: Vec<BatchSpan> = (0..10_000).map(|at| BatchSpan::root(Stage::Batch, at)).collect();
    let begun = Instant::now();
    let ending = std::thread::spawn(move || drop(guard));
    let mut longest = Duration::ZERO;
    while !ending.is_finished()
        && let Some(span) = spans.pop()
    {
        let at = Instant::now();
        span.end_at(1);
        longest = longest.max(at.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    ending.join().expect("the guard ends");
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "the receiver lets it wait"
    );
    assert!(longest < Duration::from_millis(800), "{longest:?}");
}
