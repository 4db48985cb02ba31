//! Avro payloads: values, evolution and damage. The `apache-avro` crate is the reference for what a reader sees.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::types::Value as Avro;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use tributary_shared::wire::{NamedText, SchemaInfo};

use super::{Row, framed, read, rows_of};
use crate::decode::{DecodeLimits, Decoder, StreamSchema, Writer, Writers};

pub(super) fn avro(id: u32, schema: &Value) -> StreamSchema {
    let info = SchemaInfo {
        id,
        version: id,
        format: "AVRO".to_owned(),
        text: schema.to_string(),
        references: Vec::new(),
    };
    StreamSchema::compile(&info).expect("an avro schema")
}

fn record(fields: &Value) -> Value {
    json!({"type": "record", "name": "Event", "namespace": "a.b", "fields": fields})
}

/// Decodes rows of one writer on a stream whose newest schema is `reader`.
fn decode(
    writer: StreamSchema,
    reader: &StreamSchema,
    rows: &[Vec<u8>],
) -> Vec<Result<Row, (String, String, String)>> {
    let id = writer.schema_ref().expect("registered").id;
    let writers = Writers::from_iter([(id, Writer::Known(writer.into()))]);
    let rows: Vec<Vec<u8>> = rows.iter().map(|body| framed(id, body)).collect();
    let (segment, bytes) = super::segment(&rows);
    let parts = [(&segment, bytes.as_slice())];
    let decoded = Decoder::new()
        .decode_with(reader, &writers, 1, &parts, &DecodeLimits::default())
        .expect("a sound batch");
    let mut valid = rows_of(&decoded).into_iter();
    (1..=rows.len() as u64)
        .map(|seq| match decoded.dead.iter().find(|letter| letter.seq == seq) {
            Some(letter) => {
                assert_eq!(letter.payload, rows[seq as usize - 1], "the original bytes");
                let reason = letter.reasons[0].clone();
                Err((reason.path, reason.rule, reason.message))
            }
            None => Ok(valid.next().expect("a valid row")),
        })
        .collect()
}

fn reads(writer: &Value, reader: &Value, body: &[u8]) -> Value {
    let rows = decode(avro(1, writer), &avro(2, reader), &[body.to_vec()]);
    let row = rows[0].clone().unwrap_or_else(|reason| panic!("{reason:?}"));
    json!({"cells": row.cells, "extra": row.extra, "at": row.event_time})
}

