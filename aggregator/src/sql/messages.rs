//! What goes into and comes out of ad-hoc SQL.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::view::{Column, Scalar};

/// The longest statement, in bytes.
pub const MAX_QUERY: usize = 64 * 1024;
/// How long a question may take.
pub const MAX_TIME: Duration = Duration::from_secs(10);

/// What one question may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlLimits {
    /// Rows of the answer; what is beyond is cut off, and the answer says so.
    pub rows: usize,
    /// Bytes of the answer's values.
    pub answer_bytes: usize,
    /// The longest single text or blob, also of what is computed on the way.
    pub value_bytes: i32,
}

impl Default for SqlLimits {
    fn default() -> Self {
        Self {
            rows: 10_000,
            answer_bytes: 16 * 1024 * 1024,
            value_bytes: 4 * 1024 * 1024,
        }
    }
}

/// When a question must have its answer, for all that work on it. Clones are not needed: it is shared.
#[derive(Debug)]
pub struct Deadline {
    limit: Duration,
    end: Instant,
    passed: AtomicBool,
    cancelled: AtomicBool,
}

impl Deadline {
    /// From now on.
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self {
            limit,
            end: Instant::now() + limit,
            passed: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
        }
    }

    /// Nobody waits for the answer any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether to stop. Whoever is told so stops: [`Self::was_missed`] remembers it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let over = self.cancelled.load(Ordering::Relaxed) || Instant::now() >= self.end;
        self.passed.fetch_or(over, Ordering::Relaxed);
        over
    }

    /// Whether somebody stopped for it.
    #[must_use]
    pub fn was_missed(&self) -> bool {
        self.passed.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SqlAnswer {
    /// `Any` when the values are of several types, or all NULL.
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Scalar>>,
    /// There were more rows than the limit.
    pub truncated: bool,
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
