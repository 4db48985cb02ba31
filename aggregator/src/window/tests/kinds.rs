//! Every kind of window against a model that looks at all events after the fact.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tributary_shared::time::{Millis, parse_rfc3339};

use super::{Bench, Event, Layout, event, record_batch};
use crate::window::{GoneRow, ViewStore, WindowQuery};

const SECOND: Millis = 1_000;
/// start, end (none without windows), key
pub(super) type Name = (Option<Millis>, Option<Millis>, String);
/// count, sum, least, greatest
pub(super) type Numbers = (u64, i64, i64, i64);
pub(super) type Rows = BTreeMap<Name, Numbers>;

const LIST: &str = "SELECT s, count(*) AS n, sum(i) AS sum, min(i) AS low, max(i) AS high";

fn views() -> [String; 5] {
    [
        "TUMBLE(readings, ts, INTERVAL '7 seconds')",
        "HOP(readings, ts, INTERVAL '4 seconds', INTERVAL '10 seconds')",
        "SESSION(readings, ts, INTERVAL '3 seconds')",
        "readings",
        "HOP(readings, ts, INTERVAL '5 seconds', INTERVAL '10 seconds')",
    ]
    .map(|from| format!("{LIST} FROM {from} GROUP BY s"))
}

pub(super) fn text(event: &Event) -> String {
    event.fields["s"].as_str().unwrap_or("NULL").to_owned()
}

pub(super) fn number(event: &Event) -> i64 {
    event.fields["i"].as_i64().expect("an integer")
}

pub(super) fn numbers<'a>(events: impl Iterator<Item = &'a Event>) -> Numbers {
    events.fold((0, 0, i64::MAX, i64::MIN), |(n, sum, low, high), event| {
        let i = number(event);
        (n + 1, sum + i, low.min(i), high.max(i))
    })
}

/// Windows of one size, of which one begins every so often.
pub(super) fn naive_hop(events: &[Event], slide: Millis, size: Millis) -> Rows {
    let mut rows = Rows::new();
    let oldest = events.iter().map(|e| e.at).min().unwrap_or(0);
    let newest = events.iter().map(|e| e.at).max().unwrap_or(0);
    let mut start = (oldest - size).div_euclid(slide) * slide;
    while start <= newest {
        let inside = |e: &&Event| (start..start + size).contains(&e.at);
        for key in events.iter().filter(inside).map(text) {
            let of_key = events.iter().filter(inside).filter(|e| text(e) == key);
            rows.insert((Some(start), Some(start + size), key.clone()), numbers(of_key));
        }
        start += slide;
    }
    rows
}

fn naive_sessions(events: &[Event], gap: Millis) -> Rows {
    let mut sorted = events.to_vec();
    sorted.sort_by_key(|event| (text(event), event.at));
    let together = |a: &Event, b: &Event| text(a) == text(b) && b.at - a.at < gap;
    let sessions = sorted.chunk_by(together).map(|session| {
        let (first, last) = (&session[0], &session[session.len() - 1]);
        let name = (Some(first.at), Some(last.at + gap), text(first));
        (name, numbers(session.iter()))
    });
    sessions.collect()
}

fn naive_running(events: &[Event]) -> Rows {
    let row = |key: String| {
        let of_key = events.iter().filter(|e| text(e) == key);
        ((None, None, key.clone()), numbers(of_key))
    };
    events.iter().map(text).map(row).collect()
}

fn model(events: &[Event]) -> [Rows; 5] {
    [
        naive_hop(events, 7 * SECOND, 7 * SECOND),
        naive_hop(events, 4 * SECOND, 10 * SECOND),
        naive_sessions(events, 3 * SECOND),
        naive_running(events),
        naive_hop(events, 5 * SECOND, 10 * SECOND),
    ]
}

fn rows(bench: &Bench, view: usize) -> Rows {
    let page = bench.page(&format!("v{view}"));
    let int = |value: Option<&crate::view::Scalar>| json!(value).as_i64().expect("an integer");
    let row = |row: &crate::window::WindowRow| {
        let key = json!(row.value("s")).as_str().unwrap_or("NULL").to_owned();
        let count = int(row.value("n")).cast_unsigned();
        let numbers = (
            count,
            int(row.value("sum")),
            int(row.value("low")),
            int(row.value("high")),
        );
        ((row.window_start, row.window_end, key), numbers)
    };
    let rows: Vec<_> = page.rows.iter().map(row).collect();
    let count = rows.len();
    let rows: Rows = rows.into_iter().collect();
    assert_eq!(rows.len(), count, "each row has a name of its own");
    rows
}

