//! Why the registry refuses or fails.

use tributary_schema::compat::{CompatibilityLevel, UnknownLevel};
use tributary_schema::language::{LanguageError, UnknownFormat};

use super::messages::{MAX_ANNEX_BYTES, MAX_REFERENCES, MAX_RESOLVED_BYTES, MAX_SUBJECT};
use super::rules::{Mode, State, Step};

#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{subject:?} is not a subject: use 1 to {MAX_SUBJECT} bytes without control characters")]
    InvalidSubject { subject: String },
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    #[error(transparent)]
    Level(#[from] UnknownLevel),
    #[error("{mode:?} is not a mode; use READWRITE, READONLY, READONLY_OVERRIDE or IMPORT")]
    Mode { mode: String },
    #[error("the schema has more than {MAX_RESOLVED_BYTES} bytes together with what it refers to")]
    TooLargeResolved,
    #[error("{what} has more than {MAX_ANNEX_BYTES} bytes of JSON")]
    TooLargeAnnex { what: &'static str },
    #[error(transparent)]
    Language(#[from] LanguageError),
    #[error("reference {name:?}: {why}")]
    Reference { name: String, why: String },
    #[error("a schema may refer to {MAX_REFERENCES} others, those that they refer to included")]
    TooManyReferences,
    #[error("version {given} is not the next one, {next}")]
    NotNextVersion { given: u32, next: u32 },

    #[error("{language} schemas have no output format {format:?}; leave `format` out")]
    OutputFormat { format: String, language: &'static str },

    #[error("Subject '{subject}' not found.")]
    UnknownSubject { subject: String },
    #[error("Version {version} not found.")]
    UnknownVersion { subject: String, version: u32 },
    #[error("subject '{subject}' has no version that is active or deprecated")]
    NoLatest { subject: String },
    #[error("Schema {id} not found")]
    UnknownId { id: u32 },
    #[error("subject '{subject}' does not have this schema")]
    UnknownSchema { subject: String },
    #[error("Subject '{subject}' was soft deleted. Set permanent=true to delete permanently")]
    SubjectDeleted { subject: String },
    #[error("Subject '{subject}' was not deleted first before being permanently deleted")]
    SubjectNotDeleted { subject: String },
    #[error(
        "Subject '{subject}' Version {version} was soft deleted. Set permanent=true to delete permanently"
    )]
    VersionDeleted { subject: String, version: u32 },
    #[error("Subject '{subject}' Version {version} was not deleted first before being permanently deleted")]
    VersionNotDeleted { subject: String, version: u32 },
    #[error("Subject '{subject}' does not have subject-level compatibility configured")]
    NoSubjectLevel { subject: String },
    #[error("Subject '{subject}' does not have subject-level mode configured")]
    NoSubjectMode { subject: String },

    #[error("the schema is incompatible with an earlier one of subject {subject:?} (compatibility {level}): {}", messages.join("; "))]
    Incompatible {
        subject: String,
        level: CompatibilityLevel,
        messages: Vec<String>,
    },
    #[error("Subject {subject} is in {} mode: nothing of it can be changed", mode.words())]
    ReadOnly { subject: String, mode: Mode },
    #[error(
        "Subject {subject} is not in import mode: ids are given by the registry; PUT /mode/{subject} first"
    )]
    NotImporting { subject: String },
    #[error("Subject {subject} is in import mode: give the schema's id")]
    Importing { subject: String },
    #[error(
        "there are subjects with schemas already (for example {subject:?}): delete them first, or say force=true"
    )]
    NotEmpty { subject: String },
    #[error("another schema has id {id} already")]
    IdTaken { id: u32 },
    #[error("this schema has another id already, {id}")]
    OtherId { id: u32 },
    #[error("subject {subject:?} has another schema as version {version}")]
    VersionTaken { subject: String, version: u32 },
    #[error(
        "version {version} of subject {subject:?} is referred to by the schemas {ids:?}: delete those first"
    )]
    Referenced {
        subject: String,
        version: u32,
        ids: Vec<u32>,
    },

    #[error("version {version} of subject {subject:?} is {}: it cannot be {}", state.as_str(), step.done())]
    WrongState {
        subject: String,
        version: u32,
        state: State,
        step: Step,
    },
    #[error("version {version} of subject {subject:?} is retired: activate it, or register another schema")]
    Retired { subject: String, version: u32 },
    #[error("version {version} of subject {subject:?} waits for somebody of role {role:?}")]
    NotApprover {
        subject: String,
        version: u32,
        role: String,
    },
    #[error("who approves versions of subject {subject:?} is changed by somebody of role {role:?} only")]
    NotApproverOf { subject: String, role: String },
    #[error(
        "version {version} of subject {subject:?} is still sent by {agents:?}; say force to retire it all the same"
    )]
    InUse {
        subject: String,
        version: u32,
        agents: Vec<String>,
    },
    #[error(
        "version {version} is the last of subject {subject:?} that is not retired: the stream would take any event; say force to retire it all the same"
    )]
    LastOne { subject: String, version: u32 },

    #[error("registry.db has format {found}, this program reads up to {known}; use a newer program")]
    FormatTooNew { found: i64, known: i64 },
    #[error("registry.db is damaged: {what}")]
    Damaged { what: String },
    #[error("the registry's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
