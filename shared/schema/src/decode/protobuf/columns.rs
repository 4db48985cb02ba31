//! What a Protobuf message means for columns.
//!
//! A field is event time or key when it carries Confluent's field annotation with that tag:
//!
//! ```proto
//! import "confluent/meta.proto";
//! google.protobuf.Timestamp taken = 1 [(confluent.field_meta) = { tags: "x-event-time" }];
//! string device = 2 [(confluent.field_meta) = { tags: "x-key" }];
//! ```
//!
//! When no field carries the first tag, a field named `event_time` is the event time.

use prost_reflect::{FieldDescriptor, Kind as Proto, MessageDescriptor, ReflectMessage, Value as ProtoValue};
use serde_json::{Map, Value, json};

use crate::decode::kind::Kind;
use crate::decode::time::TimeUnit;

const EVENT_TIME_TAG: &str = "x-event-time";
const KEY_TAG: &str = "x-key";
const EVENT_TIME_NAME: &str = "event_time";

/// A message in the words that the rest of the decoder understands.
#[derive(Debug)]
pub(in super::super) struct ColumnPlan {
    /// Names the fields and their marks; what a row must be, the descriptors say.
    pub root: Value,
    pub kinds: Vec<(String, Kind)>,
}

pub(in super::super) fn columns(message: &MessageDescriptor) -> ColumnPlan {
    let fields: Vec<FieldDescriptor> = message.fields().collect();
    let tags: Vec<Vec<String>> = fields.iter().map(tags).collect();
    let has = |at: usize, tag: &str| tags[at].iter().any(|found| found == tag);
    let marked = (0..fields.len()).any(|at| has(at, EVENT_TIME_TAG));
    let mut properties = Map::new();
    let mut kinds = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        let mut property = json!({});
        if has(at, EVENT_TIME_TAG) || (!marked && field.name() == EVENT_TIME_NAME) {
            property[EVENT_TIME_TAG] = true.into();
        }
        if has(at, KEY_TAG) {
            property[KEY_TAG] = true.into();
        }
        properties.insert(field.name().to_owned(), property);
        kinds.push((field.name().to_owned(), kind_of(field)));
    }
    ColumnPlan {
        root: json!({"type": "object", "properties": properties}),
        kinds,
    }
}

/// The tags of a field's annotation.
fn tags(field: &FieldDescriptor) -> Vec<String> {
    let options = field.options();
    let Some(meta) = options
        .descriptor()
        .parent_pool()
        .get_extension_by_name("confluent.field_meta")
    else {
        return Vec::new();
    };
    if !options.has_extension(&meta) {
        return Vec::new();
    }
    let meta = options.get_extension(&meta);
    let tags = meta.as_message().and_then(|meta| meta.get_field_by_name("tags"));
    match tags.as_deref() {
        Some(ProtoValue::List(tags)) => tags
            .iter()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

fn kind_of(field: &FieldDescriptor) -> Kind {
    if field.is_list() || field.is_map() {
        return Kind::Json;
    }
    match field.kind() {
        Proto::Double | Proto::Float => Kind::Float,
        Proto::Int32
        | Proto::Int64
        | Proto::Uint32
        | Proto::Sint32
        | Proto::Sint64
        | Proto::Fixed32
        | Proto::Sfixed32
        | Proto::Sfixed64 => Kind::Int,
        Proto::Uint64 | Proto::Fixed64 => Kind::Unsigned,
        Proto::Bool => Kind::Bool,
        Proto::String | Proto::Bytes | Proto::Enum(_) => Kind::Text,
        Proto::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => Kind::Time(TimeUnit::Micros),
            "google.protobuf.Duration" | "google.protobuf.DoubleValue" | "google.protobuf.FloatValue" => {
                Kind::Float
            }
            "google.protobuf.Int32Value" | "google.protobuf.Int64Value" | "google.protobuf.UInt32Value" => {
                Kind::Int
            }
            "google.protobuf.UInt64Value" => Kind::Unsigned,
            "google.protobuf.BoolValue" => Kind::Bool,
            "google.protobuf.StringValue" | "google.protobuf.BytesValue" | "google.protobuf.FieldMask" => {
                Kind::Text
            }
            _ => Kind::Json,
        },
    }
}
