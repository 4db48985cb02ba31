//! What the aggregates of single views say.

use serde_json::{Value, json};

use super::{Bench, Layout, event, record_batch, view};
use crate::window::{EngineConfig, QueryError, WindowQuery};

fn one(list: &str, rest: &str, layout: Layout, fields: &[Value]) -> Value {
    let mut bench = Bench::new(&[&view(list, rest)]);
    let events: Vec<_> = fields.iter().map(|fields| event(1_000, fields.clone())).collect();
    bench.commit(1, 2_000, &record_batch(&events, layout));
    let mut rows = bench.rows("v0");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let mut row = rows.remove(0);
    for shared in ["window_start", "window_end", "final", "completeness"] {
        row.as_object_mut().expect("an object").remove(shared);
    }
    row
}

#[test]
fn nulls_are_ignored_and_an_empty_aggregate_is_null() {
    let list =
        "count(*) AS n, count(i) AS c, sum(i) AS s, avg(i) AS a, min(i) AS lo, max(i) AS hi, sum(f) AS z";
    let fields = [json!({"i": 3}), json!({"i": null}), json!({"i": -1})];
    let row = one(list, "", Layout::Typed, &fields);
    assert_eq!(
        row,
        json!({"n": 3, "c": 2, "s": 2, "a": 1.0, "lo": -1, "hi": 3, "z": null})
    );
}

#[test]
fn integer_sums_stay_exact_and_widen_to_float_beyond_64_bits() {
    let max = i64::MAX;
    let fields = [json!({"i": max}), json!({"i": 1}), json!({"i": -1})];
    assert_eq!(one("sum(i) AS s", "", Layout::Typed, &fields), json!({"s": max}));
    assert_eq!(
        one("sum(i) AS s", "", Layout::Typed, &fields[..2]),
        json!({"s": 9_223_372_036_854_775_808.0})
    );
}

#[test]
fn failed_operations_give_null_and_are_counted() {
    for (layout, expected) in [
        (Layout::Typed, 3.0),
        (Layout::JsonText, 3.0),
        (Layout::Schemaless, 3.5),
    ] {
        let mut bench = Bench::new(&[&view("sum(i / i2) AS q, count(*) AS n", "")]);
        let fields = [
            json!({"i": 7, "i2": 2}),
            json!({"i": 7, "i2": 0}),
            json!({"i": 7}),
        ]
        .map(|f| event(0, f));
        bench.commit(1, 0, &record_batch(&fields, layout));
        let rows = bench.rows("v0");
        assert_eq!(rows[0]["q"].as_f64(), Some(expected), "{layout:?}");
        assert_eq!(rows[0]["n"], 3, "the rows stay in the batch");
        assert_eq!(
            bench.engine.stats("v0").expect("exists").counters.arithmetic,
            1,
            "{layout:?}"
        );
    }
    let overflow = [json!({"i": i64::MAX}), json!({"i": 1})];
    assert_eq!(
        one("sum(i + 1) AS s", "", Layout::Typed, &overflow),
        json!({"s": 2})
    );
}

#[test]
fn sums_divide_exactly_and_counts_truncate() {
    let fields = [json!({"i": 3}), json!({"i": 4}), json!({"s": "x"})];
    let list = "sum(i) / count(i) AS mean, count(*) / 2 AS half, 100.0 * count(i) / count(*) AS share";
    let row = one(list, "", Layout::Typed, &fields);
    assert_eq!((&row["mean"], &row["half"]), (&json!(3.5), &json!(1)));
    assert!((row["share"].as_f64().expect("a number") - 66.666).abs() < 0.01);
}

#[test]
fn minima_and_maxima_of_texts_and_mixed_columns() {
    let texts = [
        json!({"s": "b", "d": "x"}),
        json!({"s": "ä", "d": null}),
        json!({"s": "B", "d": "w"}),
    ];
    let list = "min(s) AS lo, max(s) AS hi, min(d) AS dl, max(d) AS dh";
    assert_eq!(
        one(list, "", Layout::Typed, &texts),
        json!({"lo": "B", "hi": "ä", "dl": "w", "dh": "x"})
    );
    let mixed = [
        json!({"x": 5.5}),
        json!({"x": "a"}),
        json!({"x": 7}),
        json!({"x": true}),
        json!({"x": {"y": 1}}),
    ];
    let row = one(
        "min(x) AS lo, max(x) AS hi, sum(x) AS s, count(x) AS n",
        "",
        Layout::Schemaless,
        &mixed,
    );
    assert_eq!(row, json!({"lo": true, "hi": "{\"y\":1}", "s": 12.5, "n": 5}));
}

