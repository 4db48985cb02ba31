//! The registry's port, as a client of Confluent's registry uses it.

use super::*;

const SCHEMA: &str = r#"{"type":"object","properties":{"t":{"type":"number"}}}"#;

#[actix_web::test]
async fn a_schema_is_registered_and_fetched() {
    let mesh = Mesh::start();
    let data = web::Data::new(mesh.state.clone());
    let app = init_service(
        App::new()
            .app_data(data)
            .configure(super::super::registry::configure),
    )
    .await;
    let post = |body: Value| {
        TestRequest::post()
            .uri("/subjects/readings-value/versions")
            .set_json(body)
    };
    let (status, made) = call(&app, post(json!({ "schema": SCHEMA, "schemaType": "JSON" }))).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let id = made["id"].as_u64().expect("id");
    assert_eq!(
        call(&app, get("/subjects/readings-value/versions")).await.1,
        json!([1])
    );
    let (_, latest) = call(&app, get("/subjects/readings-value/versions/latest")).await;
    assert_eq!(
        (&latest["version"], &latest["schema"]),
        (&json!(1), &json!(SCHEMA))
    );
    assert_eq!(
        call(&app, get(&format!("/schemas/ids/{id}"))).await.1["schema"],
        json!(SCHEMA)
    );
    let subjects = call(&app, get("/subjects")).await.1;
    assert!(
        subjects
            .as_array()
            .expect("a list")
            .contains(&json!("readings-value"))
    );

    let cases = [
        (
            post(json!({ "schema": r#"{"type":"nummer"}"#, "schemaType": "JSON" })),
            422,
            42201,
        ),
        (post(json!({ "schema": "{", "schemaType": "JSON" })), 422, 42201),
        (
            post(json!({ "schema": "\"string\"", "schemaType": "AVRO" })),
            422,
            42201,
        ),
        (post(json!({ "schema": "\"string\"" })), 422, 42201),
        (post(json!({ "text": SCHEMA })), 400, 400),
        (get("/subjects/none/versions"), 404, 40401),
        (get("/subjects/none/versions/latest"), 404, 40401),
        (get("/subjects/readings-value/versions/9"), 404, 40402),
        (get("/subjects/readings-value/versions/zero"), 422, 42202),
        (get("/schemas/ids/999"), 404, 40403),
        (get("/nonsense"), 404, 404),
    ];
    for (request, status, code) in cases {
        let (answered, body) = call(&app, request).await;
        assert_eq!(
            (answered.as_u16(), &body["error_code"]),
            (status, &json!(code)),
            "{body}"
        );
        assert!(
            body["message"].as_str().is_some_and(|message| message.len() > 10),
            "{body}"
        );
    }
    mesh.close().await;
}
