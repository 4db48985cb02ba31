//! Which schemas are taken, and what they are judged by.

use serde_json::{Value, json};
use tributary_shared::wire::{SchemaInfo, SchemaRef};

use super::{compile, decode, rows_of};
use crate::decode::{MAX_SCHEMA_TEXT, SchemaError, StreamSchema};

#[test]
fn schemas_that_cannot_judge_are_refused_with_words() {
    let info = |format: &str, text: String| SchemaInfo {
        id: 1,
        version: 1,
        format: format.to_owned(),
        text,
        references: Vec::new(),
    };
    let refused = |info: &SchemaInfo| StreamSchema::compile(info).expect_err("refused");
    assert!(matches!(
        refused(&info("XML", "{}".to_owned())),
        SchemaError::Format(_)
    ));
    for text in [
        "{}",
        "\"long\"",
        "[]",
        "{\"type\":\"record\",\"name\":\"R\"}",
        "\"Unknown\"",
    ] {
        let refused = refused(&info("AVRO", text.to_owned()));
        assert!(
            matches!(refused, SchemaError::Invalid { .. }),
            "{text}: {refused}"
        );
    }
    assert!(matches!(
        refused(&info("JSON", " ".repeat(MAX_SCHEMA_TEXT + 1))),
        SchemaError::TooLarge { .. }
    ));
    assert!(matches!(
        refused(&info("JSON", "{".to_owned())),
        SchemaError::NotJson(_)
    ));
    let remote = [
        json!({"properties": {"a": {"$ref": "https://example.com/schema.json"}}}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$schema": "https://example.com/meta.json"}),
    ];
    for schema in remote {
        assert!(
            matches!(compile(&schema), Err(SchemaError::Invalid { .. })),
            "{schema}"
        );
    }
    assert!(matches!(
        compile(&json!({"type": "strange"})),
        Err(SchemaError::Invalid { .. })
    ));
    let many: serde_json::Map<String, Value> = (0..600).map(|n| (n.to_string(), json!({}))).collect();
    assert!(matches!(
        compile(&json!({"properties": many})),
        Err(SchemaError::TooManyProperties { count: 513.., .. })
    ));
    let twice = json!({"properties": {"a": {"x-event-time": true}, "b": {"x-event-time": true}}});
    assert!(matches!(compile(&twice), Err(SchemaError::TwoEventTimes(..))));
}

#[test]
fn a_schema_is_named_by_its_registration() {
    assert_eq!(
        compile(&json!({})).expect("compiles").schema_ref(),
        Some(SchemaRef { id: 7, version: 2 })
    );
    assert_eq!(StreamSchema::schemaless().schema_ref(), None);
}

#[test]
fn keywords_beyond_the_quick_way_are_judged_wholly() {
    for (schema, valid, invalid) in [
        (
            json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            "{\"a\":1}",
            "{\"a\":1,\"b\":1}",
        ),
        (
            json!({"patternProperties": {"^n_": {"type": "number"}}}),
            "{\"n_\":1}",
            "{\"n_\":\"1\"}",
        ),
        (
            json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}}),
            "{}",
            "{\"a\":1}",
        ),
        (
            json!({"additionalProperties": {"type": "string"}}),
            "{\"x\":\"\"}",
            "{\"x\":1}",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            "{\"b\":1}",
            "{\"a\":1}",
        ),
        (
            json!({"$ref": "#/$defs/r", "$defs": {"r": {"properties": {"i": {"type": "integer"}}}}}),
            "{\"i\":1}",
            "{\"i\":1.5}",
        ),
        (
            json!({"properties": {"i": {"$ref": "#/$defs/r"}}, "$defs": {"r": {"type": "integer"}}}),
            "{\"i\":1}",
            "{\"i\":\"\"}",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"i": {"type": "integer"}}}),
            "{\"i\":1}",
            "{\"i\":1.0}",
        ),
        (json!({"type": "string"}), "", "{}"),
        (json!(false), "", "{}"),
    ] {
        let compiled = compile(&schema).expect("compiles");
        assert!(
            compiled.judged.as_ref().is_some_and(|judged| !judged.plan.flat),
            "{schema}"
        );
        assert!(
            valid.is_empty() || compiled.check(valid.as_bytes()).is_ok(),
            "{schema} takes {valid}"
        );
        assert!(
            compiled.check(invalid.as_bytes()).is_err(),
            "{schema} rejects {invalid}"
        );
    }
}

#[test]
fn columns_are_found_behind_references() {
    let schema = json!({"allOf": [{"$ref": "#/definitions/base"}], "definitions": {"base": {
        "properties": {"i": {"type": "integer"}, "o": {"anyOf": [{"type": "number"}, {"type": "null"}]}}}}});
    let rows = rows_of(&decode(
        &compile(&schema).expect("compiles"),
        &["{\"i\":1.0,\"o\":2,\"x\":3}"],
    ));
    assert_eq!(Value::Object(rows[0].cells.clone()), json!({"i": 1, "o": 2.0}));
    assert_eq!(Value::Object(rows[0].extra.clone()), json!({"x": 3}));
}
