//! Ad-hoc SQL over a real engine and a real log.

use super::*;

fn ask(query: &str) -> TestRequest {
    TestRequest::post()
        .uri("/api/v1/sql")
        .set_json(json!({ "query": query }))
}

#[actix_web::test]
async fn windows_and_events_are_tables() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    let (status, _) = call(&app, put_view("r", VIEW)).await;
    assert_eq!(status, StatusCode::CREATED);
    mesh.commit(1, 4).await;
    mesh.commit(5, 6).await;
    let filled = || async { call(&app, get("/api/v1/views/r")).await.1["live"] == json!(true) };
    while !filled().await {
        tokio::task::yield_now().await;
    }

    let (status, answer) = call(
        &app,
        ask("SELECT window_start, n, t_max, final FROM r WHERE window_start >= '2026-01-31T12:00:00Z'"),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        answer["columns"][0],
        json!({"name": "window_start", "type": "timestamp"})
    );
    assert_eq!(
        answer["rows"],
        json!([["2026-01-31T12:00:00.000Z", 5, 3.0, false]]),
        "{answer}"
    );
    assert_eq!(answer["truncated"], json!(false));

    // the same count from the events themselves: seq 3 is dead
    let (_, answer) = call(
        &app,
        ask("SELECT count(*), group_concat(_seq), min(_event_time) FROM readings"),
    )
    .await;
    assert_eq!(
        answer["rows"],
        json!([[5, "1,2,4,5,6", "2026-01-31T12:00:00.001Z"]]),
        "{answer}"
    );
    let (_, answer) = call(&app, ask("SELECT count(*) FROM EVENTS.Readings")).await;
    assert_eq!(answer["rows"], json!([[5]]), "names are as in SQLite: {answer}");
    // an event leads to its path
    let (_, answer) = call(
        &app,
        ask("SELECT _lineage_id FROM events.readings WHERE _seq = 6"),
    )
    .await;
    let id = answer["rows"][0][0].as_str().expect("an id").to_owned();
    let (status, path) = call(&app, get(&format!("/api/v1/events/{id}"))).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    mesh.close().await;
}

#[actix_web::test]
async fn what_sql_may_not_do_is_refused_with_its_reason() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    for (query, status, code) in [
        (
            "SELECT nothing FROM host_cpu",
            StatusCode::BAD_REQUEST,
            "invalid_sql",
        ),
        ("SELECT * FROM nowhere", StatusCode::BAD_REQUEST, "invalid_sql"),
        ("DROP TABLE host_cpu", StatusCode::FORBIDDEN, "read_only"),
        ("", StatusCode::BAD_REQUEST, "invalid_sql"),
    ] {
        let (got, body) = call(&app, ask(query)).await;
        assert_eq!(
            (got, &body["error"]["code"]),
            (status, &json!(code)),
            "{query}: {body}"
        );
    }
    let (status, body) = call(&app, TestRequest::post().uri("/api/v1/sql").set_payload("{}")).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("malformed"))
    );
    mesh.close().await;
}
