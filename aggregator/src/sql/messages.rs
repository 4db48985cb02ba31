//! What goes into and comes out of ad-hoc SQL.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::view::ColumnType;

/// The longest statement, in bytes.
pub const MAX_QUERY: usize = 64 * 1024;

/// What one question may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlLimits {
    /// Rows of the answer; what is beyond is cut off, and the answer says so.
    pub rows: usize,
    /// Bytes of the answer's values.
    pub answer_bytes: usize,
    /// The longest single text or blob, also of what is computed on the way.
    pub value_bytes: i32,
    /// From the first step to the last.
    pub time: Duration,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self {
            rows: 10_000,
            answer_bytes: 16 * 1024 * 1024,
            value_bytes: 4 * 1024 * 1024,
            time: Duration::from_secs(10),
        }
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SqlAnswer {
    pub columns: Vec<AnswerColumn>,
    pub rows: Vec<Vec<Value>>,
    /// There were more rows than the limit.
    pub truncated: bool,
}

/// A column of an answer. `Any` when its values are of several types, or all NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnswerColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    #[error("the query has {len} bytes, the limit is {MAX_QUERY}")]
    TooLong { len: usize },
    #[error("the query is empty; write one SELECT")]
    Empty,
    #[error("there is more than one statement; write one SELECT")]
    SeveralStatements,
    /// `offset` counts bytes of the query from 0.
    #[error("{message}")]
    Invalid { message: String, offset: Option<usize> },
    #[error("only reading is allowed here: {what}")]
    Forbidden { what: String },
    #[error("the query ran for {} s, which is the limit; narrow it, for example by window_start", .limit.as_secs_f64())]
    TooSlow { limit: Duration },
    #[error("the answer has more than {limit} bytes; ask for fewer rows or columns")]
    TooLarge { limit: usize },
    #[error("the query failed: {0}")]
    Failed(rusqlite::Error),
}
