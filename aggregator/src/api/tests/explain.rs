//! Windows explained by the events that built them, and what is said when they cannot be.

use super::*;

const EXPLAIN: &str = "/api/v1/views/r/explain?window_start=2026-01-31T12:00:00Z";
/// The valid events of each of three batches; seq 3 is dead.
const BATCHES: [(Seq, Seq, u64); 3] = [(1, 4, 3), (5, 6, 2), (7, 9, 3)];

async fn commit_all(mesh: &Mesh) {
    for (first, last, _) in BATCHES {
        mesh.commit(first, last).await;
    }
}

#[actix_web::test]
async fn a_window_is_explained_at_once_and_page_by_page() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    assert_eq!(call(&app, put_view("r", VIEW)).await.0, StatusCode::CREATED);
    commit_all(&mesh).await;
    let (status, told) = call(&app, get(EXPLAIN)).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    for (part, expected) in [
        ("events", json!(8)),
        ("explained", json!(8)),
        ("not_kept", Value::Null),
        ("complete", json!(true)),
        ("next", Value::Null),
        ("groups", json!(1)),
        ("window_end", json!("2026-01-31T12:01:00.000Z")),
        ("agents", json!([{"agent": "edge-1", "events": 8}])),
        ("gateways", json!([{"gateway": "gw-1", "events": 8}])),
        ("schemas", json!([{"id": null, "version": null, "events": 8}])),
    ] {
        assert_eq!(told[part], expected, "{part}: {told}");
    }
    let lane = &told["lanes"][0];
    assert_eq!(
        (&lane["first_seq"], &lane["last_seq"], &lane["events"]),
        (&json!(1), &json!(9), &json!(8))
    );
    assert_eq!(lane["ranges"][1]["first_seq"], json!(5), "{lane}");
    assert_eq!(
        lane["ranges"][1]["trace_id"],
        json!("0af7651916cd43dd8448eb211c80319c")
    );
    // a page is of one position, whatever comes meanwhile
    let (mut explained, mut url) = (0, format!("{EXPLAIN}&limit=1"));
    for (page, (_, _, valid)) in BATCHES.into_iter().enumerate() {
        let (status, told) = call(&app, get(&url)).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        assert_eq!(
            (&told["explained"], &told["explained_before"]),
            (&json!(valid), &json!(explained)),
            "{told}"
        );
        assert_eq!(
            (&told["events"], &told["not_kept"]),
            (&json!(8), &Value::Null),
            "{told}"
        );
        explained += valid;
        let next = told["next"].as_str().expect("a full page has a next one");
        url = format!("{EXPLAIN}&limit=1&next={next}");
        if page == 0 {
            mesh.commit(10, 12).await;
        }
    }
    let (_, last) = call(&app, get(&url)).await;
    assert_eq!(
        (&last["complete"], &last["explained"], &last["not_kept"]),
        (&json!(true), &json!(0), &Value::Null),
        "{last}"
    );
    // the view is another one by now
    let other = VIEW.replace("count(*) AS n", "count(*) AS m");
    assert_eq!(call(&app, put_view("r", &other)).await.0, StatusCode::OK);
    while call(&app, get("/api/v1/views/r")).await.1["serves"] != Value::Null {
        tokio::task::yield_now().await;
    }
    let (status, refused) = call(&app, get(&url)).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (StatusCode::CONFLICT, &json!("view_replaced")),
        "{refused}"
    );
    mesh.close().await;
}

#[actix_web::test]
async fn what_the_log_does_not_keep_is_counted_and_named() {
    let dir = tempfile::tempdir().expect("dir");
    let nothing = Retention {
        keep_for: 0,
        ..Retention::EVERYTHING
    };
    let mesh = Mesh::start_keeping(dir.path(), nothing);
    let app = app(mesh.state.clone()).await;
    assert_eq!(call(&app, put_view("r", VIEW)).await.0, StatusCode::CREATED);
    commit_all(&mesh).await;
    while mesh.state.log.floor().expect("reads").0 == 0 {
        mesh.commit.covered(crate::commit::LogPos(1));
        tokio::task::yield_now().await;
    }
    let (status, told) = call(&app, get(EXPLAIN)).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    // a snapshot may have been taken meanwhile, and more be gone
    let floor = told["not_kept"]["up_to_position"].as_u64().expect("a position");
    let gone = BATCHES.iter().take(usize::try_from(floor).expect("small"));
    let gone: u64 = gone.map(|(_, _, valid)| valid).sum();
    assert_eq!(
        (&told["events"], &told["explained"]),
        (&json!(8), &json!(8 - gone)),
        "{told}"
    );
    assert_eq!(
        (&told["not_kept"]["events"], &told["complete"]),
        (&json!(gone), &json!(true)),
        "{told}"
    );
    let since = told["not_kept"]["since"]
        .as_str()
        .and_then(parse_rfc3339)
        .expect("a time");
    assert!((now_millis() - since).abs() < 2 * 3_600_000, "{told}");
    let why = told["not_kept"]["why"].as_str().expect("words");
    assert!(
        why.starts_with("retention has deleted the log up to position"),
        "{why}"
    );
    mesh.close().await;
}

