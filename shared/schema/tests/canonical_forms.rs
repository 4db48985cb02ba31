//! The texts that the registry stores, returns and compares.

use tributary_schema::language::{Dependency, ParsedSchema, SchemaFormat, parse};

use SchemaFormat::{Avro, Json, Protobuf};

fn read(format: SchemaFormat, text: &str) -> ParsedSchema {
    parse(format, text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn json_loses_its_whitespace_and_nothing_else() {
    let text = "{ \"type\" : \"object\",\n \"title\": \"T\",\n \"properties\": { \"b\": {\"maximum\": 12345678901234567890123}, \"a\": {} } }";
    let schema = read(Json, text);
    assert_eq!(
        schema.canonical(),
        r#"{"type":"object","title":"T","properties":{"b":{"maximum":12345678901234567890123},"a":{}}}"#
    );
    let sorted = read(
        Json,
        r#"{"properties":{"a":{},"b":{"maximum":12345678901234567890123}},"title":"T","type":"object"}"#,
    );
    assert_eq!(schema.normalized(), sorted.normalized());
    assert_ne!(schema.canonical(), sorted.canonical());
    assert_eq!(schema.record_names(), ["T"]);
}

#[test]
fn avro_has_one_order_of_attributes() {
    let text = r#"{"fields":[{"type":{"type":"int"},"name":"a","default":1,"doc":"d","z":1,"b":2},
        {"name":"n","type":["null",{"name":"Inner","type":"fixed","size":4,"aliases":["Old"]}]},
        {"name":"m","type":"Inner","order":"ignore"}],
        "namespace":"com.x","doc":"record","name":"R","type":"record"}"#;
    let schema = read(Avro, text);
    assert_eq!(
        schema.canonical(),
        r#"{"type":"record","name":"R","namespace":"com.x","doc":"record","fields":[{"name":"a","type":"int","doc":"d","default":1,"z":1,"b":2},{"name":"n","type":["null",{"type":"fixed","name":"Inner","size":4,"aliases":["Old"]}]},{"name":"m","type":"Inner","order":"ignore"}]}"#
    );
    assert!(
        schema.normalized().contains(r#""default":1,"b":2,"z":1"#),
        "{}",
        schema.normalized()
    );
    assert_eq!(schema.record_names(), ["com.x.R"]);
    assert_eq!(read(Avro, schema.canonical()).canonical(), schema.canonical());
}

#[test]
fn avro_primitives_come_with_and_without_quotes() {
    for text in [
        "string",
        "\"string\"",
        r#"{"type":"string"}"#,
        r#"{"type":{"type":"string"}}"#,
    ] {
        assert_eq!(read(Avro, text).canonical(), "\"string\"");
    }
    let kept = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    assert_eq!(read(Avro, kept).canonical(), kept);
}

#[test]
fn avro_references_stay_names() {
    let inner = r#"{"type":"record","name":"I","namespace":"x","fields":[]}"#;
    let outer = r#"{"type":"record","name":"O","namespace":"x","fields":[{"name":"i","type":"x.I"}]}"#;
    let schema = parse(
        Avro,
        outer,
        &[Dependency {
            name: "x.I",
            text: inner,
        }],
    )
    .expect("valid");
    assert_eq!(
        schema.canonical(),
        r#"{"type":"record","name":"O","namespace":"x","fields":[{"name":"i","type":"I"}]}"#
    );
    assert_eq!(schema.record_names(), ["x.O"]);
}

const RICH: &str = r#"
syntax = "proto2";
package com.x;
// comments go
import "google/protobuf/timestamp.proto";
option java_package = "com.x.gen";
message M {
  reserved 7, 9 to 11;
  reserved "gone";
  extensions 100 to max;
  required string a = 1;
  optional int32 b = 2 [default = -3, deprecated = true];
  repeated sint64 c = 3 [packed = true];
  optional .google.protobuf.Timestamp at = 4;
  optional group G = 5 { optional bytes raw = 1 [default = "\000x"]; }
  map<string, Inner> m = 6;
  oneof kind { string s = 8; E e = 12; }
  message Inner { optional M up = 1; }
  enum E { option allow_alias = true; X = 0; Y = 1; Z = 1; }
}
extend M { optional string note = 100; }
service S { rpc Do (M) returns (stream M.Inner); }
"#;

#[test]
fn protobuf_is_printed_in_one_layout() {
    let schema = read(Protobuf, RICH);
    let expected = r#"syntax = "proto2";
package com.x;

import "google/protobuf/timestamp.proto";

option java_package = "com.x.gen";

message M {
  reserved 7, 9 to 11;
  reserved "gone";

  extensions 100 to max;

  required string a = 1;
  optional int32 b = 2 [default = -3, deprecated = true];
  repeated sint64 c = 3 [packed = true];
  optional .google.protobuf.Timestamp at = 4;
  optional group G = 5 {
    optional bytes raw = 1 [default = "\000x"];
  }
  map<string, .com.x.M.Inner> m = 6;
  oneof kind {
    string s = 8;
    .com.x.M.E e = 12;
  }

  message Inner {
    optional .com.x.M up = 1;
  }

  enum E {
    option allow_alias = true;
    X = 0;
    Y = 1;
    Z = 1;
  }
}

extend .com.x.M {
  optional string note = 100;
}

service S {
  rpc Do (.com.x.M) returns (stream .com.x.M.Inner);
}
"#;
    assert_eq!(schema.canonical(), expected);
    assert_eq!(
        read(Protobuf, expected).canonical(),
        expected,
        "the text is its own canonical form"
    );
    assert_eq!(schema.record_names(), ["com.x.M", "com.x.M.G", "com.x.M.Inner"]);
}

#[test]
fn a_descriptor_in_base64_is_the_same_schema() {
    let schema = read(Protobuf, RICH);
    let binary = schema.protobuf().expect("Protobuf").serialized();
    assert!(!binary.contains('{'));
    let again = read(Protobuf, &binary);
    assert_eq!(again.canonical(), schema.canonical());
    assert_eq!(again.protobuf().expect("Protobuf").serialized(), binary);
    // what Python's protobuf library writes for `syntax = "proto3"; message A { string b = 1; }` in a.proto
    let python = "CgdhLnByb3RvIg4KAUESCQoBYhgBIAEoCWIGcHJvdG8z";
    assert_eq!(
        read(Protobuf, python).canonical(),
        "syntax = \"proto3\";\n\nmessage A {\n  string b = 1;\n}\n"
    );
}

#[test]
fn normalized_protobuf_does_not_know_the_order_of_fields() {
    let one = "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; import \"google/protobuf/timestamp.proto\"; message M { string b = 2; string a = 1; }";
    let other = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/any.proto\"; message M { string a = 1; string b = 2; }";
    let (one, other) = (read(Protobuf, one), read(Protobuf, other));
    assert_eq!(one.normalized(), other.normalized());
    assert_ne!(one.canonical(), other.canonical());
}

#[test]
fn files_that_every_registry_knows_need_no_reference() {
    let text = r#"syntax = "proto3";
import "confluent/meta.proto";
import "confluent/type/decimal.proto";
import "google/protobuf/wrappers.proto";
message M {
  .confluent.type.Decimal price = 1 [(confluent.field_meta) = { doc: "in EUR", tags: ["PII"], params: [{ key: "a", value: "b" }] }];
  google.protobuf.StringValue note = 2;
}"#;
    let schema = read(Protobuf, text);
    let canonical = schema.canonical();
    assert!(
        canonical.contains(
            r#"(confluent.field_meta) = { doc: "in EUR", params: [{ key: "a", value: "b" }], tags: ["PII"] }"#
        ),
        "{canonical}"
    );
    assert_eq!(read(Protobuf, canonical).canonical(), canonical);
    let binary = schema.protobuf().expect("Protobuf").serialized();
    assert_eq!(
        read(Protobuf, &binary).canonical(),
        canonical,
        "options of others survive"
    );
}

#[test]
fn a_file_that_everybody_knows_may_be_registered_too() {
    // older clients register even the well-known types, and refer to them
    let timestamp = "syntax = \"proto3\"; package google.protobuf; message Timestamp { int64 seconds = 1; int32 nanos = 2; }";
    let own = read(Protobuf, timestamp);
    assert_eq!(own.record_names(), ["google.protobuf.Timestamp"]);
    let text = "syntax = \"proto3\"; import \"google/protobuf/timestamp.proto\"; message M { google.protobuf.Timestamp at = 1; }";
    let dependency = Dependency {
        name: "google/protobuf/timestamp.proto",
        text: timestamp,
    };
    parse(Protobuf, text, &[dependency]).expect("valid");
}

#[test]
fn types_by_import_are_found_through_other_files() {
    let a = "syntax = \"proto3\"; package a; message A { int32 x = 1; }";
    let b = "syntax = \"proto3\"; package b; import public \"a.proto\"; message B { a.A a = 1; }";
    let c = "syntax = \"proto3\"; import \"b.proto\"; message C { b.B b = 1; a.A a = 2; }";
    let both = [
        Dependency {
            name: "a.proto",
            text: a,
        },
        Dependency {
            name: "b.proto",
            text: b,
        },
    ];
    let schema = parse(Protobuf, c, &both).expect("valid");
    assert_eq!(schema.record_names(), ["C"]);
    assert!(
        schema
            .protobuf()
            .expect("Protobuf")
            .file()
            .parent_pool()
            .get_message_by_name("a.A")
            .is_some()
    );
}

#[test]
fn json_references_are_found_by_name_and_relative_to_the_schema() {
    let dependency = r#"{"type":"string"}"#;
    for (id, name, reference) in [
        ("", "d.json", "d.json"),
        (r#""$id":"https://x.test/s/main.json","#, "d.json", "d.json"),
        (
            r#""$id":"https://x.test/s/main.json","#,
            "https://x.test/s/d.json",
            "d.json",
        ),
        (
            r#""$id":"https://x.test/s/main.json","#,
            "https://y.test/d.json",
            "https://y.test/d.json#",
        ),
    ] {
        let text = format!(r#"{{{id}"properties":{{"a":{{"$ref":"{reference}"}}}}}}"#);
        parse(
            Json,
            &text,
            &[Dependency {
                name,
                text: dependency,
            }],
        )
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
