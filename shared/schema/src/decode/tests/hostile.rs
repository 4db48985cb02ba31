//! Bad input of every kind ends in a dead letter with its reason, soon.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{compile, decode};
use crate::decode::StreamSchema;

fn rule(schema: &StreamSchema, row: &[u8]) -> String {
    let decoded = decode(schema, &[row]);
    assert_eq!(
        (decoded.valid, decoded.dead.len()),
        (0, 1),
        "{}",
        String::from_utf8_lossy(row)
    );
    decoded.dead[0].reasons[0].rule.clone()
}

#[test]
fn each_kind_has_its_reason() {
    let schema = compile(
        &json!({"type": "object", "properties": {"i": {"type": "integer"}, "n": {"type": "number"}}}),
    )
    .expect("compiles");
    let deep =
        |open: &str, close: &str| format!("{{\"x\":{}{}}}", open.repeat(200), close.repeat(200)).into_bytes();
    for schema in [&schema, &StreamSchema::schemaless()] {
        for (row, expected) in [
            (&br#"{"i":1,"i":1}"#[..], "duplicate_key"),
            (br#"{"n":NaN}"#, "malformed"),
            (br#"{"n":Infinity}"#, "malformed"),
            (br#"{"n":-Infinity}"#, "malformed"),
            (br#"{"n":1e999}"#, "out_of_range"),
            (b"{\"x\":\"\xc3\x28\"}", "malformed"),
            (b"{\"x\":\"\xed\xa0\x80\"}", "malformed"),
            (br#"{"x":"\ud800"}"#, "malformed"),
            (&deep("[", "]"), "malformed"),
            (&deep("{\"a\":", "}"), "malformed"),
            (b"\x02{}", "wire_format"),
            (b"", "malformed"),
            (b"null", "malformed"),
        ] {
            assert_eq!(rule(schema, row), expected, "{}", String::from_utf8_lossy(row));
        }
    }
    assert_eq!(rule(&schema, br#"{"i":9223372036854775808}"#), "out_of_range");
    assert_eq!(
        rule(&schema, br#"{"i":123456789012345678901234567890}"#),
        "out_of_range"
    );
}

#[test]
fn a_pattern_that_backtracks_stalls_nobody() {
    let property = |pattern: &str| json!({"type": "object", "properties": {"s": {"type": "string", "pattern": pattern}}});
    let linear = compile(&property("^(a+)+$")).expect("compiles");
    let looks_back = compile(&property("^(?:(a+)\\1?)+b$")).expect("compiles");
    let row = format!("{{\"s\":\"{}!\"}}", "a".repeat(5_000));
    let rows = vec![row; 50];
    let started = Instant::now();
    let by_linear = decode(&linear, &rows);
    assert!(
        by_linear
            .dead
            .iter()
            .all(|letter| letter.reasons[0].rule == "pattern")
    );
    let by_backtracking = decode(&looks_back, &rows);
    let reasons: Vec<(&str, &str)> = by_backtracking
        .dead
        .iter()
        .map(|letter| (letter.reasons[0].rule.as_str(), letter.reasons[0].path.as_str()))
        .collect();
    assert_eq!(reasons, vec![("pattern_limit", "/s"); 50]);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    looks_back.check(br#"{"s":"aa"}"#).expect_err("no b");
}

#[test]
fn patterns_and_formats_are_proven_on_the_quick_way() {
    let schema = json!({"type": "object", "properties": {
        "id": {"type": "string", "format": "uuid"}, "code": {"type": ["string", "null"], "pattern": "^[A-Z]{2}$"},
        "n": {"anyOf": [{"type": "integer", "multipleOf": 10}, {"type": "null"}]}}});
    let compiled = compile(&schema).expect("compiles");
    assert!(compiled.judged.as_ref().is_some_and(|judged| {
        judged.plan.flat
            && judged
                .plan
                .fields
                .iter()
                .all(|field| field.checks.validator.is_none())
    }));
    let rows = [
        r#"{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","code":"AB","n":20}"#,
        r#"{"id":"f47ac10b","code":null,"n":null}"#,
        r#"{"code":"ABC"}"#,
        r#"{"n":15}"#,
    ];
    let decoded = decode(&compiled, &rows);
    let dead: Vec<(u64, Value)> = decoded
        .dead
        .iter()
        .map(|letter| {
            (
                letter.seq,
                json!([letter.reasons[0].path, letter.reasons[0].rule]),
            )
        })
        .collect();
    let expected = [(2, json!(["/id", "format"])), (3, json!(["/code", "pattern"]))];
    assert_eq!(&dead[..2], &expected[..]);
    assert_eq!((dead[2].0, dead.len()), (4, 3));
}
