//! Real requests over a loopback socket, and a real spool.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tributary_shared::metrics::{MetricName, counter};
use tributary_shared::wire::rows::push_row;

use super::{ConnectionStatus, IntakeContext, serve};
use crate::check::{CheckPolicy, Checks};
use crate::spool::{self, MIN_LIMIT, SpoolConfig, SpoolHandle, WhenFull};

const PATIENCE: Duration = Duration::from_secs(20);
const EVENTS: &str = "/v1/streams/readings/events";
const LINES: &str = "Content-Type: application/x-ndjson\r\n";
const DOCUMENT: &str = "Content-Type: application/json; charset=utf-8\r\n";

struct Bench {
    _dir: TempDir,
    spool: SpoolHandle,
    checks: Checks,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    _connection: watch::Sender<ConnectionStatus>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: Value,
}

impl Bench {
    async fn new(max_request: usize) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let mut config = SpoolConfig {
            limit: MIN_LIMIT,
            ..SpoolConfig::new(dir.path())
        };
        for (name, policy) in [("rejecting", WhenFull::Reject), ("newest", WhenFull::DropNewest)] {
            config.streams.insert(name.parse().expect("name"), policy.into());
        }
        let spool = spool::open(config, "press-7".parse().expect("id")).expect("spool");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let (stop, stopped) = watch::channel(false);
        let (connection, watched) = watch::channel(ConnectionStatus::starting(1_700_000_000_000));
        let policies = [("checked", CheckPolicy::Reject), ("tagged", CheckPolicy::Tag)];
        let policies = policies.map(|(name, policy)| (name.parse().expect("name"), policy));
        let checks = Checks::new(policies.into(), spool.clone(), Some(crate::check::json_schemas));
        let context = IntakeContext {
            spool: spool.clone(),
            connection: watched,
            max_request,
            checks: checks.clone(),
            heads: crate::heads::Heads::new(spool.clone()),
        };
        let server = tokio::spawn(serve(listener, context, stopped));
        Self {
            _dir: dir,
            spool,
            checks,
            address,
            stop,
            _connection: connection,
            server,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connect")
    }

    async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = self.connect().await;
        exchange(&mut stream, &[head.as_bytes(), body].concat()).await
    }

    async fn get(&self, path: &str) -> Answer {
        let mut stream = self.connect().await;
        exchange(
            &mut stream,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        )
        .await
    }

    fn next_seq(&self) -> u64 {
        self.spool
            .watch()
            .borrow()
            .lanes
            .first()
            .map_or(1, |lane| lane.next_seq)
    }
}

async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Answer {
    // a server that refuses early may close before it has read everything
    let _ = stream.write_all(request).await;
    timeout(PATIENCE, read_answer(stream))
        .await
        .expect("an answer in time")
}

async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut got = Vec::new();
    let end = loop {
        if let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        assert_ne!(
            stream.read_buf(&mut got).await.expect("read"),
            0,
            "an answer before the end"
        );
    };
    let headers = String::from_utf8(got[..end].to_vec())
        .expect("text")
        .to_ascii_lowercase();
    let len: usize = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|len| len.parse().ok())
        .expect("a length");
    while got.len() < end + len {
        assert_ne!(
            stream.read_buf(&mut got).await.expect("read"),
            0,
            "the whole answer"
        );
    }
    let text = String::from_utf8(got[end..end + len].to_vec()).expect("text");
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer {
        status: headers[9..12].parse().expect("a status"),
        headers,
        body,
    }
}

