//! Options as a `.proto` file writes them.

use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};

/// Name and value of every option that is set, in the order of their numbers; extensions last.
pub fn options(message: &DynamicMessage, skip: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (field, value) in message.fields() {
        if !skip.contains(&field.name()) {
            put(&mut found, field.name().to_owned(), &field.kind(), value);
        }
    }
    for (extension, value) in message.extensions() {
        put(
            &mut found,
            format!("({})", extension.full_name()),
            &extension.kind(),
            value,
        );
    }
    found
}

fn put(found: &mut Vec<(String, String)>, name: String, kind: &Kind, value: &Value) {
    match value {
        Value::List(values) => {
            for value in values {
                found.push((name.clone(), literal(kind, value)));
            }
        }
        value => found.push((name, literal(kind, value))),
    }
}

/// A value of a kind.
fn literal(kind: &Kind, value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(text) => quoted(text.as_bytes()),
        Value::Bytes(bytes) => quoted(bytes),
        Value::EnumNumber(number) => {
            let named = kind.as_enum().and_then(|ty| ty.get_value(*number));
            named.map_or_else(|| number.to_string(), |value| value.name().to_owned())
        }
        Value::Message(message) => braces(message),
        Value::List(values) => {
            let items: Vec<String> = values.iter().map(|value| literal(kind, value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => map(kind, entries),
    }
}

fn map(kind: &Kind, entries: &std::collections::HashMap<MapKey, Value>) -> String {
    let Kind::Message(entry) = kind else {
        return "[]".to_owned();
    };
    let (key_kind, value_kind) = (
        entry.map_entry_key_field().kind(),
        entry.map_entry_value_field().kind(),
    );
    let mut printed: Vec<String> = entries
        .iter()
        .map(|(key, value)| {
            let key = literal(&key_kind, &Value::from(key.clone()));
            format!("{{ key: {key}, value: {} }}", literal(&value_kind, value))
        })
        .collect();
    printed.sort(); // the map's own order differs from run to run
    format!("[{}]", printed.join(", "))
}

fn braces(message: &DynamicMessage) -> String {
    let mut parts = Vec::new();
    for (field, value) in message.fields() {
        parts.push(format!("{}: {}", field.name(), literal(&field.kind(), value)));
    }
    for (extension, value) in message.extensions() {
        let name = extension.full_name();
        parts.push(format!("[{name}]: {}", literal(&extension.kind(), value)));
    }
    debug_assert!(message.descriptor().is_map_entry() || message.unknown_fields().next().is_none());
    format!("{{ {} }}", parts.join(", "))
}

/// A string literal; bytes that are no printable ASCII are octal escapes, other text stays as it is.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    match std::str::from_utf8(bytes) {
        Ok(text) => text.chars().for_each(|char| match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char.is_ascii_control() => out.push_str(&format!("\\{:03o}", u32::from(char))),
            char => out.push(char),
        }),
        Err(_) => bytes
            .iter()
            .for_each(|byte| out.push_str(&format!("\\{byte:03o}"))),
    }
    out.push('"');
    out
}
