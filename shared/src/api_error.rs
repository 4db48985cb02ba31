//! The shape of every JSON error that Tributary answers over HTTP.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `{"error":{"code":"snake_case","message":"what, where, and what to do", ...}}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// The inside of [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A stable, machine-readable word in snake case.
    pub code: String,
    /// What happened, where, and what to do about it.
    pub message: String,
    /// More, where it helps: `line`, `position`, `limit` …
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ErrorBody {
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        let error = ErrorDetail {
            code: code.to_owned(),
            message: message.into(),
            extra: Map::new(),
        };
        Self { error }
    }

    /// Adds one detail beside code and message.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.error.extra.insert(key.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|_| r#"{"error":{"code":"internal","message":""}}"#.to_owned())
    }
}
