//! Rows in a serializer's wire format, from producers of several schema versions.

use serde_json::{Value, json};
use tributary_shared::wire::rows::push_row;
use tributary_tests::{Mesh, SOON, http, wait_until};

use crate::{integer, mesh, temp_dir};

const ROWS: &str = "application/x-tributary-rows";

/// Registers an Avro schema and returns its id.
fn register(mesh: &Mesh, stream: &str, fields: &Value) -> u32 {
    let schema = json!({"type": "record", "name": "Reading", "fields": fields});
    let body = json!({"schemaType": "AVRO", "schema": schema.to_string()});
    let url = format!("{}/subjects/{stream}-value/versions", mesh.ready().registry);
    let answer = http::post(
        &url,
        "application/vnd.schemaregistry.v1+json",
        body.to_string().as_bytes(),
    );
    let answer = answer.expect("an answer").success().expect("registered");
    u32::try_from(integer(&answer, "id")).expect("an id")
}

fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn framed(id: u32, parts: &[&[u8]]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), &parts.concat()].concat()
}

fn post(mesh: &Mesh, rows: &[Vec<u8>]) -> Value {
    let mut body = Vec::new();
    rows.iter().for_each(|row| push_row(&mut body, row));
    let answer = mesh.post_raw("readings", ROWS, &body);
    answer.success().expect("taken")
}

#[test]
fn rows_of_two_schema_versions_feed_one_view_and_strangers_become_dead_letters() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    let at = json!({"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "x-event-time": true});
    let old = register(&mesh, "readings", &json!([at, {"name": "n", "type": "int"}]));
    let new = register(
        &mesh,
        "readings",
        &json!([at, {"name": "n", "type": "double"}, {"name": "site", "type": "string", "default": "unknown"}]),
    );
    let foreign = register(&mesh, "others", &json!([{"name": "x", "type": "int"}]));
    mesh.put_view(
        "sums",
        "SELECT window_start, window_end, site, count(*) AS n, sum(n) AS total \
         FROM TUMBLE(readings, at, INTERVAL '1 minute') GROUP BY window_start, window_end, site",
    );
    let time = long(1_767_268_800_000);
    let written_old = framed(old, &[&time, &long(2)]);
    let written_new = framed(new, &[&time, &1.5f64.to_le_bytes(), &long(1), b"a"]);
    let rows = [
        written_old.clone(),
        written_new.clone(),
        framed(foreign, &[&long(1)]),
        framed(9_999, &[&long(1)]),
        framed(new, &[&time]),
        written_old,
    ];
    let taken = post(&mesh, &rows);
    mesh.post_events(
        "readings",
        &[json!({"at": "2026-01-01T12:00:30Z", "n": 0.5, "site": "a"})],
    );

    let rows = wait_until(SOON, "both versions are counted", || {
        let rows = mesh.windows("sums")?;
        let counted: i64 = rows.iter().map(|row| row["n"].as_i64().unwrap_or_default()).sum();
        (counted == 4)
            .then(|| rows.clone())
            .ok_or_else(|| format!("{rows:?}"))
    });
    let total = |site: &str| {
        let row = rows.iter().find(|row| row["site"] == site);
        row.and_then(|row| row["total"].as_f64())
    };
    assert_eq!((total("unknown"), total("a")), (Some(4.0), Some(2.0)), "{rows:?}");

    let answer = mesh.api("/api/v1/dead-letters?stream=readings").expect("letters");
    let mut rules: Vec<&str> = answer["dead_letters"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|letter| letter["reasons"][0]["rule"].as_str())
        .collect();
    rules.sort_unstable();
    assert_eq!(
        rules,
        ["unknown_schema", "unknown_schema", "wire_format"],
        "{answer}"
    );

    let (agent, epoch) = (taken["agent"].as_str().expect("an id"), integer(&taken, "epoch"));
    let first = integer(&taken, "first_seq");
    for (seq, id) in [(first, old), (first + 1, new), (first + 5, old)] {
        let path = mesh.api(&format!("/api/v1/events/{agent}/readings/{epoch}/{seq}"));
        let path = path.expect("a path");
        assert_eq!(path["schema"]["id"], id, "{path}");
    }
}
