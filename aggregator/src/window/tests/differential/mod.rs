//! Random views over random streams give what SQLite gives on the same rows after the fact.
//!
//! A case is a number: it makes the rows, the way in which they reach the engine (lanes, batches, order, copies), and
//! one view in both dialects. A case that differs is printed whole. `TRIBUTARY_DIFFERENTIAL_CASES` says how many cases
//! there are, `TRIBUTARY_DIFFERENTIAL_FROM` which is the first.

mod cases;
mod choice;
mod duckdb;
mod sqlite;

use std::sync::Arc;

use bytes::Bytes;
use tributary_schema::decode::{DecodeLimits, Decoder, StreamSchema};
use tributary_shared::ids::Seq;
use tributary_shared::time::Millis;
use tributary_shared::wire::rows::push_row;
use tributary_shared::wire::{Codec, SchemaInfo, Segment};

use self::cases::{Case, Row};
use self::choice::Choice;
use super::Bench;
use crate::commit::decode_valid;
use crate::view::Scalar;

const CASES: u64 = 400;
const CASES_IN_CI: u64 = 4_000;
/// Sums of floats depend on their order; everything else is the same to the bit.
const TOLERANCE: f64 = 1e-9;

const SCHEMA: &str = r#"{"type": "object", "properties": {
    "ts": {"type": "string", "format": "date-time", "x-event-time": true},
    "i": {"type": ["integer", "null"]}, "k": {"type": ["integer", "null"]}, "f": {"type": ["number", "null"]},
    "s": {"type": ["string", "null"]}, "d": {"type": ["string", "null"]}, "b": {"type": ["boolean", "null"]},
    "doc": {"type": ["object", "null"]}, "wide": {"type": ["integer", "null"]}, "v": {"type": ["number", "null"]}}}"#;

/// A value as both engines can say it: booleans are 0 and 1, times Unix milliseconds.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Number(f64),
    Text(String),
}

impl Value {
    fn of(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Bool(value) => Self::Number(f64::from(u8::from(*value))),
            Scalar::Int(value) | Scalar::Time(value) => Self::Number(*value as f64),
            Scalar::Float(value) => Self::Number(*value),
            Scalar::Text(text) => Self::Text(text.as_ref().to_owned()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0),
            _ => self == other,
        }
    }
}

/// Rows in an order that depends on their keys alone, which stand first.
fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

/// The rows of a view, in the columns that SQLite's answer has: the window's bounds, then what is selected.
fn ours(case: &Case, choice: &mut Choice) -> Vec<Vec<Value>> {
    let info = SchemaInfo {
        id: 1,
        version: 1,
        format: "JSON".to_owned(),
        text: SCHEMA.to_owned(),
        references: Vec::new(),
    };
    let schema = StreamSchema::compile(&info).expect("the schema compiles");
    let mut bench = Bench::new(&[&case.ours]);
    if let Some(over) = &case.over {
        let plan = bench.engine.compile("v1", over);
        bench
            .engine
            .put_view(Arc::new(plan.unwrap_or_else(|error| panic!("{over}: {error}"))));
    }
    let mut decoder = Decoder::new();
    let mut rest = case.rows.as_slice();
    while !rest.is_empty() {
        let (batch, more) = rest.split_at(choice.within(1, rest.len()));
        rest = more;
        let records = decode(&mut decoder, &schema, batch);
        let lane = choice.within(1, 4) as u32;
        bench.commit(lane, case.now, &records);
        if choice.one_in(4) {
            // a copy of the entry changes nothing
            bench.again(lane, case.now, &records);
        }
    }
    let rows = bench.page(if case.over.is_some() { "v1" } else { "v0" }).rows;
    let bound = |time: Option<Millis>| time.map_or(Value::Null, |time| Value::Number(time as f64));
    sorted(
        rows.iter()
            .map(|row| {
                let bounds = [bound(row.window_start), bound(row.window_end)];
                bounds
                    .into_iter()
                    .chain(row.values.iter().map(Value::of))
                    .collect()
            })
            .collect(),
    )
}

/// As a gateway does it: JSON rows to columns.
fn decode(decoder: &mut Decoder, schema: &StreamSchema, rows: &[Row]) -> arrow_array::RecordBatch {
    let mut bytes = Vec::new();
    for row in rows {
        push_row(&mut bytes, row.json.to_string().as_bytes());
    }
    let segment = Segment {
        count: rows.len() as u32,
        collected_at: 0,
        spooled_at: 0,
        codec: Codec::None,
        len: bytes.len() as u32,
        raw_len: bytes.len() as u32,
        origin: None,
    };
    let first: Seq = 1;
    let decoded = decoder
        .decode(schema, first, &[(&segment, &bytes)], &DecodeLimits::default())
        .expect("decodes");
    assert!(decoded.dead.is_empty(), "{:?}", decoded.dead);
    decode_valid(&Bytes::from(decoded.columns), decoded.valid)
        .expect("columns")
        .expect("rows")
}

fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number of cases"))
}

fn check(seed: u64) {
    let mut choice = Choice::new(seed);
    let case = Case::new(&mut choice);
    let found = ours(&case, &mut choice);
    let expected = sorted(sqlite::answer(&case));
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(&expected)
            .all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is(b)));
    if same {
        return;
    }
    let list = |rows: &[Vec<Value>]| rows.iter().map(|row| format!("  {row:?}\n")).collect::<String>();
    let events: String = case.rows.iter().map(|row| format!("  {}\n", row.json)).collect();
    panic!(
        "case {seed}: {}\nSQLite: {}\nrows:\n{events}ours:\n{}SQLite's:\n{}",
        case.ours,
        case.theirs,
        list(&found),
        list(&expected)
    );
}

#[test]
fn random_views_over_random_streams_give_what_sqlite_gives() {
    let first = number("TRIBUTARY_DIFFERENTIAL_FROM", 1);
    let cases = if in_ci() { CASES_IN_CI } else { CASES };
    for seed in first..first + number("TRIBUTARY_DIFFERENTIAL_CASES", cases) {
        check(seed);
    }
}
