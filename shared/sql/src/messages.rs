//! What a view is made of, as others see it.

use serde::Serialize;

/// The longest SQL text of a view, in bytes.
pub const MAX_SQL: usize = 16 * 1024;
/// The longest name of a view, in bytes.
pub const MAX_VIEW_NAME: usize = 128;

/// A column of a view, in SELECT order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// How far values may be from the true ones; none where they are exact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBound>,
}

impl Column {
    /// A column of exact values.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        Self {
            name: name.into(),
            kind,
            error: None,
        }
    }
}

/// How far an approximate value may be from the true one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ErrorBound {
    pub kind: ErrorKind,
    pub bound: f64,
    /// The share of cases that keep the bound; all of them when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// A group of up to so many (distinct) values has no error.
    pub exact_up_to: usize,
}

// bounds are constants, and none is NaN
impl Eq for ErrorBound {}

/// What a bound is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The true value.
    Relative,
    /// The group's rows: by so many may counts be too low.
    ShareOfRows,
}

/// What a column's values are. `Any` when only the data can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    Timestamp,
    Integer,
    Number,
    Text,
    Boolean,
    /// A JSON text; in JSON, what it says.
    Json,
    Any,
}

/// Why a view's SQL is refused, and where. `line` and `column` count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message} (line {line}, column {column}){}{}", if hint.is_empty() { "" } else { "; " }, hint)]
pub struct ViewError {
    pub message: String,
    pub line: u64,
    pub column: u64,
    /// What to write instead; empty when there is nothing to advise.
    pub hint: String,
}

impl ViewError {
    pub fn new(place: (u64, u64), message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (line, column) = (place.0.max(1), place.1.max(1));
        Self {
            message: message.into(),
            line,
            column,
            hint: hint.into(),
        }
    }
}