#[test]
fn three_valued_where_and_literals_of_another_kind() {
    let fields = [
        json!({"i": 1, "s": "a", "b": true}),
        json!({"i": 2, "s": null, "b": false}),
        json!({"i": null, "s": "b", "b": null}),
    ];
    let cases = [
        ("i <> 1", 1),
        ("NOT (i = 1)", 1),
        ("i = 1 OR s = 'b'", 2),
        ("i IS NULL OR s IS NULL", 2),
        ("i IN (1, NULL)", 1),
        ("i NOT IN (1, NULL)", 0),
        ("i = '2'", 1),
        ("i = 'x'", 0),
        ("s = 1", 0),
        ("b", 1),
        ("b IS NOT TRUE", 2),
        ("b = 'yes'", 1),
        ("i BETWEEN 2 AND 3", 1),
        ("s LIKE 'a%'", 1),
        ("coalesce(s, 'none') = 'none'", 1),
        ("CASE WHEN i > 1 THEN false ELSE true END", 2),
        ("missing = 1", 0),
        ("missing IS NULL", 3),
        ("_event_time < '1970-01-01T00:00:02Z'", 3),
        ("true", 3),
        ("NULL", 0),
    ];
    for (condition, expected) in cases {
        for layout in [Layout::Typed, Layout::JsonText, Layout::Schemaless] {
            let mut bench = Bench::new(&[&view("count(*) AS n", &format!("WHERE {condition}"))]);
            let events: Vec<_> = fields.iter().map(|fields| event(1_000, fields.clone())).collect();
            bench.commit(1, 0, &record_batch(&events, layout));
            let counted = bench
                .rows("v0")
                .first()
                .map_or(0, |row| row["n"].as_u64().expect("a count"));
            assert_eq!(counted, expected, "{condition} over {layout:?}");
        }
    }
}

#[test]
fn without_a_schema_an_integral_float_is_the_integer() {
    let mut bench = Bench::new(&[&view("x, count(*) AS n, sum(x) AS s", "GROUP BY x")]);
    for fields in [
        vec![json!({"x": 5})],
        vec![json!({"x": 5.0}), json!({"x": 0.5})],
        vec![json!({"x": 5.0}), json!({"x": "a"})],
    ] {
        let events: Vec<_> = fields.into_iter().map(|fields| event(0, fields)).collect();
        bench.commit(1, 0, &record_batch(&events, Layout::Schemaless));
    }
    let rows: Vec<_> = bench
        .page("v0")
        .rows
        .iter()
        .map(|row| json!([row.value("x"), row.value("n"), row.value("s")]))
        .collect();
    assert_eq!(
        rows,
        [json!([0.5, 1, 0.5]), json!([5, 3, 15]), json!(["a", 1, null])]
    );
}

#[test]
fn groups_beyond_the_bound_are_counted_and_known_groups_go_on() {
    let config = EngineConfig {
        options: crate::view::ViewOptions {
            max_groups: 2,
            ..crate::view::ViewOptions::default()
        },
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config, &[&view("i, count(*) AS n", "GROUP BY i")]);
    for _ in 0..2 {
        let events: Vec<_> = [1, 2, 3, 3, 1].map(|i| event(0, json!({"i": i}))).to_vec();
        bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    }
    let rows: Vec<_> = bench
        .rows("v0")
        .iter()
        .map(|row| (row["i"].clone(), row["n"].clone()))
        .collect();
    let expected = [
        (json!(1), json!(4)),
        (json!(2), json!(2)),
        (json!(null), json!(4)),
    ];
    assert_eq!(rows, expected);
    let overflow: Vec<Value> = bench
        .rows("v0")
        .iter()
        .map(|row| row["overflow"].clone())
        .collect();
    assert_eq!(overflow, [json!(null), json!(null), json!(true)]);
    let counters = bench.engine.stats("v0").expect("exists").counters;
    assert_eq!((counters.applied, counters.overflowed), (10, 4));
    let config = EngineConfig {
        max_key_bytes: 4,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config, &[&view("s, count(*) AS n", "GROUP BY s")]);
    let events = ["ab", "cd", "e", "ab"].map(|s| event(0, json!({"s": s})));
    bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    assert_eq!(bench.rows("v0").len(), 3);
    assert_eq!(bench.engine.stats("v0").expect("exists").counters.overflowed, 1);
}

