//! What is passed to and from the languages.

use std::str::FromStr;

/// The longest schema text, in bytes: it must fit a control frame with room to spare.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// How deeply a text may nest. Parsers and checks recurse by it, so it bounds their stacks.
pub const MAX_DEPTH: usize = 100;
/// How many schemas one schema may refer to, transitive ones included.
pub const MAX_DEPENDENCIES: usize = 256;
/// The longest texts of all references together, in bytes.
pub const MAX_DEPENDENCY_BYTES: usize = 4 << 20;

/// The language that a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaFormat {
    Avro,
    Json,
    Protobuf,
}

impl SchemaFormat {
    /// All of them, in the order in which the registry's API lists them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Protobuf, Self::Avro];

    /// As the Confluent API writes it (`schemaType`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Json => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }
}

impl FromStr for SchemaFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| UnknownFormat(text.chars().take(40).collect()))
    }
}

/// A name that is no schema language.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a schema type; use AVRO, JSON or PROTOBUF")]
pub struct UnknownFormat(pub String);

/// A schema that another one refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency<'a> {
    /// The name by which it is imported: the `$ref` URI of a JSON Schema, an Avro full name, a `.proto` path.
    pub name: &'a str,
    pub text: &'a str,
}

/// Why a text is no schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LanguageError {
    #[error("the schema has {len} bytes, the limit is {MAX_TEXT_BYTES}")]
    TooLarge { len: usize },
    #[error("the schema refers to {count} schemas, the limit is {MAX_DEPENDENCIES}")]
    TooManyReferences { count: usize },
    #[error("the schemas that it refers to have {len} bytes, the limit is {MAX_DEPENDENCY_BYTES}")]
    ReferencesTooLarge { len: usize },
    /// Line and column count from 1.
    #[error("the schema is not {expected}: line {line}, column {column}: {message}")]
    Malformed {
        expected: &'static str,
        line: usize,
        column: usize,
        message: String,
    },
    /// `path` leads to the place: a JSON Pointer, or a Protobuf full name; empty for the whole schema.
    #[error("the schema is not valid at {}: {message}", if path.is_empty() { "its top" } else { path })]
    Invalid { path: String, message: String },
    #[error("the reference {name:?}: {message}")]
    Reference { name: String, message: String },
}

/// What every language is held to, before anything is parsed.
pub(super) fn check_limits(text: &str, dependencies: &[Dependency<'_>]) -> Result<(), LanguageError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(LanguageError::TooLarge { len: text.len() });
    }
    if dependencies.len() > MAX_DEPENDENCIES {
        return Err(LanguageError::TooManyReferences {
            count: dependencies.len(),
        });
    }
    let len = dependencies.iter().map(|dependency| dependency.text.len()).sum();
    if len > MAX_DEPENDENCY_BYTES {
        return Err(LanguageError::ReferencesTooLarge { len });
    }
    Ok(())
}
