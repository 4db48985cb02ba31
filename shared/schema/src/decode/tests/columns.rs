//! What the columns look like: order, types, metadata, dictionaries.

use arrow_schema::DataType;
use serde_json::{Value, json};
use tributary_shared::wire::batch::{EVENT_TIME_METADATA, JSON_TEXT_METADATA, SCHEMALESS_METADATA};

use super::{COLLECTED_AT, compile, decode, decode_with, read, rows_of};
use crate::decode::{Decoder, StreamSchema};

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn types(rows: &[String], schema: &StreamSchema) -> Vec<(String, DataType, bool)> {
    let batch = read(&decode(schema, rows)).expect("rows");
    let fields = batch.schema();
    let describe = |field: &arrow_schema::FieldRef| {
        let json = field.metadata().contains_key(JSON_TEXT_METADATA);
        (field.name().clone(), field.data_type().clone(), json)
    };
    fields.fields().iter().map(describe).collect()
}

#[test]
fn a_schema_gives_every_property_a_column_of_its_type() {
    let schema = compile(&json!({"type": "object", "properties": {
        "b": {"type": "boolean"}, "d": {"type": "object"}, "f": {"type": "number"}, "i": {"type": "integer"},
        "s": {"type": "string"}, "when": {"type": "string", "x-event-time": true},
    }}))
    .expect("compiles");
    let rows = [
        r#"{"s":"x","i":1,"f":2,"b":true,"d":{"k":[1]},"when":"2026-11-21T12:20:00+01:00","other":1e1}"#
            .to_owned(),
    ];
    let found = types(&rows, &schema);
    let names: Vec<&str> = found.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(
        (names[0], names[names.len() - 1], names.len()),
        ("_event_time", "_extra", 8)
    );
    for (name, kind, json) in [
        ("b", DataType::Boolean, false),
        ("d", DataType::Utf8, true),
        ("f", DataType::Float64, false),
        ("i", DataType::Int64, false),
        ("s", dictionary(), false),
        ("_extra", DataType::Utf8, true),
    ] {
        assert!(
            found.contains(&(name.to_owned(), kind, json)),
            "{name} in {found:?}"
        );
    }
    let decoded = decode(&schema, &rows);
    let batch = read(&decoded).expect("rows");
    assert_eq!(
        batch
            .schema()
            .metadata()
            .get(EVENT_TIME_METADATA)
            .map(String::as_str),
        Some("when")
    );
    let row = &rows_of(&decoded)[0];
    assert_eq!(row.event_time, 1_795_260_000_000);
    assert_eq!(Value::Object(row.extra.clone()), json!({"other": 10.0}));
}

#[test]
fn without_a_schema_columns_follow_the_values() {
    let rows = [
        r#"{"i":1,"f":1,"m":1,"n":{"k":1},"b":true,"s":"x","z":null}"#.to_owned(),
        r#"{"i":-2,"f":2.5,"m":"one","b":false,"s":"y\n","_extra":3}"#.to_owned(),
    ];
    let schema = StreamSchema::schemaless();
    let found = types(&rows, &schema);
    let expect = [
        ("i", DataType::Int64, false),
        ("f", DataType::Float64, false),
        ("m", DataType::Utf8, true),
        ("n", DataType::Utf8, true),
        ("b", DataType::Boolean, false),
        ("s", dictionary(), false),
    ];
    let columns: Vec<_> = expect
        .map(|(name, kind, json)| (name.to_owned(), kind, json))
        .into();
    assert_eq!(found[1..found.len() - 1], columns);
    let decoded = decode(&schema, &rows);
    assert!(
        read(&decoded)
            .expect("rows")
            .schema()
            .metadata()
            .contains_key(SCHEMALESS_METADATA)
    );
    let rows = rows_of(&decoded);
    assert_eq!(
        Value::Object(rows[1].cells.clone()),
        json!({"i": -2, "f": 2.5, "m": "one", "b": false, "s": "y\n"})
    );
    assert_eq!(Value::Object(rows[1].extra.clone()), json!({"_extra": 3}));
    assert_eq!(rows[0].event_time, COLLECTED_AT);
}

