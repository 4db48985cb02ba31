//! Windows read by filters, in pages and in formats.

use std::collections::BTreeSet;

use actix_web::http::header;
use bytes::Bytes;

use super::*;

/// A row for each event.
const EACH: &str = "SELECT window_start, t, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 minute')
    GROUP BY window_start, window_end, t";

async fn mesh_with_rows(
    events: Seq,
) -> (
    Mesh,
    impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
) {
    let mesh = Mesh::start();
    let app = app(mesh.state.clone()).await;
    let (status, made) = call(&app, put_view("each", EACH)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    mesh.commit(1, events).await;
    while call(&app, get("/api/v1/views/each")).await.1["live"] != json!(true) {
        tokio::task::yield_now().await;
    }
    (mesh, app)
}

/// A header of an answer.
fn said(response: &ServiceResponse, name: &str) -> String {
    let value = response.headers().get(name);
    let value = value.unwrap_or_else(|| panic!("no {name}"));
    value.to_str().expect("text").to_owned()
}

fn temperatures(page: &Value) -> Vec<f64> {
    let rows = page["rows"].as_array().unwrap_or_else(|| panic!("{page}"));
    rows.iter()
        .map(|row| row["t"].as_f64().expect("a number"))
        .collect()
}

#[actix_web::test]
async fn filters_have_operators_and_several_values() {
    let (mesh, app) = mesh_with_rows(12).await;
    // seq 3 (1.5) is dead
    for (query, expected) in [
        ("t=2", vec![2.0]),
        ("t=2&t=4.5&t=99", vec![2.0, 4.5]),
        ("t.gte=2&t.lt=3", vec![2.0, 2.5]),
        ("t.gt=5&t.lte=6", vec![5.5, 6.0]),
        ("t.ne=1&t.ne=2&t.lte=2.5", vec![0.5, 2.5]),
        ("t.eq=3&final=false&revision=1", vec![3.0]),
        ("t.lt=1&window_start=2026-01-31T12:00:00Z", vec![0.5]),
        ("t.lt=1&window_start.gt=2026-01-31T13:00:00%2B01:00", vec![]),
        ("t=", vec![]),
    ] {
        let (status, page) = call(&app, get(&format!("/api/v1/views/each/windows?{query}"))).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        assert_eq!(temperatures(&page), expected, "{query}");
    }
    for (query, code, parameter) in [
        ("n=many", "invalid_filter", "n"),
        ("window_start.gt=noon", "invalid_filter", "window_start.gt"),
        ("final=perhaps", "invalid_filter", "final"),
        ("final.gt=true", "invalid_filter", "final.gt"),
        ("n.prefix=1", "invalid_filter", "n.prefix"),
        ("next=AAAA", "invalid_query", "next"),
        (
            "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z",
            "invalid_query",
            "from",
        ),
        ("format=xlsx", "invalid_query", "format"),
        ("format=csv&format=json", "invalid_query", "format"),
    ] {
        let (status, body) = call(&app, get(&format!("/api/v1/views/each/windows?{query}"))).await;
        assert_eq!(
            (status, &body["error"]["code"], &body["error"]["parameter"]),
            (StatusCode::BAD_REQUEST, &json!(code), &json!(parameter)),
            "{query}: {body}"
        );
    }
    let (_, body) = call(&app, get("/api/v1/views/each/windows?t.near=1")).await;
    assert_eq!(body["error"]["code"], json!("unknown_column"), "{body}");
    mesh.close().await;
}

#[actix_web::test]
async fn pages_have_every_row_once_while_rows_come_in() {
    let (mesh, app) = mesh_with_rows(40).await;
    let mut seen = Vec::new();
    let mut next = String::new();
    let mut newest = 40;
    loop {
        let (status, page) = call(&app, get(&format!("/api/v1/views/each/windows?limit=7{next}"))).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        seen.extend(temperatures(&page));
        let Some(place) = page["next"].as_str() else {
            assert_eq!(page["truncated"], json!(false));
            break;
        };
        assert_eq!(page["truncated"], json!(true));
        next = format!("&next={place}");
        // behind the place, and after the first page also before it: seqs of other lanes are other temperatures
        if newest < 44 {
            mesh.commit(newest + 1, newest + 2).await;
            newest += 2;
        }
    }
    let all: BTreeSet<u64> = seen.iter().map(|t| (t * 2.0) as u64).collect();
    assert_eq!(all.len(), seen.len(), "no row twice");
    assert!(seen.is_sorted(), "{seen:?}");
    // all that were there at first, and those that came behind the place
    assert_eq!(all, (1..=44).filter(|seq| *seq != 3).collect());

    // another view of that name has other places
    let (status, _) = call(&app, put_view("each", &format!("{EACH} "))).await;
    assert_eq!(status, StatusCode::OK);
    // the old one serves until the new one has caught up
    let refused = async {
        loop {
            let asked = get(&format!("/api/v1/views/each/windows?limit=7{next}"));
            let (status, body) = call(&app, asked).await;
            if status != StatusCode::OK {
                return (status, body);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let (status, body) = tokio::time::timeout(std::time::Duration::from_secs(30), refused)
        .await
        .expect("the new definition serves");
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::CONFLICT, &json!("view_replaced")),
        "{body}"
    );
    mesh.close().await;
}

#[actix_web::test]
async fn windows_and_answers_are_csv_and_parquet_when_asked_for() {
    let (mesh, app) = mesh_with_rows(4).await;
    let csv = "window_start,t,n,window_end,revision,final,completeness\r\n\
               2026-01-31T12:00:00.000Z,0.5,1,2026-01-31T12:01:00.000Z,1,false,0.0\r\n\
               2026-01-31T12:00:00.000Z,1,1,2026-01-31T12:01:00.000Z,1,false,0.0\r\n";
    let asked = get("/api/v1/views/each/windows?limit=2").insert_header((header::ACCEPT, "text/csv"));
    let response = call_service(&app, asked.to_request()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        said(&response, "content-type"),
        "text/csv; charset=utf-8; header=present"
    );
    assert_eq!(said(&response, "tributary-truncated"), "true");
    assert_eq!(
        said(&response, "content-disposition"),
        "attachment; filename=\"each.csv\""
    );
    let next = said(&response, "tributary-next");
    assert_eq!(read_body(response).await, csv.as_bytes());

    let rest = get(&format!("/api/v1/views/each/windows?format=parquet&next={next}"));
    let response = call_service(&app, rest.to_request()).await;
    assert_eq!(said(&response, "content-type"), "application/vnd.apache.parquet");
    assert_eq!(said(&response, "tributary-rows"), "1");
    let body: Bytes = read_body(response).await;
    assert!(body.starts_with(b"PAR1") && body.ends_with(b"PAR1"));

    let ask = |format: &str| {
        TestRequest::post()
            .uri(&format!("/api/v1/sql?format={format}"))
            .set_json(
                json!({ "query": "SELECT max(window_start), sum(n) AS n, NULL AS x FROM each", "limit": 1 }),
            )
    };
    let response = call_service(&app, ask("csv").to_request()).await;
    assert_eq!(said(&response, "tributary-truncated"), "false");
    assert_eq!(
        read_body(response).await,
        "max(window_start),n,x\r\n2026-01-31T12:00:00.000Z,3,\r\n".as_bytes()
    );
    let response = call_service(&app, ask("parquet").to_request()).await;
    assert!(read_body(response).await.ends_with(b"PAR1"));

    let (status, body) = call(
        &app,
        get("/api/v1/views/each/windows").insert_header((header::ACCEPT, "image/png")),
    )
    .await;
    assert_eq!(
        (status, &body["error"]["code"]),
        (StatusCode::NOT_ACCEPTABLE, &json!("not_acceptable"))
    );
    let too_many = TestRequest::post()
        .uri("/api/v1/sql")
        .set_json(json!({ "query": "SELECT 1", "limit": 10_001 }));
    let (status, body) = call(&app, too_many).await;
    assert_eq!(
        (status, &body["error"]["parameter"]),
        (StatusCode::BAD_REQUEST, &json!("limit")),
        "{body}"
    );
    mesh.close().await;
}