pub(super) fn some_event() -> impl Strategy<Value = Event> {
    let key = prop_oneof![Just(Value::Null), Just(json!("a")), Just(json!("b"))];
    // in halves of seconds, so that events lie on the bounds of windows and gaps often
    (-40i64..40, key, -9i64..9).prop_map(|(half, s, i)| event(half * 500, json!({"s": s, "i": i})))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_kind_agrees_with_the_model_in_any_order_with_any_batching_and_after_a_restart(
        batches in prop::collection::vec(prop::collection::vec(some_event(), 1..8), 1..10),
        saves in prop::collection::vec(any::<bool>(), 10),
    ) {
        let views = views();
        let sql: Vec<&str> = views.iter().map(String::as_str).collect();
        let mut bench = Bench::new(&sql);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("views.db");
        let mut store = ViewStore::open(&path).expect("opens");
        for (at, sql) in views.iter().enumerate() {
            let def = crate::view::ViewDef {
                name: format!("v{at}"), sql: sql.clone(), options: crate::view::ViewOptions::default(),
                created_at: 0, applies_from: crate::commit::LogPos(0),
            };
            store.put_view(&def).expect("stores");
        }
        let mut told: BTreeMap<(usize, Name), Numbers> = BTreeMap::new();
        for (batch, save) in batches.iter().zip(&saves) {
            let changes = bench.commit(1, 0, &record_batch(batch, Layout::Typed));
            follow(&mut told, &bench, &changes);
            if *save {
                store.save_snapshot(&bench.engine.take_snapshot()).expect("saves");
            }
        }
        let events: Vec<Event> = batches.concat();
        let expected = model(&events);
        for (view, expected) in expected.iter().enumerate() {
            prop_assert_eq!(&rows(&bench, view), expected, "{}", view);
            let followed: Rows = told.iter().filter(|((of, _), _)| *of == view)
                .map(|((_, name), numbers)| (name.clone(), *numbers)).collect();
            prop_assert_eq!(&followed, expected, "a subscriber of {}", view);
        }
        // the crash: what was not saved comes from the log again
        drop(store);
        let mut restored = Bench::new(&[]);
        let report = ViewStore::open(&path).expect("opens again").load_into(&mut restored.engine).expect("loads");
        prop_assert!(report.rebuilt.is_empty() && report.refused.is_empty());
        let seen = restored.engine.position().0 as usize;
        for batch in &batches[seen..] {
            restored.commit(1, 0, &record_batch(batch, Layout::Typed));
        }
        if seen > 0 {
            for (view, sql) in views.iter().enumerate() {
                let name = format!("v{view}");
                prop_assert_eq!(&restored.page(&name).rows, &bench.page(&name).rows, "{}", sql);
            }
        }
        // another order
        let mut other = Bench::new(&sql);
        for event in events.iter().rev() {
            other.commit(1, 0, &record_batch(std::slice::from_ref(event), Layout::Typed));
        }
        for (view, expected) in expected.iter().enumerate() {
            prop_assert_eq!(&rows(&other, view), expected, "{} in reverse", view);
        }
        for event in &events {
            locates(&bench, event, &expected)?;
        }
    }
}

/// What somebody knows who hears of every change, and of nothing else.
fn follow(
    told: &mut BTreeMap<(usize, Name), Numbers>,
    bench: &Bench,
    changes: &[crate::window::WindowChange],
) {
    for change in changes {
        let view: usize = change.view[1..].parse().expect("a number");
        for GoneRow {
            window_start,
            window_end,
            key,
        } in &change.gone
        {
            let key = json!(key[0]).as_str().unwrap_or("NULL").to_owned();
            let name = (Some(*window_start), Some(*window_end), key);
            told.remove(&(view, name));
        }
        for row in bench.engine.rows(change) {
            let key = json!(row.value("s")).as_str().unwrap_or("NULL").to_owned();
            let int = |name: &str| json!(row.value(name)).as_i64().expect("an integer");
            let numbers = (int("n").cast_unsigned(), int("sum"), int("low"), int("high"));
            // a session that grows is the same row with another end
            told.retain(|(of, name), _| (*of, name.0, &name.2) != (view, row.window_start, &key));
            told.insert((view, (row.window_start, row.window_end, key)), numbers);
        }
    }
}

