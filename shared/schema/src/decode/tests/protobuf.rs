//! Protobuf payloads.

use proptest::prelude::*;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Value, json};
use tributary_shared::wire::SchemaInfo;

use super::{decode, framed, rows_of};
use crate::decode::{DecodeLimits, Decoder, StreamSchema, Writer, Writers};
use crate::language::{SchemaFormat, parse};

const READING: &str = r#"
syntax = "proto3";
package plant;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "confluent/meta.proto";
message Reading {
  google.protobuf.Timestamp taken = 1 [(confluent.field_meta) = { tags: "x-event-time" }];
  string device = 2 [(confluent.field_meta) = { tags: "x-key" }];
  int64 count = 3;
  uint64 total = 4;
  optional float level = 5;
  bool ok = 6;
  bytes raw = 7;
  enum State { STATE_UNKNOWN = 0; STATE_GOOD = 1; }
  State state = 8;
  google.protobuf.Duration took = 9;
  google.protobuf.Int64Value maybe = 10;
  repeated int32 list = 11;
  map<string, double> map = 12;
  message Inner { int64 n = 1; Inner next = 2; google.protobuf.Timestamp at = 3; }
  Inner inner = 13;
  google.protobuf.Struct any = 14;
  oneof choice { string a = 15; int32 b = 16; }
}
message Other { string name = 1; }
"#;

fn schema(id: u32, text: &str) -> StreamSchema {
    let info = SchemaInfo {
        id,
        version: id,
        format: "PROTOBUF".to_owned(),
        text: text.to_owned(),
        references: Vec::new(),
    };
    StreamSchema::compile(&info).expect("a proto file")
}

fn descriptor(text: &str, message: &str) -> MessageDescriptor {
    let parsed = parse(SchemaFormat::Protobuf, text, &[]).expect("a proto file");
    let file = parsed.protobuf().expect("protobuf").file().clone();
    let messages = file.messages().find(|found| found.name() == message);
    messages.expect("a message")
}

/// A message by its canonical JSON, as bytes.
fn encoded(text: &str, message: &str, value: &Value) -> Vec<u8> {
    let message = DynamicMessage::deserialize(descriptor(text, message), value).expect("a message");
    message.encode_to_vec()
}

/// In wire format, as the file's first message.
fn first(id: u32, body: &[u8]) -> Vec<u8> {
    framed(id, &[&[0], body].concat())
}

fn reading() -> Value {
    json!({"taken": "2023-11-14T22:13:20.123456789Z", "device": "d\"1", "count": "-7", "total": "18446744073709551615",
        "level": 0.5, "ok": true, "raw": "cmF3", "state": "STATE_GOOD", "took": "1.5s", "maybe": "3", "list": [1, 2],
        "map": {"k": 2.5}, "inner": {"n": "4", "next": {"at": "1970-01-01T00:00:00Z"}}, "any": {"x": [1, null]}, "b": 5})
}

#[test]
fn every_type_has_its_column() {
    let schema = schema(1, READING);
    assert_eq!(
        (schema.event_time(), schema.keys()),
        (Some("taken"), &["device".to_owned()][..])
    );
    let full = encoded(READING, "Reading", &reading());
    let rows = rows_of(&decode(&schema, &[first(1, &full), first(1, b"")]));
    let cells = json!({
        "taken": "2023-11-14T22:13:20.123456Z", "device": "d\"1", "count": -7, "total": 18_446_744_073_709_551_615u64,
        "level": 0.5, "ok": true, "raw": "cmF3", "state": "STATE_GOOD", "took": 1.5, "maybe": 3, "list": [1, 2],
        "map": {"k": 2.5}, "inner": {"n": 4, "next": {"n": 0, "at": "1970-01-01T00:00:00Z"}},
        "any": {"x": [1.0, null]}, "b": 5,
    });
    assert_eq!(Value::Object(rows[0].cells.clone()), cells);
    assert_eq!(rows[0].event_time, 1_700_000_000_123);
    let empty = json!({"device": "", "count": 0, "total": 0, "ok": false, "raw": "", "state": "STATE_UNKNOWN", "list": [],
        "map": {}});
    assert_eq!(
        Value::Object(rows[1].cells.clone()),
        empty,
        "what has presence is null, all else its default"
    );
}

