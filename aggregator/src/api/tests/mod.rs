//! The API over a real log, a real registry and a real engine in a temporary directory.

mod audit;
mod dead_letters;
mod disk_full;
mod explain;
mod graph;
mod lineage;
mod reading;
mod registry;
mod schemas;
mod sql;

use std::pin::pin;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use arrow_array::{Float64Array, RecordBatch, TimestampMillisecondArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use serde_json::{Value, json};
use tokio::sync::watch;
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo, LineageId, Seq, StreamName};
use tributary_shared::time::{now_millis, parse_rfc3339};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{
    BatchContent, CommitHeader, DeadLetter, LaneReport, NodeReport, Reason, SegmentOrigin,
};

use super::*;
use crate::agents::AgentDirectory;
use crate::commit::{
    CommitAnswer, CommitHandle, CommitOptions, CommitRequest, CommitThread, Retention, prepare,
};
use crate::registry::Registry;
use crate::throughput::Throughput;
use crate::window::{EngineConfig, EngineOptions, EngineThread};

/// The minute that all test events fall into: 2026-01-31T12:00.
const MINUTE: i64 = 1_769_860_800_000;
const VIEW: &str = "SELECT window_start, window_end, count(*) AS n, max(t) AS t_max
    FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, window_end";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Mesh {
    state: ApiState,
    commit: CommitHandle,
    threads: (CommitThread, EngineThread),
    _stop: watch::Sender<bool>,
    _dir: Option<tempfile::TempDir>,
}

impl Mesh {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let mesh = Self::start_in(dir.path());
        Self {
            _dir: Some(dir),
            ..mesh
        }
    }

    fn start_in(dir: &std::path::Path) -> Self {
        Self::start_keeping(dir, Retention::EVERYTHING)
    }

    fn start_keeping(dir: &std::path::Path, keep: Retention) -> Self {
        let registry = Registry::open(dir).expect("registry");
        let options = CommitOptions {
            dir: dir.to_owned(),
            require_schema: false,
        };
        let (commit, log, committer) =
            crate::commit::open_with_retention(options, keep, registry.cache()).expect("log");
        let throughput = Arc::new(Throughput::default());
        let options = EngineOptions {
            dir: dir.to_owned(),
            config: EngineConfig::default(),
        };
        let (engine, thread) =
            crate::window::start(&options, log.clone(), commit.clone(), Arc::clone(&throughput))
                .expect("engine");
        let (stop, shutdown) = watch::channel(false);
        let state = ApiState::new(
            log,
            commit.clone(),
            engine,
            Arc::new(AgentDirectory::new()),
            throughput,
            (registry, crate::metadata::Metadata::open(dir).expect("metadata")),
            shutdown,
        );
        Self {
            state,
            commit,
            threads: (committer, thread),
            _stop: stop,
            _dir: None,
        }
    }

    /// Commits a batch of stream `readings` and waits until the views have it. Seq 3 of a lane is dead.
    async fn commit(&self, first: Seq, last: Seq) -> LaneNo {
        self.commit_lane(lane_key().epoch.0, first, last).await
    }

    /// The same in the lane of an epoch.
    async fn commit_lane(&self, epoch: u64, first: Seq, last: Seq) -> LaneNo {
        let key = LaneKey {
            epoch: Epoch(epoch),
            ..lane_key()
        };
        let lane = self
            .commit
            .open_lane(key.clone(), last + 1)
            .await
            .expect("opens")
            .lane_no;
        let batch = prepare(request(lane, key, first, last)).expect("well-formed");
        let answer = self.commit.submit(batch).await.expect("answered");
        let CommitAnswer::Committed { pos: Some(pos), .. } = answer else {
            panic!("not committed: {answer:?}")
        };
        let mut applied = self.state.engine.applied_changes();
        applied
            .wait_for(|applied| *applied >= pos)
            .await
            .expect("the engine runs");
        lane
    }

    async fn close(self) {
        self.commit.stop().await;
        self.state.engine.stop().await;
        self.threads.0.join().expect("the commit thread ends well");
        self.threads.1.join().await.expect("the engine ends well");
    }
}

fn lane_key() -> LaneKey {
    LaneKey {
        agent: AgentId::new("edge-1").expect("valid"),
        stream: StreamName::new("readings").expect("valid"),
        epoch: Epoch(7),
    }
}

