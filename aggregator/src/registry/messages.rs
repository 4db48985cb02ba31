//! What is passed to and from the registry.

use std::str::FromStr;
use std::sync::Arc;

use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;
use tributary_shared::wire::SchemaInfo;

/// The largest schema text: it must fit a control frame with room to spare.
pub const MAX_SCHEMA_BYTES: usize = 1 << 20;
/// The longest subject name, in bytes.
pub const MAX_SUBJECT: usize = 255;

/// The language that a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaFormat {
    Json,
}

impl SchemaFormat {
    /// As the Confluent API and [`SchemaInfo::format`] write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "JSON",
        }
    }
}

impl FromStr for SchemaFormat {
    type Err = RegistryError;

    fn from_str(text: &str) -> Result<Self, RegistryError> {
        match text {
            "JSON" => Ok(Self::Json),
            other => Err(RegistryError::UnknownFormat {
                format: other.chars().take(40).collect(),
            }),
        }
    }
}

/// Where a schema stands after it was registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Global: the same text has the same id under every subject.
    pub id: u32,
    pub version: u32,
    /// `false` when the subject had this text already.
    pub created: bool,
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectVersion {
    pub subject: String,
    pub schema: SchemaInfo,
    pub registered_at: Millis,
}

/// A stream has a new newest schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    pub stream: StreamName,
    pub schema: Arc<SchemaInfo>,
}

/// Which version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Latest,
    Number(u32),
}

/// Why the registry refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{subject:?} is not a subject: use 1 to {MAX_SUBJECT} bytes without control characters")]
    InvalidSubject { subject: String },
    #[error("{format:?} schemas are not supported; use JSON")]
    UnknownFormat { format: String },
    #[error("the schema has {len} bytes, the limit is {MAX_SCHEMA_BYTES}")]
    TooLarge { len: usize },
    #[error("the schema is not JSON: line {line}, column {column}: {message}")]
    Malformed {
        line: usize,
        column: usize,
        message: String,
    },
    /// `path` is a JSON Pointer into the schema; empty for the whole of it.
    #[error("the schema is not valid at {}: {message}", if path.is_empty() { "its top" } else { path })]
    Invalid { path: String, message: String },
    #[error("subject {subject:?} is not known")]
    UnknownSubject { subject: String },
    #[error("subject {subject:?} has no version {version}")]
    UnknownVersion { subject: String, version: u32 },
    #[error("no schema has id {id}")]
    UnknownId { id: u32 },
    #[error("registry.db has format {found}, this program reads up to {known}; use a newer program")]
    FormatTooNew { found: i64, known: i64 },
    #[error("the registry's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
