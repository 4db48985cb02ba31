//! Avro schemas (specification 1.12): a graph of types, read strictly, so that every mistake has its place.
//!
//! Own code rather than a library's, because the registry needs what libraries drop: the place of a mistake,
//! aliases, the order of properties for the canonical form. docs/adr says more.

mod default;
mod print;
mod read;

use hashbrown::{HashMap, HashSet};

use super::node::Node;

pub(super) use read::parse;

/// Where a type stands in [`AvroSchema`].
pub type TypeId = usize;

/// A schema with all its types. Types refer to each other by [`TypeId`], so that they may be recursive.
#[derive(Debug, Clone)]
pub struct AvroSchema {
    types: Vec<AvroType>,
    root: TypeId,
    /// Full names, those of the references included.
    names: HashMap<String, TypeId>,
    /// The types below this one belong to references.
    own_from: TypeId,
    canonical: String,
}

/// One type.
#[derive(Debug, Clone)]
pub struct AvroType {
    pub kind: AvroKind,
    /// Attributes that the specification does not name for this type, `logicalType` included, in the order of
    /// the text.
    pub(crate) properties: Vec<(String, Node)>,
}

/// What a type is.
#[derive(Debug, Clone, PartialEq)]
pub enum AvroKind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(TypeId),
    Map(TypeId),
    /// In the order of the text, which is the order on the wire.
    Union(Vec<TypeId>),
    Record(Record),
    Enum(Enumeration),
    Fixed(Fixed),
}

/// The name of a record, an enum or a fixed.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// With namespace: `com.example.Order`.
    pub full_name: String,
    /// Full names.
    pub aliases: Vec<String>,
    pub doc: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub name: Named,
    /// In the order of the text, which is the order on the wire.
    pub fields: Vec<Field>,
    /// Declared as `error`, which protocols use.
    pub is_error: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub aliases: Vec<String>,
    pub type_id: TypeId,
    pub doc: Option<String>,
    pub(crate) default: Option<Node>,
    pub(crate) order: Option<String>,
    pub(crate) properties: Vec<(String, Node)>,
}

impl Field {
    #[must_use]
    pub fn has_default(&self) -> bool {
        self.default.is_some()
    }

    /// The default as JSON; bytes and fixed as text of code points 0 to 255.
    #[must_use]
    pub fn default_value(&self) -> Option<serde_json::Value> {
        self.default.as_ref().map(Node::to_value)
    }

    /// An attribute that the specification does not name.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<serde_json::Value> {
        property(&self.properties, key)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Enumeration {
    pub name: Named,
    pub symbols: Vec<String>,
    pub default: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    pub name: Named,
    /// In bytes.
    pub size: usize,
}

/// What a value means beyond its type, as far as the specification names it and the type carries it.
/// Anything else that a schema calls a logical type is ignored, as the specification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogicalType {
    Decimal { precision: u32, scale: u32 },
    Uuid,
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMillis,
    LocalTimestampMicros,
    LocalTimestampNanos,
    Duration,
}

fn property(properties: &[(String, Node)], key: &str) -> Option<serde_json::Value> {
    let found = properties.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.to_value())
}

impl AvroType {
    /// An attribute that the specification does not name.
    #[must_use]
    pub fn property(&self, key: &str) -> Option<serde_json::Value> {
        property(&self.properties, key)
    }

    /// The logical type, when the type may carry it.
    #[must_use]
    pub fn logical_type(&self) -> Option<LogicalType> {
        use LogicalType as L;
        let (_, name) = self.properties.iter().find(|(key, _)| key == "logicalType")?;
        let logical = match (name.as_text()?, &self.kind) {
            ("decimal", AvroKind::Bytes | AvroKind::Fixed(_)) => self.decimal()?,
            ("uuid", AvroKind::String) => L::Uuid,
            ("uuid", AvroKind::Fixed(fixed)) if fixed.size == 16 => L::Uuid,
            ("date", AvroKind::Int) => L::Date,
            ("time-millis", AvroKind::Int) => L::TimeMillis,
            ("time-micros", AvroKind::Long) => L::TimeMicros,
            ("timestamp-millis", AvroKind::Long) => L::TimestampMillis,
            ("timestamp-micros", AvroKind::Long) => L::TimestampMicros,
            ("timestamp-nanos", AvroKind::Long) => L::TimestampNanos,
            ("local-timestamp-millis", AvroKind::Long) => L::LocalTimestampMillis,
            ("local-timestamp-micros", AvroKind::Long) => L::LocalTimestampMicros,
            ("local-timestamp-nanos", AvroKind::Long) => L::LocalTimestampNanos,
            ("duration", AvroKind::Fixed(fixed)) if fixed.size == 12 => L::Duration,
            _ => return None,
        };
        Some(logical)
    }

    fn decimal(&self) -> Option<LogicalType> {
        let number = |key| self.property(key).and_then(|value| value.as_u64());
        let precision = u32::try_from(number("precision")?).ok()?;
        let scale = match self.property("scale") {
            None => 0,
            Some(_) => u32::try_from(number("scale")?).ok()?,
        };
        (precision > 0 && scale <= precision).then_some(LogicalType::Decimal { precision, scale })
    }
}

impl AvroKind {
    /// The name in a schema's `type`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Record(_) => "record",
            Self::Enum(_) => "enum",
            Self::Fixed(_) => "fixed",
        }
    }

    /// The name of a record, an enum or a fixed.
    #[must_use]
    pub fn named(&self) -> Option<&Named> {
        match self {
            Self::Record(record) => Some(&record.name),
            Self::Enum(enumeration) => Some(&enumeration.name),
            Self::Fixed(fixed) => Some(&fixed.name),
            _ => None,
        }
    }
}

impl AvroSchema {
    #[must_use]
    pub fn root(&self) -> &AvroType {
        &self.types[self.root]
    }

    #[must_use]
    pub fn root_id(&self) -> TypeId {
        self.root
    }

    /// The type of an id that came from this schema.
    #[must_use]
    pub fn type_of(&self, id: TypeId) -> &AvroType {
        &self.types[id]
    }

    /// The type with a full name, from this schema or from one that it refers to.
    #[must_use]
    pub fn type_named(&self, full_name: &str) -> Option<TypeId> {
        self.names.get(full_name).copied()
    }

    pub(super) fn canonical(&self) -> &str {
        &self.canonical
    }

    pub(super) fn normalized(&self) -> String {
        print::print(self, print::Form::Normalized)
    }

    /// Records that the schema's own text defines, the root first.
    pub(super) fn record_names(&self) -> Vec<String> {
        let own = std::iter::once(self.root).chain(self.own_from..self.types.len());
        let mut names: Vec<String> = Vec::new();
        let mut known = HashSet::new();
        for id in own {
            if let AvroKind::Record(record) = &self.types[id].kind
                && known.insert(&record.name.full_name)
            {
                names.push(record.name.full_name.clone());
            }
        }
        names
    }
}