fn columns(seqs: &[Seq]) -> Vec<u8> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let fields = vec![
        Field::new(EVENT_TIME_COLUMN, time, false),
        Field::new("t", DataType::Float64, true),
    ];
    let times: Vec<i64> = seqs.iter().map(|seq| MINUTE + *seq as i64).collect();
    let values: Vec<f64> = seqs.iter().map(|seq| *seq as f64 / 2.0).collect();
    let schema = Arc::new(Schema::new(fields));
    let times = Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"));
    let records =
        RecordBatch::try_new(schema, vec![times, Arc::new(Float64Array::from(values))]).expect("fits");
    let mut writer = StreamWriter::try_new(Vec::new(), records.schema_ref()).expect("writes");
    writer.write(&records).expect("writes");
    writer.into_inner().expect("writes")
}

fn request(lane: LaneNo, key: LaneKey, first: Seq, last: Seq) -> CommitRequest {
    let (dead, valid): (Vec<Seq>, Vec<Seq>) = (first..=last).partition(|seq| *seq == 3);
    let columns = columns(&valid);
    let reason = Reason {
        path: "/t".to_owned(),
        rule: "type".to_owned(),
        message: "\"hot\" is no number".to_owned(),
    };
    let letter = |seq: &Seq| DeadLetter {
        seq: *seq,
        reasons: vec![reason.clone()],
        payload: br#"{"t":"hot"}"#.to_vec(),
    };
    let letters: Vec<DeadLetter> = dead.iter().map(letter).collect();
    let letters = rmp_serde::to_vec_named(&letters).expect("encodes");
    let body = bytes::Bytes::from([&columns[..], &letters].concat());
    let count = (last - first + 1) as u32;
    let origin = Some("http".to_owned());
    let header = CommitHeader {
        writer: 0,
        after_writer: 0,
        lane,
        first_seq: first,
        count,
        content: BatchContent::Rows,
        dead_seqs: dead,
        schema: None,
        columns_len: columns.len() as u32,
        dead_len: letters.len() as u32,
        body_crc: checksum(&body),
        gateway: GatewayId::new("gw-1").expect("valid"),
        segments: vec![SegmentOrigin {
            count,
            collected_at: MINUTE,
            spooled_at: MINUTE + 1,
            origin,
        }],
        sent_at: MINUTE + 2,
        received_at: MINUTE + 3,
        admitted_at: MINUTE + 4,
        traceparent: Some(TRACE.to_owned()),
        contexts: Default::default(),
        attempts: Default::default(),
        usage: Vec::new(),
    };
    CommitRequest { key, header, body }
}

async fn app(
    state: ApiState,
) -> impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error> {
    init_service(App::new().app_data(web::Data::new(state)).configure(configure)).await
}

