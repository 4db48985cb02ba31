//! One value, as it stands in a window's row, in a group key, or in one row of a batch.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tributary_shared::time::{Millis, to_rfc3339};

/// Integers up to here are exact as a 64-bit float.
const EXACT_IN_FLOAT: f64 = 9_007_199_254_740_992.0;

/// A value of a view. Floats are always finite and never `-0.0`, so that equal values are equal bits.
///
/// Serialized, a time is RFC 3339 text and everything else is the JSON value of that kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scalar {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Time(Millis),
}

impl Scalar {
    /// `None` for NaN and infinities, which no value may be.
    #[must_use]
    pub fn finite(value: f64) -> Option<Self> {
        // adding zero turns -0.0 into 0.0
        value.is_finite().then_some(Self::Float(value + 0.0))
    }

    /// The number with JSON's single number type: an integral float is the integer.
    #[must_use]
    pub fn normalised(self) -> Self {
        match self {
            Self::Float(value) => integral(value).map_or(Self::Float(value), Self::Int),
            other => other,
        }
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The number, if it is one. Integers beyond 2^53 are rounded.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// Three-valued comparison: `None` when either side is NULL or the two kinds cannot be compared.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Int(b)) | (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Text(a), Self::Text(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (a, b) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        }
    }

    /// A total order over all values, for min and max over mixed columns and for the order of rows: NULL,
    /// booleans, times, numbers, texts.
    #[must_use]
    pub fn total_cmp(&self, other: &Self) -> Ordering {
        // within one rank everything but two NULLs compares
        self.rank()
            .cmp(&other.rank())
            .then_with(|| self.compare(other).unwrap_or(Ordering::Equal))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Time(_) => 2,
            Self::Int(_) | Self::Float(_) => 3,
            Self::Text(_) => 4,
        }
    }

    /// Whether a text from a query string names this value: as text, or as an equal number.
    #[must_use]
    pub fn matches_text(&self, text: &str) -> bool {
        match self {
            Self::Null => text.is_empty() || text == "null",
            Self::Bool(value) => text == if *value { "true" } else { "false" },
            Self::Int(value) => match text.parse::<i64>() {
                Ok(given) => given == *value,
                Err(_) => text.parse::<f64>().is_ok_and(|given| given == *value as f64),
            },
            Self::Float(value) => text.parse::<f64>().is_ok_and(|given| given == *value),
            Self::Text(value) => **value == *text,
            Self::Time(value) => tributary_shared::time::parse_rfc3339(text)
                .or_else(|| text.parse().ok())
                .is_some_and(|given| given == *value),
        }
    }
}

/// The integer that equals this float, when there is one and no float between hides another.
#[must_use]
pub fn integral(value: f64) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() <= EXACT_IN_FLOAT).then_some(value as i64)
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Time(value) => serializer.serialize_str(&to_rfc3339(*value)),
        }
    }
}
