//! Dead letters name the field and the rule.

use serde_json::{Value, json};
use tributary_shared::wire::{DeadLetter, Reason};

use super::{compile, decode};
use crate::decode::{StreamSchema, encode_dead};

fn reasons(schema: &Value, row: &str) -> Vec<(String, String)> {
    let decoded = decode(&compile(schema).expect("compiles"), &[row.as_bytes()]);
    let pair = |reason: &Reason| (reason.path.clone(), reason.rule.clone());
    decoded
        .dead
        .iter()
        .flat_map(|letter| letter.reasons.iter().map(pair))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(path, rule)| ((*path).to_owned(), (*rule).to_owned()))
        .collect()
}

#[test]
fn all_reasons_of_a_row_are_given_with_their_fields() {
    let schema = json!({
        "type": "object", "required": ["id", "a/b"], "additionalProperties": false,
        "properties": {"id": {"type": "integer"}, "n": {"type": "number", "maximum": 5}, "a/b": {}, "o": {
            "type": "object", "properties": {"x": {"type": "string"}}}},
    });
    let mut found = reasons(&schema, r#"{"id":"x","n":7,"o":{"x":1},"more":1,"yet more":2}"#);
    found.sort();
    let mut expected = pairs(&[
        ("/id", "type"),
        ("/n", "maximum"),
        ("/o/x", "type"),
        ("/a~1b", "required"),
        ("/more", "additionalProperties"),
        ("/yet more", "additionalProperties"),
    ]);
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn our_own_rules() {
    let schema = json!({"type": "object", "properties": {
        "i": {"type": "integer"}, "at": {"x-event-time": true, "type": "string"}}});
    for (row, path, rule) in [
        ("{", "", "malformed"),
        ("[]", "", "malformed"),
        ("{\"i\":1}x", "", "malformed"),
        ("{\"i\":1,\"i\":2}", "/i", "duplicate_key"),
        ("{\"u~\":1,\"u~\":2}", "/u~0", "duplicate_key"),
        ("{\"i\":9223372036854775808}", "/i", "out_of_range"),
        ("{\"i\":1e19}", "/i", "out_of_range"),
        ("{\"v\":[1e999]}", "/v", "out_of_range"),
        ("{\"at\":\"noon\"}", "/at", "event_time"),
        ("{\"at\":\"0000-01-01T00:00:00Z\"}", "/at", "event_time"),
    ] {
        assert_eq!(reasons(&schema, row), pairs(&[(path, rule)]), "{row}");
        let payload = row.as_bytes();
        let checked = compile(&schema)
            .expect("compiles")
            .check(payload)
            .expect_err("rejected");
        assert_eq!(
            (checked[0].path.as_str(), checked[0].rule.as_str()),
            (path, rule),
            "{row}"
        );
    }
    assert!(compile(&schema).expect("compiles").check(b"{\"i\":1}").is_ok());
    let schemaless = StreamSchema::schemaless();
    assert_eq!(
        schemaless.check(b"\xff").expect_err("rejected")[0].rule,
        "malformed"
    );
    assert_eq!(
        schemaless.check(&vec![b' '; 2 << 20]).expect_err("rejected")[0].rule,
        "too_large"
    );
}

#[test]
fn reasons_are_bounded() {
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}});
    let row = format!(
        "{{\"a\":[{}\"\"]}}",
        format!("\"{}\",", "é".repeat(2000)).repeat(100)
    );
    let decoded = decode(&compile(&schema).expect("compiles"), &[row.as_bytes()]);
    let letter = &decoded.dead[0];
    assert_eq!(letter.reasons.len(), 16);
    assert!(
        letter
            .reasons
            .iter()
            .all(|reason| reason.message.len() < 320 && reason.path.len() < 320)
    );
    assert_eq!(letter.payload, row.as_bytes());
}

#[test]
fn dead_letters_travel_as_messagepack() {
    let schema = compile(&json!({"type": "object", "required": ["x"]})).expect("compiles");
    let decoded = decode(&schema, &["{}", "{\"x\":1}", "\"\""]);
    assert_eq!((decoded.valid, decoded.dead_seqs()), (1, vec![1, 3]));
    let bytes = encode_dead(&decoded.dead).expect("encodes");
    let back: Vec<DeadLetter> = rmp_serde::from_slice(&bytes).expect("decodes");
    assert_eq!(back, decoded.dead);
    assert!(encode_dead(&[]).expect("encodes").is_empty());
}
