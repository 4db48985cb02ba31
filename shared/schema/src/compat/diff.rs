//! What differs between two schemas, for people. Says nothing of compatibility.

use std::collections::BTreeMap;
use std::fmt;

use hashbrown::HashSet;
use prost_reflect::{Cardinality, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use crate::language::{AvroKind, AvroSchema, Language, ParsedSchema, ProtobufSchema, TypeId};

/// The longest description of one side, in characters: a line of a terminal or two.
const MAX_SHOWN: usize = 200;

/// One place that is not the same. Its text is a line: `+ path: new`, `- path: old`, `~ path: old -> new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// By names: `order.items[].price`; empty for the schema itself.
    pub path: String,
    /// `None` when it is added.
    pub before: Option<String>,
    /// `None` when it is removed.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "(schema)"
        } else {
            &self.path
        };
        match (&self.before, &self.after) {
            (None, after) => write!(f, "+ {path}: {}", after.as_deref().unwrap_or_default()),
            (Some(before), None) => write!(f, "- {path}: {before}"),
            (Some(before), Some(after)) => write!(f, "~ {path}: {before} -> {after}"),
        }
    }
}

/// Everything that is added, removed or changed, in the order of its paths.
#[must_use]
pub fn diff(old: &ParsedSchema, new: &ParsedSchema) -> Vec<Change> {
    if old.format() != new.format() {
        return vec![Change {
            path: String::new(),
            before: Some(old.format().as_str().to_owned()),
            after: Some(new.format().as_str().to_owned()),
        }];
    }
    let (old, mut new) = (outline(old), outline(new));
    let mut changes = Vec::new();
    for (key, (path, before)) in old {
        let after = new.remove(&key).map(|(_, after)| after);
        if after.as_ref() != Some(&before) {
            changes.push(change(path, Some(before), after));
        }
    }
    changes.extend(
        new.into_values()
            .map(|(path, after)| change(path, None, Some(after))),
    );
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes
}

fn change(path: String, before: Option<String>, after: Option<String>) -> Change {
    let short = |text: String| match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    Change {
        path,
        before: before.map(short),
        after: after.map(short),
    }
}

/// Path and description of every place, by what makes it the same place in another version.
type Outline = BTreeMap<String, (String, String)>;

fn outline(schema: &ParsedSchema) -> Outline {
    let mut outline = Outline::new();
    match &schema.language {
        Language::Avro(schema) => avro(schema, schema.root_id(), "", &mut outline, &mut HashSet::new()),
        Language::Json(schema) => json(&schema.root, "", false, &mut outline),
        Language::Protobuf(schema) => protobuf(schema, &mut outline),
    }
    outline
}