#[actix_web::test]
async fn a_window_that_is_not_there_is_told_from_one_that_is_gone() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    let views = [
        ("r", VIEW, "36500d"),
        (
            "short",
            "SELECT count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 second')",
            "1m",
        ),
        (
            "running",
            "SELECT t, count(*) AS n FROM readings GROUP BY t",
            "1m",
        ),
    ];
    for (view, sql, retention) in views {
        let body = json!({ "sql": sql, "retention": retention, "allowed_lateness": "1m" });
        let put = TestRequest::put()
            .uri(&format!("/api/v1/views/{view}"))
            .set_json(body);
        assert_eq!(call(&app, put).await.0, StatusCode::CREATED, "{view}");
    }
    mesh.commit(1, 2).await;
    // more than a minute goes by, a millisecond a seq
    for first in (3..=90_000).step_by(15_000) {
        mesh.commit(first, (first + 14_999).min(90_000)).await;
    }
    let at = "window_start=2026-01-31T12:00";
    for (url, status, code) in [
        (
            "none/explain?window_start=0".to_owned(),
            StatusCode::NOT_FOUND,
            "unknown_view",
        ),
        ("r/explain".to_owned(), StatusCode::BAD_REQUEST, "invalid_query"),
        (
            "running/explain?window_start=0".to_owned(),
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        (
            "r/explain?window_start=noon".to_owned(),
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        (
            format!("r/explain?{at}:00Z&next=AAAA"),
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        (
            format!("r/explain?{at}:00Z&limit=0"),
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        (
            format!("r/explain?{at}:00Z&overflow=maybe"),
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        (
            format!("r/explain?{at}:00Z&n=1"),
            StatusCode::BAD_REQUEST,
            "invalid_filter",
        ),
        (
            format!("r/explain?{at}:00Z&nosuch=1"),
            StatusCode::BAD_REQUEST,
            "unknown_column",
        ),
        (
            format!("r/explain?{at}:30Z"),
            StatusCode::NOT_FOUND,
            "unknown_window",
        ),
        (
            format!("r/explain?{at}:00Z&overflow=true"),
            StatusCode::NOT_FOUND,
            "unknown_window",
        ),
        (
            "running/explain?t=-1".to_owned(),
            StatusCode::NOT_FOUND,
            "unknown_window",
        ),
        (
            format!("short/explain?{at}:00.000Z"),
            StatusCode::GONE,
            "window_expired",
        ),
    ] {
        let (told, body) = call(&app, get(&format!("/api/v1/views/{url}"))).await;
        assert_eq!(
            (told, &body["error"]["code"]),
            (status, &json!(code)),
            "{url}: {body}"
        );
    }
    let (_, gone) = call(&app, get(&format!("/api/v1/views/short/explain?{at}:00.000Z"))).await;
    let message = gone["error"]["message"].as_str().expect("words");
    assert!(
        message.contains("1m") && message.contains("2026-01-31T12:01:30.000Z"),
        "{message}"
    );
    let (_, told) = call(&app, get("/api/v1/views/running/explain?t=1")).await;
    assert_eq!(
        (&told["events"], &told["window_start"], &told["group"]["t"]),
        (&json!(1), &Value::Null, &json!(1)),
        "{told}"
    );
    // an event that came when it was not too old yet, and one that did not
    let (_, path) = call(&app, get("/api/v1/events/edge-1/readings/7/1")).await;
    let short = path["windows"]
        .as_array()
        .expect("windows")
        .iter()
        .find(|hit| hit["view"] == "short");
    let short = short.unwrap_or_else(|| panic!("{path}"));
    assert_eq!(
        (&short["counted"], &short["expired"]),
        (&json!(true), &json!(true)),
        "{path}"
    );
    mesh.commit_lane(8, 1, 2).await;
    let (_, path) = call(&app, get("/api/v1/events/edge-1/readings/8/1")).await;
    assert_eq!(path["not_counted"][0]["view"], json!("short"), "{path}");
    assert_eq!(path["not_counted"][0]["why"], json!("too_late"), "{path}");
    mesh.close().await;
}
