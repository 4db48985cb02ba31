//! What producers send that is wrong.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tributary_tests::{Metrics, SOON};

use crate::{mesh, temp_dir};

const MIB: usize = 1 << 20;
const REJECTED: &str = "tributary_intake_rejected_requests_total";

#[test]
fn refused_requests_say_where_and_why_are_counted_and_leave_nothing_behind() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let ndjson = "application/x-ndjson";
    let long_event = format!("{{\"pad\":\"{}\"}}\n", "x".repeat(MIB));
    let long_body = "{\"a\":1}\n".repeat(9 * MIB / 8);
    let cases: [(&str, &[u8], u16, &str); 9] = [
        (ndjson, b"{\"a\":1}\n{\"a\":\n{\"a\":3}\n", 400, "malformed"),
        (ndjson, b"{\"a\":1}\n[1]\n", 400, "malformed"),
        (ndjson, b"{\"a\":\"\xff\xfe\"}\n", 400, "malformed"),
        (ndjson, b"\n \n", 400, "empty"),
        (ndjson, long_event.as_bytes(), 413, "too_large"),
        (ndjson, long_body.as_bytes(), 413, "too_large"),
        ("application/json", b"[{\"a\":1},7]", 400, "malformed"),
        ("application/json", b"{\"a\":1} trailing", 400, "malformed"),
        ("text/plain", b"{\"a\":1}", 415, "unsupported_media_type"),
    ];
    for (content_type, body, status, code) in cases {
        let before = Metrics::scrape(&mesh.ready().intake)
            .expect("metrics")
            .sum(REJECTED, &[("code", code)]);
        let answer = mesh.post_raw("app", content_type, body);
        let start = String::from_utf8_lossy(&body[..body.len().min(40)]);
        assert_eq!(answer.status, status, "{start}: {}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{start}: {}", answer.body);
        assert!(
            error["message"].as_str().is_some_and(|text| text.len() > 10),
            "{start}: {}",
            answer.body
        );
        Metrics::wait_for_more(&mesh.ready().intake, REJECTED, &[("code", code)], before, SOON);
    }
    let second_line = mesh.post_raw("app", ndjson, b"{\"a\":1}\n{\"a\":\n");
    assert_eq!(second_line.json()["error"]["line"], 2, "{}", second_line.body);
    let bad_name = mesh.post_raw("no..%20such", ndjson, b"{}\n");
    assert_eq!(bad_name.status, 400, "{}", bad_name.body);

    mesh.assert_traffic_flows("app");
    let [lane] = &mesh.ledger("app").expect("the ledger")[..] else {
        panic!("one lane")
    };
    assert_eq!(lane.mark, 1, "only the good event got a seq: {lane:?}");
}

#[test]
fn half_open_connections_to_the_intake_hold_up_nobody() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let address = mesh
        .ready()
        .intake
        .strip_prefix("http://")
        .expect("a URL")
        .to_owned();
    let mut connections: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut connection = TcpStream::connect(&address).expect("the intake listens");
            connection
                .write_all(b"POST /v1/streams/app/events HTTP/1.1\r\nhost: x\r\ncont")
                .expect("half a header");
            connection
        })
        .collect();
    let mut half_body = TcpStream::connect(&address).expect("the intake listens");
    half_body
        .write_all(
            b"POST /v1/streams/app/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\
              content-length: 1000\r\n\r\n{\"a\":1}\n{\"a\"",
        )
        .expect("half a body");
    mesh.assert_traffic_flows("app");

    // the intake ends them by itself
    connections.push(half_body);
    for connection in &mut connections {
        connection
            .set_read_timeout(Some(Duration::from_secs(45)))
            .expect("a timeout");
        let mut answer = Vec::new();
        connection
            .read_to_end(&mut answer)
            .expect("the intake closes the connection");
    }
    let events = mesh.post_events("app", &[json!({ "ok": 2 })]);
    assert_eq!(
        events["first_seq"], 2,
        "half a body left nothing behind: {events}"
    );
}