fn refuses(schema: &Value, body: &[u8]) -> (String, String, String) {
    let rows = decode(avro(1, schema), &avro(1, schema), &[body.to_vec()]);
    rows[0].clone().expect_err("a dead letter")
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

fn text(value: &str) -> Vec<u8> {
    [long(value.len() as i64), value.as_bytes().to_vec()].concat()
}

#[test]
fn every_type_has_its_column() {
    let schema = record(&json!([
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "event-time": true},
        {"name": "device", "type": "string", "x-key": true},
        {"name": "n", "type": ["null", "long"]},
        {"name": "ok", "type": "boolean"},
        {"name": "t", "type": "float"},
        {"name": "raw", "type": "bytes"},
        {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["low", "high"]}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "huge", "type": {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 1}},
        {"name": "id", "type": {"type": "fixed", "name": "Id", "size": 16, "logicalType": "uuid"}},
        {"name": "list", "type": {"type": "array", "items": "int"}},
        {"name": "map", "type": {"type": "map", "values": ["string", "int"]}},
        {"name": "seen", "type": {"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}}},
    ]));
    let body = [
        long(1_700_000_000_123_456),
        text("d-1"),
        [long(1), long(-7)].concat(),
        vec![1],
        0.1f32.to_le_bytes().to_vec(),
        text("raw"),
        long(1),
        long(19_675),
        [long(2), vec![0x04, 0xd2]].concat(),
        [long(9), vec![0x7f; 9]].concat(),
        (0..16).collect(),
        [long(2), long(3), long(4), long(0)].concat(),
        [long(-1), long(7), text("k\""), long(1), long(5), long(0)].concat(),
        [long(1), long(0), long(0)].concat(),
    ]
    .concat();
    let seen = reads(&schema, &schema, &body);
    let cells = json!({
        "at": "2023-11-14T22:13:20.123456Z", "device": "d-1", "n": -7, "ok": true, "t": 0.1, "raw": "cmF3", "level": "high",
        "day": "2023-11-14", "price": 12.34, "huge": 2.351_923_699_311_548_8e20,
        "id": "00010203-0405-0607-0809-0a0b0c0d0e0f", "list": [3, 4], "map": {"k\"": 5},
        "seen": ["1970-01-01T00:00:00Z"],
    });
    let mut got = seen["cells"].clone();
    let huge = got["huge"].as_f64().expect("a number");
    assert!((huge - 2.351_923_699_311_548_8e20).abs() < 1e6, "{huge}");
    got["huge"] = cells["huge"].clone();
    assert_eq!(got, cells);
    assert_eq!(seen["at"], 1_700_000_000_123i64);
    let schema = avro(1, &schema);
    assert_eq!(
        (schema.event_time(), schema.keys()),
        (Some("at"), &["device".to_owned()][..])
    );
}

#[test]
fn a_schema_evolves_and_old_rows_keep_their_values() {
    let old = record(&json!([
        {"name": "n", "type": "int"},
        {"name": "was", "type": "string"},
        {"name": "gone", "type": {"type": "record", "name": "Gone", "fields": [{"name": "x", "type": "int"}]}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "mood", "type": {"type": "enum", "name": "Mood", "symbols": ["good", "odd"]}},
    ]));
    let new = record(&json!([
        {"name": "n", "type": "double"},
        {"name": "is", "aliases": ["was"], "type": ["null", "string"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "mood", "type": {"type": "enum", "name": "Mood", "symbols": ["good", "other"], "default": "other"}},
        {"name": "added", "type": ["null", "int"], "default": null},
        {"name": "filled", "type": {"type": "array", "items": "bytes"}, "default": ["\u{ff}"]},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 5},
    ]));
    let body = [long(7), text("x"), long(9), long(1_000), long(1)].concat();
    let seen = reads(&old, &new, &body);
    let cells = json!({"n": 7.0, "is": "x", "at": "1970-01-01T00:00:01Z", "mood": "other", "filled": ["/w=="],
        "time": "1970-01-01T00:00:00.005Z"});
    assert_eq!(seen["cells"], cells);
    assert_eq!(
        seen["extra"],
        json!({"gone": {"x": 9}}),
        "what the newest does not name is kept"
    );

    let strict = record(&json!([{"name": "n", "type": "int"}, {"name": "must", "type": "int"}]));
    let refused = &decode(avro(1, &old), &avro(2, &strict), &[body])[0];
    let (_, rule, message) = refused.clone().expect_err("a dead letter");
    assert!(rule == "type" && message.contains("\"must\""), "{message}");
}

#[test]
fn references_and_recursion() {
    let info = SchemaInfo {
        id: 1,
        version: 1,
        format: "AVRO".to_owned(),
        text: r#"{"type":"record","name":"E","namespace":"n","fields":[{"name":"tree","type":"Tree"}]}"#
            .to_owned(),
        references: vec![NamedText {
            name: "n.Tree".to_owned(),
            text: json!({"type": "record", "name": "n.Tree", "fields": [
                {"name": "v", "type": "int"}, {"name": "next", "type": ["null", "Tree"]}]})
            .to_string(),
        }],
    };
    let schema = StreamSchema::compile(&info).expect("compiles");
    let body = [long(1), long(1), long(2), long(0)].concat();
    schema.check(&framed(1, &body)).expect("valid");
    let deep: Vec<u8> = [long(1), long(1)].concat().repeat(100_000);
    let reasons = schema.check(&framed(1, &deep)).expect_err("too deep");
    assert!(reasons[0].message.contains("127 levels"), "{reasons:?}");
    schema
        .check(br#"{"tree":{"v":1,"next":{"v":2,"next":null}}}"#)
        .expect("plain JSON by field names");
}

#[test]
fn a_record_whose_only_other_record_is_itself() {
    let schema = record(&json!([{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "Event"]}]));
    let schema = StreamSchema::compile(&SchemaInfo {
        id: 1,
        version: 1,
        format: "AVRO".to_owned(),
        text: schema.to_string(),
        references: Vec::new(),
    })
    .expect("compiles");
    let body = [long(1), long(1), long(2), long(0)].concat();
    schema.check(&framed(1, &body)).expect("valid");
    schema
        .check(br#"{"v":1,"next":{"v":2,"next":null}}"#)
        .expect("plain JSON");
    schema
        .check(br#"{"v":1,"next":{"next":null}}"#)
        .expect_err("no v");
}

#[test]
fn damage_is_named() {
    let schema = record(&json!([
        {"name": "n", "type": "int"}, {"name": "d", "type": "double"}, {"name": "s", "type": "string"},
        {"name": "o", "type": ["null", {"type": "array", "items": "null"}]},
    ]));
    let good = [long(1), 0.5f64.to_le_bytes().to_vec(), text("ü"), long(0)].concat();
    let part = |n: Vec<u8>, d: f64, rest: &[u8]| [n, d.to_le_bytes().to_vec(), rest.to_vec()].concat();
    let nulls = [text(""), long(1), long(i64::MAX)].concat();
    for (body, path, rule, words) in [
        (
            good[..good.len() - 1].to_vec(),
            "/o",
            "wire_format",
            "ends within a number",
        ),
        (
            [good.clone(), vec![7, 7]].concat(),
            "",
            "wire_format",
            "2 bytes follow",
        ),
        (part(long(1), f64::NAN, &text("")), "/d", "out_of_range", "NaN"),
        (
            part(long(1), f64::NEG_INFINITY, &text("")),
            "/d",
            "out_of_range",
            "-inf",
        ),
        (long(i64::from(i32::MAX) + 1), "/n", "wire_format", "32 bits"),
        (vec![0xff; 11], "/n", "wire_format", "64 bits"),
        (part(long(1), 0.0, &long(-2)), "/s", "wire_format", "negative"),
        (
            part(long(1), 0.0, &long(i64::MAX)),
            "/s",
            "wire_format",
            "the event ends",
        ),
        (part(long(1), 0.0, &[4, 0xc3, 0x28]), "/s", "malformed", "UTF-8"),
        (
            part(long(1), 0.0, &[text(""), long(2)].concat()),
            "/o",
            "wire_format",
            "branch number 2",
        ),
        (part(long(1), 0.0, &nulls), "/o", "too_large", "grows"),
        (Vec::new(), "/n", "wire_format", "ends within"),
    ] {
        let (at, broken, message) = refuses(&schema, &body);
        assert!(
            at.starts_with(path) && broken == rule && message.contains(words),
            "{at} {broken} {message}"
        );
    }
    let array = record(
        &json!([{"name": "a", "type": {"type": "array", "items": {"type": "map", "values": "boolean"}}}]),
    );
    let body = [long(2), long(0), long(1), text("k"), vec![2]].concat();
    let (path, _, message) = refuses(&array, &body);
    assert_eq!(
        (path.as_str(), message.as_str()),
        ("/a/1/k", "a boolean is 0 or 1, not 2")
    );
}

#[test]
fn plain_objects_are_judged_by_the_avro_types() {
    let schema = avro(
        1,
        &record(&json!([
            {"name": "n", "type": "int"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}, "x-event-time": true},
            {"name": "o", "type": ["null", "string"]},
            {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["a"]}, "default": "a"},
        ])),
    );
    for (row, expected) in [
        (r#"{"n":1,"at":1000,"o":null,"more":1}"#, None),
        (r#"{"n":1,"at":"1970-01-01T00:00:01Z","e":"a"}"#, None),
        (r#"{"n":2147483648,"at":0}"#, Some(("/n", "maximum"))),
        (r#"{"n":"1","at":0}"#, Some(("/n", "type"))),
        (r#"{"at":0}"#, Some(("/n", "required"))),
        (r#"{"n":1,"at":"soon"}"#, Some(("/at", "format"))),
        (r#"{"n":1,"at":0,"e":"b"}"#, Some(("/e", "enum"))),
    ] {
        let checked = schema.check(row.as_bytes());
        let found = checked
            .err()
            .map(|reasons| (reasons[0].path.clone(), reasons[0].rule.clone()));
        let expected = expected.map(|(path, rule)| (path.to_owned(), rule.to_owned()));
        assert_eq!(found, expected, "{row}");
    }
    let decoded = super::decode(
        &schema,
        &[r#"{"n":1,"at":1000}"#, r#"{"n":1,"at":"1970-01-01T00:00:02Z"}"#],
    );
    let times: Vec<i64> = rows_of(&decoded).iter().map(|row| row.event_time).collect();
    assert_eq!(times, [1_000, 2_000]);
}

/// Types that may stand in a field, some of which widen to the next.
fn types() -> Vec<Value> {
    let fixed = json!({"type": "fixed", "name": "F", "size": 3});
    vec![
        json!("null"),
        json!("boolean"),
        json!("int"),
        json!("long"),
        json!("float"),
        json!("double"),
        json!("string"),
        json!(["null", "int"]),
        json!(["string", "null", "long"]),
        json!(["null", "double"]),
        json!({"type": "enum", "name": "E", "symbols": ["a", "b", "c"]}),
        json!({"type": "enum", "name": "E", "symbols": ["c", "a"], "default": "a"}),
        fixed,
        json!({"type": "array", "items": "int"}),
        json!({"type": "array", "items": ["null", "long"]}),
        json!({"type": "map", "values": "float"}),
        json!({"type": "map", "values": "double"}),
        json!({"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "string"}]}),
        json!({"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}, {"name": "z", "type": "int", "default": 3}]}),
        json!({"type": "long", "logicalType": "timestamp-millis"}),
        json!({"type": "int", "logicalType": "date"}),
    ]
}

/// A value of a type.
fn value_of(schema: &Value, seed: i64) -> Avro {
    let number = seed.wrapping_mul(0x5851_f42d_4c95_7f2d) >> (seed.unsigned_abs() % 50);
    match schema {
        Value::String(name) => match name.as_str() {
            "null" => Avro::Null,
            "boolean" => Avro::Boolean(seed % 2 == 0),
            "int" => Avro::Int(number as i32),
            "long" => Avro::Long(number),
            "float" => Avro::Float(number as f32 / 64.0),
            "double" => Avro::Double(number as f64 / 64.0),
            _ => Avro::String(
                ["", "plain", "\"q\\\n\u{1}", "ü€😀"][seed.unsigned_abs() as usize % 4].to_owned(),
            ),
        },
        Value::Array(branches) => {
            let at = seed.unsigned_abs() as usize % branches.len();
            Avro::Union(at as u32, Box::new(value_of(&branches[at], seed / 3)))
        }
        _ => match (schema["type"].as_str(), schema["logicalType"].as_str()) {
            (_, Some("date")) => Avro::Date((number % 100_000) as i32),
            (_, Some(_)) => Avro::TimestampMillis(number % 10_000_000_000_000),
            (Some("enum"), _) => {
                let symbols = schema["symbols"].as_array().expect("symbols");
                let at = seed.unsigned_abs() as usize % symbols.len();
                Avro::Enum(at as u32, symbols[at].as_str().expect("text").to_owned())
            }
            (Some("fixed"), _) => Avro::Fixed(3, vec![seed as u8, 0xff, 0]),
            (Some("array"), _) => Avro::Array(
                (0..seed % 4)
                    .map(|n| value_of(&schema["items"], seed + n))
                    .collect(),
            ),
            (Some("map"), _) => {
                let entries = (0..seed % 3).map(|n| (format!("k{n}"), value_of(&schema["values"], seed + n)));
                Avro::Map(entries.collect::<HashMap<_, _>>())
            }
            _ => {
                let fields = schema["fields"].as_array().expect("fields").iter().zip(1..);
                let field = |(field, n): (&Value, i64)| {
                    (
                        field["name"].as_str().expect("text").to_owned(),
                        value_of(&field["type"], seed + n),
                    )
                };
                Avro::Record(fields.map(field).collect())
            }
        },
    }
}

/// A value of the reference as the columns show it.
fn shown(value: &Avro) -> Value {
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(value) => (*value).into(),
        Avro::Int(value) => (*value).into(),
        Avro::Long(value) => (*value).into(),
        // the shortest text that means the same float
        Avro::Float(value) => format!("{value:?}").parse::<f64>().expect("a number").into(),
        Avro::Double(value) => (*value).into(),
        Avro::String(text) => text.as_str().into(),
        Avro::Enum(_, symbol) => symbol.as_str().into(),
        Avro::Fixed(_, bytes) => {
            let mut text = String::new();
            crate::decode::avro::write_base64(&mut text, bytes);
            serde_json::from_str(&text).expect("a text")
        }
        Avro::Union(_, value) => shown(value),
        Avro::Array(items) => items.iter().map(shown).collect(),
        Avro::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), shown(value)));
            Value::Object(entries.collect())
        }
        Avro::Record(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), shown(value)));
            Value::Object(fields.collect())
        }
        Avro::Date(days) => {
            let day = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day")
                + chrono::TimeDelta::days(i64::from(*days));
            day.to_string().into()
        }
        Avro::TimestampMillis(millis) => stamp(*millis),
        other => panic!("no such value is made: {other:?}"),
    }
}

fn stamp(millis: i64) -> Value {
    let time = chrono::DateTime::from_timestamp_millis(millis).expect("in range");
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into()
}

/// Numbers of a float column are floats, and a float that was widened is as near as its text.
fn same(ours: &Value, reference: &Value) -> bool {
    match (ours, reference) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            a == b || (a - b).abs() <= b.abs() * 1e-6
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        // ours may have more: what the reader does not name is kept
        (Value::Object(a), Value::Object(b)) => {
            b.iter().all(|(key, b)| a.get(key).is_some_and(|a| same(a, b)))
        }
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_sees_what_the_reference_sees(
        pairs in prop::collection::vec((select(types()), select(types()), any::<bool>(), 0i64..1_000_000), 1..4),
    ) {
        let field = |(at, ty): (usize, &Value)| json!({"name": format!("f{at}"), "type": rename(ty, at)});
        // most fields keep their type, so that rows are valid often
        let kept = |(from, to, changes, _): &(Value, Value, bool, i64)| if *changes { to.clone() } else { from.clone() };
        let from: Vec<Value> = pairs.iter().map(|pair| &pair.0).enumerate().map(field).collect();
        let targets: Vec<Value> = pairs.iter().map(kept).collect();
        let to: Vec<Value> = targets.iter().enumerate().map(field).collect();
        let (from, to) = (record(&from.into()), record(&to.into()));
        let parse = |schema: &Value| Schema::parse(schema).expect("a schema");
        let (writer, reader) = (parse(&from), parse(&to));
        let fields = from["fields"].as_array().expect("fields").iter().zip(&pairs);
        let value = Avro::Record(fields.map(|(field, pair)| {
            (field["name"].as_str().expect("text").to_owned(), value_of(&field["type"], pair.3))
        }).collect());
        let body = apache_avro::to_avro_datum(&writer, value).expect("encodes");
        let reference = apache_avro::from_avro_datum(&writer, &mut body.as_slice(), Some(&reader));
        let ours = decode(avro(1, &from), &avro(2, &to), &[body]).remove(0);
        match (ours, reference) {
            (Ok(row), Ok(reference)) => {
                let Value::Object(reference) = shown(&reference) else { panic!("no record") };
                let reference: Map<String, Value> = reference.into_iter().filter(|(_, value)| !value.is_null()).collect();
                let cells = Value::Object(row.cells);
                prop_assert!(same(&cells, &Value::Object(reference.clone())), "{from}\n{to}\nours {cells}\nreference {reference:?}");
            }
            (Err(_), Err(_)) => {}
            (Ok(row), Err(error)) => {
                // the reference does not read logical types as the types under them
                let logical = |schema: &Value| schema.to_string().contains("logicalType");
                prop_assert!(logical(&from) || logical(&to), "{from}\n{to}\nours {row:?}\nreference {error}");
            }
            (Err(reason), Ok(reference)) => {
                // the reference converts more than Avro allows, and has no calendar that ends
                prop_assert!(["type", "enum", "out_of_range"].contains(&reason.1.as_str()), "{from}\n{to}\nours {reason:?}\nreference {reference:?}");
            }
        }
    }

    #[test]
    fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..200), pick in prop::collection::vec(select(types()), 1..5)) {
        let fields: Vec<Value> = pick.iter().enumerate().map(|(at, ty)| json!({"name": format!("f{at}"), "type": rename(ty, at)})).collect();
        let schema = record(&fields.into());
        let rows = decode(avro(1, &schema), &avro(1, &schema), &[body]);
        prop_assert_eq!(rows.len(), 1);
    }
}

/// Named types of different fields have different names.
fn rename(ty: &Value, at: usize) -> Value {
    let mut ty = ty.clone();
    if let Some(name) = ty.get("name").and_then(Value::as_str) {
        ty["name"] = format!("{name}{at}").into();
    }
    ty
}

#[test]
fn times_are_columns_of_times() {
    let schema = avro(
        1,
        &record(&json!([{"name": "at", "type": {"type": "long", "logicalType": "timestamp-nanos"}}])),
    );
    let decoded = super::decode(&schema, &[framed(1, &long(5))]);
    let batch = read(&decoded).expect("a row");
    let kind = batch.schema().field(1).data_type().clone();
    let nanos = arrow_schema::DataType::Timestamp(arrow_schema::TimeUnit::Nanosecond, Some("UTC".into()));
    assert_eq!(kind, nanos);
}