#[tokio::test]
async fn accepted_events_are_on_disk_and_have_their_identity() {
    let bench = Bench::new(1 << 20).await;
    let taken = bench.post(EVENTS, LINES, b"{\"a\":1}\n\n{\"a\":2}\n").await;
    assert_eq!(taken.status, 200, "{taken:?}");
    assert_eq!(taken.body["accepted"], 2);
    assert_eq!(
        (&taken.body["agent"], &taken.body["stream"]),
        (&"press-7".into(), &"readings".into())
    );
    assert_eq!(
        (&taken.body["first_seq"], &taken.body["last_seq"]),
        (&1.into(), &2.into())
    );
    assert!(taken.body["epoch"].as_u64().is_some_and(|epoch| epoch > 0));

    let taken = bench
        .post(EVENTS, DOCUMENT, b"[{\"a\":3},{\"a\":4},{\"a\":5}]")
        .await;
    assert_eq!((taken.status, &taken.body["last_seq"]), (200, &5.into()));
    let status = bench.get("/v1/status").await.body;
    assert_eq!(status["connection"]["state"], "waiting");
    assert_eq!(status["connection"]["since"], "2023-11-14T22:13:20.000Z");
    let lane = &status["lanes"][0];
    assert_eq!(
        (&lane["next_seq"], &lane["held_events"], &lane["committed_seq"]),
        (&6.into(), &5.into(), &0.into())
    );
    assert!(lane["dropped"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(status["spool"]["limit"], MIN_LIMIT);
}

#[tokio::test]
async fn a_request_is_taken_whole_or_not_at_all() {
    let bench = Bench::new(1 << 20).await;
    let refused = bench
        .post(EVENTS, LINES, b"{\"a\":1}\n{\"a\":2}\n{oops\n{\"a\":4}\n")
        .await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (400, &"malformed".into())
    );
    assert_eq!(refused.body["error"]["line"], 3);
    let refused = bench.post(EVENTS, DOCUMENT, b"[{},\n3]").await;
    assert_eq!(
        (refused.status, &refused.body["error"]["index"]),
        (400, &1.into())
    );
    assert_eq!(refused.body["error"]["line"], 2);
    assert_eq!(bench.next_seq(), 1, "nothing was taken");
}

#[tokio::test]
async fn binary_events_are_taken_by_their_media_types() {
    let bench = Bench::new(1 << 20).await;
    let single = "Content-Type: application/octet-stream\r\n";
    let rows = "Content-Type: application/x-tributary-rows\r\n";
    let event = [0, 0, 0, 0, 9, 0xff, 0x0a];
    let taken = bench.post(EVENTS, single, &event).await;
    assert_eq!(
        (taken.status, &taken.body["accepted"]),
        (200, &1.into()),
        "{taken:?}"
    );
    let mut two = Vec::new();
    push_row(&mut two, &event);
    push_row(&mut two, &event);
    let taken = bench.post(EVENTS, rows, &two).await;
    assert_eq!(
        (taken.status, &taken.body["last_seq"]),
        (200, &3.into()),
        "{taken:?}"
    );
    push_row(&mut two, b"{}");
    let refused = bench.post(EVENTS, rows, &two).await;
    let error = &refused.body["error"];
    assert_eq!(
        (refused.status, &error["code"], &error["index"]),
        (400, &"malformed".into(), &2.into())
    );
    assert!(error.get("line").is_none(), "{error}");
    assert_eq!(bench.post(EVENTS, single, b"{}").await.status, 400);
    assert_eq!(bench.next_seq(), 4, "nothing of a refused request was taken");
}

#[tokio::test]
async fn every_refusal_has_its_status_and_code() {
    let bench = Bench::new(2 << 20).await;
    let large = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1 << 20));
    let zipped = format!("{LINES}Content-Encoding: gzip\r\n");
    let cases: [(&str, &str, &[u8], u16, &str); 8] = [
        (EVENTS, LINES, b"\n", 400, "empty"),
        (EVENTS, DOCUMENT, b"[]", 400, "empty"),
        (EVENTS, "", b"{}", 415, "unsupported_media_type"),
        (
            EVENTS,
            "Content-Type: text/plain\r\n",
            b"{}",
            415,
            "unsupported_media_type",
        ),
        (EVENTS, &zipped, b"{}", 415, "unsupported_media_type"),
        (EVENTS, LINES, large.as_bytes(), 413, "too_large"),
        ("/v1/streams/a%20b/events", LINES, b"{}", 400, "invalid_stream"),
        ("/v2/streams", LINES, b"{}", 404, "not_found"),
    ];
    for (path, headers, body, status, code) in cases {
        let answer = bench.post(path, headers, body).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (status, &code.into()),
            "{path} {headers}"
        );
        assert!(
            answer.body["error"]["message"]
                .as_str()
                .is_some_and(|text| text.len() > 10)
        );
    }
    let wrong = bench.get(EVENTS).await;
    assert_eq!((wrong.status, wrong.headers.contains("allow: post")), (405, true));
    let wrong = bench.post("/v1/status", LINES, b"").await;
    assert_eq!((wrong.status, wrong.headers.contains("allow: get")), (405, true));
    assert_eq!(bench.next_seq(), 1, "nothing was taken");
}

