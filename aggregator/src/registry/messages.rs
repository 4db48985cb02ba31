//! What is passed to and from the registry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tributary_schema::language::{MAX_DEPENDENCIES, MAX_TEXT_BYTES, SchemaFormat};
use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;
use tributary_shared::wire::SchemaInfo;

use super::rules::{Mode, State};

/// The largest schema text.
pub const MAX_SCHEMA_BYTES: usize = MAX_TEXT_BYTES;
/// A schema together with everything that it refers to: all of it travels in one control frame.
pub const MAX_RESOLVED_BYTES: usize = 3 << 19;
/// Schemas that one schema may refer to, those that they refer to included.
pub const MAX_REFERENCES: usize = MAX_DEPENDENCIES;
/// The longest subject name, in bytes.
pub const MAX_SUBJECT: usize = 255;
/// The largest `metadata` or `ruleSet`, as JSON text. They are kept, not read.
pub const MAX_ANNEX_BYTES: usize = 64 << 10;

/// Which version of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The newest that is active or deprecated.
    Latest,
    Number(u32),
}

/// One schema's word for another: a URI for JSON, a full name for Avro, an import's path for Protobuf.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub subject: String,
    pub version: u32,
}

/// A [`Reference`] that may ask for the latest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceAsked {
    pub name: String,
    pub subject: String,
    pub version: Version,
}

/// What a client sends to register, to look up, or to have checked.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSchema {
    pub format: SchemaFormat,
    pub text: String,
    pub references: Vec<ReferenceAsked>,
    /// Kept as given, and a part of what makes two schemas the same.
    pub metadata: Option<Value>,
    pub rule_set: Option<Value>,
    /// Only while the subject's mode is IMPORT.
    pub id: Option<u32>,
    pub version: Option<u32>,
    /// Register the normal form of the text, in which the order of what has no order does not count.
    pub normalize: bool,
}

impl NewSchema {
    #[must_use]
    pub fn new(format: SchemaFormat, text: impl Into<String>) -> Self {
        Self {
            format,
            text: text.into(),
            references: Vec::new(),
            metadata: None,
            rule_set: None,
            id: None,
            version: None,
            normalize: false,
        }
    }
}

/// A schema under its global id. Never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredSchema {
    pub id: u32,
    pub format: SchemaFormat,
    pub text: String,
    pub references: Vec<Reference>,
    pub metadata: Option<Value>,
    pub rule_set: Option<Value>,
}

/// One version of a subject.
#[derive(Debug, Clone, PartialEq)]
pub struct SubjectVersion {
    pub subject: String,
    pub version: u32,
    pub state: State,
    /// Deleted, but still readable: archived.
    pub deleted: bool,
    pub registered_at: Millis,
    pub schema: StoredSchema,
}

/// One version of a subject, without its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRow {
    pub version: u32,
    pub id: u32,
    pub state: State,
    pub deleted: bool,
    pub registered_at: Millis,
}

/// Where a schema stands after it was registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// Global: the same schema has the same id under every subject.
    pub id: u32,
    pub version: u32,
    /// [`State::Draft`] when the subject's approver has still to agree.
    pub state: State,
    /// `false` when the subject had this schema already.
    pub created: bool,
}

/// A stream is judged by another schema from now on; `None`: by none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    pub stream: StreamName,
    pub schema: Option<Arc<SchemaInfo>>,
}

/// Which versions or subjects to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deleted {
    #[default]
    Without,
    With,
    Only,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    pub offset: u64,
    /// `None`: all.
    pub limit: Option<u64>,
}

/// What is configured for one subject, or for all (the empty scope).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    pub level: Option<tributary_schema::compat::CompatibilityLevel>,
    pub normalize: Option<bool>,
    pub mode: Option<Mode>,
}

/// What the compatibility check says of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Empty: compatible. Each names the place and the rule that breaks.
    pub messages: Vec<String>,
}

/// Who asks for a change, and why. As claimed: the registry's port knows no users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    pub who: String,
    pub role: Option<String>,
    pub why: Option<String>,
}

impl By {
    /// What Tributary does by itself.
    #[must_use]
    pub fn itself(why: &str) -> Self {
        Self {
            who: "tributary".to_owned(),
            role: None,
            why: Some(why.to_owned()),
        }
    }
}

/// One line of the record of changes. Never changed, never deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Rises in the order of changes.
    pub no: i64,
    pub at: Millis,
    pub subject: String,
    pub version: Option<u32>,
    pub who: String,
    pub role: Option<String>,
    /// A snake-case word: `registered`, `retired` …
    pub what: String,
    pub detail: Option<String>,
    pub why: Option<String>,
}

/// Whose a subject is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Governance {
    pub owner: Option<String>,
    pub contact: Option<String>,
    pub description: Option<String>,
    /// With a role here, a new version waits as a draft until somebody of that role approves it.
    pub approver_role: Option<String>,
}

/// Events of one agent that one version judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub agent: String,
    pub version: u32,
    pub id: u32,
    pub rows: u64,
    pub first_seen: Millis,
    pub last_seen: Millis,
}