async fn call(
    app: &impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
    request: TestRequest,
) -> (StatusCode, Value) {
    let response = call_service(app, request.to_request()).await;
    let status = response.status();
    let body = read_body(response).await;
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn get(path: &str) -> TestRequest {
    TestRequest::get().uri(path)
}

fn put_view(name: &str, sql: &str) -> TestRequest {
    TestRequest::put()
        .uri(&format!("/api/v1/views/{name}"))
        .set_json(json!({ "sql": sql }))
}

#[actix_web::test]
async fn a_view_is_made_read_filtered_and_removed() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 4).await;
    let (status, made) = call(&app, put_view("r", VIEW)).await;
    assert_eq!(
        (status, &made["stream"]),
        (StatusCode::CREATED, &json!("readings")),
        "{made}"
    );
    assert_eq!(call(&app, put_view("r", VIEW)).await.0, StatusCode::OK);
    // back-filled from the log, and then live
    let filled = || async { call(&app, get("/api/v1/views/r")).await.1["live"] == json!(true) };
    while !filled().await {
        tokio::task::yield_now().await;
    }
    mesh.commit(5, 6).await;
    let (_, page) = call(
        &app,
        get("/api/v1/views/r/windows?from=2026-01-31T12:00:00Z&limit=10"),
    )
    .await;
    assert_eq!(page["rows"][0]["n"], json!(5), "{page}");
    assert_eq!(page["rows"][0]["t_max"], json!(3.0));
    assert_eq!(page["rows"][0]["window_start"], json!("2026-01-31T12:00:00.000Z"));
    let (_, none) = call(
        &app,
        get(&format!("/api/v1/views/r/windows?from={}", MINUTE + 60_000)),
    )
    .await;
    assert_eq!(none["rows"], json!([]));
    let (_, none) = call(&app, get("/api/v1/views/r/windows?n=4")).await;
    assert_eq!(none["rows"], json!([]));
    let (_, changed) = call(&app, get("/api/v1/views/r/windows?changes=true")).await;
    assert_eq!(
        (&changed["rows"], &changed["truncated"]),
        (&page["rows"], &json!(false))
    );
    let at = changed["changed_at"][0]
        .as_str()
        .and_then(parse_rfc3339)
        .expect("a time");
    assert!((now_millis() - at).abs() < 600_000, "{changed}");
    let (status, error) = call(&app, get("/api/v1/views/r/windows?changes=1")).await;
    assert_eq!(
        (status, &error["error"]["parameter"]),
        (StatusCode::BAD_REQUEST, &json!("changes"))
    );
    assert_eq!(
        call(&app, TestRequest::delete().uri("/api/v1/views/r")).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(call(&app, get("/api/v1/views/r")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        call(&app, TestRequest::delete().uri("/api/v1/views/r")).await.0,
        StatusCode::NOT_FOUND
    );
    mesh.close().await;
}

#[actix_web::test]
async fn mistakes_are_told_with_their_place() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    let refusals = [
        (
            put_view(
                "r",
                "SELECT window_start,\n  nonsense(t) AS x FROM TUMBLE(readings, ts, INTERVAL '1 minute')",
            ),
            "invalid_sql",
        ),
        (put_view("r%20r", VIEW), "invalid_sql"),
        (
            TestRequest::put().uri("/api/v1/views/r").set_payload("{"),
            "malformed",
        ),
        (
            TestRequest::put()
                .uri("/api/v1/views/r")
                .set_json(json!({ "query": "" })),
            "malformed",
        ),
        (get("/api/v1/views/host_cpu/windows?limit=0"), "invalid_query"),
        (get("/api/v1/views/host_cpu/windows?limit=10001"), "invalid_query"),
        (
            get("/api/v1/views/host_cpu/windows?from=yesterday"),
            "invalid_query",
        ),
        (get("/api/v1/views/host_cpu/windows?nosuch=1"), "unknown_column"),
        (get("/api/v1/dead-letters?limit=x"), "invalid_query"),
        (get("/api/v1/dead-letters?nosuch=x"), "invalid_query"),
        (get("/api/v1/events/nonsense"), "invalid_event"),
    ];
    for (request, code) in refusals {
        let (status, body) = call(&app, request).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{body}"
        );
        if code == "invalid_sql" {
            assert!(
                body["error"]["line"].is_u64() && body["error"]["column"].is_u64(),
                "{body}"
            );
        }
    }
    for path in [
        "/api/v1/views/nosuch",
        "/api/v1/views/nosuch/windows",
        "/api/v1/views/nosuch/live",
        "/api/v1/sql",
        "/x",
    ] {
        let (status, body) = call(&app, get(path)).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body["error"]["message"].is_string(), "{path}: {body}");
    }
    mesh.close().await;
}

