//! Which JSON types a property's schema lets through, and so which kind of column holds its values.
//!
//! The answer may be too wide (then the column is JSON text), never too narrow: only keywords that every
//! valid value obeys are followed.

use serde_json::Value;

use super::kind::Kind;

const NULL: u8 = 1;
const BOOL: u8 = 2;
const INT: u8 = 4;
const FLOAT: u8 = 8;
const TEXT: u8 = 16;
const OBJECT: u8 = 32;
const ARRAY: u8 = 64;
const ALL: u8 = 127;

/// Schemas that one question may visit: references may form loops and trees.
const VISITS: u32 = 500;
/// How deep references and combinations are followed.
const DEPTH: u32 = 16;

/// The kind of column for a property.
pub(super) fn kind_of(schema: &Value, root: &Value) -> Kind {
    let mut visits = VISITS;
    let types = types_of(schema, root, DEPTH, &mut visits) & !NULL;
    match types {
        INT => Kind::Int,
        FLOAT => Kind::Float,
        _ if types == INT | FLOAT => Kind::Float,
        BOOL => Kind::Bool,
        TEXT => Kind::Text,
        _ => Kind::Json,
    }
}

fn types_of(schema: &Value, root: &Value, depth: u32, visits: &mut u32) -> u8 {
    let Value::Object(keywords) = schema else {
        return if schema == &Value::Bool(false) { 0 } else { ALL };
    };
    if depth == 0 || *visits == 0 {
        return ALL;
    }
    *visits -= 1;
    if let Some(reference) = keywords.get("$ref") {
        // what stands beside a reference does not count in older drafts, so it is left out
        return resolve(reference, root).map_or(ALL, |target| types_of(target, root, depth - 1, visits));
    }
    let mut types = ALL;
    match keywords.get("type") {
        Some(Value::String(name)) => types &= named(name),
        Some(Value::Array(names)) => {
            types &= names
                .iter()
                .filter_map(Value::as_str)
                .fold(0, |all, name| all | named(name));
        }
        _ => {}
    }
    if let Some(Value::Array(values)) = keywords.get("enum") {
        types &= values.iter().fold(0, |all, value| all | type_of(value));
    }
    if let Some(value) = keywords.get("const") {
        types &= type_of(value);
    }
    for combination in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = keywords.get(combination) {
            types &= branches
                .iter()
                .fold(0, |all, branch| all | types_of(branch, root, depth - 1, visits));
        }
    }
    if let Some(Value::Array(branches)) = keywords.get("allOf") {
        types &= branches
            .iter()
            .fold(ALL, |all, branch| all & types_of(branch, root, depth - 1, visits));
    }
    types
}

/// A reference within the document; `None` for any other, and where an inner `$id` may change its meaning.
pub(super) fn resolve<'v>(reference: &Value, root: &'v Value) -> Option<&'v Value> {
    let pointer = reference.as_str()?.strip_prefix('#')?;
    let plain = !pointer.contains('%') && !has_inner_id(root);
    if plain { root.pointer(pointer) } else { None }
}

fn has_inner_id(root: &Value) -> bool {
    fn any_id(value: &Value, inner: bool) -> bool {
        match value {
            Value::Object(map) => map.iter().any(|(key, value)| {
                (inner && matches!(key.as_str(), "$id" | "id") && value.is_string()) || any_id(value, true)
            }),
            Value::Array(items) => items.iter().any(|item| any_id(item, true)),
            _ => false,
        }
    }
    any_id(root, false)
}

fn named(name: &str) -> u8 {
    match name {
        "null" => NULL,
        "boolean" => BOOL,
        "integer" => INT,
        "number" => INT | FLOAT,
        "string" => TEXT,
        "object" => OBJECT,
        "array" => ARRAY,
        _ => ALL,
    }
}

fn type_of(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOL,
        Value::Number(number) if number.as_f64().is_some_and(|value| value.fract() == 0.0) => INT,
        Value::Number(_) => FLOAT,
        Value::String(_) => TEXT,
        Value::Array(_) => ARRAY,
        Value::Object(_) => OBJECT,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_follow_types_references_and_combinations() {
        let root = json!({"$defs": {"t": {"type": "number"}, "loop": {"$ref": "#/$defs/loop"}}});
        for (schema, kind) in [
            (json!({"type": "integer"}), Kind::Int),
            (json!({"type": ["null", "integer"]}), Kind::Int),
            (json!({"type": ["integer", "number"]}), Kind::Float),
            (json!({"enum": ["a", "b", null]}), Kind::Text),
            (json!({"const": 1}), Kind::Int),
            (json!({"$ref": "#/$defs/t", "type": "string"}), Kind::Float),
            (json!({"$ref": "#/$defs/loop"}), Kind::Json),
            (
                json!({"anyOf": [{"type": "boolean"}, {"type": "null"}]}),
                Kind::Bool,
            ),
            (
                json!({"allOf": [{"type": ["string", "integer"]}, {"type": "string"}]}),
                Kind::Text,
            ),
            (json!({"type": ["string", "integer"]}), Kind::Json),
            (json!({"type": "object"}), Kind::Json),
            (json!({}), Kind::Json),
            (json!(true), Kind::Json),
        ] {
            assert_eq!(kind_of(&schema, &root), kind, "{schema}");
        }
    }

    #[test]
    fn branching_reference_loops_end() {
        let branch = json!({"$ref": "#/$defs/a"});
        let root = json!({"$defs": {"a": {"anyOf": vec![branch.clone(); 50]}}});
        assert_eq!(kind_of(&branch, &root), Kind::Json);
    }
}
