//! A registered schema, compiled once and shared by every decoder.

use std::sync::atomic::{AtomicU64, Ordering};

use jsonschema::{Draft, PatternOptions, Registry, ValidationError, ValidationOptions, Validator};
use serde_json::Value;
use tributary_shared::wire::{NamedText, Reason, SchemaInfo, SchemaRef};

#[cfg(feature = "columns")]
use super::avro::{self, AvroSchema};
use super::fields::Asked;
use super::kind::Kind;
use super::messages::SchemaError;
use super::plan::Plan;
#[cfg(feature = "columns")]
use super::protobuf::ProtobufSchema;
use super::reasons::reason;
#[cfg(feature = "columns")]
use super::rules::{self, Rule};
#[cfg(feature = "columns")]
use super::writers::Writers;
#[cfg(feature = "columns")]
use crate::language::{self, Dependency, LanguageError, ParsedSchema, SchemaFormat};

/// The longest schema text, in bytes.
pub const MAX_SCHEMA_TEXT: usize = 1 << 20;

/// What a stream's events must be, and how they become columns. Immutable; share it by `Arc`.
#[derive(Debug)]
pub struct StreamSchema {
    reference: Option<SchemaRef>,
    /// Tells the schemas of one process apart, so that a decoder finds the builders that fit.
    pub(super) unique: u64,
    pub(super) judged: Option<Judged>,
    pub(super) language: Language,
    #[cfg(feature = "columns")]
    pub(super) rules: Vec<Rule>,
}

/// What rows that were written with a schema look like.
#[derive(Debug)]
pub(super) enum Language {
    Json,
    /// With the columns of its fields.
    #[cfg(feature = "columns")]
    Avro(AvroSchema, Vec<(String, Kind)>),
    #[cfg(feature = "columns")]
    Protobuf(ProtobufSchema),
}

/// A schema's two ways to judge JSON: quickly, field by field, and wholly.
#[derive(Debug)]
pub(super) struct Judged {
    pub validator: Validator,
    pub plan: Plan,
    pub asked: Asked,
}

/// Steps that a pattern may take which cannot be matched in linear time. A value that needs more is a dead
/// letter (`pattern_limit`).
pub(crate) const MAX_BACKTRACKS: usize = 10_000;

/// The one place that says how schemas are read: nothing is ever fetched, and formats are rules.
pub(crate) fn options() -> ValidationOptions<'static> {
    jsonschema::options().offline().should_validate_formats(true)
}

/// Compiles a validator whose patterns run in linear time; with a bound on their steps where they cannot,
/// because they look around or back.
///
/// # Errors
/// When the schema is none, or refers to what is not at hand.
pub(super) fn validator(
    root: &Value,
    draft: Option<Draft>,
    registry: Option<&Registry<'_>>,
) -> Result<Validator, ValidationError<'static>> {
    let prepared = || {
        let options = match draft {
            Some(draft) => options().with_draft(draft),
            None => options(),
        };
        match registry {
            Some(registry) => options.with_registry(registry),
            None => options,
        }
    };
    prepared()
        .with_pattern_options(PatternOptions::regex())
        .build(root)
        .or_else(|_| {
            let bounded = PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS);
            prepared().with_pattern_options(bounded).build(root)
        })
}