#[tokio::test]
async fn a_large_body_is_refused_by_its_declared_and_by_its_real_size() {
    let bench = Bench::new(1_000).await;
    // only the headers are sent: the answer must not wait for the body
    let mut stream = bench.connect().await;
    let head = format!("POST {EVENTS} HTTP/1.1\r\nHost: x\r\n{LINES}Content-Length: 1001\r\n\r\n");
    let answer = exchange(&mut stream, head.as_bytes()).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["limit"]),
        (413, &1_000.into())
    );

    let head = format!("POST {EVENTS} HTTP/1.1\r\nHost: x\r\n{LINES}Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 600, "{}\n".repeat(200));
    let mut stream = bench.connect().await;
    let answer = exchange(&mut stream, format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (413, &"too_large".into())
    );
    let mut stream = bench.connect().await;
    let answer = exchange(&mut stream, format!("{head}{chunk}0\r\n\r\n").as_bytes()).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (200, &200.into()));
}

#[tokio::test]
async fn a_full_spool_is_a_429_and_the_intake_lives_on() {
    let bench = Bench::new(4 << 20).await;
    let mut state = 7u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{{\"a\":\"{state:016x}\"}}\n")
    };
    let full = loop {
        let body: String = (0..40_000).map(|_| noise()).collect();
        let answer = bench.post(EVENTS, LINES, body.as_bytes()).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(
        (full.status, &full.body["error"]["code"]),
        (429, &"spool_full".into())
    );
    assert!(full.headers.contains("retry-after: "), "{}", full.headers);
    assert_eq!(bench.get("/readyz").await.status, 200);
    assert_eq!(bench.get("/v1/status").await.body["spool"]["full"], true);

    let body: String = (0..40_000).map(|_| noise()).collect();
    let asked = Instant::now();
    let rejected = bench
        .post("/v1/streams/rejecting/events", LINES, body.as_bytes())
        .await;
    assert_eq!(rejected.status, 429);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "at once: it does not wait for room"
    );
    let dropped = bench
        .post("/v1/streams/newest/events", LINES, body.as_bytes())
        .await;
    assert_eq!((dropped.status, &dropped.body["dropped"]), (200, &40_000.into()));
    assert_eq!(
        bench.post(EVENTS, LINES, body.as_bytes()).await.status,
        429,
        "it waits in vain"
    );
    // a request of a stream that blocks goes on as soon as there is room
    let lane = bench.spool.watch().borrow().lanes[0].clone();
    let (waiting, marked) = tokio::join!(
        bench.post(EVENTS, LINES, body.as_bytes()),
        bench.spool.commit_mark(lane.lane, lane.next_seq - 1)
    );
    marked.expect("stored");
    assert_eq!(waiting.status, 200, "{:?}", waiting.body);
}

#[tokio::test]
async fn a_closed_spool_is_a_503() {
    let bench = Bench::new(1 << 20).await;
    bench.spool.shutdown().await.expect("closed");
    let answer = bench.post(EVENTS, LINES, b"{}\n").await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (503, &"spool_unavailable".into())
    );
    assert!(answer.headers.contains("retry-after: "));
}

