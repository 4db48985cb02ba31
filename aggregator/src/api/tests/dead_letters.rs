//! Dead letters through the API: replay, fixes, discard, and bad requests.

use tributary_schema::compat::CompatibilityLevel;
use tributary_schema::language::SchemaFormat;
use tributary_shared::time::now_millis;

use super::*;
use crate::registry::rules::Step;
use crate::registry::{By, NewSchema};

const SCHEMA: &str = r#"{"type":"object","properties":{"ts":{"type":"integer","x-event-time":true},"t":{"type":"number"}},"required":["t"]}"#;
const FIX: &str = "json_set(payload, '$.t', 21.5, '$.ts', 1769860830000)";

fn post(path: &str, body: Value) -> TestRequest {
    TestRequest::post()
        .uri(&format!("/api/v1/dead-letters/{path}"))
        .set_json(body)
}

impl Mesh {
    /// Registers the schema, which the batches that a test commits are not judged by: commit them first.
    fn register(&self, text: &str) {
        let (registry, by) = (&self.state.schemas, By::itself("a test"));
        let level = Some(CompatibilityLevel::None);
        registry
            .set_config("readings-value", level, None, &by)
            .expect("sets");
        let new = NewSchema::new(SchemaFormat::Json, text);
        registry.register("readings-value", &new, &by).expect("registers");
    }

    async fn applied_all(&self) {
        let newest = self.state.log.stats().expect("reads").newest;
        let mut applied = self.state.engine.applied_changes();
        applied
            .wait_for(|applied| *applied >= newest)
            .await
            .expect("the engine runs");
    }