/// An event is found in the rows that count it, and in no others.
fn locates(bench: &Bench, event: &Event, expected: &[Rows; 5]) -> Result<(), TestCaseError> {
    let records = record_batch(std::slice::from_ref(event), Layout::Typed);
    let mut found: Vec<(String, Option<Millis>, Option<Millis>)> = Vec::new();
    let located = bench
        .engine
        .locate(&bench.stream, bench.engine.position(), &records, 0);
    for hit in located.expect("reads").windows {
        prop_assert_eq!(&hit.group["s"], &event.fields["s"]);
        found.push((hit.view.to_string(), hit.window_start, hit.window_end));
    }
    let holds = |(start, end, key): &&Name| {
        let inside = start.is_none_or(|start| start <= event.at) && end.is_none_or(|end| event.at < end);
        inside && *key == text(event)
    };
    let rows = expected.iter().enumerate().flat_map(|(view, rows)| {
        let names = rows.keys().filter(holds);
        names.map(move |(start, end, _)| (format!("v{view}"), *start, *end))
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    found.sort();
    prop_assert_eq!(found, rows);
    Ok(())
}

#[test]
fn a_day_in_berlin_has_23_hours_in_spring() {
    let sql = "SELECT window_start, window_end, count(*) AS n \
               FROM TUMBLE(readings, ts, INTERVAL '1 day', 'Europe/Berlin')";
    let mut bench = Bench::new(&[sql]);
    let at = |text: &str| parse_rfc3339(text).expect("a time");
    let times = [
        "2026-03-28T22:59:59.999Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T21:59:59.999Z",
        "2026-03-29T22:00:00Z",
        "1969-12-31T23:00:00Z",
    ];
    let events = times.map(|time| event(at(time), json!({"i": 1})));
    bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    let page = bench.page("v0");
    let found: Vec<_> = page
        .rows
        .iter()
        .map(|row| (row.window_start, row.window_end, json!(row.value("n"))))
        .collect();
    let row = |start, end, n: i64| (Some(at(start)), Some(at(end)), json!(n));
    let expected = [
        row("2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z", 1),
        row("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 2),
        row("2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", 1),
        row("1969-12-31T23:00:00Z", "1970-01-01T23:00:00Z", 1),
    ];
    assert_eq!(found, expected);
}

#[test]
fn queries_reach_every_kind_by_range_filter_and_page() {
    let views = views();
    let sql: Vec<&str> = views.iter().map(String::as_str).collect();
    let mut bench = Bench::new(&sql);
    let events: Vec<Event> = (-20..20)
        .map(|i| {
            event(
                i * SECOND,
                json!({"s": if i % 2 == 0 { "a" } else { "b" }, "i": i}),
            )
        })
        .collect();
    bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    for (at, view) in views.iter().enumerate() {
        let name = format!("v{at}");
        let all = bench.page(&name).rows;
        let query = WindowQuery {
            from: Some(-8 * SECOND),
            to: Some(4 * SECOND),
            filters: vec![("s".to_owned(), "a".to_owned())],
            ..WindowQuery::default()
        };
        let some = bench.engine.windows(&name, &query).expect("answers").rows;
        let wanted = all.iter().filter(|row| {
            let inside = row
                .window_start
                .is_none_or(|start| (-8 * SECOND..4 * SECOND).contains(&start));
            inside && json!(row.value("s")) == json!("a")
        });
        assert_eq!(some, wanted.cloned().collect::<Vec<_>>(), "{view}");
        let one_session = at == 2;
        assert_eq!(some.is_empty(), one_session, "{view}");
        let mut scan = crate::window::WindowScan {
            limit: 3,
            ..crate::window::WindowScan::default()
        };
        let mut scanned = Vec::new();
        loop {
            let page = bench.engine.scan(&name, &scan).expect("answers");
            scanned.extend(page.rows);
            scan.after = page.next;
            if scan.after.is_none() {
                break;
            }
        }
        let by_name = |row: &crate::window::WindowRow| (row.window_start, json!(row.value("s")).to_string());
        let (mut scanned, mut all) = (scanned, all);
        scanned.sort_by_key(by_name);
        all.sort_by_key(by_name);
        assert_eq!(scanned, all, "{view}");
    }
    let running = json!(bench.page("v3").rows[0]);
    assert_eq!(
        (&running["window_start"], &running["final"]),
        (&Value::Null, &json!(false))
    );
}

#[test]
fn sessions_beyond_the_bound_are_counted_and_merged_ones_make_room() {
    let config = crate::window::EngineConfig {
        options: crate::view::ViewOptions {
            max_groups: 2,
            ..crate::view::ViewOptions::default()
        },
        ..crate::window::EngineConfig::default()
    };
    let mut bench = Bench::with(config, &[&views()[2]]);
    let at = |half: i64| record_batch(&[event(half * 500, json!({"s": "a", "i": 1}))], Layout::Typed);
    for half in [0, 10, 100] {
        bench.commit(1, 0, &at(half));
    }
    let overflowed = |bench: &Bench| bench.engine.stats("v0").expect("exists").counters.overflowed;
    assert_eq!((bench.page("v0").rows.len(), overflowed(&bench)), (3, 1));
    // the two become one, and there is room again
    bench.commit(1, 0, &at(5));
    bench.commit(1, 0, &at(100));
    assert_eq!((bench.page("v0").rows.len(), overflowed(&bench)), (3, 1));
}
