//! Plain JSON objects on a stream whose newest schema is a Protobuf one: the proto3 JSON mapping, strictly. A
//! field that the message does not have is an error there, so nothing is dropped silently.

use prost_reflect::{DeserializeOptions, DynamicMessage};
use serde_json::{Deserializer, Map, Value};
use tributary_shared::wire::Reason;

use super::{ProtobufSchema, write_row};
use crate::decode::reasons::{MAX_REASONS, judge, pointer, reason};

/// The rule of a value that a field does not take.
const RULE: &str = "type";

/// Appends the text of an event, read and written again by the schema's root message, to `out`.
///
/// # Errors
/// The reasons, one for each field that is wrong.
pub(in super::super) fn read_json(
    schema: &ProtobufSchema,
    text: &str,
    out: &mut String,
) -> Result<(), Vec<Reason>> {
    judge(None, text)?;
    match message(schema, text) {
        Ok(message) => write_row(&message, Some(schema), out).map_err(|reason| vec![reason]),
        Err(error) => Err(explain(schema, text, &error)),
    }
}

fn message(schema: &ProtobufSchema, text: &str) -> Result<DynamicMessage, String> {
    let mut json = Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(schema.root.clone(), &mut json, &options);
    message
        .and_then(|message| json.end().map(|()| message))
        .map_err(|error| error.to_string())
}

/// Which fields are wrong: each is tried alone.
#[cold]
fn explain(schema: &ProtobufSchema, text: &str, whole: &str) -> Vec<Reason> {
    let members: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
    let wrong = members.iter().filter_map(|(name, value)| {
        let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        let error = message(schema, &alone.to_string()).err()?;
        Some(reason(pointer(name), RULE, without_place(&error)))
    });
    let reasons: Vec<Reason> = wrong.take(MAX_REASONS).collect();
    if reasons.is_empty() {
        // only together are they wrong: two fields of one choice
        return vec![reason(String::new(), RULE, without_place(whole))];
    }
    reasons
}

/// Line and column are those of a text that nobody sent.
fn without_place(error: &str) -> &str {
    error.split(" at line ").next().unwrap_or(error)
}