#[tokio::test]
async fn health_and_metrics_answer() {
    let bench = Bench::new(1 << 20).await;
    bench
        .post("/v1/streams/for-metrics/events", LINES, b"{}\n{}\n")
        .await;
    assert_eq!(bench.get("/healthz").await.status, 200);
    assert_eq!(bench.get("/readyz").await.body["status"], "ready");
    let metrics = bench.get("/metrics").await;
    assert!(metrics.headers.contains("openmetrics-text"));
    let line = "tributary_intake_events_total{input=\"http\",stream=\"for-metrics\"} 2";
    assert!(
        metrics.body.as_str().is_some_and(|text| text.contains(line)),
        "{}",
        metrics.body
    );
}

#[tokio::test]
async fn a_connection_is_kept_and_stops_with_the_agent() {
    let bench = Bench::new(1 << 20).await;
    let mut stream = bench.connect().await;
    let request = format!("POST {EVENTS} HTTP/1.1\r\nHost: x\r\n{LINES}Content-Length: 3\r\n\r\n{{}}\n");
    for seq in 1..=3 {
        assert_eq!(
            exchange(&mut stream, request.as_bytes()).await.body["first_seq"],
            seq
        );
    }
    // half a request must not hold up the others, nor the end
    let mut slow = bench.connect().await;
    let head = format!("POST {EVENTS} HTTP/1.1\r\nHost: x\r\n{LINES}Content-Length: 3\r\n\r\n{{");
    slow.write_all(head.as_bytes()).await.expect("write");
    assert_eq!(exchange(&mut stream, request.as_bytes()).await.status, 200);
    bench.stop.send_replace(true);
    assert_eq!(
        timeout(PATIENCE, stream.read_u8())
            .await
            .expect("closed")
            .expect_err("closed")
            .kind(),
        std::io::ErrorKind::UnexpectedEof
    );
    slow.write_all(b"}\n").await.expect("write");
    assert_eq!(
        timeout(PATIENCE, read_answer(&mut slow))
            .await
            .expect("answered")
            .status,
        200
    );
    timeout(PATIENCE, bench.server)
        .await
        .expect("ends")
        .expect("no panic");
}

#[tokio::test]
async fn a_client_that_stops_half_way_is_let_go() {
    let bench = Bench::new(1 << 20).await;
    let mut slow = bench.connect().await;
    let head =
        format!("POST {EVENTS} HTTP/1.1\r\nHost: x\r\n{LINES}Content-Length: 300\r\n\r\n{{\"a\":1}}\n");
    slow.write_all(head.as_bytes()).await.expect("write");
    // the clock jumps to the next thing that anybody waits for: the server's patience ends before ours
    tokio::time::pause();
    let answer = read_answer(&mut slow).await;
    assert_eq!(
        (answer.status, &answer.body["error"]["code"]),
        (408, &"timeout".into())
    );
    assert!(answer.headers.contains("connection: close"));
    assert_eq!(bench.next_seq(), 1, "nothing was taken");
}

const SCHEMA: &str =
    r#"{"type":"object","properties":{"n":{"type":"integer","maximum":9}},"required":["n"]}"#;

impl Bench {
    async fn learn(&self, stream: &str) {
        let schema = tributary_shared::wire::SchemaInfo {
            id: 3,
            version: 1,
            format: "JSON".to_owned(),
            text: SCHEMA.to_owned(),
            references: Vec::new(),
        };
        self.checks
            .learn(stream.parse().expect("name"), Some(schema))
            .await;
    }
}