#[actix_web::test]
async fn the_books_agree() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 4).await;
    let totals = json!({ "produced": 4, "valid": 3, "dead": 1, "dropped": 0 });
    let (_, ledger) = call(&app, get("/api/v1/ledger")).await;
    assert_eq!((&ledger["totals"], &ledger["balanced"]), (&totals, &json!(true)));
    assert_eq!(
        (&ledger["violations"], &ledger["lanes"][0]["held"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(ledger["lanes"][0]["agent"], json!("edge-1"));
    let (_, streams) = call(&app, get("/api/v1/streams")).await;
    assert_eq!(streams["streams"][0]["stream"], json!("readings"));
    assert_eq!(streams["streams"][0]["dead"], json!(1));
    let (_, agents) = call(&app, get("/api/v1/agents")).await;
    assert_eq!(
        (&agents["agents"][0]["connected"], &agents["agents"][0]["lanes"]),
        (&json!(false), &json!(1))
    );
    let (_, lanes) = call(&app, get("/api/v1/lanes")).await;
    assert_eq!(lanes["lanes"][0]["mark"], json!(4));
    let soon = now_millis() + 1_000;
    let counted: u64 = mesh
        .state
        .throughput
        .last(soon, 10)
        .iter()
        .map(|second| second.counts.valid)
        .sum();
    assert_eq!(counted, 3);
    let (_, seen) = call(&app, get("/api/v1/throughput")).await;
    assert_eq!(
        seen["buckets"].as_array().map(Vec::len),
        Some(crate::throughput::SECONDS - 1)
    );
    mesh.close().await;
}

#[actix_web::test]
async fn the_ledger_tells_what_agents_still_hold() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 4).await;
    let (key, gateway) = (lane_key(), GatewayId::new("gw-1").expect("valid"));
    mesh.state.agents.connected(&key.agent, &gateway, "r", "x", 1_000);
    // 10 produced, 4 committed (the agent has heard of 2), 2 dropped in between and not yet told, 4 held
    let lane = LaneReport {
        stream: key.stream.clone(),
        epoch: key.epoch,
        next_seq: 11,
        committed_seq: 2,
        held_events: 4,
        held_bytes: 400,
    };
    let report = NodeReport {
        skew_ms: None,
        promoted: Vec::new(),
        now: 1_000,
        spool_bytes: 4096,
        spool_limit: 8192,
        lanes: vec![lane],
        checks: Vec::new(),
    };
    mesh.state.agents.report(&key.agent, report, 1_500);
    let (_, ledger) = call(&app, get("/api/v1/ledger")).await;
    let line = &ledger["lanes"][0];
    assert_eq!(
        (&line["held"], &line["unreported_drops"], &line["reported_at"]),
        (&json!(4), &json!(2), &json!("1970-01-01T00:00:01.500Z")),
        "{ledger}"
    );
    assert_eq!(
        ledger["at_agents"],
        json!({ "held": 4, "unreported_drops": 2, "lanes_not_reported": 0 })
    );
    mesh.close().await;
}

#[actix_web::test]
async fn the_path_of_an_event_is_shown_whatever_became_of_it() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    assert_eq!(call(&app, put_view("r", VIEW)).await.0, StatusCode::CREATED);
    let lane = mesh.commit(1, 4).await;
    let (_, path) = call(&app, get(&format!("/api/v1/events/{}", LineageId::new(lane, 2)))).await;
    assert_eq!(
        (&path["outcome"], &path["seq"]),
        (&json!("valid"), &json!(2)),
        "{path}"
    );
    let hops: Vec<_> = path["hops"]
        .as_array()
        .expect("hops")
        .iter()
        .map(|hop| hop["hop"].as_str())
        .collect();
    let expected = [
        "collected",
        "spooled",
        "sent",
        "received",
        "admitted",
        "committed",
        "applied",
    ];
    assert_eq!(hops, expected.map(Some));
    assert_eq!(path["windows"][0]["view"], json!("r"), "{path}");
    assert_eq!(
        path["windows"][0]["window_start"],
        json!("2026-01-31T12:00:00.000Z")
    );
    assert_eq!(path["trace_id"], json!("0af7651916cd43dd8448eb211c80319c"));
    let (_, dead) = call(&app, get("/api/v1/events/edge-1/readings/7/3")).await;
    assert_eq!(
        (&dead["outcome"], &dead["dead_letter"]["reasons"][0]["path"]),
        (&json!("dead_letter"), &json!("/t"))
    );
    let (_, later) = call(&app, get("/api/v1/events/edge-1/readings/7/99")).await;
    assert_eq!(
        (&later["outcome"], &later["mark"]),
        (&json!("not_committed"), &json!(4))
    );
    for unknown in ["edge-2/readings/7/1", "edge-1/readings/7/0"] {
        assert_eq!(
            call(&app, get(&format!("/api/v1/events/{unknown}"))).await.0,
            StatusCode::NOT_FOUND
        );
    }
    let (_, letters) = call(
        &app,
        get("/api/v1/dead-letters?stream=readings&reason=type&limit=5"),
    )
    .await;
    assert_eq!(
        letters["dead_letters"][0]["lineage_id"],
        json!(LineageId::new(lane, 3).to_string())
    );
    assert_eq!(letters["dead_letters"][0]["payload"], json!(r#"{"t":"hot"}"#));
    let (_, none) = call(&app, get("/api/v1/dead-letters?reason=malformed")).await;
    assert_eq!(none["dead_letters"], json!([]));
    mesh.close().await;
}

/// Reads a live stream until an event of this name, and returns its data.
async fn next_event(body: &mut (impl MessageBody + Unpin), name: &str) -> Value {
    let wanted = format!("event: {name}\n");
    loop {
        let chunk = std::future::poll_fn(|cx| pin!(&mut *body).poll_next(cx))
            .await
            .expect("goes on");
        let Ok(chunk) = chunk else {
            panic!("the stream broke")
        };
        let text = String::from_utf8(chunk.to_vec()).expect("text");
        if let Some(rest) = text.strip_prefix(&wanted) {
            let data = rest
                .lines()
                .find_map(|line| line.strip_prefix("data: "))
                .expect("data");
            return serde_json::from_str(data).expect("json");
        }
    }
}

#[actix_web::test]
async fn a_changed_row_reaches_who_watches() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    assert_eq!(call(&app, put_view("r", VIEW)).await.0, StatusCode::CREATED);
    let one = call_service(&app, get("/api/v1/views/r/live").to_request()).await;
    assert_eq!(
        one.headers().get("content-type").expect("type"),
        "text/event-stream"
    );
    let mut one = Box::pin(one.into_body());
    let mut all = Box::pin(
        call_service(&app, get("/api/v1/live").to_request())
            .await
            .into_body(),
    );
    let overview = next_event(&mut all, "overview").await;
    assert_eq!(overview["ledger"]["totals"]["produced"], json!(0));
    mesh.commit(1, 4).await;
    assert_eq!(next_event(&mut one, "window").await["n"], json!(3));
    let tagged = next_event(&mut all, "windows").await;
    assert_eq!(
        (&tagged[0]["view"], &tagged[0]["row"]["n"]),
        (&json!("r"), &json!(3))
    );
    drop((one, all));
    mesh.close().await;
}

