//! Telemetry that finds nobody, and guards that end in async code.

mod collector;

use std::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
