//! The same question, answered by SQLite over all rows at once.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::Value;
use super::cases::Case;

pub(super) fn answer(case: &Case) -> Vec<Vec<Value>> {
    let db = Connection::open_in_memory().expect("opens");
    db.execute_batch(
        "PRAGMA case_sensitive_like = ON;
         CREATE TABLE readings(ms INTEGER, i INTEGER, k INTEGER, f REAL, s TEXT, d TEXT, b INTEGER, doc TEXT);",
    )
    .expect("creates");
    for row in &case.rows {
        let field = |name: &str| row.json.get(name).filter(|value| !value.is_null());
        let int = |name: &str| field(name).and_then(serde_json::Value::as_i64);
        let text = |name: &str| field(name).and_then(|value| value.as_str().map(str::to_owned));
        let values = rusqlite::params![
            row.at,
            int("i"),
            int("k"),
            field("f").and_then(serde_json::Value::as_f64),
            text("s"),
            text("d"),
            field("b").and_then(serde_json::Value::as_bool),
            field("doc").map(ToString::to_string),
        ];
        db.execute(
            "INSERT INTO readings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            values,
        )
        .expect("inserts");
    }
    let failed = |error: rusqlite::Error| -> ! { panic!("{error}\n{}\n{}", case.ours, case.theirs) };
    let mut select = db.prepare(&case.theirs).unwrap_or_else(|error| failed(error));
    let columns = select.column_count();
    let rows = select.query_map([], |row| {
        let value = |at: usize| {
            Ok(match row.get_ref(at)? {
                ValueRef::Null | ValueRef::Blob(_) => Value::Null,
                ValueRef::Integer(value) => Value::Number(value as f64),
                ValueRef::Real(value) => Value::Number(value + 0.0),
                ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            })
        };
        (0..columns)
            .map(value)
            .collect::<Result<Vec<Value>, rusqlite::Error>>()
    });
    let rows = rows.unwrap_or_else(|error| failed(error));
    rows.collect::<Result<_, _>>()
        .unwrap_or_else(|error| failed(error))
}
