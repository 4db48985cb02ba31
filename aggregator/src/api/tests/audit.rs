//! The audit over HTTP.

use tributary_audit::{ConsistencyProof, InclusionProof, PublicKey, Receipt, SignedHead};

use super::*;

async fn text<B: MessageBody>(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    path: &str,
) -> (StatusCode, String) {
    let response = call_service(app, TestRequest::get().uri(path).to_request()).await;
    let status = response.status();
    (
        status,
        String::from_utf8(read_body(response).await.to_vec()).expect("text"),
    )
}

#[actix_web::test]
async fn acts_are_leaves_before_the_answer_and_everything_is_proved_over_http() {
    let mesh = Mesh::start();
    let app = App::new()
        .app_data(web::Data::new(mesh.state.clone()))
        .configure(configure);
    let app = init_service(app).await;
    mesh.commit(1, 10).await;
    for (sql, status) in [(VIEW, StatusCode::CREATED), ("SELECT", StatusCode::BAD_REQUEST)] {
        let put = TestRequest::put()
            .uri("/api/v1/views/minutes")
            .set_json(json!({ "sql": sql }));
        assert_eq!(
            call_service(&app, put.to_request()).await.status(),
            status,
            "{sql}"
        );
    }
    let (status, listed) = text(&app, "/api/v1/audit?kind=acts&order=newest&limit=3").await;
    assert_eq!(status, StatusCode::OK, "{listed}");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let kinds: Vec<&str> = listed["leaves"]
        .as_array()
        .expect("leaves")
        .iter()
        .filter_map(|leaf| leaf["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["failed", "view", "view"]);
    assert_eq!(listed["leaves"][0]["detail"]["leaf"], listed["leaves"][1]["leaf"]);
    let made = &listed["leaves"][2]["detail"];
    assert_eq!(
        (&made["method"], &made["path"]),
        (&json!("PUT"), &json!("/api/v1/views/minutes"))
    );
    assert!(made["body"].as_str().expect("the request").contains("TUMBLE"));
    let before = &listed["next_before"];
    let (_, rest) = text(&app, &format!("/api/v1/audit?kind=acts&before={before}")).await;
    let rest: Value = serde_json::from_str(&rest).expect("JSON");
    assert_eq!(
        rest["leaves"].as_array().map(Vec::len),
        Some(3),
        "begin, enrolment, lane: {rest}"
    );

    let (_, key) = text(&app, "/api/v1/audit/key").await;
    let keys = [PublicKey::parse(&key).expect("a key")];
    let (_, head) = text(&app, "/api/v1/audit/head").await;
    let head: Value = serde_json::from_str(&head).expect("JSON");
    let head = SignedHead::parse(head["head"].as_str().expect("text")).expect("a head");
    assert_eq!(head.verify(&keys), Ok(()));
    assert_eq!(json!(head.head.size), listed["size"]);
    let (_, proof) = text(&app, "/api/v1/audit/inclusion?leaf=2").await;
    let proof: InclusionProof = serde_json::from_str(&proof).expect("a proof");
    assert!(proof.verify(Some(&head), &keys).is_ok());
    let (_, all) = text(&app, "/api/v1/audit/heads").await;
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let first = all["heads"][0]["size"].as_u64().expect("a size");
    let (_, proof) = text(&app, &format!("/api/v1/audit/consistency?from={first}")).await;
    let proof: ConsistencyProof = serde_json::from_str(&proof).expect("a proof");
    assert!(proof.verify(None, None, &keys).is_ok());
    // not signed yet when it is asked for
    mesh.commit(11, 20).await;
    for name in [
        "edge-1/readings/7/15".to_owned(),
        LineageId::new(LaneNo(1), 15).to_string(),
    ] {
        let (status, receipt) = text(&app, &format!("/api/v1/events/{name}/receipt")).await;
        assert_eq!(status, StatusCode::OK, "{receipt}");
        let receipt: Receipt = serde_json::from_str(&receipt).expect("a receipt");
        assert!(receipt.verify(None, &keys).is_ok());
    }
    let (status, exported) = text(&app, "/api/v1/audit/export").await;
    assert_eq!(status, StatusCode::OK);
    let mut reading = tributary_audit::Export::new(keys.to_vec(), vec![head]);
    for line in exported.lines() {
        reading.line(line).expect("a line");
    }
    assert!(reading.finish().expect("whole").0.is_sound());
    what_cannot_be_proved(&app).await;
    mesh.close().await;
}

async fn what_cannot_be_proved<B: MessageBody>(
    app: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
) {
    for (path, status, code) in [
        (
            "/api/v1/events/edge-1/readings/7/99/receipt",
            404,
            "not_committed",
        ),
        ("/api/v1/events/edge-2/readings/7/1/receipt", 404, "unknown_event"),
        ("/api/v1/events/x/receipt", 400, "invalid_event"),
        ("/api/v1/audit?kind=nothing", 400, "invalid_query"),
        ("/api/v1/audit?from=x", 400, "invalid_query"),
        ("/api/v1/audit?page=2", 400, "invalid_query"),
        ("/api/v1/audit/inclusion", 400, "invalid_query"),
        ("/api/v1/audit/inclusion?leaf=999", 404, "no_leaf"),
        ("/api/v1/audit/inclusion?leaf=0&size=999", 404, "no_head"),
        ("/api/v1/audit/consistency?from=999", 400, "invalid_query"),
    ] {
        let (found, body) = text(app, path).await;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (found.as_u16(), &body["error"]["code"]),
            (status, &json!(code)),
            "{path}"
        );
    }
}
