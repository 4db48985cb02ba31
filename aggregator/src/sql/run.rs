//! One question: a connection made for it, a statement that may only read, an answer within its limits.

use std::sync::Arc;

use super::messages::{Deadline, MAX_QUERY, SqlAnswer, SqlError, SqlLimits};
use super::module;
use super::table::Catalog;
use crate::view::{Column, ColumnType, Scalar};
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, ErrorCode, Statement};
use tributary_shared::time::parse_rfc3339;

/// Steps of SQLite's machine between two looks at the clock: well under a millisecond.
const STEPS_A_LOOK: i32 = 10_000;
/// Pages that a question's own sorting and grouping may keep in memory, in KiB; more goes to temporary files, which
/// the time limit bounds.
const CACHE_KIB: i64 = 16 * 1024;

/// Answers one question. Blocks.
///
/// # Errors
/// [`SqlError`] says what is wrong with the query, or which limit it met.
pub fn run(
    catalog: Catalog,
    query: &str,
    limits: SqlLimits,
    deadline: &Arc<Deadline>,
) -> Result<SqlAnswer, SqlError> {
    if query.len() > MAX_QUERY {
        return Err(SqlError::TooLong { len: query.len() });
    }
    let db = open(catalog, limits, deadline).map_err(SqlError::Failed)?;
    let explain = |error| explain(error, deadline, limits);
    let mut statements = Batch::new(&db, query);
    let mut statement = statements.next().map_err(explain)?.ok_or(SqlError::Empty)?;
    if !matches!(statements.next(), Ok(None)) {
        return Err(SqlError::SeveralStatements);
    }
    if !statement.readonly() {
        let what = "a statement that writes".to_owned();
        return Err(SqlError::Forbidden { what });
    }
    let mut answer = Answer::new(&statement, limits);
    let mut rows = statement.query([]).map_err(explain)?;
    while let Some(row) = rows.next().map_err(explain)? {
        if !answer.take(row).map_err(SqlError::Failed)?? {
            break;
        }
    }
    Ok(answer.finish())
}

fn open(catalog: Catalog, limits: SqlLimits, deadline: &Arc<Deadline>) -> rusqlite::Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "temp_store", "FILE")?;
    module::create(&db, catalog)?;
    db.set_limit(Limit::SQLITE_LIMIT_LENGTH, limits.value_bytes)?;
    db.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 1)?;
    db.authorizer(Some(may))?;
    let deadline = Arc::clone(deadline);
    db.progress_handler(STEPS_A_LOOK, Some(move || deadline.is_over()))?;
    Ok(db)
}

/// Reading, and what reading consists of.
fn may(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => Authorization::Allow,
        AuthAction::Function { function_name } if function_name != "load_extension" => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

fn explain(error: rusqlite::Error, deadline: &Deadline, limits: SqlLimits) -> SqlError {
    if deadline.was_missed() {
        return SqlError::TooSlow {
            limit: deadline.limit(),
        };
    }
    match error {
        rusqlite::Error::SqlInputError {
            error, msg, offset, ..
        } => match error.code {
            ErrorCode::AuthorizationForStatementDenied => SqlError::Forbidden { what: msg },
            _ => SqlError::Invalid {
                message: msg,
                offset: usize::try_from(offset).ok(),
            },
        },
        rusqlite::Error::SqliteFailure(failure, Some(message)) => match failure.code {
            ErrorCode::AuthorizationForStatementDenied => SqlError::Forbidden { what: message },
            ErrorCode::TooBig => SqlError::Invalid {
                message: format!("a text or blob has more than {} bytes", limits.value_bytes),
                offset: None,
            },
            _ => SqlError::Invalid {
                message,
                offset: None,
            },
        },
        other => SqlError::Failed(other),
    }
}

/// An answer as it grows.
struct Answer {
    columns: Vec<Column>,
    /// The columns whose declared type says how to show their values.
    declared: Vec<bool>,
    rows: Vec<Vec<Scalar>>,
    bytes: usize,
    limits: SqlLimits,
    truncated: bool,
}

impl Answer {
    fn new(statement: &Statement<'_>, limits: SqlLimits) -> Self {
        let columns: Vec<Column> = statement
            .columns()
            .map(|column| Column::new(column.name(), column.decl_type().map_or(ColumnType::Any, kind_of)))
            .collect();
        Self {
            declared: columns
                .iter()
                .map(|column| column.kind != ColumnType::Any)
                .collect(),
            columns,
            rows: Vec::new(),
            bytes: 0,
            limits,
            truncated: false,
        }
    }

    /// Returns whether more rows are wanted.
    fn take(&mut self, row: &rusqlite::Row<'_>) -> rusqlite::Result<Result<bool, SqlError>> {
        if self.rows.len() == self.limits.rows {
            self.truncated = true;
            return Ok(Ok(false));
        }
        let mut values = Vec::with_capacity(self.columns.len());
        for at in 0..self.columns.len() {
            let value = row.get_ref(at)?;
            self.bytes += size_of::<Scalar>();
            self.bytes += match value {
                ValueRef::Text(bytes) => bytes.len(),
                ValueRef::Blob(bytes) => 2 * bytes.len(),
                _ => 0,
            };
            let column = &mut self.columns[at];
            if !self.declared[at] {
                column.kind = common(column.kind, value, self.rows.is_empty());
            }
            values.push(scalar(value, column.kind));
        }
        if self.bytes > self.limits.answer_bytes {
            let limit = self.limits.answer_bytes;
            return Ok(Err(SqlError::TooLarge { limit }));
        }
        self.rows.push(values);
        Ok(Ok(true))
    }

    fn finish(self) -> SqlAnswer {
        SqlAnswer {
            columns: self.columns,
            rows: self.rows,
            truncated: self.truncated,
        }
    }
}

fn kind_of(declared: &str) -> ColumnType {
    let kinds = [
        ColumnType::Timestamp,
        ColumnType::Integer,
        ColumnType::Number,
        ColumnType::Text,
        ColumnType::Boolean,
    ];
    kinds
        .into_iter()
        .find(|kind| module::declared(*kind) == declared)
        .unwrap_or(ColumnType::Any)
}

/// The type of a computed column, as its values show it.
fn common(known: ColumnType, value: ValueRef<'_>, first: bool) -> ColumnType {
    let kind = match value {
        ValueRef::Null => return known,
        ValueRef::Integer(_) => ColumnType::Integer,
        ValueRef::Real(_) => ColumnType::Number,
        ValueRef::Text(_) | ValueRef::Blob(_) => ColumnType::Text,
    };
    match (known, kind) {
        (ColumnType::Any, kind) if first => kind,
        (known, kind) if known == kind => known,
        (ColumnType::Integer | ColumnType::Number, ColumnType::Integer | ColumnType::Number) => {
            ColumnType::Number
        }
        _ => ColumnType::Any,
    }
}

/// Blobs are their hexadecimal digits; infinities are NULL.
fn scalar(value: ValueRef<'_>, kind: ColumnType) -> Scalar {
    match value {
        ValueRef::Null => Scalar::Null,
        ValueRef::Integer(value) if kind == ColumnType::Boolean => Scalar::Bool(value != 0),
        ValueRef::Integer(value) => Scalar::Int(value),
        ValueRef::Real(value) => Scalar::finite(value).unwrap_or_default(),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            match kind {
                ColumnType::Timestamp => parse_rfc3339(&text).map_or_else(|| (&*text).into(), Scalar::Time),
                _ => (&*text).into(),
            }
        }
        ValueRef::Blob(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.as_str().into()
        }
    }
}