#[test]
fn plain_objects_follow_the_json_mapping() {
    let schema = schema(1, READING);
    let by_bytes = decode(&schema, &[first(1, &encoded(READING, "Reading", &reading()))]);
    let by_json = decode(&schema, &[reading().to_string()]);
    assert_eq!(rows_of(&by_bytes), rows_of(&by_json));
    for (row, paths) in [
        (
            json!({"count": "x", "ok": 1, "device": "d"}),
            &["/count", "/ok"][..],
        ),
        (json!({"unknown": 1}), &["/unknown"]),
        (json!({"taken": "noon"}), &["/taken"]),
        (json!({"a": "x", "b": 1}), &[""]),
    ] {
        let reasons = schema.check(row.to_string().as_bytes()).expect_err("wrong");
        let found: Vec<&str> = reasons.iter().map(|reason| reason.path.as_str()).collect();
        assert_eq!(found, paths, "{reasons:?}");
    }
    assert_eq!(
        schema.check(b"{\"a\":1,\"a\":1}").expect_err("twice")[0].rule,
        "duplicate_key"
    );
}

#[test]
fn fields_keep_their_numbers_when_a_schema_evolves() {
    let old = "syntax = \"proto3\"; message R { int32 n = 1; string was = 2; string gone = 3; }";
    let new = "syntax = \"proto3\"; message R { int64 n = 1; string is = 2; optional int32 added = 4; }";
    let body = encoded(old, "R", &json!({"n": 7, "was": "x", "gone": "y"}));
    let writers = Writers::from_iter([(1, Writer::Known(schema(1, old).into()))]);
    let (segment, bytes) = super::segment(&[first(1, &body)]);
    let decoded = Decoder::new()
        .decode_with(
            &schema(2, new),
            &writers,
            1,
            &[(&segment, &bytes)],
            &DecodeLimits::default(),
        )
        .expect("sound");
    let row = &rows_of(&decoded)[0];
    assert_eq!(Value::Object(row.cells.clone()), json!({"n": 7, "is": "x"}));
    assert_eq!(
        Value::Object(row.extra.clone()),
        json!({"gone": "y"}),
        "what the newest does not name is kept"
    );
}

#[test]
fn message_indexes_lead_to_a_message_or_to_a_dead_letter() {
    let schema = schema(1, READING);
    let other = encoded(READING, "Other", &json!({"name": "x"}));
    let row = framed(1, &[&[2, 2][..], &other].concat());
    let rows = rows_of(&decode(&schema, &[row]));
    assert_eq!(Value::Object(rows[0].extra.clone()), json!({"name": "x"}));
    let nested = framed(1, &[&[4, 0, 2][..], &[8, 6]].concat());
    schema
        .check(&nested)
        .expect("a message within the first, behind the entry of the map");
    for (body, words) in [
        (&[][..], "message indexes"),
        (&[0x80], "message indexes"),
        (&[2, 4], "no message at index 2"),
        (&[2, 1], "no message at index -1"),
        (&[4, 0, 6], "no message at index 3"),
        (&[0xfe, 0xff, 3], "1 to 64"),
        (&[1], "1 to 64"),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0], "no numbers"),
        (&[0, 0x12, 9, b'x'], "no such message"),
        (&[0, 0xff], "no such message"),
    ] {
        let reasons = schema.check(&framed(1, body)).expect_err("a dead letter");
        assert!(
            reasons[0].rule == "wire_format" && reasons[0].message.contains(words),
            "{body:?}: {reasons:?}"
        );
    }
}

#[test]
fn values_that_no_column_holds_are_named() {
    let text = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/duration.proto\";
        message R { double d = 1; google.protobuf.Timestamp at = 2; repeated float list = 3; google.protobuf.Duration took = 4;
          R next = 5; }";
    let schema = schema(1, text);
    let nan = f64::NAN.to_le_bytes();
    let inner = [&[0x1a, 4][..], &f32::INFINITY.to_le_bytes()].concat();
    for (body, path) in [
        ([&[9][..], &nan].concat(), "/d"),
        (inner.clone(), "/list/0"),
        (vec![0x12, 6, 0x10, 0xff, 0xff, 0xff, 0xff, 0x0f], "/at"),
        (vec![0x22, 4, 0x08, 2, 0x10, 0xff], ""),
    ] {
        let reasons = schema.check(&first(1, &body)).expect_err("a dead letter");
        assert!(reasons[0].path == path, "{reasons:?}");
    }
    let mut deep = Vec::new();
    for _ in 0..120 {
        let len = deep.len();
        let mut outer = vec![0x2a];
        prost_reflect::prost::encoding::encode_varint(len as u64, &mut outer);
        outer.extend(deep);
        deep = outer;
    }
    assert_eq!(
        schema.check(&first(1, &deep)).expect_err("too deep")[0].rule,
        "wire_format"
    );
}

proptest! {
    #[test]
    fn no_bytes_break_it(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let schema = schema(1, READING);
        let _ = schema.check(&framed(1, &body));
        let _ = schema.check(&first(1, &body));
    }
}
