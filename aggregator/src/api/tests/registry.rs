//! The registry's port, as a client of Confluent's registry uses it: a table of calls and answers, in order.

use super::*;

const ONE: &str = r#"{"type":"object","properties":{"t":{"type":"integer"}}}"#;
/// Reads what [`ONE`] wrote.
const TWO: &str = r#"{"type":"object","properties":{"t":{"type":"number"}}}"#;
const CLOSED: &str = r#"{"type":"object","properties":{"t":{"type":"string"}}}"#;
const AVRO: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;

/// One call and what it must answer with: a status, and either the whole body or the error's code.
struct Call {
    method: &'static str,
    path: &'static str,
    body: Value,
    status: u16,
    answer: Value,
}

fn ask(method: &'static str, path: &'static str, answer: Value) -> Call {
    Call {
        method,
        path,
        body: Value::Null,
        status: 200,
        answer,
    }
}

fn send(method: &'static str, path: &'static str, body: Value, answer: Value) -> Call {
    Call {
        body,
        ..ask(method, path, answer)
    }
}

fn fails(call: Call, status: u16, code: u32) -> Call {
    Call {
        status,
        answer: json!(code),
        ..call
    }
}

fn schema(text: &str) -> Value {
    json!({ "schema": text, "schemaType": "JSON" })
}

/// Makes the calls one after the other.
async fn all(calls: Vec<Call>) {
    let mesh = Mesh::start();
    let data = web::Data::new(mesh.state.clone());
    let app = init_service(
        App::new()
            .app_data(data)
            .configure(super::super::registry::configure),
    )
    .await;
    for Call {
        method,
        path,
        body,
        status,
        answer,
    } in calls
    {
        let method = method.parse().expect("a method");
        let mut request = TestRequest::default().method(method).uri(path);
        if !body.is_null() {
            request = request.set_payload(body.to_string());
        }
        let (told, said) = call(&app, request).await;
        let compared = if status == 200 { &said } else { &said["error_code"] };
        assert_eq!(
            (told.as_u16(), compared),
            (status, &answer),
            "{path} {body}: {said}"
        );
        if status != 200 {
            let message = said["message"].as_str();
            assert!(message.is_some_and(|message| message.len() > 10), "{said}");
        }
    }
    mesh.close().await;
}

/// What registering answers with; the host's schema has id 1.
fn done(id: u32, version: u32) -> Value {
    json!({ "id": id, "version": version })
}