#[actix_web::test]
async fn the_pages_stream_has_the_rows_of_the_views_that_it_names() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    for name in ["r", "s", "t"] {
        assert_eq!(call(&app, put_view(name, VIEW)).await.0, StatusCode::CREATED);
    }
    let open = async |views: &str| {
        let request = get(&format!("/api/v1/live?views={views}")).to_request();
        let mut body = Box::pin(call_service(&app, request).await.into_body());
        next_event(&mut body, "overview").await;
        body
    };
    let mut two = open("t,r").await;
    let mut later = open("late").await;
    mesh.commit(1, 4).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let rows = next_event(&mut two, "windows").await;
        seen.extend(
            rows.as_array()
                .expect("rows")
                .iter()
                .map(|one| one["view"].to_string()),
        );
    }
    seen.sort();
    assert_eq!(seen, [r#""r""#, r#""t""#], "and nothing of s between them");

    // a view that is made while somebody listens for it
    assert_eq!(call(&app, put_view("late", VIEW)).await.0, StatusCode::CREATED);
    mesh.commit(5, 8).await;
    assert_eq!(next_event(&mut later, "windows").await[0]["view"], json!("late"));

    let (status, error) = call(&app, get("/api/v1/live?view=r")).await;
    assert_eq!(
        (status, &error["error"]["parameter"]),
        (StatusCode::BAD_REQUEST, &json!("view"))
    );
    drop((two, later));
    mesh.close().await;
}

#[actix_web::test]
async fn the_description_names_what_there_is() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    let mut ready = mesh.state.engine.ready_changes();
    ready.wait_for(|ready| *ready).await.expect("the engine runs");
    let (_, described) = call(&app, get("/api/openapi.json")).await;
    let paths = described["paths"].as_object().expect("paths");
    assert!(paths.len() > 12);
    for (path, methods) in paths {
        let real = path
            .replace("{name}", "host_cpu")
            .replace("{event}", "edge-9/none/1/1");
        let served = |method: &&str| methods.get(method.to_lowercase()).is_some();
        let method = ["GET", "POST", "PUT", "PATCH"]
            .into_iter()
            .find(served)
            .expect("a method");
        let request = TestRequest::with_uri(&real).method(method.parse().expect("a method"));
        let response = call_service(&app, request.to_request()).await;
        assert!(response.status() != StatusCode::INTERNAL_SERVER_ERROR);
        if response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind == "text/event-stream")
        {
            continue; // goes on for ever
        }
        let body = String::from_utf8(read_body(response).await.to_vec()).expect("text");
        assert!(!body.contains("\"not_found\""), "{path} is not served");
    }
    for path in ["/", "/healthz", "/readyz", "/metrics"] {
        let response = call_service(&app, get(path).to_request()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
    mesh.close().await;
}