#[tokio::test]
async fn an_invalid_event_refuses_the_whole_request_and_names_its_place() {
    let bench = Bench::new(1 << 20).await;
    let path = "/v1/streams/checked/events";
    let body = b"{\"n\":1}\n\n{\"n\":10}\n{\"n\":2}\n";
    let taken = bench.post(path, LINES, body).await;
    assert_eq!(taken.status, 200, "no schema is known yet: {taken:?}");
    bench.learn("checked").await;
    let before = bench.next_seq();
    let refused = bench.post(path, LINES, body).await;
    let error = &refused.body["error"];
    assert_eq!(
        (refused.status, error["code"].as_str()),
        (422, Some("invalid_event")),
        "{refused:?}"
    );
    assert_eq!(
        (error["line"].as_u64(), error["path"].as_str()),
        (Some(3), Some("/n")),
        "{error}"
    );
    assert_eq!(error["rule"], "maximum", "{error}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("line 3: /n: 10")),
        "{error}"
    );
    let refused = bench.post(path, DOCUMENT, b"[{\"n\":1},\n{}]").await;
    let error = &refused.body["error"];
    assert_eq!(
        (error["line"].as_u64(), error["index"].as_u64()),
        (Some(2), Some(1)),
        "{error}"
    );
    assert_eq!(
        (error["path"].as_str(), error["rule"].as_str()),
        (Some("/n"), Some("required")),
        "{error}"
    );
    assert_eq!(bench.next_seq(), before, "nothing of it is taken");
    let taken = bench.post(path, LINES, b"{\"n\":1}\n{\"n\":2}\n").await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let status = bench.get("/v1/status").await.body;
    let line = &status["checks"][0];
    assert_eq!(
        (line["stream"].as_str(), line["policy"].as_str()),
        (Some("checked"), Some("reject")),
        "{status}"
    );
    let counts = ["schema_id", "checked", "invalid", "refused_requests"].map(|key| line[key].as_u64());
    assert_eq!(counts, [Some(3), Some(2), Some(0), Some(2)], "{status}");
}

#[tokio::test]
async fn a_tagged_event_is_taken_and_counted_by_its_rule() {
    let bench = Bench::new(1 << 20).await;
    bench.learn("tagged").await;
    let body = b"{\"n\":1}\n{\"n\":10}\n{\"n\":\"x\"}\n{}\n";
    let taken = bench.post("/v1/streams/tagged/events", LINES, body).await;
    assert_eq!(
        (taken.status, taken.body["accepted"].as_u64()),
        (200, Some(4)),
        "{taken:?}"
    );
    let full = bench
        .post("/v1/streams/tagged/events", LINES, b"{\"n\":11}\n{")
        .await;
    assert_eq!(full.status, 400, "what is not taken is not counted: {full:?}");
    let status = bench.get("/v1/status").await.body;
    let line = &status["checks"][1];
    assert_eq!(line["invalid"], 3, "{status}");
    assert_eq!(
        line["by_rule"],
        serde_json::json!({"maximum": 1, "required": 1, "type": 1}),
        "{status}"
    );
    let metrics = bench.get("/metrics").await.body;
    let text = metrics.as_str().expect("text");
    let counted = text.lines().any(|line| {
        line.starts_with("tributary_check_invalid_events_total")
            && line.contains("tagged")
            && line.contains("maximum")
    });
    assert!(counted, "{text}");
}

#[tokio::test]
async fn a_request_brings_its_trace_context_and_garbage_is_counted_and_taken() {
    let bench = Bench::new(1 << 20).await;
    let bad = counter(MetricName::IntakeBadTraceContexts, &[]);
    let before = bad.get();
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for context in [
        good,
        "tomorrow",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    ] {
        let headers = format!("Content-Type: application/json\r\nTraceparent: {context}\r\n");
        let answer = bench.post("/v1/streams/s/events", &headers, b"{}").await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let lane = bench.spool.watch().borrow().lanes[0].lane;
    let blocks = bench.spool.read(lane, 1, 100, 1 << 20).await.expect("blocks");
    let of = |block: &crate::spool::Block| match block {
        crate::spool::Block::Rows(rows) => rows.contexts.clone(),
        crate::spool::Block::Dropped { .. } => Vec::new(),
    };
    let contexts: Vec<_> = blocks.iter().flat_map(of).collect();
    let [context] = &contexts[..] else {
        panic!("one context: {contexts:?}")
    };
    assert_eq!(
        (context.first_seq, context.last_seq, context.traceparent.as_str()),
        (1, 1, good)
    );
    assert_eq!(bad.get() - before, 2);
}
