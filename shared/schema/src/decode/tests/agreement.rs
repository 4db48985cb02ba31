//! The decoder and the slow reference agree about every row: verdicts and cells.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::reference::{self, Stored};
use super::{Row, compile, decode_with, rows_of};
use crate::decode::{Checker, Decoder, StreamSchema};

/// Property names: plain ones, one that JSON escapes, one beyond ASCII, the default event time, and columns of
/// our own.
const NAMES: [&str; 8] = ["a", "b", "long_name", "q\"\\\n", "ü€", "ts", "_extra", "z"];

/// A property's schema, and how its values are stored.
fn property() -> impl Strategy<Value = (Value, Stored)> {
    let other = |schema: Value| (schema, Stored::Other);
    let int = |schema: Value| (schema, Stored::Int);
    let float = |schema: Value| (schema, Stored::Float);
    select(vec![
        int(json!({"type": "integer"})),
        int(json!({"type": ["integer", "null"], "minimum": -5, "maximum": 100})),
        int(json!({"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 1e3, "title": "t"})),
        int(json!({"type": "integer", "minimum": -9_223_372_036_854_775_808i64})),
        int(json!({"type": "integer", "multipleOf": 2})),
        int(json!({"anyOf": [{"type": "integer"}, {"type": "null"}]})),
        int(json!({"enum": [1, 2, 1e2]})),
        int(json!({"type": ["integer", "null"], "enum": [1, 100, null]})),
        int(json!({"type": "integer", "multipleOf": 5, "minimum": -5})),
        int(json!({"anyOf": [{"type": "null"}, {"type": "integer", "maximum": 1}], "title": "t"})),
        float(json!({"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "default": null})),
        other(json!({"anyOf": [{"type": "string", "maxLength": 2}, {"type": "null"}]})),
        float(json!({"type": "number"})),
        float(json!({"type": "number", "minimum": 0.1, "exclusiveMaximum": 18_446_744_073_709_551_615u64})),
        float(json!({"type": ["null", "number"], "maximum": 1.5})),
        other(json!({"type": "boolean"})),
        other(json!({"type": ["boolean", "null"], "description": "d"})),
        other(json!({"type": "string"})),
        other(json!({"type": ["string", "null"], "minLength": 2, "maxLength": 3})),
        other(json!({"type": "string", "minLength": 1.0})),
        other(json!({"type": "string", "enum": ["ok", "ü", 1, null]})),
        other(json!({"type": ["string", "null"], "enum": ["ok", null]})),
        other(json!({"enum": ["ok", "warn"]})),
        other(json!({"const": "ok"})),
        other(json!({"type": "string", "format": "date-time"})),
        other(json!({"type": "string", "format": "uuid"})),
        other(json!({"type": "string", "pattern": "^o"})),
        other(json!({"type": ["string", "null"], "pattern": "^(?!a)", "minLength": 1})),
        other(json!({"type": "string", "pattern": "^\\d*$", "enum": ["", "ok"]})),
        other(json!({"type": ["string", "null"], "format": "ipv4"})),
        other(json!({"type": "object"})),
        other(
            json!({"type": ["object", "null"], "required": ["x"], "properties": {"x": {"type": "integer"}}}),
        ),
        other(json!({"type": "array", "items": {"type": "number"}})),
        other(json!({"type": ["string", "integer"]})),
        other(json!({})),
        other(json!(true)),
        other(json!(false)),
    ])
}

/// A value as it stands in a row.
fn value_text() -> impl Strategy<Value = String> {
    let exact = select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "1.0",
        "1e2",
        "1E-1",
        "-5",
        "-5.0",
        "100",
        "101",
        "0.1",
        "1.5",
        "1e3",
        "2",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "1e18",
        "9.3e18",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "9007199254740993",
        "9007199254740993.0",
        "1e308",
        "1e309",
        "-1e400",
        "0.1e-400",
        "1700000000000",
        "1700000000000.0",
        "999999999999999",
        "0.30000000000000004",
        "123456.789012345678",
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "--1",
        "tru",
        "NaN",
        "\"ok\"",
        "\"o\\u006b\"",
        "\"ü\"",
        "\"\\u00fc\"",
        "\"\"",
        "\"abcd\"",
        "\"äöü\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\q\"",
        "\"2026-11-21T11:20:00.123Z\"",
        "\"2026-11-21t11:20:00z\"",
        "\"2026-02-30T11:20:00Z\"",
        "\"2026-11-21T11:20:00+24:00\"",
        "\"2016-12-31T23:59:60Z\"",
        "\"0000-01-01T00:00:00Z\"",
        "\"yesterday\"",
        "\"f47ac10b-58cc-4372-a567-0e02b2c3d479\"",
        "{}",
        "[]",
        "{\"x\":1}",
        "{\"x\":\"1\"}",
        "{\"x\":1,\"x\":2}",
        "[1,2.5]",
        "[1, [2,{\"y\":[]}] ]",
        "[1,]",
        "{\"x\":}",
        "[1e999]",
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        8 => exact,
        1 => any::<i64>().prop_map(|value| value.to_string()),
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| json!(value).to_string()),
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        1 => "\\PC{0,40}".prop_map(|text| json!(text).to_string()),
        1 => "[ -~]{20,120}".prop_map(|text| json!(text).to_string()),
    ]
}

fn key_text() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => select(NAMES.to_vec()).prop_map(|name| json!(name).to_string()),
        1 => select(vec!["\"\\u0061\"", "\"other\"", "\"\\u006fther\"", "\"_event_time\"", "\"\"", "\"\\x\""])
            .prop_map(str::to_owned),
    ]
}

/// A row's text: members in any order, with or without space, sometimes cut or followed by something.
fn row_text() -> impl Strategy<Value = Vec<u8>> {
    let space = || select(vec!["", "", "", "", " ", "\n\t\r "]);
    let members = prop::collection::vec((key_text(), space(), space(), value_text(), space()), 0..8);
    let ends = select(vec![
        "}", "}", "}", "}", "}", "}", "}", "}", "}", "} ", ",}", "", "}}", "}\u{a0}",
    ]);
    let any_row = (space(), members, ends).prop_map(|(space, members, end)| {
        let members: Vec<String> = members
            .iter()
            .map(|(key, s1, s2, value, s3)| format!("{s3}{key}{s1}:{s2}{value}{s3}"))
            .collect();
        format!("{space}{{{}{end}", members.join(",")).into_bytes()
    });
    prop_oneof![
        30 => any_row,
        1 => select(vec![&b""[..], b"[]", b"null", b"{\"a\":\"\xff\"}", b"{\"a\"\xff:1}", b"\xef\xbb\xbf{}"]).prop_map(<[u8]>::to_vec),
    ]
}

/// A row that a schema has a fair chance to accept: each property at most once, few wrong values.
fn tame_row() -> impl Strategy<Value = Vec<u8>> {
    let member = |name: &'static str| {
        let tame = select(vec![
            "1",
            "2",
            "1.5",
            "\"ok\"",
            "\"ok\"",
            "true",
            "null",
            "{\"x\":1}",
            "[1]",
            "100",
            "\"2026-11-21T11:20:00Z\"",
        ]);
        prop_oneof![4 => tame.prop_map(str::to_owned), 1 => value_text()]
            .prop_map(move |value| format!("{}:{value}", json!(name)))
    };
    subsequence(NAMES.to_vec(), 0..=NAMES.len())
        .prop_flat_map(move |names| names.into_iter().map(member).collect::<Vec<_>>())
        .prop_map(|members| format!("{{{}}}", members.join(",")).into_bytes())
}

#[derive(Debug, Clone)]
struct Case {
    schema: Value,
    properties: Vec<(String, Stored)>,
    marked: Option<String>,
    rows: Vec<Vec<u8>>,
}

fn case() -> impl Strategy<Value = Case> {
    let properties = subsequence(NAMES[..7].to_vec(), 0..=7).prop_flat_map(|names| {
        names
            .into_iter()
            .map(|name| (Just(name), property()))
            .collect::<Vec<_>>()
    });
    let required = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(NAMES.to_vec(), 0..=3)];
    let rows = prop::collection::vec(prop_oneof![row_text(), tame_row(), tame_row()], 1..40);
    let draft = select(vec![
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
    ]);
    (
        properties,
        required,
        select(vec![None, Some(true), Some(false)]),
        rows,
        any::<bool>(),
        draft,
    )
        .prop_map(|(properties, required, additional, rows, mark, draft)| {
            let mut marked = None;
            let mut object = Map::new();
            for (name, (schema, _)) in &properties {
                let mut schema = schema.clone();
                if let (true, None, Value::Object(keywords)) = (mark, &marked, &mut schema) {
                    keywords.insert("x-event-time".to_owned(), true.into());
                    marked = Some((*name).to_owned());
                }
                object.insert((*name).to_owned(), schema);
            }
            let mut schema =
                json!({"$schema": draft, "type": "object", "properties": object, "required": required});
            if let Some(additional) = additional {
                schema["additionalProperties"] = additional.into();
            }
            let stored = properties.iter().filter(|(name, _)| *name != "_extra");
            let properties = stored
                .map(|(name, (_, stored))| ((*name).to_owned(), *stored))
                .collect();
            Case {
                schema,
                properties,
                marked,
                rows,
            }
        })
}

