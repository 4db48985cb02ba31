//! The life of schemas over the API, and schemas proposed from what was committed.

use super::*;
use crate::registry::{By, NewSchema};

const ONE: &str = r#"{"type":"object","properties":{"t":{"type":"integer"}}}"#;
const TWO: &str = r#"{"type":"object","properties":{"t":{"type":"number"}}}"#;

fn register(mesh: &Mesh, text: &str) -> u32 {
    let new = NewSchema::new(tributary_schema::language::SchemaFormat::Json, text);
    let done = mesh
        .state
        .schemas
        .register("readings-value", &new, &By::itself("a test"));
    done.expect("registered").version
}

fn post(path: &str, body: Value) -> TestRequest {
    TestRequest::post().uri(path).set_json(body)
}

fn patch(path: &str, body: Value) -> TestRequest {
    TestRequest::patch().uri(path).set_json(body)
}

#[actix_web::test]
async fn a_version_is_proposed_approved_deprecated_and_retired() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    register(&mesh, ONE);
    let base = "/api/v1/schemas/readings-value";
    let said =
        json!({ "by": "ann", "owner": "plant 7", "contact": "ann@plant", "approver_role": "stewards" });
    let (status, governed) = call(&app, patch(&format!("{base}/governance"), said)).await;
    assert_eq!((status, &governed["owner"]), (StatusCode::OK, &json!("plant 7")));
    let said = json!({ "by": "ann", "description": "what presses measure" });
    let (_, governed) = call(&app, patch(&format!("{base}/governance"), said)).await;
    assert_eq!(governed["owner"], "plant 7", "what is not said stays");
    register(&mesh, TWO);
    let approve = format!("{base}/versions/2/approve");
    let (status, refused) = call(&app, post(&approve, json!({ "by": "bob", "role": "cooks" }))).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (StatusCode::FORBIDDEN, &json!("not_the_approver"))
    );
    let signed = json!({ "by": "ann", "role": "stewards", "why": "looks right" });
    let (status, done) = call(&app, post(&approve, signed.clone())).await;
    assert_eq!(
        (status, &done["state"]),
        (StatusCode::OK, &json!("active")),
        "{done}"
    );
    let (status, _) = call(
        &app,
        post(&format!("{base}/versions/1/deprecate"), signed.clone()),
    )
    .await;
    assert_eq!(status, StatusCode::OK);
    let (_, shown) = call(&app, get(base)).await;
    let states: Vec<&Value> = shown["versions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row["state"])
        .collect();
    assert_eq!(states, ["active", "deprecated"]);
    assert_eq!(
        (&shown["latest"], &shown["compatibility"], &shown["mode"]),
        (&json!(2), &json!("BACKWARD"), &json!("READWRITE"))
    );
    let (_, record) = call(&app, get(&format!("{base}/changes?limit=1"))).await;
    assert_eq!(record["changes"][0]["what"], "deprecated");
    assert_eq!(record["changes"][0]["why"], "looks right");
    let (_, all) = call(&app, get("/api/v1/schema-changes?before=3")).await;
    assert_eq!(all["changes"].as_array().map(Vec::len), Some(2));
    let (_, listed) = call(&app, get("/api/v1/schemas")).await;
    let row = &listed["subjects"][1];
    assert_eq!(
        (&row["subject"], &row["latest"]),
        (&json!("readings-value"), &json!(2))
    );

    let (_, difference) = call(&app, get(&format!("{base}/diff?from=1&to=2"))).await;
    let changes = difference["changes"].as_array().expect("a list");
    assert!(
        changes.len() == 1 && changes[0].as_str().is_some_and(|line| line.contains("number")),
        "{difference}"
    );

    let retire = format!("{base}/versions/2/retire");
    let cases = [
        (post(&retire, json!({ "by": " " })), 400, "invalid_body"),
        (
            post(&retire, json!({ "by": "ann", "because": "x" })),
            400,
            "malformed",
        ),
        (
            post(&format!("{base}/versions/2/explode"), signed.clone()),
            404,
            "not_found",
        ),
        (
            post(&format!("{base}/versions/9/retire"), signed.clone()),
            404,
            "unknown_version",
        ),
        (
            post("/api/v1/schemas/none/versions/1/retire", signed.clone()),
            404,
            "unknown_subject",
        ),
        (post(&approve, signed.clone()), 409, "wrong_state"),
        (get("/api/v1/schemas/none"), 404, "unknown_subject"),
        (get(&format!("{base}/changes?limit=0")), 400, "invalid_query"),
        (get(&format!("{base}/changes?page=2")), 400, "invalid_query"),
        (get(&format!("{base}/diff?from=1")), 400, "invalid_query"),
        (get(&format!("{base}/diff?from=1&to=9")), 404, "unknown_version"),
    ];
    for (request, status, code) in cases {
        let (told, body) = call(&app, request).await;
        assert_eq!(
            (told.as_u16(), &body["error"]["code"]),
            (status, &json!(code)),
            "{body}"
        );
    }
    let (status, done) = call(&app, post(&retire, signed.clone())).await;
    assert_eq!((status, &done["state"]), (StatusCode::OK, &json!("retired")));
    let (status, last) = call(&app, post(&format!("{base}/versions/1/retire"), signed)).await;
    assert_eq!(
        (status, &last["error"]["code"]),
        (StatusCode::CONFLICT, &json!("last_version"))
    );
    mesh.close().await;
}

#[actix_web::test]
async fn a_schema_is_proposed_from_what_the_log_holds() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    mesh.commit(1, 60).await;
    let (status, proposed) = call(&app, get("/api/v1/streams/readings/proposed-schema?ranges=true")).await;
    assert_eq!(status, StatusCode::OK, "{proposed}");
    assert_eq!(proposed["events"], 59, "one is dead");
    assert_eq!(
        proposed["schema"]["properties"]["t"],
        json!({ "type": "number", "minimum": 0.5, "maximum": 30.0 })
    );
    assert_eq!(proposed["schema"]["required"], json!(["t"]));
    let (_, fewer) = call(&app, get("/api/v1/streams/readings/proposed-schema?events=10")).await;
    assert_eq!(fewer["events"], 10);
    let (status, none) = call(&app, get("/api/v1/streams/none/proposed-schema")).await;
    assert_eq!(
        (status, &none["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("unknown_stream"))
    );
    let (status, _) = call(&app, get("/api/v1/streams/readings/proposed-schema?ranges=some")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    mesh.close().await;
}
