//! Checks of one field's value, made while it is read.
//!
//! They prove validity and never invalidity: a value that fails one is judged again by the whole validator.
//! So they may be stricter than JSON Schema (huge integers, rare ways to write a time), never laxer.

use std::collections::HashSet;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value};

use super::kind::Kind;
use super::number::Number;
use super::time::EventTime;

/// Integers up to here are exact as a float; limits and values beyond are left to the validator.
const MAX_EXACT: i64 = 1 << 53;

/// What a field's value must be. The default lets everything through.
#[derive(Debug)]
pub(super) struct Checks {
    /// The field may not be there at all.
    pub forbidden: bool,
    pub null: bool,
    pub range: Option<Range>,
    pub whole: WholeCheck,
    pub text: TextCheck,
    /// First byte of the value: of an object or of an array.
    pub opens_with: Option<u8>,
    /// For all that the checks above cannot say.
    pub validator: Option<Box<Validator>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            forbidden: false,
            null: true,
            range: None,
            whole: WholeCheck::default(),
            text: TextCheck::default(),
            opens_with: None,
            validator: None,
        }
    }
}

impl Checks {
    /// The limits of a field of integers.
    #[inline]
    pub(super) fn allow_int(&self, value: i64) -> bool {
        self.range.is_none_or(|range| range.has_int(value)) && self.whole.allows(value)
    }

    /// The limits of a field of numbers.
    #[inline]
    pub(super) fn allow_number(&self, value: Number) -> bool {
        self.range.is_none_or(|range| match value {
            Number::Int(value) => range.has_int(value),
            Number::Float(value) => range.has_float(value),
        })
    }

    /// Whether an object or array may stand here, by the first byte of its text.
    #[inline]
    pub(super) fn allow_json(&self, opens_with: u8) -> bool {
        self.opens_with.is_none_or(|byte| opens_with == byte)
    }
}

/// Limits of a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    min: f64,
    max: f64,
    above: f64,
    below: f64,
}

impl Range {
    #[inline]
    pub(super) fn has_float(&self, value: f64) -> bool {
        self.min <= value && value <= self.max && self.above < value && value < self.below
    }

    #[inline]
    pub(super) fn has_int(&self, value: i64) -> bool {
        (-MAX_EXACT..=MAX_EXACT).contains(&value) && self.has_float(value as f64)
    }
}

/// Rules for an integer beyond its range.
#[derive(Debug, Default)]
pub(super) struct WholeCheck {
    /// Positive.
    multiple_of: Option<i64>,
    one_of: Option<Vec<i64>>,
}

impl WholeCheck {
    #[inline]
    pub(super) fn allows(&self, value: i64) -> bool {
        self.multiple_of.is_none_or(|of| value % of == 0)
            && self
                .one_of
                .as_ref()
                .is_none_or(|choices| choices.contains(&value))
    }
}

/// Rules for a text.
#[derive(Debug, Default)]
pub(super) struct TextCheck {
    /// Code points.
    min_chars: Option<u64>,
    /// Code points.
    max_chars: Option<u64>,
    one_of: Option<Choices>,
    pub date_time: bool,
    /// Of the whole property, for what the checks above cannot say: patterns and formats. Asked once for each
    /// value of a dictionary, not once a row.
    validator: Option<Box<Validator>>,
}

impl TextCheck {
    /// `time` is what the text says as event time, when it is the event-time field and was parsed already.
    #[inline]
    pub(super) fn allows(&self, text: &str, time: Option<EventTime>) -> bool {
        self.allows_length(text)
            && self.one_of.as_ref().is_none_or(|choices| choices.has(text))
            && (!self.date_time
                || matches!(
                    time.unwrap_or_else(|| EventTime::of_text(text)),
                    EventTime::Common(_)
                ))
            && self
                .validator
                .as_ref()
                .is_none_or(|validator| validator.is_valid(&Value::from(text)))
    }

    #[inline]
    fn allows_length(&self, text: &str) -> bool {
        if self.min_chars.is_none() && self.max_chars.is_none() {
            return true;
        }
        let bytes = text.len() as u64;
        // a code point has one to four bytes: most texts need no counting
        let min = self.min_chars.unwrap_or(0);
        let max = self.max_chars.unwrap_or(u64::MAX);
        if bytes <= max && bytes / 4 >= min {
            return true;
        }
        (min..=max).contains(&(text.chars().count() as u64))
    }
}

/// The texts of an `enum`.
#[derive(Debug)]
enum Choices {
    Few(Vec<Box<str>>),
    Many(HashSet<Box<str>>),
}

/// Up to here, comparing beats hashing.
const FEW: usize = 12;

impl Choices {
    fn new(texts: Vec<Box<str>>) -> Self {
        if texts.len() <= FEW {
            Self::Few(texts)
        } else {
            Self::Many(texts.into_iter().collect())
        }
    }

    fn has(&self, text: &str) -> bool {
        match self {
            Self::Few(texts) => texts.iter().any(|choice| choice.as_ref() == text),
            Self::Many(texts) => texts.contains(text),
        }
    }
}

/// Keywords that say nothing about validity.
pub(super) fn is_annotation(keyword: &str) -> bool {
    keyword.starts_with("x-")
        || matches!(
            keyword,
            "title"
                | "description"
                | "default"
                | "examples"
                | "deprecated"
                | "readOnly"
                | "writeOnly"
                | "$comment"
        )
}

