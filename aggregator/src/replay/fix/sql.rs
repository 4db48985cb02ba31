//! An SQL expression over one payload, in a database of its own that has no tables and reaches no file.
//!
//! Only `SELECT` and functions that compute are authorised; lengths are limited by SQLite itself, time by its progress
//! handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode};
use tributary_shared::wire::MAX_EVENT_BYTES;

use super::FixError;

/// The longest expression, in bytes.
pub const MAX_SQL: usize = 16 << 10;
/// What one record may take. Ordinary ones take microseconds.
const MAX_TIME: Duration = Duration::from_millis(500);
/// Records that may run out of time before the whole request ends: a million of them would take days.
const MAX_SLOW: u32 = 4;
/// Virtual machine instructions between two looks at the clock.
const CHECK_EVERY: i32 = 1_000;

#[derive(Debug)]
pub(in super::super) struct SqlFixer {
    db: Connection,
    statement: String,
    clock: Arc<Clock>,
    slow: u32,
}

/// The time at which the present record must be done, as milliseconds since `began`.
#[derive(Debug)]
struct Clock {
    began: Instant,
    deadline: AtomicU64,
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn start(&self) {
        let limit = u64::try_from(MAX_TIME.as_millis()).unwrap_or(u64::MAX);
        self.deadline.store(self.now() + limit, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.now() >= self.deadline.load(Ordering::Relaxed)
    }
}

/// Functions that answer with something of the host or the database, or that change it.
const FORBIDDEN: [&str; 6] = [
    "load_extension",
    "readfile",
    "writefile",
    "edit",
    "fts3_tokenizer",
    "sqlite_compileoption_get",
];

fn is_of_database(table: &str) -> bool {
    let table = table.to_ascii_lowercase();
    ["pragma_", "sqlite_", "dbstat"]
        .iter()
        .any(|prefix| table.starts_with(prefix))
}

fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Recursive => Authorization::Allow,
        // the payload, what the expression itself makes, and json_each: not what tells of the database
        AuthAction::Read { table_name, .. } if !is_of_database(table_name) => Authorization::Allow,
        AuthAction::Function { function_name } if !FORBIDDEN.contains(&function_name) => Authorization::Allow,
        _ => Authorization::Deny,
    }
}

