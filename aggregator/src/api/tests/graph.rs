//! The graph of what there is, and what would break.

use super::*;
use crate::metadata::{NodeKind, Reported};
use crate::registry::{By, NewSchema};

const CLOSED: &str = r#"{"type":"object","additionalProperties":false,"required":["t"],
    "properties":{"at":{"type":"string","x-event-time":true},"t":{"type":"number"},"limit":{"type":"number"},
        "site":{"type":"string"},"kind":{"type":"string"},"ok":{"type":"boolean"}},
    "x-rules":[{"name":"below_limit","sql":"t <= limit"}]}"#;
const BY_SITE: &str = "SELECT window_start, site, count(*) AS n, avg(t) AS t_avg, max(limit) AS most
    FROM TUMBLE(readings, at, INTERVAL '1 minute') WHERE kind <> 'test' GROUP BY window_start, site";
const HOURLY: &str = "SELECT window_start, merge(t_avg) AS t_avg, sum(n) AS n
    FROM TUMBLE(by_site, window_start, INTERVAL '1 hour') GROUP BY window_start";

fn register(mesh: &Mesh, text: &str) {
    let new = NewSchema::new(tributary_schema::language::SchemaFormat::Json, text);
    let done = mesh
        .state
        .schemas
        .register("readings-value", &new, &By::itself("a test"));
    done.expect("registered");
}

/// A mesh with an agent, a gateway, a schema, a view and a roll-up.
async fn busy() -> Mesh {
    let mesh = Mesh::start();
    mesh.commit(1, 4).await;
    register(&mesh, CLOSED);
    let metadata = &mesh.state.metadata;
    let settings = r#"{"ships":[{"stream":"readings","input":"file"},{"stream":"later","input":"file"}]}"#;
    for (kind, name, configuration) in [
        (NodeKind::Agent, "edge-1", Some(settings)),
        (NodeKind::Gateway, "gw-1", None),
    ] {
        let software = "test/1";
        let reported = Reported {
            kind,
            name,
            software,
            configuration,
        };
        metadata.seen(reported, MINUTE).expect("new");
    }
    metadata.passed(&lane_key(), &GatewayId::new("gw-1").expect("valid"), 4, MINUTE);
    mesh
}

fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one[key].as_str().expect("a text")).collect()
}