#[test]
fn without_a_schema_columns_are_bounded() {
    let members: Vec<String> = (0..2000).map(|n| format!("\"k{n}\":{n}")).collect();
    let rows = [
        format!("{{{}}}", members.join(",")),
        "{\"k1999\":7,\"k0\":7}".to_owned(),
    ];
    let decoded = decode(&StreamSchema::schemaless(), &rows);
    let batch = read(&decoded).expect("rows");
    assert!(batch.num_columns() <= 514, "{} columns", batch.num_columns());
    let rows = rows_of(&decoded);
    assert_eq!(rows[0].cells.len() + rows[0].extra.len(), 2000);
    assert_eq!(
        (rows[1].extra.get("k1999"), rows[1].cells.get("k0")),
        (Some(&json!(7)), Some(&json!(7)))
    );
}

#[test]
fn a_column_of_many_texts_stops_being_a_dictionary_and_keeps_its_cells() {
    let schema = compile(
        &json!({"type": "object", "properties": {"few": {"type": "string"}, "many": {"type": "string"}}}),
    )
    .expect("compiles");
    let mut decoder = Decoder::new();
    for batch in 0..3 {
        let text = |n: usize| {
            if n % 10 == 3 {
                String::new()
            } else {
                format!("\"many\":\"text {batch} {n}\",")
            }
        };
        let rows: Vec<String> = (0..1000)
            .map(|n| format!("{{{}\"few\":\"{}\"}}", text(n), n % 7))
            .collect();
        let decoded = decode_with(&mut decoder, &schema, &rows);
        let columns = read(&decoded).expect("rows");
        assert_eq!(
            columns.column_by_name("few").expect("few").data_type(),
            &dictionary()
        );
        assert_eq!(
            columns.column_by_name("many").expect("many").data_type(),
            &DataType::Utf8,
            "batch {batch}"
        );
        for (n, row) in rows_of(&decoded).iter().enumerate() {
            let many = (n % 10 != 3).then(|| json!(format!("text {batch} {n}")));
            assert_eq!(
                (row.cells.get("many"), &row.cells["few"]),
                (many.as_ref(), &json!((n % 7).to_string()))
            );
        }
    }
}

#[test]
fn a_plain_column_becomes_a_dictionary_again_when_its_texts_repeat() {
    let schema =
        compile(&json!({"type": "object", "properties": {"s": {"type": "string"}}})).expect("compiles");
    let mut decoder = Decoder::new();
    let unlike: Vec<String> = (0..600).map(|n| format!("{{\"s\":\"text {n}\"}}")).collect();
    decode_with(&mut decoder, &schema, &unlike);
    let alike = vec![r#"{"s":"same"}"#; 20];
    let mut kind = || {
        let batch = read(&decode_with(&mut decoder, &schema, &alike)).expect("rows");
        batch.column_by_name("s").expect("s").data_type().clone()
    };
    assert_eq!(kind(), DataType::Utf8);
    assert!(
        (0..70).any(|_| kind() == dictionary()),
        "a dictionary is tried again"
    );
    assert_eq!(kind(), dictionary());
}

#[test]
fn event_time_is_marked_or_ts_or_the_time_of_collection() {
    let time = |schema: Value, row: &str| {
        rows_of(&decode(&compile(&schema).expect("compiles"), &[row]))
            .first()
            .map(|row| row.event_time)
    };
    let open = json!({"type": "object"});
    let marked = json!({"properties": {"at": {"type": ["integer", "string", "null"], "x-event-time": true}}});
    assert_eq!(time(open.clone(), r#"{"ts":1000}"#), Some(1000));
    assert_eq!(time(open.clone(), r#"{"ts":"1970-01-01T00:00:01Z"}"#), Some(1000));
    assert_eq!(time(open.clone(), r#"{"ts":"yesterday"}"#), Some(COLLECTED_AT));
    assert_eq!(time(open, r#"{"ts":9e18}"#), Some(COLLECTED_AT));
    assert_eq!(time(marked.clone(), r#"{"at":1000,"ts":2000}"#), Some(1000));
    assert_eq!(time(marked.clone(), r#"{"ts":2000}"#), Some(COLLECTED_AT));
    assert_eq!(time(marked.clone(), r#"{"at":null}"#), Some(COLLECTED_AT));
    assert_eq!(time(marked, r#"{"at":"yesterday"}"#), None);
}