#[actix_web::test]
async fn schemas_are_registered_fetched_and_looked_up() {
    let shown = |version: u32, id: u32, text: &str| json!({ "subject": "r-value", "version": version, "id": id, "schemaType": "JSON", "schema": text });
    let versions = "/subjects/r-value/versions";
    all(vec![
        ask("GET", "/", json!({})),
        ask("GET", "/schemas/types", json!(["JSON", "PROTOBUF", "AVRO"])),
        ask("GET", "/subjects?subjectPrefix=r", json!([])),
        send("POST", versions, schema(ONE), done(2, 1)),
        send("POST", versions, schema(ONE), done(2, 1)),
        send(
            "POST",
            "/subjects/%3A.%3Ar-value/versions?normalize=False",
            schema(TWO),
            done(3, 2),
        ),
        send("POST", "/subjects/a%2Fb%20c/versions", schema(ONE), done(2, 1)),
        ask(
            "GET",
            "/subjects?subjectPrefix=%3A%2A%3A",
            json!(["a/b c", "host-value", "r-value"]),
        ),
        ask("GET", "/subjects?offset=1&limit=1", json!(["host-value"])),
        ask("GET", versions, json!([1, 2])),
        ask("GET", "/subjects/r-value/versions?offset=1&limit=-1", json!([2])),
        ask("GET", "/subjects/r-value/versions/1", shown(1, 2, ONE)),
        ask("GET", "/subjects/r-value/versions/latest", shown(2, 3, TWO)),
        ask("GET", "/subjects/r-value/versions/-1", shown(2, 3, TWO)),
        ask(
            "GET",
            "/subjects/r-value/versions/2/schema",
            TWO.parse().expect("JSON"),
        ),
        ask("GET", "/subjects/r-value/versions/2/referencedby", json!([])),
        send("POST", "/subjects/r-value", schema(ONE), shown(1, 2, ONE)),
        ask(
            "GET",
            "/schemas/ids/2",
            json!({ "schemaType": "JSON", "schema": ONE }),
        ),
        ask(
            "GET",
            "/schemas/ids/2?fetchMaxId=true",
            json!({ "schemaType": "JSON", "schema": ONE, "maxId": 3 }),
        ),
        ask("GET", "/schemas/ids/2/schema", ONE.parse().expect("JSON")),
        ask("GET", "/schemas/ids/2/subjects", json!(["a/b c", "r-value"])),
        ask(
            "GET",
            "/schemas/ids/2/versions",
            json!([{ "subject": "a/b c", "version": 1 }, { "subject": "r-value", "version": 1 }]),
        ),
        ask(
            "GET",
            "/schemas?subjectPrefix=r&latestOnly=true",
            json!([shown(2, 3, TWO)]),
        ),
        ask(
            "GET",
            "/schemas?subjectPrefix=r&limit=1",
            json!([shown(1, 2, ONE)]),
        ),
        fails(
            send("POST", versions, schema(r#"{"type":"nummer"}"#), json!(0)),
            422,
            42201,
        ),
        fails(send("POST", versions, schema("{"), json!(0)), 422, 42201),
        fails(
            send("POST", versions, json!({ "text": ONE }), json!(0)),
            422,
            42201,
        ),
        fails(
            send(
                "POST",
                versions,
                json!({ "schema": "{", "schemaType": "XML" }),
                json!(0),
            ),
            422,
            42201,
        ),
        fails(send("POST", versions, json!([1]), json!(0)), 400, 400),
        fails(
            send("POST", "/subjects/a%0Ab/versions", schema(ONE), json!(0)),
            422,
            42208,
        ),
        fails(send("POST", "/subjects/none", schema(ONE), json!(0)), 404, 40401),
        fails(
            send("POST", "/subjects/r-value", schema("true"), json!(0)),
            404,
            40403,
        ),
        fails(ask("GET", "/subjects/none/versions", json!(0)), 404, 40401),
        fails(ask("GET", "/subjects/none/versions/latest", json!(0)), 404, 40401),
        fails(ask("GET", "/subjects/r-value/versions/9", json!(0)), 404, 40402),
        fails(
            ask("GET", "/subjects/r-value/versions/zero", json!(0)),
            422,
            42202,
        ),
        fails(ask("GET", "/subjects/r-value/versions/0", json!(0)), 422, 42202),
        fails(ask("GET", "/subjects?deleted=perhaps", json!(0)), 400, 400),
        fails(ask("GET", "/schemas/ids/999", json!(0)), 404, 40403),
        fails(ask("GET", "/schemas/ids/999/versions", json!(0)), 404, 40403),
        fails(ask("GET", "/schemas/ids/x", json!(0)), 404, 40403),
        fails(ask("GET", "/nonsense", json!(0)), 404, 404),
        fails(ask("PATCH", "/config", json!(0)), 405, 405),
    ])
    .await;
}

#[actix_web::test]
async fn what_breaks_is_refused_and_named() {
    let versions = "/subjects/r-value/versions";
    let check = "/compatibility/subjects/r-value/versions";
    all(vec![
        send("POST", check, schema(ONE), json!({ "is_compatible": true })),
        send(
            "POST",
            "/compatibility/subjects/r-value/versions/latest",
            schema(ONE),
            json!({ "is_compatible": true }),
        ),
        fails(
            send(
                "POST",
                "/compatibility/subjects/r-value/versions/1",
                schema(ONE),
                json!(0),
            ),
            404,
            40401,
        ),
        send("POST", versions, schema(ONE), done(2, 1)),
        fails(send("POST", versions, schema(CLOSED), json!(0)), 409, 409),
        send("POST", check, schema(CLOSED), json!({ "is_compatible": false })),
        send(
            "POST",
            "/compatibility/subjects/r-value/versions/1?verbose=true",
            schema(ONE),
            json!({ "is_compatible": true, "messages": [] }),
        ),
        fails(
            send(
                "POST",
                "/compatibility/subjects/r-value/versions/7",
                schema(ONE),
                json!(0),
            ),
            404,
            40402,
        ),
        fails(send("POST", check, schema("{"), json!(0)), 422, 42201),
        send(
            "PUT",
            "/config/r-value",
            json!({ "compatibility": "NONE" }),
            json!({ "compatibility": "NONE" }),
        ),
        send("POST", check, schema(CLOSED), json!({ "is_compatible": true })),
        send("POST", versions, schema(CLOSED), done(3, 2)),
    ])
    .await;
}

#[actix_web::test]
async fn levels_and_modes_are_kept_for_all_and_for_each() {
    let level = |level: &str| json!({ "compatibilityLevel": level });
    let mode = |mode: &str| json!({ "mode": mode });
    all(vec![
        ask("GET", "/config", level("BACKWARD")),
        fails(ask("GET", "/config/r-value", json!(0)), 404, 40408),
        ask("GET", "/config/r-value?defaultToGlobal=true", level("BACKWARD")),
        send(
            "PUT",
            "/config",
            json!({ "compatibility": "full" }),
            json!({ "compatibility": "full" }),
        ),
        ask("GET", "/config/r-value?defaultToGlobal=true", level("FULL")),
        send(
            "PUT",
            "/config/r-value",
            json!({ "compatibility": "FORWARD_TRANSITIVE", "normalize": true, "alias": null }),
            json!({ "compatibility": "FORWARD_TRANSITIVE", "normalize": true, "alias": null }),
        ),
        ask(
            "GET",
            "/config/r-value",
            json!({ "compatibilityLevel": "FORWARD_TRANSITIVE", "normalize": true }),
        ),
        ask("DELETE", "/config/r-value", level("FORWARD_TRANSITIVE")),
        fails(ask("DELETE", "/config/r-value", json!(0)), 404, 40401),
        ask("DELETE", "/config", level("FULL")),
        ask("GET", "/config", level("BACKWARD")),
        fails(
            send("PUT", "/config", json!({ "compatibility": "SOME" }), json!(0)),
            422,
            42203,
        ),
        fails(
            send("PUT", "/config", json!({ "alias": "x" }), json!(0)),
            422,
            42203,
        ),
        fails(send("PUT", "/config", json!({}), json!(0)), 422, 42203),
        ask("GET", "/mode", mode("READWRITE")),
        fails(ask("GET", "/mode/r-value", json!(0)), 404, 40409),
        ask("GET", "/mode/r-value?defaultToGlobal=true", mode("READWRITE")),
        send("PUT", "/mode/r-value", mode("readonly"), mode("READONLY")),
        fails(
            send("POST", "/subjects/r-value/versions", schema(ONE), json!(0)),
            422,
            42205,
        ),
        ask("DELETE", "/mode/r-value", mode("READONLY")),
        fails(ask("DELETE", "/mode/r-value", json!(0)), 404, 40401),
        fails(send("PUT", "/mode", mode("WRITE"), json!(0)), 422, 42204),
        fails(
            send(
                "POST",
                "/subjects/r-value/versions",
                json!({ "schema": ONE, "schemaType": "JSON", "id": 9 }),
                json!(0),
            ),
            422,
            42205,
        ),
        send("PUT", "/mode/r-value", mode("IMPORT"), mode("IMPORT")),
        send(
            "POST",
            "/subjects/r-value/versions",
            json!({ "schema": ONE, "schemaType": "JSON", "id": 9, "version": 4 }),
            done(9, 4),
        ),
        fails(
            send(
                "POST",
                "/subjects/r-value/versions",
                json!({ "schema": TWO, "schemaType": "JSON", "id": 9 }),
                json!(0),
            ),
            422,
            42207,
        ),
        fails(send("PUT", "/mode", mode("IMPORT"), json!(0)), 422, 42205),
        send("PUT", "/mode?force=true", mode("IMPORT"), mode("IMPORT")),
    ])
    .await;
}

#[actix_web::test]
async fn deleting_takes_two_steps() {
    let referring = json!({
        "schemaType": "JSON",
        "schema": r#"{"type":"object","properties":{"r":{"$ref":"r.json"}}}"#,
        "references": [{ "name": "r.json", "subject": "r-value", "version": 1 }],
    });
    all(vec![
        send("POST", "/subjects/r-value/versions", schema(ONE), done(2, 1)),
        send("POST", "/subjects/r-value/versions", schema(TWO), done(3, 2)),
        send("POST", "/subjects/user/versions", referring.clone(), done(4, 1)),
        ask("GET", "/subjects/r-value/versions/1/referencedby", json!([4])),
        ask("GET", "/schemas/ids/4", referring),
        fails(
            ask("DELETE", "/subjects/r-value/versions/1", json!(0)),
            422,
            42206,
        ),
        fails(ask("DELETE", "/subjects/r-value", json!(0)), 422, 42206),
        ask("DELETE", "/subjects/user", json!([1])),
        ask("DELETE", "/subjects/r-value/versions/1", json!(1)),
        fails(
            ask("DELETE", "/subjects/r-value/versions/1", json!(0)),
            404,
            40406,
        ),
        fails(
            ask("DELETE", "/subjects/r-value/versions/2?permanent=true", json!(0)),
            404,
            40407,
        ),
        ask("GET", "/subjects/r-value/versions", json!([2])),
        ask("GET", "/subjects/r-value/versions?deleted=true", json!([1, 2])),
        ask("GET", "/subjects/r-value/versions?deletedOnly=true", json!([1])),
        fails(ask("GET", "/subjects/r-value/versions/1", json!(0)), 404, 40402),
        ask(
            "GET",
            "/subjects/r-value/versions/1/schema?deleted=true",
            ONE.parse().expect("JSON"),
        ),
        ask("GET", "/schemas/ids/2/schema", ONE.parse().expect("JSON")),
        ask("DELETE", "/subjects/r-value", json!([2])),
        fails(ask("DELETE", "/subjects/r-value", json!(0)), 404, 40404),
        fails(ask("DELETE", "/subjects/none", json!(0)), 404, 40401),
        ask("GET", "/subjects", json!(["host-value"])),
        ask("GET", "/subjects?deletedOnly=true", json!(["r-value", "user"])),
        send(
            "POST",
            "/subjects/r-value?deleted=true",
            schema(TWO),
            json!({
                "subject": "r-value", "version": 2, "id": 3, "schemaType": "JSON", "schema": TWO
            }),
        ),
        ask("DELETE", "/subjects/r-value/versions/1?permanent=true", json!(1)),
        fails(ask("GET", "/schemas/ids/2", json!(0)), 404, 40403),
        ask("DELETE", "/subjects/r-value?permanent=true", json!([2])),
        fails(
            ask("DELETE", "/subjects/r-value?permanent=true", json!(0)),
            404,
            40401,
        ),
        fails(
            ask("DELETE", "/subjects/host-value?permanent=true", json!(0)),
            404,
            40405,
        ),
    ])
    .await;
}

#[actix_web::test]
async fn a_body_without_a_type_is_avro_and_answers_leave_the_type_out() {
    all(vec![
        send(
            "POST",
            "/subjects/a-value/versions",
            json!({ "schema": AVRO }),
            done(2, 1),
        ),
        ask("GET", "/schemas/ids/2", json!({ "schema": AVRO })),
        fails(
            send(
                "POST",
                "/subjects/a-value/versions",
                json!({ "schema": "\"strin\"" }),
                json!(0),
            ),
            422,
            42201,
        ),
        fails(
            send("POST", "/subjects/a-value/versions", schema(ONE), json!(0)),
            409,
            409,
        ),
    ])
    .await;
}