fn next_unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl StreamSchema {
    /// Compiles a registered schema. Costs milliseconds: once a version, not once a batch.
    ///
    /// # Errors
    /// [`SchemaError`] when this gateway cannot judge events by it.
    pub fn compile(info: &SchemaInfo) -> Result<Self, SchemaError> {
        if info.text.len() > MAX_SCHEMA_TEXT {
            return Err(SchemaError::TooLarge {
                len: info.text.len(),
                limit: MAX_SCHEMA_TEXT,
            });
        }
        let (judged, language) = match info.format.as_str() {
            "JSON" => {
                let root = json(&info.text)?;
                (Judged::compile(&root, &info.references, &[])?, Language::Json)
            }
            #[cfg(feature = "columns")]
            "AVRO" => {
                let schema = parsed(SchemaFormat::Avro, info)?;
                let schema = schema.avro().and_then(AvroSchema::new);
                let schema = schema.ok_or_else(|| invalid("an event's schema must be a record"))?;
                let columns = avro::columns(&schema);
                let judged = Judged::compile(&columns.root, &[], &columns.kinds)?;
                (judged, Language::Avro(schema, columns.kinds))
            }
            #[cfg(feature = "columns")]
            "PROTOBUF" => {
                let schema = parsed(SchemaFormat::Protobuf, info)?;
                let schema = schema.protobuf().map(|schema| schema.file().clone());
                let schema = schema.and_then(ProtobufSchema::new);
                let (schema, columns) = schema.ok_or_else(|| invalid("the file defines no message"))?;
                let judged = Judged::compile(&columns.root, &[], &columns.kinds)?;
                (judged, Language::Protobuf(schema))
            }
            other => return Err(SchemaError::Format(other.to_owned())),
        };
        #[cfg(feature = "columns")]
        let rules = {
            let fields: Vec<&str> = judged.plan.columns().map(|(name, _)| name).collect();
            // a text that is no JSON brings no rules
            let root = serde_json::from_str(&info.text).unwrap_or_default();
            rules::compile(&info.format, &root, Some(&fields))?
        };
        Ok(Self {
            #[cfg(feature = "columns")]
            rules,
            reference: Some(SchemaRef {
                id: info.id,
                version: info.version,
            }),
            unique: next_unique(),
            judged: Some(judged),
            language,
        })
    }

    /// For a stream without a schema: every JSON object is valid, and columns follow the values.
    #[must_use]
    pub fn schemaless() -> Self {
        Self {
            reference: None,
            unique: next_unique(),
            judged: None,
            language: Language::Json,
            #[cfg(feature = "columns")]
            rules: Vec::new(),
        }
    }

    #[must_use]
    pub fn schema_ref(&self) -> Option<SchemaRef> {
        self.reference
    }

    /// The fields that the schema marks as keys, in its order.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        self.judged.as_ref().map_or(&[], |judged| &judged.plan.keys)
    }

    /// The field that the schema marks as event time.
    #[must_use]
    pub fn event_time(&self) -> Option<&str> {
        let plan = &self.judged.as_ref()?.plan;
        let field = plan.event_time.filter(|_| plan.event_time_marked)?;
        Some(&plan.fields[field].name)
    }

    /// Judges one payload, as the decoder would; one in wire format must be written with this very schema. Many
    /// are judged quicker by one [`super::Checker`].
    ///
    /// # Errors
    /// The reasons why it would become a dead letter, at least one.
    pub fn check(&self, payload: &[u8]) -> Result<(), Vec<Reason>> {
        #[cfg(feature = "columns")]
        return self.check_with(payload, &Writers::default());
        #[cfg(not(feature = "columns"))]
        super::checker::check_one(self, payload)
    }

    /// Judges one payload, which may be written with any of `writers`.
    ///
    /// # Errors
    /// The reasons why it would become a dead letter, at least one.
    #[cfg(feature = "columns")]
    pub fn check_with(&self, payload: &[u8], writers: &Writers) -> Result<(), Vec<Reason>> {
        super::judge::check(self, payload, writers)
    }
}

impl Judged {
    fn compile(
        root: &Value,
        references: &[NamedText],
        kinds: &[(String, Kind)],
    ) -> Result<Self, SchemaError> {
        let references: Vec<(&str, Value)> = references
            .iter()
            .map(|reference| Ok((reference.name.as_str(), json(&reference.text)?)))
            .collect::<Result<_, SchemaError>>()?;
        let invalid = |path: String, error: String| SchemaError::Invalid {
            path,
            message: error.chars().take(300).collect(),
        };
        let mut registry = Registry::new();
        for (name, value) in &references {
            let added = registry.add(*name, value);
            registry = added.map_err(|error| invalid(String::new(), error.to_string()))?;
        }
        let registry = registry
            .prepare()
            .map_err(|error| invalid(String::new(), error.to_string()))?;
        let validator = validator(root, None, Some(&registry))
            .map_err(|error| invalid(error.instance_path().as_str().to_owned(), error.to_string()))?;
        let plan = Plan::build(root, validator.draft(), kinds)?;
        Ok(Self {
            validator,
            plan,
            asked: Asked::of(root),
        })
    }
}

/// The schema as the registry reads it.
#[cfg(feature = "columns")]
fn parsed(format: SchemaFormat, info: &SchemaInfo) -> Result<ParsedSchema, SchemaError> {
    let dependencies: Vec<Dependency<'_>> = info
        .references
        .iter()
        .map(|reference| Dependency {
            name: &reference.name,
            text: &reference.text,
        })
        .collect();
    language::parse(format, &info.text, &dependencies).map_err(|error| match error {
        LanguageError::Invalid { path, message } => SchemaError::Invalid { path, message },
        other => invalid(&other.to_string()),
    })
}

#[cfg(feature = "columns")]
fn invalid(message: &str) -> SchemaError {
    SchemaError::Invalid {
        path: String::new(),
        message: message.to_owned(),
    }
}

fn json(text: &str) -> Result<Value, SchemaError> {
    serde_json::from_str(text).map_err(|error| SchemaError::NotJson(error.to_string()))
}

/// The payload as text.
///
/// # Errors
/// `too_large`, or `malformed` when it is not UTF-8.
pub(super) fn text_of(payload: &[u8], limit: usize) -> Result<&str, Reason> {
    if payload.len() > limit {
        let message = format!("the event has {} bytes; the limit is {limit}", payload.len());
        return Err(reason(String::new(), "too_large", message));
    }
    std::str::from_utf8(payload).map_err(|error| {
        let message = format!("byte {}: not UTF-8", error.valid_up_to());
        reason(String::new(), "malformed", message)
    })
}