fn put(outline: &mut Outline, path: &str, text: String) {
    outline.insert(path.to_owned(), (path.to_owned(), text));
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A record's fields are listed where it is met first; elsewhere its name stands for them. So the depth is at
/// most the number of records, each of which takes some text: it is bounded by [`MAX_LISTED`].
fn avro(schema: &AvroSchema, id: TypeId, path: &str, outline: &mut Outline, met: &mut HashSet<TypeId>) {
    if path.is_empty() {
        put(outline, path, avro_type(schema, id));
    }
    match &schema.type_of(id).kind {
        AvroKind::Array(inner) => avro(schema, *inner, &format!("{path}[]"), outline, met),
        AvroKind::Map(inner) => avro(schema, *inner, &format!("{path}{{}}"), outline, met),
        AvroKind::Union(branches) => {
            for branch in branches {
                if !path.is_empty() || matches!(schema.type_of(*branch).kind, AvroKind::Record(_)) {
                    avro(schema, *branch, path, outline, met);
                }
            }
        }
        AvroKind::Record(record) if met.len() < MAX_LISTED && met.insert(id) => {
            for field in &record.fields {
                let path = join(path, &field.name);
                let mut text = avro_type(schema, field.type_id);
                if let Some(default) = field.default_value() {
                    text.push_str(&format!(", default {default}"));
                }
                if !field.aliases.is_empty() {
                    text.push_str(&format!(", aliases {}", field.aliases.join(", ")));
                }
                put(outline, &path, text);
                avro(schema, field.type_id, &path, outline, met);
            }
        }
        _ => {}
    }
}

/// How many records one diff lists the fields of.
const MAX_LISTED: usize = 250;

fn avro_type(schema: &AvroSchema, id: TypeId) -> String {
    let ty = schema.type_of(id);
    let plain = match &ty.kind {
        AvroKind::Array(inner) => format!("array of {}", avro_type(schema, *inner)),
        AvroKind::Map(inner) => format!("map of {}", avro_type(schema, *inner)),
        AvroKind::Union(branches) => {
            let names: Vec<String> = branches.iter().map(|branch| avro_type(schema, *branch)).collect();
            format!("[{}]", names.join(", "))
        }
        AvroKind::Enum(enumeration) => {
            let default = enumeration
                .default
                .iter()
                .map(|default| format!(", default {default}"));
            let default: String = default.collect();
            format!(
                "enum {} {{{}}}{default}",
                enumeration.name.full_name,
                enumeration.symbols.join(", ")
            )
        }
        AvroKind::Fixed(fixed) => format!("fixed {} of {} bytes", fixed.name.full_name, fixed.size),
        AvroKind::Record(record) => format!("record {}", record.name.full_name),
        kind => kind.type_name().to_owned(),
    };
    match ty.logical_type() {
        Some(logical) => format!("{plain} as {logical:?}"),
        None => plain,
    }
}

/// Keywords whose schemas have places of their own: by name, one, in a list.
const BY_NAME: [&str; 5] = [
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];
const ONE: [&str; 10] = [
    "items",
    "additionalProperties",
    "additionalItems",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "propertyNames",
    "unevaluatedProperties",
];
const LISTED: [&str; 5] = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];

/// Nests as deeply as the text.
fn json(schema: &Value, path: &str, is_required: bool, outline: &mut Outline) {
    let Value::Object(map) = schema else {
        put(outline, path, json_text(schema, is_required));
        return;
    };
    let mut own: Map<String, Value> = map.clone();
    own.remove("required");
    let required: HashSet<&str> = map
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for keyword in BY_NAME {
        let Some(Value::Object(schemas)) = map.get(keyword) else {
            continue;
        };
        own.remove(keyword);
        for (name, schema) in schemas {
            if keyword == "properties" {
                json(
                    schema,
                    &join(path, name),
                    required.contains(name.as_str()),
                    outline,
                );
            } else {
                json(schema, &join(path, &format!("{keyword}/{name}")), false, outline);
            }
        }
    }
    for keyword in ONE {
        let Some(inner @ Value::Object(_)) = map.get(keyword) else {
            continue;
        };
        own.remove(keyword);
        let path = if keyword == "items" {
            format!("{path}[]")
        } else {
            join(path, keyword)
        };
        json(inner, &path, false, outline);
    }
    for keyword in LISTED {
        let Some(Value::Array(schemas)) = map.get(keyword) else {
            continue;
        };
        own.remove(keyword);
        let is_tuple = keyword == "items" || keyword == "prefixItems";
        for (index, schema) in schemas.iter().enumerate() {
            let path = if is_tuple {
                format!("{path}[{index}]")
            } else {
                join(path, &format!("{keyword}/{index}"))
            };
            json(schema, &path, false, outline);
        }
    }
    put(outline, path, json_text(&Value::Object(own), is_required));
    // names that no property has would be lost otherwise
    let properties = map.get("properties").and_then(Value::as_object);
    for name in required {
        if properties.is_none_or(|properties| !properties.contains_key(name)) {
            put(outline, &join(path, name), "required".to_owned());
        }
    }
}

fn json_text(schema: &Value, is_required: bool) -> String {
    if is_required {
        format!("required {schema}")
    } else {
        schema.to_string()
    }
}

fn protobuf(schema: &ProtobufSchema, outline: &mut Outline) {
    let file = schema.file();
    put(outline, "", format!("package {:?}", file.package_name()));
    for message in file.messages() {
        protobuf_message(&message, "", outline);
    }
    for ty in file.enums() {
        protobuf_enum(&ty, "", outline);
    }
}

