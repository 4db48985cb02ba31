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
