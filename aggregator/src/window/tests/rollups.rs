//! Roll-ups against a model that looks at all events after the fact, and what they may not do.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tributary_shared::time::Millis;

use super::kinds::{naive_hop, numbers, some_event, text};
use super::{Bench, Event, Layout, event, record_batch};
use crate::commit::LogPos;
use crate::view::{Scalar, ViewDef, ViewOptions};
use crate::window::{ViewStore, WindowChange, WindowRow};

const SECOND: Millis = 1_000;

/// The source, and what reads it: by name, so that a reader may come before its source.
const VIEWS: [(&str, &str); 5] = [
    (
        "panes",
        "SELECT window_start, s, count(*) AS n, sum(i) AS sum, avg(i) AS mean, min(i) AS low, max(i) AS high
         FROM TUMBLE(readings, ts, INTERVAL '7 seconds') GROUP BY window_start, s",
    ),
    (
        "larger",
        "SELECT s, merge(n) AS n, merge(sum) AS sum, merge(mean) AS mean, merge(low) AS low, merge(high) AS high,
                count(*) AS panes, max(n) AS busiest
         FROM TUMBLE(panes, window_start, INTERVAL '21 seconds') GROUP BY s",
    ),
    (
        "hopping",
        "SELECT s, merge(n) AS n, merge(sum) AS sum, merge(low) AS low, merge(high) AS high
         FROM HOP(panes, window_start, INTERVAL '14 seconds', INTERVAL '28 seconds') GROUP BY s",
    ),
    (
        "largest",
        "SELECT merge(n) AS n, merge(mean) AS mean, sum(panes) AS panes
         FROM TUMBLE(larger, window_start, INTERVAL '42 seconds')",
    ),
    (
        "busy",
        "SELECT upper(s) AS s, sum(n) AS n FROM TUMBLE(panes, window_start, INTERVAL '21 seconds')
         WHERE n > 1 GROUP BY upper(s)",
    ),
];

fn bench(views: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(&[]);
    for (name, sql) in views {
        put(&mut bench, name, sql);
    }
    bench
}

fn put(bench: &mut Bench, name: &str, sql: &str) {
    match bench.engine.compile(name, sql) {
        Ok(plan) => bench.engine.put_view(Arc::new(plan)),
        Err(error) => panic!("{sql}: {error}"),
    };
}

/// Rows by start and key, with the columns asked for.
fn rows(bench: &Bench, view: &str, columns: &[&str]) -> BTreeMap<(Millis, String), Vec<Value>> {
    let rows = bench.page(view).rows;
    let count = rows.len();
    let rows: BTreeMap<_, _> = rows.iter().map(|row| named(row, columns)).collect();
    assert_eq!(rows.len(), count, "each row has a name of its own");
    rows
}

fn named(row: &WindowRow, columns: &[&str]) -> ((Millis, String), Vec<Value>) {
    let key = row.value("s").map_or_else(String::new, |key| match key {
        Scalar::Text(text) => text.to_string(),
        _ => "NULL".to_owned(),
    });
    let values = columns.iter().map(|column| json!(row.value(column)));
    ((row.window_start.expect("a window"), key), values.collect())
}

fn expected(events: &[Event], slide: Millis, size: Millis) -> BTreeMap<(Millis, String), Vec<Value>> {
    let rows = naive_hop(events, slide, size).into_iter();
    rows.map(|((start, _, key), (n, sum, low, high))| {
        let values = [json!(n), json!(sum), json!(low), json!(high)];
        ((start.expect("a window"), key), values.to_vec())
    })
    .collect()
}

/// What a subscriber of a view knows who hears of every change, and of nothing else; and how often it heard.
type Told = BTreeMap<(String, Millis, String), (Vec<Value>, u64)>;

