//! From a schema as the registry reads it to the types that payloads are read by.

use std::collections::HashMap;

use serde_json::Value;

use super::model::{AvroSchema, BytesMeaning, Field, IntMeaning, LongMeaning, Type, TypeId};
use crate::decode::time::TimeUnit;
use crate::language::{self, AvroKind, AvroType, LogicalType};

impl AvroSchema {
    /// The types that the schema's root reaches; `None` when the root is no record, which an event must be.
    pub(in super::super) fn new(schema: &language::AvroSchema) -> Option<Self> {
        if !matches!(schema.root().kind, AvroKind::Record(_)) {
            return None;
        }
        let mut reader = Reader::default();
        let root = reader.place(schema.root_id());
        // a loop instead of recursion, which types that name each other could make deep
        let mut types = Vec::new();
        while let Some(&id) = reader.found.get(types.len()) {
            let ty = reader.read(schema.type_of(id));
            types.push(ty);
        }
        Some(Self { types, root })
    }
}

#[derive(Default)]
struct Reader {
    places: HashMap<language::TypeId, TypeId>,
    /// By place.
    found: Vec<language::TypeId>,
}

impl Reader {
    fn place(&mut self, id: language::TypeId) -> TypeId {
        let next = self.found.len();
        let place = *self.places.entry(id).or_insert(next);
        if place == next {
            self.found.push(id);
        }
        place
    }

    fn read(&mut self, ty: &AvroType) -> Type {
        let logical = ty.logical_type();
        match &ty.kind {
            AvroKind::Null => Type::Null,
            AvroKind::Boolean => Type::Boolean,
            AvroKind::Int => Type::Int(match logical {
                Some(LogicalType::Date) => IntMeaning::Date,
                Some(LogicalType::TimeMillis) => IntMeaning::Time,
                _ => IntMeaning::Number,
            }),
            AvroKind::Long => Type::Long(long_meaning(logical)),
            AvroKind::Float => Type::Float,
            AvroKind::Double => Type::Double,
            AvroKind::Bytes => Type::Bytes(bytes_meaning(logical)),
            AvroKind::String => Type::Text,
            AvroKind::Array(items) => Type::Array(self.place(*items)),
            AvroKind::Map(values) => Type::Map(self.place(*values)),
            AvroKind::Union(branches) => {
                Type::Union(branches.iter().map(|branch| self.place(*branch)).collect())
            }
            AvroKind::Fixed(fixed) => Type::Fixed {
                name: fixed.name.full_name.clone(),
                size: fixed.size,
                meaning: bytes_meaning(logical),
            },
            AvroKind::Enum(enumeration) => Type::Enum {
                name: enumeration.name.full_name.clone(),
                symbols: enumeration.symbols.clone(),
                default: enumeration.default.clone(),
            },
            AvroKind::Record(record) => Type::Record {
                name: record.name.full_name.clone(),
                aliases: record.name.aliases.clone(),
                fields: record.fields.iter().map(|field| self.field(field)).collect(),
            },
        }
    }

    fn field(&mut self, field: &language::Field) -> Field {
        let marked = |mark: &str| field.property(mark) == Some(Value::Bool(true));
        Field {
            name: field.name.clone(),
            aliases: field.aliases.clone(),
            ty: self.place(field.type_id),
            default: field.default_value(),
            event_time: marked("x-event-time") || marked("event-time"),
            key: marked("x-key"),
        }
    }
}

fn long_meaning(logical: Option<LogicalType>) -> LongMeaning {
    use LogicalType as L;
    match logical {
        Some(L::TimeMicros) => LongMeaning::Time,
        Some(L::TimestampMillis) => LongMeaning::Timestamp(TimeUnit::Millis),
        Some(L::TimestampMicros) => LongMeaning::Timestamp(TimeUnit::Micros),
        Some(L::TimestampNanos) => LongMeaning::Timestamp(TimeUnit::Nanos),
        Some(L::LocalTimestampMillis) => LongMeaning::Local(TimeUnit::Millis),
        Some(L::LocalTimestampMicros) => LongMeaning::Local(TimeUnit::Micros),
        Some(L::LocalTimestampNanos) => LongMeaning::Local(TimeUnit::Nanos),
        _ => LongMeaning::Number,
    }
}

fn bytes_meaning(logical: Option<LogicalType>) -> BytesMeaning {
    match logical {
        Some(LogicalType::Decimal { precision, scale }) => BytesMeaning::Decimal { precision, scale },
        Some(LogicalType::Uuid) => BytesMeaning::Uuid,
        Some(LogicalType::Duration) => BytesMeaning::Duration,
        _ => BytesMeaning::Bytes,
    }
}