/// Decodes the rows in batches of differing sizes, so that builders are used again.
fn decode_all(decoder: &mut Decoder, schema: &StreamSchema, rows: &[Vec<u8>]) -> Vec<Result<Row, String>> {
    let mut verdicts = Vec::new();
    for (index, batch) in rows.chunks(17).enumerate() {
        let decoded = decode_with(decoder, schema, batch);
        assert_eq!(
            decoded.valid as usize + decoded.dead.len(),
            batch.len(),
            "batch {index} is accounted for"
        );
        let mut valid = rows_of(&decoded).into_iter();
        let mut dead = decoded.dead.iter().peekable();
        for (at, payload) in batch.iter().enumerate() {
            match dead.next_if(|letter| letter.seq == at as u64 + 1) {
                Some(letter) => {
                    assert_eq!(&letter.payload, payload);
                    verdicts.push(Err(letter.reasons[0].rule.clone()));
                }
                None => verdicts.push(Ok(valid.next().expect("a valid row"))),
            }
        }
        assert!(valid.next().is_none() && dead.next().is_none());
    }
    verdicts
}

fn same(ours: &Result<Row, String>, reference: &reference::Verdict) -> bool {
    const OWN: [&str; 4] = ["malformed", "duplicate_key", "out_of_range", "event_time"];
    match (ours, reference) {
        (Ok(ours), Ok(reference)) => ours == reference,
        (Err(ours), Err("schema")) => !OWN.contains(&ours.as_str()),
        (Err(ours), Err(reference)) => {
            ours == reference || OWN[2..].contains(&ours.as_str()) && OWN[2..].contains(reference)
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_quick_the_whole_and_the_reference_way_agree(case in case()) {
        let validator = crate::decode::schema::options().build(&case.schema).expect("a schema");
        let quick = compile(&case.schema).expect("compiles");
        prop_assert!(quick.judged.as_ref().is_some_and(|judged| judged.plan.flat), "the quick way is taken");
        let mut whole = case.schema.clone();
        whole["minProperties"] = 0.into();
        let whole = compile(&whole).expect("compiles");
        prop_assert!(whole.judged.as_ref().is_some_and(|judged| !judged.plan.flat), "the whole way is taken");
        let mut decoder = Decoder::new();
        let by_quick = decode_all(&mut decoder, &quick, &case.rows);
        let by_whole = decode_all(&mut decoder, &whole, &case.rows);
        let (mut quick_checker, mut whole_checker) = (Checker::new(Arc::new(quick)), Checker::new(Arc::new(whole)));
        for (at, payload) in case.rows.iter().enumerate() {
            let text = String::from_utf8_lossy(payload);
            let expected = reference::judge(payload, &validator, &case.properties, case.marked.as_deref());
            prop_assert!(same(&by_quick[at], &expected), "{text}\nours {:?}\nreference {expected:?}", by_quick[at]);
            prop_assert_eq!(&by_quick[at], &by_whole[at], "{}", text);
            let by_columns = by_quick[at].as_ref().map(drop).map_err(Clone::clone);
            for (way, checker) in [&mut quick_checker, &mut whole_checker].into_iter().enumerate() {
                let checked = checker.check(payload).map_err(|reasons| reasons[0].rule.clone());
                prop_assert_eq!(&checked, &by_columns, "way {}: {}", way, text);
            }
            prop_assert_eq!(quick_checker.schema().check(payload).is_ok(), by_quick[at].is_ok(), "{}", text);
        }
    }

    #[test]
    fn without_a_schema_every_object_is_kept_whole(rows in prop::collection::vec(prop_oneof![row_text(), tame_row()], 1..40)) {
        let schema = StreamSchema::schemaless();
        let verdicts = decode_all(&mut Decoder::new(), &schema, &rows);
        for (payload, verdict) in rows.iter().zip(verdicts) {
            let text = String::from_utf8_lossy(payload);
            match (verdict, reference::object(payload)) {
                (Ok(row), Ok(object)) => {
                    let mut kept = row.cells.clone();
                    kept.extend(row.extra.clone());
                    let floats = |object: Map<String, Value>| -> Map<String, Value> {
                        object.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key, floating(value))).collect()
                    };
                    prop_assert_eq!(floats(kept), floats(object), "{}", text);
                }
                (Err(ours), Err(reference)) => prop_assert_eq!(ours.as_str(), reference, "{}", text),
                (ours, reference) => prop_assert!(false, "{text}\nours {ours:?}\nreference {reference:?}"),
            }
        }
    }
}

/// The agreement is about something: the cases hold valid rows, and every way to be rejected.
#[test]
fn the_cases_have_rows_of_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..200 {
        let case = case().new_tree(&mut runner).expect("a case").current();
        let validator = crate::decode::schema::options()
            .build(&case.schema)
            .expect("a schema");
        for row in &case.rows {
            let verdict = reference::judge(row, &validator, &case.properties, case.marked.as_deref());
            *counts.entry(verdict.err().unwrap_or("valid")).or_default() += 1;
        }
    }
    for (verdict, least) in [
        ("valid", 500),
        ("schema", 500),
        ("malformed", 300),
        ("duplicate_key", 50),
        ("out_of_range", 30),
        ("event_time", 5),
    ] {
        assert!(
            counts.get(verdict).is_some_and(|count| *count >= least),
            "{verdict}: {counts:?}"
        );
    }
}

/// Integers and floats of one column become floats.
fn floating(value: Value) -> Value {
    value.as_f64().map_or(value, Value::from)
}