fn follow(told: &mut Told, bench: &Bench, changes: Vec<WindowChange>) {
    let derived: Vec<WindowChange> = changes
        .iter()
        .flat_map(|change| bench.engine.derived(change))
        .collect();
    for change in changes.into_iter().chain(derived) {
        for row in bench.engine.rows(&change) {
            let ((start, key), values) = named(&row, &["n", "sum", "low", "high"]);
            let known = told.insert((change.view.to_string(), start, key), (values, row.revision));
            assert!(
                known.is_none_or(|(_, revision)| revision < row.revision),
                "once for each revision"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn roll_ups_agree_with_the_model_and_so_does_who_follows_them(
        batches in prop::collection::vec(prop::collection::vec(some_event(), 1..8), 1..8),
        saved in any::<prop::sample::Index>(),
    ) {
        let mut bench = bench(&VIEWS);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("views.db");
        let mut store = ViewStore::open(&path).expect("opens");
        for (name, sql) in VIEWS {
            let (options, created_at, applies_from) = (ViewOptions::default(), 0, LogPos(0));
            let (name, sql) = (name.to_owned(), sql.to_owned());
            store.put_view(&ViewDef { name, sql, options, created_at, applies_from }).expect("stores");
        }
        let mut told = Told::new();
        for batch in &batches {
            let changes = bench.commit(1, 0, &record_batch(batch, Layout::Typed));
            follow(&mut told, &bench, changes);
        }
        let events: Vec<Event> = batches.concat();
        let columns = ["n", "sum", "low", "high"];
        for (view, slide, size) in [("larger", 21, 21), ("hopping", 14, 28)] {
            let expected = expected(&events, slide * SECOND, size * SECOND);
            prop_assert_eq!(&rows(&bench, view, &columns), &expected, "{}", view);
            let of_view = told.iter().filter(|((of, ..), _)| of == view);
            let heard: BTreeMap<_, _> = of_view.map(|((_, start, key), (values, _))| ((*start, key.clone()), values.clone())).collect();
            prop_assert_eq!(&heard, &expected, "a subscriber of {}", view);
        }
        prop_assert_eq!(&rows(&bench, "busy", &["n"]), &busy(&events));
        for row in bench.page("largest").rows {
            let start = row.window_start.expect("a window");
            let inside = || events.iter().filter(|event| (start..start + 42 * SECOND).contains(&event.at));
            let (n, sum, ..) = numbers(inside());
            let panes: std::collections::BTreeSet<_> = inside().map(|event| (event.at.div_euclid(7 * SECOND), text(event))).collect();
            prop_assert_eq!(json!(row.value("n")), json!(n));
            prop_assert_eq!(json!(row.value("panes")), json!(panes.len()));
            let mean = json!(row.value("mean")).as_f64().expect("a number");
            prop_assert!((mean - sum as f64 / n as f64).abs() < 1e-9, "the mean of the events, not of means");
        }
        // a restart in the middle
        let mut half = self::bench(&VIEWS);
        let saved = saved.index(batches.len() + 1);
        for batch in &batches[..saved] {
            half.commit(1, 0, &record_batch(batch, Layout::Typed));
        }
        store.save_snapshot(&half.engine.take_snapshot()).expect("saves");
        let mut restored = Bench::new(&[]);
        let report = store.load_into(&mut restored.engine).expect("loads");
        prop_assert!(report.refused.is_empty() && report.rebuilt.is_empty(), "{:?}", report);
        for batch in &batches[saved..] {
            restored.commit(1, 0, &record_batch(batch, Layout::Typed));
        }
        for (view, _) in VIEWS {
            prop_assert_eq!(&restored.page(view).rows, &bench.page(view).rows, "{}", view);
        }
    }
}

/// Events of the panes that have more than one of a key, in upper case.
fn busy(events: &[Event]) -> BTreeMap<(Millis, String), Vec<Value>> {
    let mut counts: BTreeMap<(Millis, String), u64> = BTreeMap::new();
    for ((start, _, key), (n, ..)) in naive_hop(events, 7 * SECOND, 7 * SECOND) {
        if n > 1 {
            let start = start.expect("a window").div_euclid(21 * SECOND) * 21 * SECOND;
            let key = if key == "NULL" { key } else { key.to_uppercase() };
            *counts.entry((start, key)).or_default() += n;
        }
    }
    counts
        .into_iter()
        .map(|(name, n)| (name, vec![json!(n)]))
        .collect()
}

#[test]
fn an_event_is_located_in_the_roll_ups_as_well() {
    let mut bench = bench(&VIEWS);
    let one = record_batch(&[event(8 * SECOND, json!({"s": "a", "i": 1}))], Layout::Typed);
    bench.commit(1, 0, &one);
    let located = |bench: &Bench| {
        let located = bench
            .engine
            .locate(&bench.stream, bench.engine.position(), &one, 0);
        let hits = located.expect("reads").windows;
        let mut names: Vec<_> = hits
            .iter()
            .map(|hit| (hit.view.to_string(), hit.window_start))
            .collect();
        names.sort();
        names
    };
    let at = |view: &str, start: i64| (view.to_owned(), Some(start * SECOND));
    let expected = [
        at("hopping", -14),
        at("hopping", 0),
        at("larger", 0),
        at("largest", 0),
        at("panes", 7),
    ];
    assert_eq!(located(&bench), expected);
    // its pane passes the WHERE of another roll-up now
    bench.commit(1, 0, &one);
    assert!(located(&bench).contains(&at("busy", 0)));
}

#[test]
fn having_of_the_source_is_honoured() {
    let source = "SELECT s, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 second') GROUP BY s HAVING count(*) > 1";
    let roll_up = "SELECT sum(n) AS n FROM TUMBLE(shown, window_start, INTERVAL '1 minute')";
    let mut bench = bench(&[("shown", source), ("all", roll_up)]);
    let events = [0, 1, 2_000].map(|at| event(at, json!({"s": "a"})));
    bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    assert_eq!(json!(bench.page("all").rows[0].value("n")), json!(2));
}

#[test]
fn sketches_are_merged_and_not_computed_of_each_other() {
    let source = "SELECT approx_percentile(i, 0.99) AS p99, approx_distinct(s) AS kinds
                  FROM TUMBLE(readings, ts, INTERVAL '1 second')";
    let roll_up =
        "SELECT approx_percentile(p99, 0.5) AS p50, merge(p99) AS p99, approx_distinct(kinds) AS kinds
                   FROM TUMBLE(seconds, window_start, INTERVAL '1 minute')";
    let straight = "SELECT approx_percentile(i, 0.5) AS p50, approx_percentile(i, 0.99) AS p99,
                           approx_distinct(s) AS kinds
                    FROM TUMBLE(readings, ts, INTERVAL '1 minute')";
    let mut bench = bench(&[("seconds", source), ("merged", roll_up), ("straight", straight)]);
    let events: Vec<Event> = (0..500)
        .map(|i| event(i * 100, json!({"i": i * i % 71, "s": (i % 7).to_string()})))
        .collect();
    for batch in events.chunks(60) {
        bench.commit(1, 0, &record_batch(batch, Layout::Typed));
    }
    let values = |view: &str| bench.page(view).rows[0].values.clone();
    assert_eq!(values("merged"), values("straight"));
}

#[test]
fn a_source_is_replaced_when_its_readers_still_fit_and_they_follow() {
    let mut bench = bench(&VIEWS);
    assert_eq!(
        bench.engine.readers("panes"),
        ["busy".into(), "hopping".into(), "larger".into()]
    );
    let without_low = VIEWS[0].1.replace(", min(i) AS low", "");
    let plan = Arc::new(bench.engine.compile("panes", &without_low).expect("compiles"));
    let broken: Vec<String> = bench
        .engine
        .broken_by(&plan)
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!(broken, ["larger", "hopping"]);
    // an hour is no multiple of it
    let longer = VIEWS[0].1.replace("7 seconds", "8 seconds");
    let plan = Arc::new(bench.engine.compile("panes", &longer).expect("compiles"));
    assert_eq!(bench.engine.broken_by(&plan).len(), 3);
    // other columns before them, another filter: all fit
    let other = VIEWS[0]
        .1
        .replace("SELECT window_start", "SELECT count(i) AS more, window_start");
    let other = other.replace("GROUP BY", "WHERE i > 0 GROUP BY");
    let plan = Arc::new(bench.engine.compile("panes", &other).expect("compiles"));
    assert!(bench.engine.broken_by(&plan).is_empty());
    bench.engine.put_view(plan);
    let events = [0, 1, -3].map(|i| event(i.max(0), json!({"s": "a", "i": i})));
    bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    assert_eq!(json!(bench.page("larger").rows[0].value("sum")), json!(1));
    assert_eq!(json!(bench.page("largest").rows[0].value("n")), json!(1));
}

#[test]
fn what_a_roll_up_cannot_be_is_refused() {
    let mut bench = bench(&VIEWS);
    put(&mut bench, "running", "SELECT count(*) AS n FROM readings");
    put(
        &mut bench,
        "days",
        "SELECT count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 day', 'Europe/Berlin')",
    );
    put(
        &mut bench,
        "hours",
        "SELECT count(*) AS n, avg(i) / 2 AS half FROM TUMBLE(readings, ts, INTERVAL '1 hour')",
    );
    let over = |from: &str| format!("SELECT sum(n) AS n FROM {from}");
    let tumble = |view: &str, size: &str| over(&format!("TUMBLE({view}, window_start, INTERVAL {size})"));
    for (name, sql, says) in [
        ("x", tumble("nothing", "'1 hour'"), "there is no view \"nothing\""),
        ("x", tumble("panes", "'20 seconds'"), "no multiple"),
        (
            "x",
            over("HOP(panes, window_start, INTERVAL '10 seconds', INTERVAL '70 seconds')"),
            "no multiple",
        ),
        (
            "x",
            over("SESSION(panes, window_start, INTERVAL '1 hour')"),
            "no sessions of windows",
        ),
        ("x", tumble("hopping", "'1 hour'"), "overlap"),
        ("x", tumble("running", "'1 hour'"), "has no windows"),
        ("x", tumble("days", "'2 days'"), "name the same time zone"),
        (
            "x",
            tumble("days", "'2 days', 'Asia/Tokyo'"),
            "name the same time zone",
        ),
        (
            "x",
            tumble("hours", "'1 day', 'Asia/Kolkata'"),
            "windows of 15 minutes",
        ),
        (
            "panes",
            tumble("largest", "'420 seconds'"),
            "panes reads largest reads larger reads panes",
        ),
        ("panes", tumble("panes", "'70 seconds'"), "cannot read itself"),
        (
            "x",
            tumble("panes", "'70 seconds'").replace("sum(n)", "avg(mean)"),
            "write merge(mean)",
        ),
        (
            "x",
            tumble("panes", "'70 seconds'").replace("sum(n)", "merge(s)"),
            "no aggregate",
        ),
        (
            "x",
            tumble("hours", "'2 hours'").replace("sum(n)", "merge(half)"),
            "no aggregate",
        ),
        (
            "x",
            tumble("panes", "'70 seconds'").replace("sum(n)", "merge(n, 2)"),
            "takes a column",
        ),
        (
            "x",
            tumble("panes", "'70 seconds'").replace("sum(n)", "sum(wrong)"),
            "no column \"wrong\"",
        ),
        (
            "x",
            tumble("panes", "'70 seconds'").replace("sum(n) AS n", "n, merge(n) FILTER (WHERE n > 1) AS m"),
            "GROUP BY",
        ),
        (
            "x",
            "SELECT merge(n) AS n FROM TUMBLE(readings, ts, INTERVAL '1 hour')".to_owned(),
            "reads a stream",
        ),
    ] {
        let error = bench.engine.compile(name, &sql).expect_err(&sql).to_string();
        assert!(error.contains(says), "{sql}: {error}");
    }
    for sql in [
        tumble("days", "'7 days', 'Europe/Berlin'"),
        tumble("hours", "'1 day', 'Europe/Berlin'"),
        tumble("hours", "'1 day'"),
    ] {
        bench.engine.compile("x", &sql).expect("fits");
    }
}