#[actix_web::test]
async fn the_graph_leads_from_agents_to_views() {
    let mesh = busy().await;
    let app = app(mesh.state.clone()).await;
    for (name, sql) in [("by_site", BY_SITE), ("hourly", HOURLY)] {
        assert_eq!(call(&app, put_view(name, sql)).await.0, StatusCode::CREATED);
    }
    let (status, graph) = call(&app, get("/api/v1/graph")).await;
    assert_eq!(status, StatusCode::OK);
    let edges: Vec<(&str, &str, &str)> = graph["edges"]
        .as_array()
        .expect("edges")
        .iter()
        .map(|edge| {
            let text = |key: &str| edge[key].as_str().expect("a text");
            (text("from"), text("kind"), text("to"))
        })
        .filter(|(from, ..)| !from.ends_with("host_metrics") && !from.ends_with("host_metrics-value"))
        .collect();
    for edge in [
        ("agent:edge-1", "passes_through", "gateway:gw-1"),
        ("agent:edge-1", "produces", "stream:later"),
        ("agent:edge-1", "produces", "stream:readings"),
        ("gateway:gw-1", "passes_through", "stream:readings"),
        ("schema:readings-value", "validates", "stream:readings"),
        ("stream:readings", "reads", "view:by_site"),
        ("view:by_site", "reads", "view:hourly"),
    ] {
        assert!(edges.contains(&edge), "{edge:?} is not in {edges:?}");
    }
    // every end of an edge is a node
    let ids = names(&graph["nodes"], "id");
    for edge in graph["edges"].as_array().expect("edges") {
        for end in ["from", "to"] {
            assert!(ids.contains(&edge[end].as_str().expect("a text")), "{edge}");
        }
    }
    let stream = graph["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .find(|node| node["id"] == "stream:readings")
        .expect("there");
    assert_eq!(
        (&stream["events"], &stream["schema"]["version"]),
        (&json!(4), &json!(1))
    );
    let t = stream["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .find(|field| field["name"] == "t");
    assert_eq!(t.expect("t")["required"], json!(true));

    let (_, around) = call(&app, get("/api/v1/graph/stream/readings")).await;
    assert_eq!(
        names(&around["upstream"], "id"),
        ["agent:edge-1", "gateway:gw-1", "schema:readings-value"]
    );
    assert_eq!(
        names(&around["downstream"], "id"),
        ["view:by_site", "view:hourly"]
    );
    let (_, around) = call(&app, get("/api/v1/graph/agent/edge-1")).await;
    assert_eq!(around["node"]["software"], "test/1");
    assert_eq!(around["node"]["configuration"]["ships"][1]["stream"], "later");
    assert_eq!(
        names(&around["downstream"], "id"),
        [
            "gateway:gw-1",
            "stream:later",
            "stream:readings",
            "view:by_site",
            "view:hourly"
        ]
    );
    for (path, status, code) in [
        ("/api/v1/graph/king/a", StatusCode::BAD_REQUEST, "invalid_query"),
        (
            "/api/v1/graph/agent/nobody",
            StatusCode::NOT_FOUND,
            "unknown_node",
        ),
    ] {
        let (answered, body) = call(&app, get(path)).await;
        assert_eq!((answered, &body["error"]["code"]), (status, &json!(code)));
    }
    mesh.close().await;
}

#[actix_web::test]
async fn a_field_that_goes_breaks_what_reads_it() {
    let mesh = busy().await;
    let app = app(mesh.state.clone()).await;
    for (name, sql) in [("by_site", BY_SITE), ("hourly", HOURLY)] {
        assert_eq!(call(&app, put_view(name, sql)).await.0, StatusCode::CREATED);
    }
    let field = async |name: &str| {
        let (status, impact) = call(&app, get(&format!("/api/v1/impact?stream=readings&field={name}"))).await;
        assert_eq!(status, StatusCode::OK, "{impact}");
        impact
    };
    // one column of the view, and what is made of it above
    let impact = field("t").await;
    assert_eq!(
        (&impact["breaks"], &impact["schema"]["breaks"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(names(&impact["rules"], "name"), ["below_limit"]);
    assert_eq!(names(&impact["views"], "view"), ["by_site", "hourly"]);
    assert_eq!(
        impact["views"][0]["columns"],
        json!([{ "column": "t_avg", "sql": "avg(t)", "reads": ["t"] }])
    );
    assert_eq!(names(&impact["views"][1]["columns"], "column"), ["t_avg"]);
    assert_eq!(names(&impact["agents"], "agent"), ["edge-1"]);
    // a condition concerns every row, and so all that is above
    let impact = field("kind").await;
    assert_eq!(impact["views"][0]["clauses"][0]["clause"], "where");
    assert_eq!(names(&impact["views"][1]["columns"], "column"), ["t_avg", "n"]);
    assert_eq!(impact["schema"]["breaks"], json!(false), "it is not required");
    // so do the groups, and the time
    assert_eq!(
        field("site").await["views"][0]["clauses"][0]["clause"],
        "group by"
    );
    assert_eq!(field("at").await["views"][0]["clauses"][0]["clause"], "time");
    // the roll-up does not show it
    let impact = field("limit").await;
    assert_eq!(
        (&impact["views"][0]["breaks"], &impact["views"][1]["breaks"]),
        (&json!(true), &json!(false))
    );
    let impact = field("ok").await;
    assert_eq!(
        (&impact["known"], &impact["breaks"]),
        (&json!(true), &json!(false))
    );
    // the whole stream
    let (_, impact) = call(&app, get("/api/v1/impact?stream=readings")).await;
    assert_eq!(names(&impact["views"], "view"), ["by_site", "hourly"]);
    assert_eq!(
        (&impact["breaks"], &impact["field"]),
        (&json!(true), &Value::Null)
    );
    for (query, status, code) in [
        ("", StatusCode::BAD_REQUEST, "invalid_query"),
        (
            "?stream=readings&feild=t",
            StatusCode::BAD_REQUEST,
            "invalid_query",
        ),
        ("?stream=nothing", StatusCode::NOT_FOUND, "unknown_stream"),
        ("?stream=readings&field=T", StatusCode::NOT_FOUND, "unknown_field"),
    ] {
        let (answered, body) = call(&app, get(&format!("/api/v1/impact{query}"))).await;
        assert_eq!(
            (answered, &body["error"]["code"]),
            (status, &json!(code)),
            "{query}"
        );
    }
    mesh.close().await;
}

#[actix_web::test]
async fn a_view_is_checked_against_the_fields_of_its_stream() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    let select = |list: &str, time: &str, rest: &str| {
        format!(
            "SELECT window_start, {list}\nFROM TUMBLE(readings, {time}, INTERVAL '1 minute') {rest} GROUP BY window_start"
        )
    };
    let wrong = [
        (select("max(temp) AS m", "ts", ""), 1, "no column \"temp\""),
        (select("sum(site) AS m", "ts", ""), 1, "sum needs numbers"),
        (
            select("count(*) AS n", "happened", ""),
            2,
            "no column \"happened\"",
        ),
        (select("count(*) AS n", "ok", ""), 2, "windows are cut by times"),
        (select("count(*) AS n", "ts", "WHERE t = 'warm'"), 2, "t"),
    ];
    for (sql, ..) in &wrong {
        let (status, body) = call(&app, put_view("v", sql)).await;
        assert!(
            status.is_success(),
            "without a schema nobody knows better: {body}"
        );
    }
    assert_eq!(
        call(&app, TestRequest::delete().uri("/api/v1/views/v")).await.0,
        StatusCode::NO_CONTENT
    );
    register(&mesh, CLOSED);
    for (sql, line, says) in &wrong {
        let (status, body) = call(&app, put_view("v", sql)).await;
        let error = &body["error"];
        assert_eq!(
            (status, &error["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_sql")),
            "{sql}"
        );
        assert_eq!(error["line"], json!(line), "{body}");
        assert!(error["message"].as_str().expect("words").contains(says), "{body}");
    }
    assert_eq!(call(&app, get("/api/v1/views/v")).await.0, StatusCode::NOT_FOUND);
    // the event time goes by its own name and as ts
    for time in ["at", "ts"] {
        let sql = select("max(t) AS m", time, "WHERE ok AND limit > 3");
        assert!(call(&app, put_view("v", &sql)).await.0.is_success());
    }
    mesh.close().await;
}

#[actix_web::test]
async fn a_schema_that_allows_other_fields_allows_views_over_them() {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    register(&mesh, &CLOSED.replace("\"additionalProperties\":false,", ""));
    let sql = "SELECT window_start, max(pressure) AS p FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start";
    assert_eq!(call(&app, put_view("v", sql)).await.0, StatusCode::CREATED);
    let (status, body) = call(&app, put_view("w", &sql.replace("max(pressure)", "sum(site)"))).await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_sql"))
    );
    let (_, impact) = call(&app, get("/api/v1/impact?stream=readings&field=pressure")).await;
    assert_eq!(
        (&impact["breaks"], &impact["schema"]["field"]),
        (&json!(true), &Value::Null)
    );
    mesh.close().await;
}
