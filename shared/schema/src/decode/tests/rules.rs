//! Rules over several fields.

use serde_json::{Value, json};
use tributary_shared::wire::SchemaInfo;

use super::{compile, decode, rows_of};
use crate::decode::{SchemaError, StreamSchema, check_rules};

fn schema(rules: &Value) -> Value {
    let number = json!({"type": ["number", "null"]});
    json!({"type": "object", "properties": {"low": number, "high": number, "unit": {"type": "string"}}, "x-rules": rules})
}

#[test]
fn an_event_that_breaks_a_rule_is_a_dead_letter_with_the_fields_it_names() {
    let rules = json!([
        {"name": "range", "sql": "low <= high", "message": "low is above high"},
        {"name": "unit.known", "sql": "unit IN ('C', 'F')"},
    ]);
    let schema = compile(&schema(&rules)).expect("compiles");
    let rows = [
        r#"{"low":1,"high":2,"unit":"C"}"#,
        r#"{"low":3,"high":2,"unit":"C"}"#,
        r#"{"low":"x"}"#,
        r#"{"low":null,"high":2}"#,
        r#"{"low":3,"high":2,"unit":"K"}"#,
        r#"{"high":1,"unit":"F"}"#,
    ];
    let decoded = decode(&schema, &rows);
    assert_eq!((decoded.valid, decoded.dead_seqs()), (3, vec![2, 3, 5]));
    assert_eq!(rows_of(&decoded).len(), 3);
    let reasons = |at: usize| -> Vec<(String, String)> {
        let reasons = decoded.dead[at].reasons.iter();
        reasons
            .map(|reason| (reason.path.clone(), reason.rule.clone()))
            .collect()
    };
    let pair = |path: &str, rule: &str| (path.to_owned(), rule.to_owned());
    assert_eq!(reasons(0), [pair("/low", "range"), pair("/high", "range")]);
    assert_eq!(
        reasons(1)[0].1,
        "type",
        "what is no valid row is not held against rules"
    );
    assert_eq!(
        reasons(2),
        [
            pair("/low", "range"),
            pair("/high", "range"),
            pair("/unit", "unit.known")
        ]
    );
    assert_eq!(decoded.dead[0].reasons[0].message, "low is above high");
    assert_eq!(decoded.dead[2].payload, rows[4].as_bytes());
    assert_eq!((decoded.usage[0].rows, decoded.usage[0].rejected), (6, 3));
    for (at, row) in rows.iter().enumerate() {
        let dead = decoded.dead_seqs().contains(&(at as u64 + 1));
        assert_eq!(schema.check(row.as_bytes()).is_err(), dead, "{row}");
    }
    let none = decode(&schema, &[rows[1], rows[4]]);
    assert_eq!((none.valid, none.columns.len(), none.dead.len()), (0, 0, 2));
}

#[test]
fn a_rule_that_cannot_be_kept_is_refused_with_its_place() {
    for (rules, path, words) in [
        (json!("low < high"), "/x-rules", "array"),
        (json!([{"sql": "low < high"}]), "/x-rules/0/name", "name"),
        (
            json!([{"name": "a b", "sql": "low < high"}]),
            "/x-rules/0/name",
            "name",
        ),
        (json!([{"name": "a"}]), "/x-rules/0/sql", "condition"),
        (
            json!([{"name": "a", "sql": "low < high"}, {"name": "b", "sql": "low <"}]),
            "/x-rules/1/sql",
            "line 1, column 6",
        ),
        (
            json!([{"name": "a", "sql": "low + high"}]),
            "/x-rules/0/sql",
            "not a condition",
        ),
        (
            json!([{"name": "a", "sql": "lo < high"}]),
            "/x-rules/0/sql",
            "no field \"lo\"",
        ),
        (
            json!([{"name": "a", "sql": "low < 1"}, {"name": "a", "sql": "low < 2"}]),
            "/x-rules/1",
            "second",
        ),
        (
            json!(vec![json!({"name": "a", "sql": "low < 1"}); 65]),
            "/x-rules",
            "65 rules",
        ),
    ] {
        let error = compile(&schema(&rules)).expect_err("refused");
        let SchemaError::Rule { path: found, message } = &error else {
            panic!("{error}")
        };
        assert!(found == path && message.contains(words), "{found}: {message}");
    }
}

#[test]
fn avro_schemas_bring_rules_as_an_attribute() {
    let text = json!({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}],
        "rules": [{"name": "order", "sql": "a < b"}]});
    let info = SchemaInfo {
        id: 1,
        version: 1,
        format: "AVRO".to_owned(),
        text: text.to_string(),
        references: Vec::new(),
    };
    let schema = StreamSchema::compile(&info).expect("compiles");
    let framed = |a: u8, b: u8| super::framed(1, &[2 * a, 2 * b]);
    schema.check(&framed(1, 2)).expect("in order");
    assert_eq!(schema.check(&framed(2, 1)).expect_err("broken")[0].rule, "order");
    assert!(check_rules("AVRO", &info.text).is_ok());
    let wrong = info.text.replace("a < b", "a <");
    assert!(matches!(
        check_rules("AVRO", &wrong),
        Err(SchemaError::Rule { .. })
    ));
}
