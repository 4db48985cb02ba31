//! Why a row became a dead letter, in words that name the field.
//!
//! A row is judged in this order, so that the same row always gets the same reasons: `too_large`,
//! `malformed`, `out_of_range` (a number that is not finite), `duplicate_key`, the schema's own keywords, and
//! last what only the columns know: `out_of_range` (an integer beyond 64 bits) and `event_time`.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;
use tributary_shared::wire::Reason;

use super::keys::KeySet;
use super::scan::{Cursor, Problem, ScanError};

/// The most reasons that one dead letter carries.
pub(super) const MAX_REASONS: usize = 16;
/// The longest message and the longest path of a reason, in bytes.
const MAX_WORDS: usize = 300;

pub(super) fn reason(path: String, rule: &str, message: impl Into<String>) -> Reason {
    let (mut path, mut message) = (path, message.into());
    shorten(&mut path);
    shorten(&mut message);
    Reason {
        path,
        rule: rule.to_owned(),
        message,
    }
}

fn shorten(text: &mut String) {
    if text.len() > MAX_WORDS {
        text.truncate(text.floor_char_boundary(MAX_WORDS));
        text.push('…');
    }
}

/// The JSON Pointer of a top-level field.
pub(super) fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

pub(super) fn malformed(error: ScanError) -> Reason {
    let rule = if error.problem == Problem::NotFinite {
        "out_of_range"
    } else {
        "malformed"
    };
    reason(
        String::new(),
        rule,
        format!("byte {}: {}", error.at, error.problem.words()),
    )
}

/// Judges a row by everything but the columns.
///
/// # Errors
/// The reasons, at least one.
pub(super) fn judge(validator: Option<&Validator>, text: &str) -> Result<(), Vec<Reason>> {
    structure(text).map_err(|reason| vec![reason])?;
    let Some(validator) = validator else { return Ok(()) };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| vec![reason(String::new(), "malformed", error.to_string())])?;
    if validator.is_valid(&value) {
        return Ok(());
    }
    let mut reasons = Vec::new();
    for error in validator.iter_errors(&value) {
        explain(&error, &mut reasons);
        if reasons.len() >= MAX_REASONS {
            break;
        }
    }
    if reasons.is_empty() {
        reasons.push(reason(String::new(), "schema", "the schema rejects the event"));
    }
    reasons.truncate(MAX_REASONS);
    Err(reasons)
}

/// One reason for each field that an error names.
fn explain(error: &ValidationError<'_>, reasons: &mut Vec<Reason>) {
    let path = error.instance_path().as_str();
    let rule = error.kind().keyword();
    let message = error.to_string();
    match error.kind() {
        ValidationErrorKind::Required {
            property: Value::String(name),
        } => {
            reasons.push(reason(format!("{path}{}", pointer(name)), rule, message));
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(MAX_REASONS) {
                let message = format!("the schema does not allow the property {name:?}");
                reasons.push(reason(format!("{path}{}", pointer(name)), rule, message));
            }
        }
        ValidationErrorKind::BacktrackLimitExceeded { .. } => {
            let message = "the schema's pattern takes too many steps on this value: write it without lookaround and backreferences";
            reasons.push(reason(path.to_owned(), "pattern_limit", message));
        }
        _ => reasons.push(reason(path.to_owned(), rule, message)),
    }
}

/// Whether a text is an event at all, whatever its schema: a well-formed JSON object with finite numbers and
/// distinct keys.
#[must_use]
pub fn is_event(text: &str) -> bool {
    structure(text).is_ok()
}

/// Whether the row is a well-formed JSON object with finite numbers and distinct keys.
fn structure(text: &str) -> Result<(), Reason> {
    let mut cursor = Cursor::new(text);
    let mut keys = KeySet::default();
    let (mut out_of_range, mut duplicate) = (None, None);
    let mut first = true;
    cursor.open_row().map_err(malformed)?;
    while cursor.next_member(first).map_err(malformed)? {
        first = false;
        let key = cursor.key().map_err(malformed)?;
        let name = || key.decode(&mut String::new()).to_owned();
        if duplicate.is_none() && !keys.insert(key) {
            let message = "the key stands in the event more than once";
            duplicate = Some(reason(pointer(&name()), "duplicate_key", message));
        }
        cursor.skip_space();
        match cursor.skip_value() {
            Ok(()) => {}
            Err(error) if error.problem == Problem::NotFinite => {
                out_of_range
                    .get_or_insert_with(|| reason(pointer(&name()), "out_of_range", error.problem.words()));
                // the rest may be malformed, which weighs more, but serde_json stops here as well
                break;
            }
            Err(error) => return Err(malformed(error)),
        }
    }
    out_of_range.or(duplicate).map_or(Ok(()), Err)
}
