//! A registered schema, compiled once and shared by every decoder.

use std::sync::atomic::{AtomicU64, Ordering};

use jsonschema::{ValidationOptions, Validator};
use serde_json::Value;
use tributary_shared::wire::{Reason, SchemaInfo, SchemaRef};

use super::checker::check_one;
use super::messages::{DecodeLimits, SchemaError};
use super::plan::Plan;
use super::reasons::{judge, reason};

/// The longest schema text, in bytes.
pub const MAX_SCHEMA_TEXT: usize = 1 << 20;

/// What a stream's events must be, and how they become columns. Immutable; share it by `Arc`.
#[derive(Debug)]
pub struct StreamSchema {
    reference: Option<SchemaRef>,
    /// Tells the schemas of one process apart, so that a decoder finds the builders that fit.
    pub(super) unique: u64,
    pub(super) judged: Option<Judged>,
}

/// A schema's two ways to judge: quickly, field by field, and wholly.
#[derive(Debug)]
pub(super) struct Judged {
    pub validator: Validator,
    pub plan: Plan,
}

/// The one place that says how schemas are read: nothing is ever fetched, and formats are rules.
pub(super) fn options() -> ValidationOptions<'static> {
    jsonschema::options().offline().should_validate_formats(true)
}

fn next_unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl StreamSchema {
    /// Compiles a registered JSON Schema. Costs milliseconds: once a version, not once a batch.
    ///
    /// # Errors
    /// [`SchemaError`] when this gateway cannot judge events by it.
    pub fn compile(info: &SchemaInfo) -> Result<Self, SchemaError> {
        if info.format != "JSON" {
            return Err(SchemaError::Format(info.format.clone()));
        }
        if info.text.len() > MAX_SCHEMA_TEXT {
            return Err(SchemaError::TooLarge {
                len: info.text.len(),
                limit: MAX_SCHEMA_TEXT,
            });
        }
        let root: Value =
            serde_json::from_str(&info.text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        let validator = options().build(&root).map_err(|error| SchemaError::Invalid {
            path: error.instance_path().as_str().to_owned(),
            message: error.to_string().chars().take(300).collect(),
        })?;
        let plan = Plan::build(&root, validator.draft())?;
        let reference = Some(SchemaRef {
            id: info.id,
            version: info.version,
        });
        Ok(Self {
            reference,
            unique: next_unique(),
            judged: Some(Judged { validator, plan }),
        })
    }

    /// For a stream without a schema: every JSON object is valid, and columns follow the values.
    #[must_use]
    pub fn schemaless() -> Self {
        Self {
            reference: None,
            unique: next_unique(),
            judged: None,
        }
    }

    #[must_use]
    pub fn schema_ref(&self) -> Option<SchemaRef> {
        self.reference
    }

    /// Judges one payload, as the decoder would. Many are judged quicker by one [`super::Checker`].
    ///
    /// # Errors
    /// The reasons why it would become a dead letter, at least one.
    pub fn check(&self, payload: &[u8]) -> Result<(), Vec<Reason>> {
        let text = text_of(payload, DecodeLimits::default().event_bytes).map_err(|reason| vec![reason])?;
        match &self.judged {
            None => judge(None, text),
            Some(judged) => check_one(judged, text),
        }
    }
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