fn protobuf_message(message: &MessageDescriptor, path: &str, outline: &mut Outline) {
    if message.is_map_entry() {
        return;
    }
    let path = join(path, message.name());
    put(outline, &path, "message".to_owned());
    for field in message.fields() {
        // by number: a field with another name is the same field
        let key = format!("{path}#{}", field.number());
        let shown = join(&path, field.name());
        outline.insert(key, (shown, protobuf_field(&field)));
    }
    for child in message.child_messages() {
        protobuf_message(&child, &path, outline);
    }
    for ty in message.child_enums() {
        protobuf_enum(&ty, &path, outline);
    }
}

fn protobuf_enum(ty: &prost_reflect::EnumDescriptor, path: &str, outline: &mut Outline) {
    let path = join(path, ty.name());
    put(outline, &path, "enum".to_owned());
    for value in ty.values() {
        put(outline, &join(&path, value.name()), value.number().to_string());
    }
}

fn protobuf_field(field: &FieldDescriptor) -> String {
    let name = |kind: Kind| match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(ty) => ty.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    };
    let ty = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let (key, value) = (
                entry.map_entry_key_field().kind(),
                entry.map_entry_value_field().kind(),
            );
            format!("map<{}, {}>", name(key), name(value))
        }
        kind => name(kind),
    };
    let label = match field.cardinality() {
        _ if field.is_map() => "",
        Cardinality::Repeated => "repeated ",
        Cardinality::Required => "required ",
        Cardinality::Optional if field.field_descriptor_proto().proto3_optional() => "optional ",
        Cardinality::Optional => "",
    };
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let oneof = oneof.map_or_else(String::new, |oneof| format!(" in oneof {}", oneof.name()));
    format!("{label}{ty} {} = {}{oneof}", field.name(), field.number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{SchemaFormat, parse};

    fn lines(format: SchemaFormat, old: &str, new: &str) -> Vec<String> {
        let read = |text| parse(format, text, &[]).expect("valid");
        diff(&read(old), &read(new))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn json_changes_are_named_by_property() {
        let old = r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"array","items":{"type":"string"}}},"required":["a"]}"#;
        let new = r#"{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"array","items":{"type":"string","maxLength":3}},"c":true}}"#;
        assert_eq!(
            lines(SchemaFormat::Json, old, new),
            [
                r#"~ a: required {"type":"integer"} -> {"type":"number"}"#,
                r#"~ b[]: {"type":"string"} -> {"maxLength":3,"type":"string"}"#,
                "+ c: true",
            ]
        );
        assert!(lines(SchemaFormat::Json, old, old).is_empty());
    }

    #[test]
    fn avro_changes_are_named_by_field() {
        let old = r#"{"type":"record","name":"x.R","fields":[{"name":"a","type":"int"},{"name":"i","type":["null",{"type":"record","name":"I","fields":[{"name":"v","type":"string"}]}]}]}"#;
        let new = r#"{"type":"record","name":"x.R","fields":[{"name":"i","type":["null",{"type":"record","name":"I","fields":[{"name":"v","type":"bytes"},{"name":"next","type":["null","I"],"default":null}]}]}]}"#;
        assert_eq!(
            lines(SchemaFormat::Avro, old, new),
            [
                "- a: int",
                "+ i.next: [null, record x.I], default null",
                "~ i.v: string -> bytes",
            ]
        );
    }

    #[test]
    fn protobuf_fields_are_the_same_by_number() {
        let old = "syntax=\"proto3\"; message M { int32 a = 1; map<string, E> m = 2; enum E { X = 0; } }";
        let new = "syntax=\"proto3\"; message M { int64 b = 1; oneof o { string c = 3; } enum E { X = 0; Y = 1; } }";
        assert_eq!(
            lines(SchemaFormat::Protobuf, old, new),
            [
                "+ M.E.Y: 1",
                "~ M.a: int32 a = 1 -> int64 b = 1",
                "+ M.c: string c = 3 in oneof o",
                "- M.m: map<string, M.E> m = 2",
            ]
        );
    }

    #[test]
    fn another_language_is_one_change() {
        let (json, avro) = (
            parse(SchemaFormat::Json, "true", &[]).expect("valid"),
            parse(SchemaFormat::Avro, "\"int\"", &[]).expect("valid"),
        );
        assert_eq!(diff(&json, &avro)[0].to_string(), "~ (schema): JSON -> AVRO");
    }
}
