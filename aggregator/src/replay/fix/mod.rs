//! Fixes: what is done to a payload before it is judged again. The original bytes stay as they are.
//!
//! A fix that is broken is refused before any letter is read. One that fails on a record leaves that record dead, with
//! the error among its reasons.

mod patch;
mod sql;

use serde_json::{Map, Value};

pub use sql::MAX_SQL;

use patch::Patcher;
use sql::SqlFixer;

/// Why a fix cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixError {
    #[error("a fix is one of {{\"json_patch\":[...]}} and {{\"sql\":\"...\"}}: {0}")]
    Shape(String),
    #[error("the JSON Patch (RFC 6902) cannot be read: {0}")]
    Patch(String),
    #[error("the SQL expression is refused: {0}")]
    Sql(String),
    #[error(
        "the SQL expression was stopped on {count} records because it ran longer than {limit_ms} ms; make it simpler"
    )]
    TooSlow { count: u32, limit_ms: u64 },
}

/// A fix that was read and can be tried.
#[derive(Debug, Clone, PartialEq)]
pub enum Fix {
    JsonPatch(json_patch::Patch),
    /// An expression over `payload`, in SQLite's dialect.
    Sql(String),
}

impl Fix {
    /// Reads `{"json_patch":[...]}` or `{"sql":"..."}`, and tries out that it can be used.
    ///
    /// # Errors
    /// [`FixError`] saying what is wrong with it.
    pub fn parse(value: Value) -> Result<Self, FixError> {
        let Value::Object(mut fields) = value else {
            return Err(FixError::Shape("it is no object".to_owned()));
        };
        let fix = match (fields.remove("json_patch"), fields.remove("sql")) {
            (Some(patch), None) => Self::JsonPatch(patch::parse(patch)?),
            (None, Some(Value::String(sql))) => Self::Sql(sql),
            (None, Some(_)) => return Err(FixError::Shape("sql is no text".to_owned())),
            (Some(_), Some(_)) => return Err(FixError::Shape("it has both".to_owned())),
            (None, None) => return Err(FixError::Shape("it has neither".to_owned())),
        };
        if let Some(surplus) = fields.keys().next() {
            return Err(FixError::Shape(format!("it has {surplus:?} as well")));
        }
        fix.fixer()?;
        Ok(fix)
    }

    /// As it was written, for the record.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (name, value) = match self {
            Self::JsonPatch(patch) => ("json_patch", serde_json::to_value(patch).unwrap_or_default()),
            Self::Sql(sql) => ("sql", Value::from(sql.as_str())),
        };
        Value::Object(Map::from_iter([(name.to_owned(), value)])).to_string()
    }

    /// What applies it. May be sent to another thread, and used by one at a time.
    ///
    /// # Errors
    /// [`FixError::Sql`] when SQLite refuses the expression.
    pub(super) fn fixer(&self) -> Result<Fixer, FixError> {
        Ok(match self {
            Self::JsonPatch(patch) => Fixer::Patch(Patcher::new(patch.clone())),
            Self::Sql(sql) => Fixer::Sql(Box::new(SqlFixer::new(sql)?)),
        })
    }
}

/// Applies one fix to payload after payload.
#[derive(Debug)]
pub(super) enum Fixer {
    Patch(Patcher),
    Sql(Box<SqlFixer>),
}

impl Fixer {
    /// The payload once fixed: a JSON object. The inner error is that of this payload, in words.
    ///
    /// # Errors
    /// [`FixError::TooSlow`] when it is not worth trying any further payload.
    pub fn fix(&mut self, payload: &[u8]) -> Result<Result<Vec<u8>, String>, FixError> {
        match self {
            Self::Patch(patcher) => Ok(patcher.fix(payload)),
            Self::Sql(fixer) => fixer.fix(payload),
        }
    }
}
