//! SQL over tables in memory: what is pushed down, what is refused, what is bounded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::table::ScanError;
use super::*;
use crate::view::{Column, ColumnType, Scalar};

const MINUTE: i64 = 60_000;
/// 2026-01-31T12:00.
const NOON: i64 = 1_769_860_800_000;

/// `rows` windows of a minute from noon on, sites in turn; remembers what it was narrowed to.
#[derive(Debug)]
struct Windows {
    columns: Vec<Column>,
    rows: i64,
    narrowed: Arc<Mutex<Vec<Narrow>>>,
}

impl Windows {
    fn new(rows: i64) -> Self {
        let column = |name: &str, kind| Column::new(name, kind);
        Self {
            columns: vec![
                column("window_start", ColumnType::Timestamp),
                column("site", ColumnType::Text),
                column("n", ColumnType::Integer),
                column("t_avg", ColumnType::Number),
                column("final", ColumnType::Boolean),
            ],
            rows,
            narrowed: Arc::default(),
        }
    }
}

impl Table for Windows {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn time_column(&self) -> Option<usize> {
        Some(0)
    }

    fn narrows_by(&self, column: usize) -> bool {
        column == 1
    }

    fn scan(&self, narrow: Narrow) -> Box<dyn Scan> {
        self.narrowed.lock().expect("one thread").push(narrow);
        Box::new(WindowScan {
            at: 0,
            end: self.rows,
        })
    }
}

#[derive(Debug)]
struct WindowScan {
    at: i64,
    end: i64,
}

impl Scan for WindowScan {
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, ScanError> {
        let (from, to) = (self.at, self.end.min(self.at + 100));
        self.at = to;
        Ok((from < to).then(|| Box::new(Minutes { from, to }) as Box<dyn Chunk>))
    }
}

#[derive(Debug)]
struct Minutes {
    from: i64,
    to: i64,
}

impl Chunk for Minutes {
    fn rows(&self) -> usize {
        usize::try_from(self.to - self.from).expect("positive")
    }

    fn value(&self, row: usize, column: usize) -> Scalar {
        let minute = self.from + i64::try_from(row).expect("small");
        match column {
            0 => Scalar::Time(NOON + minute * MINUTE),
            1 => ["a", "b"][usize::from(minute % 2 == 1)].into(),
            2 => Scalar::Int(minute),
            3 if minute == 0 => Scalar::Null,
            3 => Scalar::Float(minute as f64 / 2.0),
            _ => Scalar::Bool(minute < 2),
        }
    }
}

/// A source that breaks after its first rows.
#[derive(Debug)]
struct Broken(Windows);

impl Table for Broken {
    fn columns(&self) -> &[Column] {
        self.0.columns()
    }

    fn time_column(&self) -> Option<usize> {
        None
    }

    fn narrows_by(&self, _column: usize) -> bool {
        false
    }

    fn scan(&self, _narrow: Narrow) -> Box<dyn Scan> {
        Box::new(BrokenScan)
    }
}

#[derive(Debug)]
struct BrokenScan;

impl Scan for BrokenScan {
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, ScanError> {
        Err(ScanError("the disk is gone".to_owned()))
    }
}

fn catalog(rows: i64) -> Catalog {
    let mut catalog = Catalog::default();
    catalog
        .views
        .insert("sites \"x\"".to_owned(), Arc::new(Windows::new(rows)));
    catalog
        .views
        .insert("sites".to_owned(), Arc::new(Windows::new(rows)));
    catalog
        .events
        .insert("sites".to_owned(), Arc::new(Windows::new(1)));
    catalog
        .events
        .insert("readings".to_owned(), Arc::new(Windows::new(3)));
    catalog
}

fn within(time: Duration) -> Arc<Deadline> {
    Arc::new(Deadline::after(time))
}

fn ask(query: &str) -> Result<SqlAnswer, SqlError> {
    run(catalog(1_000), query, SqlLimits::default(), &within(MAX_TIME))
}

/// As JSON shows them.
fn shown(answer: &SqlAnswer) -> Value {
    serde_json::to_value(&answer.rows).expect("scalars are JSON")
}

fn rows(query: &str) -> Value {
    shown(&ask(query).unwrap_or_else(|error| panic!("{query}: {error}")))
}

#[test]
fn tables_are_read_grouped_and_joined() {
    let answer = ask("SELECT window_start, site, n, t_avg, final FROM sites WHERE n <= 1 ORDER BY n")
        .expect("answered");
    let kinds: Vec<_> = answer.columns.iter().map(|column| column.kind).collect();
    assert_eq!(
        kinds,
        [
            ColumnType::Timestamp,
            ColumnType::Text,
            ColumnType::Integer,
            ColumnType::Number,
            ColumnType::Boolean
        ]
    );
    assert_eq!(
        shown(&answer),
        json!([
            ["2026-01-31T12:00:00.000Z", "a", 0, null, true],
            ["2026-01-31T12:01:00.000Z", "b", 1, 0.5, true],
        ])
    );
    assert_eq!(
        rows("SELECT site, count(*), sum(n) FROM sites GROUP BY site ORDER BY site"),
        json!([["a", 500, 249_500], ["b", 500, 250_000]])
    );
    // a bare name is the view's, events have a schema of their own
    assert_eq!(
        rows(
            "SELECT (SELECT count(*) FROM sites), (SELECT count(*) FROM events.sites), count(*) FROM readings"
        ),
        json!([[1_000, 1, 3]])
    );
    assert_eq!(rows("SELECT count(*) FROM \"sites \"\"x\"\"\""), json!([[1_000]]));
    let with = "WITH RECURSIVE t(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM t WHERE x < 5)
        SELECT sum(s.n) FROM t JOIN sites s ON s.n = t.x";
    assert_eq!(rows(with), json!([[15]]));
}