#[test]
fn a_group_of_nulls_and_the_overflow_are_two_rows_also_where_a_page_ends_between_them() {
    let config = EngineConfig {
        options: crate::view::ViewOptions {
            max_groups: 2,
            ..crate::view::ViewOptions::default()
        },
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config, &[&view("i, count(*) AS n", "GROUP BY i")]);
    let events: Vec<_> = [json!(null), json!(1), json!(2)]
        .map(|i| event(0, json!({"i": i})))
        .to_vec();
    bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    let mut query = WindowQuery {
        limit: 1,
        ..WindowQuery::default()
    };
    let mut read = Vec::new();
    loop {
        let page = bench.engine.windows("v0", &query).expect("answers");
        read.extend(
            page.rows
                .iter()
                .map(|row| (json!(row)["i"].clone(), row.overflow)),
        );
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    assert_eq!(
        read,
        [(json!(null), false), (json!(null), true), (json!(1), false)]
    );
}

#[test]
fn queries_filter_limit_and_refuse_unknown_names() {
    let mut bench = Bench::new(&[&view("s, i, count(*) AS n", "GROUP BY s, i")]);
    let events: Vec<_> = (0..6)
        .map(|at| {
            event(
                at * 60_000,
                json!({"s": if at % 2 == 0 { "a" } else { "b" }, "i": at}),
            )
        })
        .collect();
    bench.commit(1, 400_000, &record_batch(&events, Layout::Typed));
    let ask = |query: WindowQuery| {
        let page = bench.engine.windows("v0", &query).expect("answers");
        let found: Vec<_> = page
            .rows
            .iter()
            .map(|row| row.window_start.expect("a window") / 60_000)
            .collect();
        (found, page.truncated)
    };
    let filter = |column: &str, text: &str| vec![(column.to_owned(), text.to_owned())];
    let all = WindowQuery::default();
    assert_eq!(ask(all.clone()), (vec![5, 4, 3, 2, 1, 0], false));
    assert_eq!(
        ask(WindowQuery {
            limit: 2,
            ..all.clone()
        }),
        (vec![5, 4], true)
    );
    assert_eq!(
        ask(WindowQuery {
            limit: 0,
            ..all.clone()
        }),
        (vec![], true)
    );
    assert_eq!(
        ask(WindowQuery {
            from: Some(60_000),
            to: Some(180_000),
            ..all.clone()
        }),
        (vec![2, 1], false)
    );
    assert_eq!(
        ask(WindowQuery {
            from: Some(9),
            to: Some(3),
            ..all.clone()
        }),
        (vec![], false)
    );
    assert_eq!(
        ask(WindowQuery {
            filters: filter("s", "a"),
            ..all.clone()
        }),
        (vec![4, 2, 0], false)
    );
    assert_eq!(
        ask(WindowQuery {
            filters: filter("i", "3.0"),
            ..all.clone()
        }),
        (vec![3], false)
    );
    assert_eq!(
        ask(WindowQuery {
            filters: filter("window_start", "1970-01-01T00:02:00Z"),
            ..all.clone()
        }),
        (vec![2], false)
    );
    let unknown = WindowQuery {
        filters: filter("t", "a"),
        ..all.clone()
    };
    assert!(matches!(
        bench.engine.windows("v0", &unknown),
        Err(QueryError::UnknownColumn { .. })
    ));
    assert!(matches!(
        bench.engine.windows("nope", &all),
        Err(QueryError::UnknownView(_))
    ));
}

#[test]
fn a_row_is_one_json_object_in_select_order() {
    let mut bench = Bench::new(&[&view(
        "window_end, s AS site, window_start AS begin, count(*) AS n",
        "GROUP BY s",
    )]);
    let changes = bench.commit(
        1,
        61_000,
        &record_batch(&[event(1_000, json!({"s": "x"}))], Layout::Typed),
    );
    let rows = bench.engine.rows(&changes[0]);
    let text = serde_json::to_string(&rows[0]).expect("serializes");
    let expected = "{\"site\":\"x\",\"begin\":\"1970-01-01T00:00:00.000Z\",\"n\":1,\
        \"window_start\":\"1970-01-01T00:00:00.000Z\",\"window_end\":\"1970-01-01T00:01:00.000Z\",\
        \"revision\":1,\"final\":false,\"completeness\":0.0}";
    assert_eq!(text, expected);
    let page = json!(bench.page("v0"));
    assert_eq!(page["columns"][1], json!({"name": "site", "type": "text"}));
    bench
        .engine
        .put_view(super::plan("v0", &view("count(*) AS other", "")));
    assert_eq!(
        bench.engine.rows(&changes[0]).len(),
        1,
        "it serves until the new one has caught up"
    );
    bench.engine.pass_to("v0", bench.engine.position());
    assert_eq!(bench.engine.take_cut_over(), [("v0".into(), 2)]);
    assert!(
        bench.engine.rows(&changes[0]).is_empty(),
        "rows of a replaced view are gone"
    );
}

#[test]
fn an_event_is_located_in_the_windows_that_it_changed() {
    let mut bench = Bench::new(&[
        &view("s AS site, count(*) AS n", "WHERE i > 1 GROUP BY s, i % 2"),
        &view("count(*) AS n", "WHERE i < 0"),
    ]);
    let events = [
        event(59_999, json!({"s": "x", "i": 1})),
        event(60_000, json!({"s": "y", "i": 3})),
    ];
    let records = record_batch(&events, Layout::Typed);
    bench.commit(1, 0, &records);
    let locate = |row| {
        let located = bench
            .engine
            .locate(&bench.stream, bench.engine.position(), &records, row);
        located.expect("reads")
    };
    assert!(locate(0).windows.is_empty() && locate(2).windows.is_empty());
    let filtered = json!({"why": "filtered", "message": "the view's WHERE is not true for it"});
    let of = |view: &str| {
        let mut of = filtered.clone();
        of["view"] = json!(view);
        of
    };
    assert_eq!(json!(locate(0).not_counted), json!([of("v0"), of("v1")]));
    assert_eq!(json!(locate(1).not_counted), json!([of("v1")]));
    assert_eq!(
        json!(locate(1).windows),
        json!([{"view": "v0", "counted": true, "window_start": "1970-01-01T00:01:00.000Z", "window_end": "1970-01-01T00:02:00.000Z",
                "group": {"site": "y", "i % 2": 1}}])
    );
}
