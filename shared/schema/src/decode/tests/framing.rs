//! Rows in wire format on a stream: whose schema counts, what is asked for, what is refused.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use serde_json::json;
use tributary_shared::wire::{Reason, SchemaInfo, SchemaRef, SchemaUse};

use super::{framed, read, rows_of, segment};
use crate::decode::{DecodeError, DecodeLimits, Decoded, Decoder, StreamSchema, Writer, Writers};

fn json_schema(id: u32, schema: &serde_json::Value) -> StreamSchema {
    let info = SchemaInfo {
        id,
        version: id,
        format: "JSON".to_owned(),
        text: schema.to_string(),
        references: Vec::new(),
    };
    StreamSchema::compile(&info).expect("compiles")
}

fn old() -> StreamSchema {
    json_schema(
        1,
        &json!({"type": "object", "properties": {"a": {"type": "integer"}}}),
    )
}

fn new() -> StreamSchema {
    let properties = json!({"a": {"type": "number"}, "b": {"type": "string"}});
    json_schema(
        2,
        &json!({"type": "object", "required": ["b"], "properties": properties}),
    )
}

fn decode(schema: &StreamSchema, writers: &Writers, rows: &[Vec<u8>]) -> Result<Decoded, DecodeError> {
    let (segment, bytes) = segment(rows);
    Decoder::new().decode_with(
        schema,
        writers,
        1,
        &[(&segment, &bytes)],
        &DecodeLimits::default(),
    )
}

#[test]
fn each_row_is_judged_by_the_schema_that_wrote_it() {
    let writers = Writers::from_iter([(1, Writer::Known(Arc::new(old())))]);
    let rows = [
        framed(1, br#"{"a":1}"#),
        framed(2, br#"{"a":1.5,"b":"x"}"#),
        br#"{"a":2.5,"b":"y"}"#.to_vec(),
        // each against its own writer
        framed(1, br#"{"a":1.5}"#),
        framed(2, br#"{"a":1}"#),
        br#"{"a":1}"#.to_vec(),
    ];
    let decoded = decode(&new(), &writers, &rows).expect("a sound batch");
    assert_eq!(decoded.dead_seqs(), [4, 5, 6]);
    let cells: Vec<_> = rows_of(&decoded)
        .into_iter()
        .map(|row| json!(row.cells))
        .collect();
    assert_eq!(cells.len(), 3);
    assert_eq!(
        cells[0],
        json!({"_schema_id": 1, "a": 1.0}),
        "old rows have no new field, and widened numbers"
    );
    let ids = read(&decoded).expect("rows");
    let ids = ids.column_by_name("_schema_id").expect("several writers").clone();
    assert_eq!(ids.as_primitive::<Int32Type>().values(), &[1, 2, 2]);
    let usage = |id: u32, rows, rejected| SchemaUse {
        schema: SchemaRef { id, version: id },
        rows,
        rejected,
    };
    assert_eq!(decoded.usage, [usage(1, 2, 1), usage(2, 4, 2)]);
}

#[test]
fn one_writer_needs_no_column() {
    let decoded = decode(&old(), &Writers::default(), &[framed(1, b"{}"), b"{}".to_vec()]).expect("sound");
    assert!(
        read(&decoded)
            .expect("rows")
            .column_by_name("_schema_id")
            .is_none()
    );
    assert_eq!((decoded.usage.len(), decoded.usage[0].rows), (1, 2));
}

#[test]
fn unknown_ids_are_asked_for_together() {
    let rows = [
        framed(9, b"{}"),
        framed(7, b"{}"),
        framed(9, b"{}"),
        framed(2, br#"{"b":""}"#),
    ];
    let Err(DecodeError::UnknownWriters(ids)) = decode(&new(), &Writers::default(), &rows) else {
        panic!("two of them are not at hand")
    };
    assert_eq!(ids, [7, 9]);
    let no = Reason {
        path: String::new(),
        rule: "unknown_schema".to_owned(),
        message: "not a version of the stream's subject".to_owned(),
    };
    let writers = Writers::from_iter(ids.into_iter().map(|id| (id, Writer::Refused(no.clone()))));
    let decoded = decode(&new(), &writers, &rows).expect("judged");
    assert_eq!((decoded.valid, decoded.dead_seqs()), (1, vec![1, 2, 3]));
    assert!(decoded.dead.iter().all(|letter| letter.reasons == [no.clone()]));
    assert_eq!(decoded.usage.len(), 1, "a writer that is refused is nobody's");

    let many: Vec<Vec<u8>> = (100..400).map(|id| framed(id, b"{}")).collect();
    let Err(DecodeError::UnknownWriters(ids)) = decode(&new(), &Writers::default(), &many) else {
        panic!("none is at hand")
    };
    assert_eq!(ids.len(), 64, "bounded");
}

#[test]
fn broken_frames_are_dead_letters_with_words() {
    let schemaless = StreamSchema::schemaless();
    for (row, rule, words) in [
        (vec![0], "wire_format", "1 bytes"),
        (vec![0, 0, 0, 0], "wire_format", "five"),
        (vec![1, 0, 0, 0, 2, b'{', b'}'], "wire_format", "0x01"),
        (vec![3], "wire_format", "0x03"),
        (framed(2, b""), "malformed", "object"),
        (framed(2, b"[]"), "malformed", "object"),
        (framed(2, br#"{"b":""}x"#), "malformed", "follows"),
        (framed(2, b"{\"b\":\"\xff\"}"), "malformed", "UTF-8"),
        (framed(2, br#"{"b":"","b":""}"#), "duplicate_key", "once"),
    ] {
        let reasons = new().check(&row).expect_err("a dead letter");
        assert!(
            reasons[0].rule == rule && reasons[0].message.contains(words),
            "{row:?}: {reasons:?}"
        );
    }
    let reasons = new().check(&framed(5, b"{}")).expect_err("not at hand");
    assert_eq!(reasons[0].rule, "unknown_schema");
    let writers = Writers::from_iter([(1, Writer::Known(Arc::new(old())))]);
    let reasons = schemaless
        .check_with(&framed(1, b"{}"), &writers)
        .expect_err("no schema");
    assert!(reasons[0].message.contains("has no schema"), "{reasons:?}");
}