#[test]
fn computed_columns_get_the_type_of_their_values() {
    let answer =
        ask("SELECT count(*) AS n, avg(t_avg), 'x' || site, NULL, n / 2 + 0.5 FROM sites").expect("answered");
    let kinds: Vec<_> = answer.columns.iter().map(|column| column.kind).collect();
    assert_eq!(
        kinds,
        [
            ColumnType::Integer,
            ColumnType::Number,
            ColumnType::Text,
            ColumnType::Any,
            ColumnType::Number
        ]
    );
    assert_eq!(answer.columns[0].name, "n");
}

#[test]
fn a_time_range_and_a_group_reach_the_source_and_are_tested_again() {
    let table = Windows::new(1_000);
    let narrowed = Arc::clone(&table.narrowed);
    let mut catalog = Catalog::default();
    catalog.views.insert("w".to_owned(), Arc::new(table));
    let query = "SELECT n FROM w
        WHERE window_start >= '2026-01-31 12:02' AND window_start < '2026-01-31T13:06:00+01:00' AND site = 'b'";
    let answer = run(catalog, query, SqlLimits::default(), &within(MAX_TIME)).expect("answered");
    // the source gave all its rows: SQLite left those that were asked for
    assert_eq!(shown(&answer), json!([[3], [5]]));
    let narrowed = narrowed.lock().expect("one thread");
    assert_eq!(
        *narrowed,
        [Narrow {
            from: Some(NOON + 2 * MINUTE),
            to: Some(NOON + 6 * MINUTE + 1),
            equal: vec![(1, "b".to_owned())],
        }]
    );
}

#[test]
fn whatever_is_not_reading_is_refused() {
    for query in [
        "DELETE FROM sites",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "DROP TABLE sites",
        "ATTACH '/tmp/stolen.db' AS x",
        "PRAGMA writable_schema = 1",
        "PRAGMA table_info(sites)",
        "SELECT load_extension('/tmp/evil.so')",
        "VACUUM INTO '/tmp/copy.db'",
        "BEGIN",
    ] {
        let error = ask(query).expect_err(query);
        assert!(
            matches!(error, SqlError::Forbidden { .. } | SqlError::Invalid { .. }),
            "{query}: {error:?}"
        );
    }
    assert!(!std::path::Path::new("/tmp/stolen.db").exists());
}

#[test]
fn mistakes_are_told_with_their_place() {
    match ask("SELECT nothing FROM sites").expect_err("no such column") {
        SqlError::Invalid { message, offset } => {
            assert!(message.contains("nothing"), "{message}");
            assert_eq!(offset, Some(7));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        ask("SELECT 1; SELECT 2"),
        Err(SqlError::SeveralStatements)
    ));
    assert!(matches!(ask("  -- nothing"), Err(SqlError::Empty)));
    assert!(matches!(ask(&" ".repeat(100_000)), Err(SqlError::TooLong { .. })));
    assert_eq!(rows("SELECT 1;  "), json!([[1]]), "a last semicolon is fine");
}

#[test]
fn limits_hold() {
    let tight = SqlLimits {
        rows: 10,
        answer_bytes: 1_000,
        value_bytes: 100_000,
    };
    let ask = |query: &str| run(catalog(1_000), query, tight, &within(Duration::from_millis(200)));
    let answer = ask("SELECT n FROM sites").expect("cut off");
    assert_eq!((answer.rows.len(), answer.truncated), (10, true));
    let answer = ask("SELECT n FROM sites LIMIT 10").expect("whole");
    assert_eq!((answer.rows.len(), answer.truncated), (10, false));
    let endless = "WITH RECURSIVE t(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t";
    assert!(matches!(ask(endless), Err(SqlError::TooSlow { .. })));
    assert!(matches!(
        ask("SELECT hex(zeroblob(2000))"),
        Err(SqlError::TooLarge { .. })
    ));
    assert!(
        ask("SELECT length(zeroblob(1000000))").is_err(),
        "a value beyond its limit"
    );
}

#[test]
fn a_question_whose_asker_has_left_ends() {
    let deadline = within(MAX_TIME);
    let query = "WITH RECURSIVE t(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t";
    let leaver = Arc::clone(&deadline);
    let left = std::thread::spawn(move || leaver.cancel());
    let ended = run(catalog(1), query, SqlLimits::default(), &deadline);
    left.join().expect("leaves");
    assert!(matches!(ended, Err(SqlError::TooSlow { .. })), "{ended:?}");
}

#[test]
fn a_source_that_fails_is_named() {
    let mut catalog = Catalog::default();
    catalog
        .views
        .insert("sites".to_owned(), Arc::new(Broken(Windows::new(1))));
    let error = run(
        catalog,
        "SELECT * FROM sites",
        SqlLimits::default(),
        &within(MAX_TIME),
    )
    .expect_err("fails");
    let text = error.to_string();
    assert!(
        text.contains("sites") && text.contains("the disk is gone"),
        "{text}"
    );
}
