//! What the aggregates beyond count, sum, avg, min and max say in a row.

use serde_json::{Value, json};

use super::{Bench, Event, Layout, event, record_batch, view};

const LAYOUTS: [Layout; 3] = [Layout::Typed, Layout::JsonText, Layout::Schemaless];

/// The one row of a view after batches of events.
fn row(list: &str, layout: Layout, batches: &[Vec<Event>]) -> Value {
    let mut bench = Bench::new(&[&view(list, "")]);
    for events in batches {
        bench.commit(1, 2_000, &record_batch(events, layout));
    }
    let mut rows = bench.rows("v0");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let mut row = rows.remove(0);
    for shared in ["window_start", "window_end", "final", "completeness"] {
        row.as_object_mut().expect("an object").remove(shared);
    }
    row
}

#[test]
fn a_filter_leaves_rows_out_of_one_aggregate() {
    let events: Vec<Event> = (0..10)
        .map(|i| event(i, json!({"i": i, "s": if i % 2 == 0 { "a" } else { "b" }})))
        .collect();
    let list = "count(*) FILTER (WHERE s = 'a') AS n, sum(i) FILTER (WHERE i > 5) AS s, avg(i) FILTER (WHERE i < 0) AS none, \
                count(*) AS all, rate(*) FILTER (WHERE s = 'a') AS r, approx_median(i) FILTER (WHERE i >= 8) AS m";
    for layout in LAYOUTS {
        assert_eq!(
            row(list, layout, std::slice::from_ref(&events)),
            json!({"n": 5, "s": 30, "none": null, "all": 10, "r": 5.0 / 60.0, "m": 8.0})
        );
    }
}

#[test]
fn deviations_and_variances_are_those_of_samples_and_populations() {
    let events: Vec<Event> = [2, 4, 4, 4, 5, 5, 7, 9]
        .map(|i| event(0, json!({"i": i})))
        .to_vec();
    let list = "stddev_pop(i) AS sp, var_pop(i) AS vp, round(variance(i) * 7) AS vs, stddev(i) = stddev_samp(i) AS same";
    for layout in LAYOUTS {
        assert_eq!(
            row(list, layout, std::slice::from_ref(&events)),
            json!({"sp": 2.0, "vp": 4.0, "vs": 32.0, "same": true})
        );
    }
    let one = [event(0, json!({"i": 1}))].to_vec();
    let list = "stddev(i) AS s, var_pop(i) AS p, variance(i) FILTER (WHERE i > 5) AS none";
    assert_eq!(
        row(list, Layout::Typed, &[one]),
        json!({"s": null, "p": 0.0, "none": null})
    );
    // large values that differ little
    let far: Vec<Event> = (0..100)
        .map(|i| event(0, json!({"i": 1_000_000_000_000_i64 + i % 2})))
        .collect();
    assert_eq!(row("var_pop(i) AS v", Layout::Typed, &[far]), json!({"v": 0.25}));
}

#[test]
fn first_and_last_follow_event_time_and_then_the_log() {
    let batches = [
        vec![
            event(20, json!({"s": "late", "b": true})),
            event(10, json!({"s": "first of two"})),
            event(5, json!({"s": null})),
        ],
        vec![
            event(10, json!({"s": "second of two", "b": false})),
            event(20, json!({"s": "last of two"})),
        ],
    ];
    let list = "first(s) AS f, last_value(s) AS l, first(b) AS fb, last(n) AS none";
    for layout in LAYOUTS {
        assert_eq!(
            row(list, layout, &batches),
            json!({"f": "first of two", "l": "last of two", "fb": false, "none": null}),
            "{layout:?}"
        );
    }
}

#[test]
fn conditions_and_extremes_of_every_kind() {
    let events = vec![
        event(0, json!({"b": true, "i": 3, "s": "pear"})),
        event(1, json!({"b": null, "i": null, "s": "apple"})),
        event(2, json!({"b": false, "i": 9, "s": "quince"})),
    ];
    let list = "bool_and(b) AS a, bool_or(b) AS o, every(i > 2) AS e, bool_or(i > 100) AS no, bool_and(x) AS none, \
                min(s) AS lo, max(s) AS hi, min(b) AS lb, max(b) AS hb, min(ts) AS t";
    let expected = json!({"a": false, "o": true, "e": true, "no": false, "none": null,
        "lo": "apple", "hi": "quince", "lb": false, "hb": true, "t": null});
    for layout in LAYOUTS {
        let mut row = row(list, layout, std::slice::from_ref(&events));
        row["t"] = Value::Null;
        assert_eq!(row, expected, "{layout:?}");
    }
}

#[test]
fn distinct_and_frequent_values_say_when_they_are_approximate() {
    let few: Vec<Event> = (0..30)
        .map(|i| event(i, json!({"i": i % 3, "d": format!("d{}", i % 5)})))
        .collect();
    let list =
        "count(DISTINCT i) AS n, approx_distinct(d) AS d, approx_top_k(i, 2) AS top, top_k(x, 3) AS none";
    let expected =
        json!({"n": 3, "d": 5, "top": [{"value": 0, "count": 10}, {"value": 1, "count": 10}], "none": null});
    for layout in LAYOUTS {
        assert_eq!(
            row(list, layout, std::slice::from_ref(&few)),
            expected,
            "{layout:?}"
        );
    }
    let many: Vec<Event> = (0..3_000).map(|i| event(0, json!({"i": i}))).collect();
    let row = row(
        "count(DISTINCT i) + 1 AS n, count(*) AS all, approx_top_k(i, 1) AS top",
        Layout::Typed,
        &[many],
    );
    assert_eq!(row["approximate"], json!(["n", "top"]));
    assert_eq!(row["all"], 3_000);
}

#[test]
fn rates_are_per_second_of_the_window() {
    let events: Vec<Event> = (0..120).map(|i| event(i, json!({"i": 5}))).collect();
    assert_eq!(
        row(
            "rate(*) AS r, rate(i) AS v, rate(x) AS none",
            Layout::Typed,
            &[events]
        ),
        json!({"r": 2.0, "v": 10.0, "none": null})
    );
}

#[test]
fn columns_state_their_error_bounds() {
    let list = "approx_percentile(i, 0.99) AS p, approx_distinct(d) AS d, count(DISTINCT i) AS n, approx_top_k(d, 3) AS t, sum(i) AS s";
    let mut bench = Bench::new(&[&view(list, "")]);
    bench.commit(
        1,
        0,
        &record_batch(&[event(0, json!({"i": 1, "d": "x"}))], Layout::Typed),
    );
    let columns = json!(&*bench.page("v0").columns);
    assert_eq!(
        columns,
        json!([
            {"name": "p", "type": "number", "error": {"kind": "relative", "bound": 0.01, "exact_up_to": 32}},
            {"name": "d", "type": "integer", "error": {"kind": "relative", "bound": 0.05, "confidence": 0.997, "exact_up_to": 128}},
            {"name": "n", "type": "integer", "error": {"kind": "relative", "bound": 0.05, "confidence": 0.997, "exact_up_to": 1000}},
            {"name": "t", "type": "json", "error": {"kind": "share_of_rows", "bound": 1.0 / 449.0, "exact_up_to": 896}},
            {"name": "s", "type": "number"}
        ])
    );
}
