//! An Avro schema as a table of types.

use serde_json::Value;

use crate::decode::time::TimeUnit;

/// Position in [`AvroSchema::types`].
pub(in super::super) type TypeId = usize;

/// A schema whose named types are resolved.
#[derive(Debug)]
pub(in super::super) struct AvroSchema {
    pub(super) types: Vec<Type>,
    /// Always a record: an event has fields.
    pub(super) root: TypeId,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int(IntMeaning),
    Long(LongMeaning),
    Float,
    Double,
    Bytes(BytesMeaning),
    Text,
    Fixed {
        name: String,
        size: usize,
        meaning: BytesMeaning,
    },
    Enum {
        name: String,
        symbols: Vec<String>,
        default: Option<String>,
    },
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record {
        name: String,
        aliases: Vec<String>,
        fields: Vec<Field>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub name: String,
    pub aliases: Vec<String>,
    pub ty: TypeId,
    pub default: Option<Value>,
    pub event_time: bool,
    pub key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntMeaning {
    Number,
    /// Days since 1970-01-01.
    Date,
    /// Milliseconds since midnight.
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LongMeaning {
    Number,
    /// Microseconds since midnight.
    Time,
    /// Since the epoch.
    Timestamp(TimeUnit),
    /// Since the epoch in some time zone that is not told.
    Local(TimeUnit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BytesMeaning {
    Bytes,
    Decimal {
        precision: u32,
        scale: u32,
    },
    /// Of a `fixed(16)`.
    Uuid,
    /// Months, days and milliseconds in a `fixed(12)`.
    Duration,
}

impl AvroSchema {
    pub(super) fn get(&self, ty: TypeId) -> &Type {
        &self.types[ty]
    }

    /// The fields of the root record.
    pub(super) fn fields(&self) -> &[Field] {
        match self.get(self.root) {
            Type::Record { fields, .. } => fields,
            _ => &[],
        }
    }
}

impl Type {
    /// As messages call it.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int(_) => "int",
            Self::Long(_) => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes(_) => "bytes",
            Self::Text => "string",
            Self::Fixed { name, .. } | Self::Enum { name, .. } | Self::Record { name, .. } => name,
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
        }
    }
}

/// A name without its namespace.
pub(super) fn simple(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