    async fn live(&self, view: &str) {
        loop {
            let views = self.state.engine.views().await.expect("runs");
            if views.iter().any(|info| info.name == view && info.stats.live) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[actix_web::test]
async fn a_fixed_letter_counts_once_amends_its_window_and_shows_its_path() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    call(&app, put_view("r", VIEW)).await;
    let lane = mesh.commit(1, 4).await;
    mesh.register(SCHEMA);
    let (_, before) = call(&app, get("/api/v1/views/r/windows")).await;
    let order = json!({ "stream": "readings", "fix": { "sql": FIX }, "dry_run": true });
    let (status, dry) = call(&app, post("replay", order)).await;
    assert_eq!(
        (status, &dry["replayed"], &dry["dry_run"]),
        (StatusCode::OK, &json!(1), &json!(true)),
        "{dry}"
    );
    assert_eq!(
        dry["samples"][0]["payload"],
        json!(r#"{"t":21.5,"ts":1769860830000}"#)
    );
    let (_, unfixed) = call(&app, post("replay", json!({ "stream": "readings" }))).await;
    assert_eq!(
        (&unfixed["still_invalid"], &unfixed["replayed"]),
        (&json!(1), &json!(0)),
        "{unfixed}"
    );
    assert_eq!(unfixed["invalid"][0]["reasons"][0]["path"], json!("/t"));

    // all at once: one of them does it
    let order = || {
        post(
            "replay",
            json!({ "filter": { "reason": "/t" }, "fix": { "sql": FIX }, "by": "ann" }),
        )
    };
    let (one, two, three) =
        futures_util::join!(call(&app, order()), call(&app, order()), call(&app, order()));
    let sum = |field: &str| -> u64 {
        [&one.1, &two.1, &three.1]
            .iter()
            .map(|report| report[field].as_u64().expect("a count"))
            .sum()
    };
    assert_eq!(
        (sum("replayed"), sum("already_replayed")),
        (1, 2),
        "{one:?} {two:?} {three:?}"
    );
    mesh.applied_all().await;

    let (_, after) = call(&app, get("/api/v1/views/r/windows")).await;
    let (old, new) = (&before["rows"][0], &after["rows"][0]);
    assert_eq!(
        (&old["n"], &new["n"], &new["t_max"]),
        (&json!(3), &json!(4), &json!(21.5)),
        "{after}"
    );
    assert_eq!(
        new["revision"].as_u64(),
        old["revision"].as_u64().map(|revision| revision + 1)
    );
    // a view that is made later sees it as well
    call(&app, put_view("later", VIEW)).await;
    mesh.live("later").await;
    let (_, filled) = call(&app, get("/api/v1/views/later/windows")).await;
    assert_eq!(
        (&filled["rows"][0]["n"], &filled["rows"][0]["t_max"]),
        (&json!(4), &json!(21.5)),
        "{filled}"
    );

    let (_, ledger) = call(&app, get("/api/v1/ledger")).await;
    let totals = json!({ "produced": 4, "valid": 4, "dead": 0, "dropped": 0 });
    assert_eq!(
        (&ledger["totals"], &ledger["balanced"]),
        (&totals, &json!(true)),
        "{ledger}"
    );
    let (_, path) = call(&app, get(&format!("/api/v1/events/{}", LineageId::new(lane, 3)))).await;
    assert_eq!(path["outcome"], json!("valid"), "{path}");
    let hops: Vec<&str> = path["hops"]
        .as_array()
        .expect("hops")
        .iter()
        .filter_map(|hop| hop["hop"].as_str())
        .collect();
    assert!(
        hops.ends_with(&["committed", "dead_letter", "replayed", "applied"]),
        "{hops:?}"
    );
    assert_eq!(path["windows"].as_array().map(Vec::len), Some(2), "{path}");
    let id = path["dead_letter"]["id"].as_i64().expect("an id");
    let (_, record) = call(&app, get(&format!("/api/v1/dead-letters/{id}"))).await;
    assert_eq!(
        record["payload"],
        json!(r#"{"t":"hot"}"#),
        "the original bytes stay"
    );
    let replayed = &record["replays"][0];
    assert_eq!(
        (&replayed["by"], &replayed["fix"]["sql"]),
        (&json!("ann"), &json!(FIX)),
        "{record}"
    );
    mesh.close().await;
}

#[actix_web::test]
async fn an_event_that_names_no_time_keeps_the_one_at_which_it_was_taken_in() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    call(&app, put_view("r", VIEW)).await;
    mesh.commit(1, 4).await;
    mesh.register(SCHEMA);
    let patch = json!([{ "op": "replace", "path": "/t", "value": 50 }]);
    let (_, report) = call(
        &app,
        post("replay", json!({ "all": true, "fix": { "json_patch": patch } })),
    )
    .await;
    assert_eq!(report["replayed"], json!(1), "{report}");
    mesh.applied_all().await;
    let (_, page) = call(&app, get("/api/v1/views/r/windows")).await;
    assert_eq!(
        (&page["rows"][0]["n"], &page["rows"][0]["t_max"]),
        (&json!(4), &json!(50.0)),
        "{page}"
    );
    assert!(
        now_millis() > MINUTE + 60_000,
        "else it could be the time of the replay"
    );
    mesh.close().await;
}

#[actix_web::test]
async fn a_version_is_chosen_and_one_that_is_not_there_is_told() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 4).await;
    mesh.register(r#"{"type":"object","properties":{"t":{"type":"string"}}}"#);
    mesh.register(SCHEMA);
    let replay = |schema: u32| {
        post(
            "replay",
            json!({ "stream": "readings", "schema": schema, "dry_run": true }),
        )
    };
    assert_eq!(call(&app, replay(1)).await.1["replayed"], json!(1));
    assert_eq!(call(&app, replay(2)).await.1["still_invalid"], json!(1));
    let (status, told) = call(&app, replay(9)).await;
    assert_eq!(
        (status, &told["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("unknown_version")),
        "{told}"
    );
    let (registry, by) = (&mesh.state.schemas, By::itself("a test"));
    registry
        .step("readings-value", 1, Step::Retire, true, &by)
        .expect("retires");
    let (_, told) = call(&app, replay(1)).await;
    assert_eq!(told["error"]["code"], json!("version_not_accepted"), "{told}");
    mesh.close().await;
}

#[actix_web::test]
async fn a_discard_is_named_in_the_ledger_and_cannot_be_replayed() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    let lane = mesh.commit(1, 4).await;
    let order = |dry_run: bool| {
        post(
            "discard",
            json!({ "filter": { "reason": "type" }, "reason": "test data", "dry_run": dry_run }),
        )
    };
    assert_eq!(call(&app, order(true)).await.1["discarded"], json!(1));
    assert_eq!(call(&app, order(false)).await.1["discarded"], json!(1));
    assert_eq!(call(&app, order(false)).await.1["already_discarded"], json!(1));
    let (_, report) = call(
        &app,
        post("replay", json!({ "all": true, "fix": { "sql": FIX } })),
    )
    .await;
    assert_eq!(
        (&report["replayed"], &report["discarded"]),
        (&json!(0), &json!(1)),
        "{report}"
    );
    let (_, ledger) = call(&app, get("/api/v1/ledger")).await;
    assert_eq!(
        (&ledger["balanced"], &ledger["totals"]["dead"]),
        (&json!(true), &json!(1)),
        "{ledger}"
    );
    let line = json!({ "from": 3, "to": 3, "reason": "discarded", "count": 1 });
    assert_eq!(
        (&ledger["lanes"][0]["dead_given_up"][0], &ledger["dead_open"]),
        (&line, &json!(0))
    );
    let (_, path) = call(&app, get(&format!("/api/v1/events/{}", LineageId::new(lane, 3)))).await;
    assert_eq!(path["outcome"], json!("discarded"), "{path}");
    let (_, counts) = call(&app, get("/api/v1/dead-letters/counts")).await;
    assert_eq!(
        counts["totals"],
        json!({ "open": 0, "replayed": 0, "discarded": 1 })
    );
    assert_eq!(counts["counts"][0]["reasons"], json!({ "type": 1 }), "{counts}");
    mesh.close().await;
}

#[actix_web::test]
async fn bad_orders_are_told_what_to_do() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 4).await;
    let forever = "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n)";
    let ids: Vec<u32> = (0..10_001).collect();
    let refusals = [
        ("replay", json!({}), "empty_selection"),
        ("replay", json!({ "filter": {} }), "empty_selection"),
        (
            "replay",
            json!({ "filter": { "state": "open" } }),
            "empty_selection",
        ),
        (
            "replay",
            json!({ "all": true, "stream": "readings" }),
            "empty_selection",
        ),
        ("replay", json!({ "ids": [] }), "invalid_selection"),
        ("replay", json!({ "ids": ids }), "invalid_selection"),
        (
            "replay",
            json!({ "ids": [1], "stream": "readings" }),
            "invalid_selection",
        ),
        (
            "replay",
            json!({ "filter": { "stream": "a" }, "stream": "readings" }),
            "invalid_selection",
        ),
        ("replay", json!({ "stream": "no stream" }), "invalid_selection"),
        (
            "replay",
            json!({ "stream": "readings", "state": "gone" }),
            "invalid_query",
        ),
        (
            "replay",
            json!({ "stream": "readings", "from": "soon" }),
            "invalid_query",
        ),
        ("replay", json!({ "all": true, "schema": 1 }), "several_streams"),
        ("replay", json!({ "all": true, "schema": "x" }), "invalid_version"),
        ("replay", json!({ "all": true, "fix": {} }), "invalid_fix"),
        (
            "replay",
            json!({ "all": true, "fix": { "json_patch": [{ "op": "no" }] } }),
            "invalid_fix",
        ),
        (
            "replay",
            json!({ "all": true, "fix": { "sql": "payload)" } }),
            "invalid_fix",
        ),
        (
            "replay",
            json!({ "all": true, "fix": { "sql": "payload", "json_patch": [] } }),
            "invalid_fix",
        ),
        ("replay", json!({ "all": true, "limit": 0 }), "invalid_selection"),
        ("replay", json!({ "everything": true }), "malformed"),
        ("discard", json!({ "all": true }), "reason_missing"),
        ("discard", json!({ "all": true, "reason": " " }), "invalid_words"),
        ("discard", json!({ "reason": "x" }), "empty_selection"),
    ];
    for (path, body, code) in refusals {
        let (status, told) = call(&app, post(path, body.clone())).await;
        assert_eq!(
            (status, &told["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{body}: {told}"
        );
    }
    let (_, unknown) = call(
        &app,
        post("replay", json!({ "ids": [1, 77, 77, -1], "dry_run": true })),
    )
    .await;
    assert_eq!(
        (&unknown["unknown"], &unknown["unknown_ids"]),
        (&json!(2), &json!([-1, 77])),
        "{unknown}"
    );
    let bad_results = [("NULL", "NULL"), ("17", "a number"), (forever, "ran longer")];
    for (sql, words) in bad_results {
        let order = json!({ "all": true, "fix": { "sql": sql }, "dry_run": true });
        let (_, told) = call(&app, post("replay", order)).await;
        assert_eq!(told["still_invalid"], json!(1), "{told}");
        let message = told["invalid"][0]["reasons"][0]["message"]
            .as_str()
            .unwrap_or_default();
        assert!(message.contains(words), "{told}");
    }
    let (status, _) = call(&app, get("/api/v1/dead-letters/77")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    mesh.close().await;
}

#[actix_web::test]
async fn a_limit_ends_a_replay_and_says_where_to_go_on() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 4).await;
    let key = LaneKey {
        epoch: Epoch(8),
        ..lane_key()
    };
    let lane = mesh
        .commit
        .open_lane(key.clone(), 5)
        .await
        .expect("opens")
        .lane_no;
    let batch = prepare(request(lane, key, 1, 4)).expect("well-formed");
    mesh.commit.submit(batch).await.expect("answered");
    let order = |after: &Value| {
        post(
            "replay",
            json!({ "stream": "readings", "limit": 1, "after": after }),
        )
    };
    let (_, first) = call(&app, order(&json!(0))).await;
    assert_eq!(
        (&first["matched"], &first["replayed"]),
        (&json!(1), &json!(1)),
        "{first}"
    );
    let (_, second) = call(&app, order(&first["next"])).await;
    assert_eq!(
        (&second["matched"], &second["replayed"]),
        (&json!(1), &json!(1)),
        "{second}"
    );
    let (_, ledger) = call(&app, get("/api/v1/ledger")).await;
    assert_eq!(
        (&ledger["totals"]["valid"], &ledger["balanced"]),
        (&json!(8), &json!(true)),
        "{ledger}"
    );
    mesh.close().await;
}