impl SqlFixer {
    /// # Errors
    /// [`FixError::Sql`] in SQLite's words.
    pub fn new(expression: &str) -> Result<Self, FixError> {
        if expression.len() > MAX_SQL {
            let len = expression.len();
            return Err(FixError::Sql(format!(
                "it has {len} bytes; the limit is {MAX_SQL}"
            )));
        }
        let refused = |error: rusqlite::Error| FixError::Sql(error.to_string());
        let mut db = Connection::open_in_memory().map_err(refused)?;
        let limits = [
            // room for an event beyond the limit, so that it is called too large and not something vague
            (Limit::SQLITE_LIMIT_LENGTH, 2 * MAX_EVENT_BYTES as i32),
            (Limit::SQLITE_LIMIT_SQL_LENGTH, 2 * MAX_SQL as i32),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
            (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
            (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
        ];
        for (limit, value) in limits {
            db.set_limit(limit, value).map_err(refused)?;
        }
        let clock = Arc::new(Clock {
            began: Instant::now(),
            deadline: AtomicU64::new(0),
        });
        let watched = Arc::clone(&clock);
        db.progress_handler(CHECK_EVERY, Some(move || watched.is_over()))
            .map_err(refused)?;
        db.authorizer(Some(authorize)).map_err(refused)?;
        // the line break ends a comment at the expression's end
        let statement = format!("SELECT ({expression}\n) FROM (SELECT ?1 AS payload)");
        clock.start();
        {
            let prepared = db.prepare_cached(&statement).map_err(refused)?;
            if prepared.column_count() != 1 || prepared.parameter_count() != 1 || !prepared.readonly() {
                return Err(FixError::Sql("it is not one expression over payload".to_owned()));
            }
        }
        Ok(Self {
            db,
            statement,
            clock,
            slow: 0,
        })
    }

    pub fn fix(&mut self, payload: &[u8]) -> Result<Result<Vec<u8>, String>, FixError> {
        self.clock.start();
        match self.run(payload) {
            Ok(value) => Ok(object(value)),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                self.slow += 1;
                let limit_ms = u64::try_from(MAX_TIME.as_millis()).unwrap_or(u64::MAX);
                if self.slow >= MAX_SLOW {
                    return Err(FixError::TooSlow {
                        count: self.slow,
                        limit_ms,
                    });
                }
                Ok(Err(format!("the SQL expression ran longer than {limit_ms} ms")))
            }
            Err(error) => Ok(Err(format!("the SQL expression fails: {error}"))),
        }
    }

    fn run(&self, payload: &[u8]) -> rusqlite::Result<Value> {
        let value = match std::str::from_utf8(payload) {
            Ok(_) => ValueRef::Text(payload),
            Err(_) => ValueRef::Blob(payload),
        };
        let mut statement = self.db.prepare_cached(&self.statement)?;
        statement.query_row([ToSqlOutput::Borrowed(value)], |row| row.get(0))
    }
}

/// The payload that an expression gave.
fn object(value: Value) -> Result<Vec<u8>, String> {
    let bytes = match value {
        Value::Text(text) => text.into_bytes(),
        Value::Blob(bytes) => bytes,
        Value::Null => return Err("the SQL expression gives NULL, not a JSON object".to_owned()),
        Value::Integer(_) | Value::Real(_) => {
            return Err("the SQL expression gives a number, not a JSON object".to_owned());
        }
    };
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes) {
        Ok(_) if bytes.len() > MAX_EVENT_BYTES => Err(format!(
            "the SQL expression makes the event larger than {MAX_EVENT_BYTES} bytes"
        )),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("the SQL expression gives no JSON object: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(expression: &str, payload: &str) -> Result<String, String> {
        let mut fixer = SqlFixer::new(expression).expect("an expression");
        let fixed = fixer.fix(payload.as_bytes()).expect("quick enough");
        fixed.map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn an_expression_over_the_payload_makes_the_new_one() {
        let cast = "json_set(payload, '$.t', CAST(payload ->> '$.t' AS REAL)) -- to a number";
        assert_eq!(fixed(cast, r#"{"t":"21.5"}"#).expect("fixed"), r#"{"t":21.5}"#);
        let renamed = "json_remove(json_set(payload, '$.t', payload -> '$.temp'), '$.temp')";
        assert_eq!(fixed(renamed, r#"{"temp":3}"#).expect("fixed"), r#"{"t":3}"#);
        let chosen = "CASE WHEN payload ->> '$.u' = 'F' THEN json_set(payload, '$.t', 0) ELSE payload END";
        assert_eq!(
            fixed(chosen, r#"{"u":"C","t":1}"#).expect("as it was"),
            r#"{"u":"C","t":1}"#
        );
    }

    #[test]
    fn what_is_no_object_is_told() {
        for (expression, word) in [
            ("NULL", "NULL"),
            ("payload ->> '$.none'", "NULL"),
            ("1", "a number"),
            ("'text'", "no JSON object"),
            ("'[1]'", "no JSON object"),
            ("json_set(payload, '$.t', zeroblob(9000000))", "fails"),
            ("json_extract('x', '$')", "fails"),
        ] {
            let error = fixed(expression, "{}").expect_err(expression);
            assert!(error.contains(word), "{expression}: {error}");
        }
    }

    #[test]
    fn what_reaches_beyond_the_payload_is_refused() {
        for expression in [
            "",
            "nonsense",
            "payload, 1",
            "payload) UNION ALL SELECT (payload",
            "load_extension('x')",
            "SELECT name FROM sqlite_dbpage",
            "payload); ATTACH 'x' AS y; SELECT (1",
            "?2",
            "(SELECT 1 FROM pragma_database_list)",
        ] {
            let refused = SqlFixer::new(expression);
            assert!(
                matches!(refused, Err(FixError::Sql(_))),
                "{expression}: {refused:?}"
            );
        }
        let long = format!("'{}'", "x".repeat(MAX_SQL));
        assert!(matches!(SqlFixer::new(&long), Err(FixError::Sql(_))));
    }

    #[test]
    fn an_expression_that_never_ends_is_stopped_and_then_given_up() {
        let forever =
            "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n)";
        let mut fixer = SqlFixer::new(forever).expect("an expression");
        for _ in 1..MAX_SLOW {
            let told = fixer.fix(b"{}").expect("not yet").expect_err("stopped");
            assert!(told.contains("ran longer"), "{told}");
        }
        assert!(matches!(fixer.fix(b"{}"), Err(FixError::TooSlow { .. })));
    }
}