/// The checks of a property's schema; `None` when it cannot be judged apart from the whole schema.
/// `outside` is for a property without a column, which only a validator can check.
pub(super) fn compile(schema: &Value, kind: Kind, outside: bool, draft: Draft) -> Option<Checks> {
    if schema == &Value::Bool(true) {
        return Some(Checks::default());
    }
    if let Some(keywords) = schema.as_object()
        && !outside
        && let Some(checks) = native(keywords, kind, draft)
    {
        return Some(checks);
    }
    if refers(schema) {
        return None;
    }
    let validator = super::schema::validator(schema, Some(draft), None).ok()?;
    Some(Checks {
        validator: Some(Box::new(validator)),
        ..Checks::default()
    })
}

/// Keywords that give a schema a place in a larger whole, or look at one.
fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| {
            let reference = matches!(
                key.as_str(),
                "$ref"
                    | "$dynamicRef"
                    | "$recursiveRef"
                    | "$id"
                    | "id"
                    | "$anchor"
                    | "$dynamicAnchor"
                    | "$schema"
            );
            (reference && value.is_string()) || refers(value)
        }),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// Checks without a validator; `None` when a keyword needs one.
fn native(keywords: &Map<String, Value>, kind: Kind, draft: Draft) -> Option<Checks> {
    if keywords.keys().all(|keyword| is_annotation(keyword)) {
        return Some(Checks::default());
    }
    if let Some(only) = nullable(keywords) {
        let mut checks = native(only, kind, draft)?;
        checks.null = true;
        return Some(checks);
    }
    if matches!(kind, Kind::Time(_) | Kind::Unsigned) {
        // these columns take texts and numbers, which no check here can
        return None;
    }
    let null = match keywords.get("type") {
        Some(types) => may_be_null(types)?,
        // only an enum of texts can stand for a type
        None => kind == Kind::Text,
    };
    let mut checks = Checks {
        null,
        ..Checks::default()
    };
    if kind == Kind::Json {
        checks.opens_with = Some(opening(keywords.get("type")?)?);
    }
    let mut judged = false;
    for (keyword, value) in keywords {
        match keyword.as_str() {
            "type" => {}
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
                let limit = exact_limit(value)?;
                let range = checks.range.get_or_insert(Range {
                    min: f64::NEG_INFINITY,
                    max: f64::INFINITY,
                    above: f64::NEG_INFINITY,
                    below: f64::INFINITY,
                });
                match keyword.as_str() {
                    "minimum" => range.min = limit,
                    "maximum" => range.max = limit,
                    "exclusiveMinimum" => range.above = limit,
                    _ => range.below = limit,
                }
            }
            "minLength" => checks.text.min_chars = Some(value.as_u64()?),
            "maxLength" => checks.text.max_chars = Some(value.as_u64()?),
            "multipleOf" if kind == Kind::Int => {
                checks.whole.multiple_of = Some(value.as_i64().filter(|of| *of > 0)?);
            }
            "enum" if kind == Kind::Int => {
                let values = value.as_array()?;
                checks.null &= values.contains(&Value::Null);
                let ints = values.iter().filter(|value| !value.is_null()).map(Value::as_i64);
                checks.whole.one_of = Some(ints.collect::<Option<_>>()?);
            }
            "pattern" | "format" if kind == Kind::Text && value != "date-time" => judged = true,
            "enum" | "const" if kind == Kind::Text => {
                let values = if keyword == "enum" {
                    value.as_array()?.as_slice()
                } else {
                    std::slice::from_ref(value)
                };
                if checks.text.one_of.is_some() {
                    return None;
                }
                checks.null &= values.contains(&Value::Null);
                let texts = values.iter().filter_map(Value::as_str).map(Into::into).collect();
                checks.text.one_of = Some(Choices::new(texts));
            }
            "format" if value == "date-time" && kind == Kind::Text => checks.text.date_time = true,
            // formats are about texts
            "format" if matches!(kind, Kind::Int | Kind::Float | Kind::Bool) => {}
            other if is_annotation(other) => {}
            _ => return None,
        }
    }
    if judged {
        let whole = Value::Object(keywords.clone());
        let validator = super::schema::validator(&whole, Some(draft), None).ok()?;
        checks.text.validator = Some(Box::new(validator));
    }
    Some(checks)
}

/// The schema of `{"anyOf": [schema, {"type": "null"}]}`, which generators write for what may be missing.
fn nullable(keywords: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let mut found = None;
    for (keyword, value) in keywords {
        match keyword.as_str() {
            "anyOf" => found = Some(value.as_array()?),
            other if is_annotation(other) => {}
            _ => return None,
        }
    }
    let is_null = |schema: &Value| {
        schema
            .as_object()
            .is_some_and(|map| map.len() == 1 && map.get("type") == Some(&Value::from("null")))
    };
    match found?.as_slice() {
        [null, only] | [only, null] if is_null(null) && !is_null(only) => only.as_object(),
        _ => None,
    }
}

fn may_be_null(types: &Value) -> Option<bool> {
    match types {
        Value::String(name) => Some(name == "null"),
        Value::Array(names) => Some(names.iter().any(|name| name == "null")),
        _ => None,
    }
}

/// The first byte of a value that may only be an object, or only an array.
fn opening(types: &Value) -> Option<u8> {
    let of_name = |name: &str| match name {
        "object" => Some(b'{'),
        "array" => Some(b'['),
        _ => None,
    };
    match types {
        Value::String(name) => of_name(name),
        Value::Array(names) => {
            let mut others = names.iter().filter(|name| *name != "null");
            let only = others.next()?.as_str()?;
            if others.next().is_some() {
                None
            } else {
                of_name(only)
            }
        }
        _ => None,
    }
}

fn exact_limit(value: &Value) -> Option<f64> {
    match value.as_i64() {
        Some(limit) => (-MAX_EXACT..=MAX_EXACT).contains(&limit).then_some(limit as f64),
        None if value.is_f64() => value.as_f64(),
        None => None,
    }
}
