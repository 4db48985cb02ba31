//! What an Avro schema means for columns, and for plain JSON objects on the same stream.

use serde_json::{Map, Value, json};

use super::model::{AvroSchema, BytesMeaning, Field, IntMeaning, LongMeaning, Type, TypeId};
use crate::decode::kind::Kind;

/// Decimals of so many digits go through a 64-bit float and back unchanged.
const FLOAT_DIGITS: u32 = 15;
/// Integers of so many digits fit 64 bits.
const INT_DIGITS: u32 = 18;

/// A schema in the words that the rest of the decoder understands.
#[derive(Debug)]
pub(in super::super) struct ColumnPlan {
    /// JSON Schema for plain JSON objects by field names.
    pub root: Value,
    /// The column of each field.
    pub kinds: Vec<(String, Kind)>,
}

/// The columns of the root record's fields.
pub(in super::super) fn columns(schema: &AvroSchema) -> ColumnPlan {
    let mut root = record(schema, schema.fields());
    let mut definitions = Map::new();
    for (id, ty) in schema.types.iter().enumerate() {
        if let Type::Record { fields, .. } = ty {
            definitions.insert(id.to_string(), record(schema, fields));
        }
    }
    if schema.fields().iter().any(|field| refers(schema, field.ty)) {
        root["$defs"] = Value::Object(definitions);
    }
    let kinds = schema.fields().iter();
    ColumnPlan {
        root,
        kinds: kinds
            .map(|field| (field.name.clone(), kind_of(schema, field.ty)))
            .collect(),
    }
}

fn record(schema: &AvroSchema, fields: &[Field]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in fields {
        let mut property = of_type(schema, field.ty);
        if field.event_time {
            property["x-event-time"] = true.into();
        }
        if field.key {
            property["x-key"] = true.into();
        }
        properties.insert(field.name.clone(), property);
        if field.default.is_none() && !nullable(schema, field.ty) {
            required.push(Value::from(field.name.as_str()));
        }
    }
    json!({"type": "object", "properties": properties, "required": required})
}

/// Whether [`of_type`] writes a reference for a type, to a record that may be the root itself. Ends, because only
/// records have a name to come back by.
fn refers(schema: &AvroSchema, ty: TypeId) -> bool {
    match schema.get(ty) {
        Type::Record { .. } => true,
        Type::Array(inner) | Type::Map(inner) => refers(schema, *inner),
        Type::Union(branches) => branches.iter().any(|branch| refers(schema, *branch)),
        _ => false,
    }
}

fn nullable(schema: &AvroSchema, ty: TypeId) -> bool {
    match schema.get(ty) {
        Type::Null => true,
        Type::Union(branches) => branches.iter().any(|branch| *schema.get(*branch) == Type::Null),
        _ => false,
    }
}

/// Logical times may be written as text or as the number that Avro stores.
fn of_type(schema: &AvroSchema, ty: TypeId) -> Value {
    match schema.get(ty) {
        Type::Null => json!({"type": "null"}),
        Type::Boolean => json!({"type": "boolean"}),
        Type::Int(IntMeaning::Number) => {
            json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX})
        }
        Type::Int(IntMeaning::Date) => json!({"type": "string", "format": "date"}),
        Type::Int(IntMeaning::Time) | Type::Long(LongMeaning::Time) => {
            json!({"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?$"})
        }
        Type::Long(LongMeaning::Number) => json!({"type": "integer"}),
        Type::Long(LongMeaning::Timestamp(_)) => {
            json!({"type": ["integer", "string"], "format": "date-time"})
        }
        Type::Long(LongMeaning::Local(_)) => json!({"type": "string"}),
        Type::Float | Type::Double => json!({"type": "number"}),
        Type::Text => json!({"type": "string"}),
        Type::Bytes(meaning) | Type::Fixed { meaning, .. } => match meaning {
            BytesMeaning::Decimal { .. } => json!({"type": "number"}),
            BytesMeaning::Uuid => json!({"type": "string", "format": "uuid"}),
            BytesMeaning::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            BytesMeaning::Duration => json!({"type": "string"}),
        },
        Type::Enum { symbols, .. } => json!({"type": "string", "enum": symbols}),
        Type::Array(items) => json!({"type": "array", "items": of_type(schema, *items)}),
        Type::Map(values) => json!({"type": "object", "additionalProperties": of_type(schema, *values)}),
        Type::Record { .. } => json!({"$ref": format!("#/$defs/{ty}")}),
        Type::Union(branches) => union(schema, branches),
    }
}

/// `null` or one other type is by far the most usual: it stays a type with null allowed, which is checked in
/// the same pass that fills the columns.
fn union(schema: &AvroSchema, branches: &[TypeId]) -> Value {
    let mut others = branches
        .iter()
        .filter(|branch| *schema.get(**branch) != Type::Null);
    let (first, more) = (others.next(), others.next().is_some());
    if let (Some(first), false) = (first, more) {
        let mut only = of_type(schema, *first);
        let null = branches.len() > 1;
        if !null {
            return only;
        }
        let widened = match only.get("type") {
            Some(Value::String(name)) => Some(json!([name, "null"])),
            Some(Value::Array(names)) => Some(names.iter().cloned().chain([Value::from("null")]).collect()),
            _ => None,
        };
        if let Some(widened) = widened {
            only["type"] = widened;
            if let Some(Value::Array(symbols)) = only.get_mut("enum") {
                symbols.push(Value::Null);
            }
            return only;
        }
    }
    let branches = branches.iter().map(|branch| of_type(schema, *branch));
    json!({"anyOf": branches.collect::<Vec<_>>()})
}

/// The column that holds a field of this type.
fn kind_of(schema: &AvroSchema, ty: TypeId) -> Kind {
    let Type::Union(branches) = schema.get(ty) else {
        return kind_of_one(schema.get(ty));
    };
    let mut kinds = branches
        .iter()
        .map(|branch| schema.get(*branch))
        .filter(|branch| **branch != Type::Null)
        .map(kind_of_one);
    let Some(first) = kinds.next() else {
        return Kind::Json;
    };
    kinds.fold(first, |all, kind| match (all, kind) {
        (all, kind) if all == kind => all,
        (Kind::Int | Kind::Float, Kind::Int | Kind::Float) => Kind::Float,
        _ => Kind::Json,
    })
}

fn kind_of_one(ty: &Type) -> Kind {
    match ty {
        Type::Boolean => Kind::Bool,
        Type::Int(IntMeaning::Number) | Type::Long(LongMeaning::Number) => Kind::Int,
        Type::Long(LongMeaning::Timestamp(unit)) => Kind::Time(*unit),
        Type::Float | Type::Double => Kind::Float,
        Type::Int(IntMeaning::Date | IntMeaning::Time)
        | Type::Long(LongMeaning::Time | LongMeaning::Local(_))
        | Type::Text
        | Type::Enum { .. } => Kind::Text,
        Type::Bytes(meaning) | Type::Fixed { meaning, .. } => match *meaning {
            BytesMeaning::Decimal { precision, scale: 0 } if precision <= INT_DIGITS => Kind::Int,
            BytesMeaning::Decimal { precision, .. } if precision <= FLOAT_DIGITS => Kind::Float,
            BytesMeaning::Decimal { .. } => Kind::Json,
            BytesMeaning::Bytes | BytesMeaning::Uuid | BytesMeaning::Duration => Kind::Text,
        },
        Type::Null | Type::Array(_) | Type::Map(_) | Type::Record { .. } | Type::Union(_) => Kind::Json,
    }
}
