//! Kernels, the evaluation by dictionary and the evaluation by row give the same values and count the same failures.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_schema::{Field, Schema};
use proptest::prelude::*;
use tributary_shared::wire::batch::{JSON_TEXT_METADATA, SCHEMALESS_METADATA};

use super::bind::Frame;
use super::lower::{Lowering, Scope};
use super::parse::parse_condition;
use super::rowwise::Evaluator;
use super::{Mode, Scalar};

type Row = (
    (Option<i64>, Option<i64>, Option<i32>),
    (Option<&'static str>, Option<&'static str>, Option<bool>),
    (Option<i64>, Option<&'static str>),
);

fn row() -> impl Strategy<Value = Row> {
    let int =
        || prop_oneof![6 => -3i64..4, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => Just(1_700_000_000_000)];
    let text = || {
        prop::sample::select(vec![
            "",
            "a",
            "Ab",
            "sensor-7",
            "7",
            "2026-08-19T15:47:31.250Z",
            "größe",
            "{\"k\": [1, \"x\"]}",
        ])
    };
    let json = prop::sample::select(vec![
        "1",
        "2.5",
        "\"a\"",
        "true",
        "null",
        "{\"k\": {\"l\": 5}}",
        "[1,2]",
    ]);
    let time = prop_oneof![-100_000_000_000i64..2_000_000_000_000, Just(253_402_300_799_000)];
    let maybe = 0.8;
    (
        (
            prop::option::weighted(maybe, int()),
            prop::option::weighted(maybe, int()),
            prop::option::weighted(maybe, -8i32..8),
        ),
        (
            prop::option::weighted(maybe, text()),
            prop::option::weighted(maybe, text()),
            prop::option::weighted(maybe, any::<bool>()),
        ),
        (
            prop::option::weighted(maybe, time),
            prop::option::weighted(maybe, json),
        ),
    )
}

fn batch(rows: &[Row], schemaless: bool) -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(rows.iter().map(|r| r.0.0).collect::<Int64Array>())),
        ("i2", Arc::new(rows.iter().map(|r| r.0.1).collect::<Int64Array>())),
        (
            "f",
            Arc::new(
                rows.iter()
                    .map(|r| r.0.2.map(|f| f64::from(f) / 4.0))
                    .collect::<Float64Array>(),
            ),
        ),
        ("s", Arc::new(rows.iter().map(|r| r.1.0).collect::<StringArray>())),
        (
            "d",
            Arc::new(rows.iter().map(|r| r.1.1).collect::<DictionaryArray<Int32Type>>()),
        ),
        (
            "b",
            Arc::new(rows.iter().map(|r| r.1.2).collect::<BooleanArray>()),
        ),
        (
            "t",
            Arc::new(rows.iter().map(|r| r.2.0).collect::<TimestampMillisecondArray>()),
        ),
        ("j", Arc::new(rows.iter().map(|r| r.2.1).collect::<StringArray>())),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| {
            let field = Field::new(*name, array.data_type().clone(), true);
            match *name {
                "j" => field.with_metadata([(JSON_TEXT_METADATA.to_owned(), "true".to_owned())]),
                _ => field,
            }
        })
        .collect();
    let metadata: HashMap<String, String> = schemaless
        .then(|| (SCHEMALESS_METADATA.to_owned(), "true".to_owned()))
        .into_iter()
        .collect();
    let schema = Schema::new(fields).with_metadata(metadata);
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).expect("columns fit their schema")
}

/// Expressions of any kind: what is refused is drawn again.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "i",
        "i2",
        "f",
        "s",
        "d",
        "b",
        "t",
        "j",
        "missing",
        "1",
        "0",
        "-2",
        "2.5",
        "'a'",
        "'7'",
        "''",
        "true",
        "NULL",
        "TIMESTAMP '2026-01-31T12:00:00Z'",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let op = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "=", "<>", "<", ">=", "AND", "OR", "||", "IS DISTINCT FROM", "IS NOT DISTINCT FROM", "&",
        ]);
        let call = prop::sample::select(vec![
            "abs(§)", "round(§, 1)", "floor(§)", "sqrt(§)", "sign(§)", "lower(§)", "length(§)", "left(§, 2)", "split_part(§, '-', 1)",
            "replace(§, 'a', 'bb')", "§ ~ '[a-s]+'", "§ !~* 'A$'", "§ LIKE '%e%'", "§ ILIKE '_B'", "regexp_replace(§, '[0-9]', '<\\&>', 'g')",
            "substring(§ FROM '[a-z]+')", "date_trunc('hour', §)", "date_trunc('month', §)", "extract(dow FROM §)", "extract(epoch FROM §)",
            "§ + INTERVAL '1 day'", "§ - INTERVAL '1 month'", "date_bin('7 minutes', §)", "§::text", "§::bigint", "§::double precision",
            "§::boolean", "§::timestamp", "§::date", "§ -> 'k'", "§ ->> 'k'", "§ #> '{k,l}'", "NOT §", "§ IS NULL", "§ IS NOT TRUE",
            "§ IN (1, 'a', 2.5, NULL)", "§ NOT IN ('7', 'Ab')", "- §", "concat(§, 'x', 1)", "jsonb_typeof(§)", "to_timestamp(§)",
        ]);
        prop_oneof![
            3 => (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            4 => (call, inner.clone()).prop_map(|(call, a)| format!("({})", call.replace('§', &a))),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("CASE WHEN {a} THEN {b} ELSE {c} END")),
            1 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("CASE WHEN {a} IS NULL THEN {b} WHEN b THEN {c} END")),
            1 => (prop::sample::select(vec!["coalesce", "greatest", "least", "nullif"]), inner.clone(), inner.clone())
                .prop_map(|(f, a, b)| format!("{f}({a}, {b})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} BETWEEN {b} AND {c})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn however_it_is_evaluated_the_values_and_failures_are_the_same(
        sql in expression(),
        rows in prop::collection::vec(row(), 1..24),
        schemaless in any::<bool>(),
    ) {
        let parsed = parse_condition(&sql).expect(&sql);
        let mut lowering = Lowering::default();
        let Ok(expr) = lowering.lower(&parsed, Scope::Row("a test")) else {
            return Ok(());
        };
        let frame = Frame::over(&lowering.columns, "ts", &batch(&rows, schemaless));
        let (quick, slow) = (Evaluator::new(frame.mode), Evaluator::new(frame.mode));
        let values = quick.values(&expr, &frame);
        let by_row = slow.by_row(&expr, &frame);
        for (row, expected) in by_row.iter().enumerate() {
            let found = values.scalar(row);
            let (found, expected) = match frame.mode {
                Mode::Typed => (found, expected.clone()),
                Mode::Json => (found.normalised(), expected.clone().normalised()),
            };
            prop_assert_eq!(found, expected, "{} in row {} of {:?}", sql, row, rows);
        }
        prop_assert_eq!(quick.failures(), slow.failures(), "failures of {} over {:?}", sql, rows);
        prop_assert!(by_row.iter().all(|value| !matches!(value, Scalar::Float(f) if !f.is_finite())));
    }
}
