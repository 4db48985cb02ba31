//! Properties over random events, views and batchings.

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Map, Value, json};
use tributary_shared::time::Millis;

use super::{Bench, Event, Layout, record_batch, view};
use crate::window::{Engine, EngineConfig, ViewStore};

/// Values that fit the typed layout. Floats are quarters, so that sums are exact in any order.
fn typed_event() -> impl Strategy<Value = Event> {
    let maybe = |values: BoxedStrategy<Value>| prop_oneof![1 => Just(Value::Null), 4 => values];
    let int = (-3i64..4).prop_map(|i| json!(i)).boxed();
    let float = (-8i32..8).prop_map(|f| json!(f64::from(f) / 4.0)).boxed();
    let text = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("A"), Just("")]
        .prop_map(|s| json!(s))
        .boxed();
    let flag = any::<bool>().prop_map(|b| json!(b)).boxed();
    let fields = (
        maybe(int.clone()),
        maybe(int),
        maybe(float),
        maybe(text.clone()),
        maybe(text),
        maybe(flag),
    );
    (-200_000i64..200_000, fields).prop_map(|(at, (i, i2, f, s, d, b))| {
        let fields = json!({"i": i, "i2": i2, "f": f, "s": s, "d": d, "b": b});
        super::event(at, fields)
    })
}

/// Values of any type in any field.
fn wild_event() -> impl Strategy<Value = Event> {
    let value = prop_oneof![
        2 => Just(Value::Null),
        6 => (-3i64..4).prop_map(|i| json!(i)),
        4 => (-8i32..8).prop_map(|f| json!(f64::from(f) / 4.0)),
        3 => prop_oneof![Just("a"), Just("b"), Just("1")].prop_map(|s| json!(s)),
        1 => any::<bool>().prop_map(|b| json!(b)),
        1 => Just(json!({"o": 1})),
    ];
    let fields = prop::collection::vec(prop::option::weighted(0.8, value), 3);
    (-200_000i64..200_000, fields).prop_map(|(at, fields)| {
        let named = ["x", "y", "z"].into_iter().zip(fields);
        let fields: Map<String, Value> = named
            .filter_map(|(name, v)| Some((name.to_owned(), v?)))
            .collect();
        Event { at, fields }
    })
}

/// Conditions that mean the same in PostgreSQL and in SQLite.
fn condition() -> impl Strategy<Value = String> {
    let number = || {
        let leaf = prop_oneof![
            Just("i".to_owned()),
            Just("i2".to_owned()),
            Just("f".to_owned()),
            (-3i32..4).prop_map(|n| format!("({n})")),
            Just("1.5".to_owned()),
        ];
        leaf.prop_recursive(2, 8, 2, |inner| {
            prop_oneof![
                (
                    inner.clone(),
                    prop_oneof![Just("+"), Just("-"), Just("*"), Just("/")],
                    inner.clone()
                )
                    .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
                inner.clone().prop_map(|a| format!("(- {a})")),
                Just("(i % i2)".to_owned()),
                inner.prop_map(|a| format!("abs({a})")),
            ]
        })
    };
    let compare = || {
        prop_oneof![
            Just("="),
            Just("<>"),
            Just("<"),
            Just("<="),
            Just(">"),
            Just(">=")
        ]
    };
    let leaf = prop_oneof![
        (number(), compare(), number()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (compare(), prop_oneof![Just("'a'"), Just("'b'"), Just("''")])
            .prop_map(|(op, s)| format!("s {op} {s}")),
        (compare(), prop_oneof![Just("'a'"), Just("s")]).prop_map(|(op, s)| format!("d {op} {s}")),
        number().prop_map(|a| format!("{a} IS NULL")),
        number().prop_map(|a| format!("{a} BETWEEN -1 AND 1")),
        Just("i IN (1, 2, NULL)".to_owned()),
        Just("s NOT IN ('a', 'b')".to_owned()),
        Just("d LIKE 'a%'".to_owned()),
        Just("s NOT LIKE '_'".to_owned()),
        Just("coalesce(d, s, 'a') = 'a'".to_owned()),
        Just("CASE WHEN i > 0 THEN b WHEN f > 0 THEN i > i2 END".to_owned()),
        Just("b".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("(NOT ({a}))")),
        ]
    })
}

const AMOUNTS: &str = "count(*) AS n, count(i) AS c, sum(i) AS si, sum(f) AS sf, avg(f) AS af, avg(i) AS ai, min(i) AS li, \
                       max(f) AS hf, min(s) AS ls, max(d) AS hd, sum(i * f + 1) AS se, count(s) AS cs";
const AMOUNT_COUNT: usize = 12;

/// Rows as (window start in minutes, keys and amounts), sorted.
fn ours(bench: &Bench) -> Vec<Vec<Value>> {
    let rows = bench.page("v0").rows;
    let mut rows: Vec<Vec<Value>> = rows
        .iter()
        .map(|row| {
            std::iter::once(json!(row.window_start.expect("a window") / 60_000))
                .chain(row.values.iter().map(|v| json!(v)))
                .collect()
        })
        .collect();
    rows.sort_by_key(|row| json!(row).to_string());
    rows
}

/// The same question, answered by SQLite.
fn sqlite(events: &[Event], condition: &str, keys: &str) -> Vec<Vec<Value>> {
    let db = Connection::open_in_memory().expect("opens");
    db.execute_batch(
        "PRAGMA case_sensitive_like = ON;
         CREATE TABLE readings(at INTEGER, i INTEGER, i2 INTEGER, f REAL, s TEXT, d TEXT, b INTEGER);",
    )
    .expect("creates");
    for event in events {
        let field = |name: &str| event.fields[name].clone();
        let (i, i2, f) = (field("i").as_i64(), field("i2").as_i64(), field("f").as_f64());
        let (s, d, b) = (field("s"), field("d"), field("b").as_bool());
        let row = rusqlite::params![event.at, i, i2, f, s.as_str(), d.as_str(), b];
        db.execute("INSERT INTO readings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row)
            .expect("inserts");
    }
    // SQLite's division truncates towards zero: shift the times to be positive before
    let window = "(at + 6000000) / 60000 - 100";
    let sql = format!(
        "SELECT {window}, {keys} {AMOUNTS} FROM readings WHERE {condition} GROUP BY {window}, {}",
        keys.trim_end_matches(", ")
    );
    let sql = sql.trim_end_matches([',', ' ']);
    let mut select = db.prepare(sql).expect("prepares");
    let columns = select.column_count();
    let rows = select.query_map([], |row| {
        (0..columns)
            .map(|at| {
                Ok(match row.get_ref(at)? {
                    rusqlite::types::ValueRef::Integer(value) => json!(value),
                    rusqlite::types::ValueRef::Real(value) => json!(value + 0.0),
                    rusqlite::types::ValueRef::Text(text) => json!(std::str::from_utf8(text).expect("UTF-8")),
                    _ => Value::Null,
                })
            })
            .collect::<Result<Vec<Value>, rusqlite::Error>>()
    });
    let mut rows: Vec<Vec<Value>> = rows.expect("runs").collect::<Result<_, _>>().expect("reads");
    rows.sort_by_key(|row| json!(row).to_string());
    rows
}

/// Cuts a list at some of the given places.
fn split(events: &[Event], cuts: &[prop::sample::Index]) -> Vec<Vec<Event>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(events.len() + 1)).collect();
    places.extend([0, events.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|ends| events[ends[0]..ends[1]].to_vec())
        .collect()
}

fn run(views: &[&str], batches: &[Vec<Event>], layout: Layout) -> Bench {
    let mut bench = Bench::new(views);
    for events in batches {
        bench.commit(1, 1_000_000, &record_batch(events, layout));
    }
    bench
}

/// What JSON's one number type and SQL's rules say about one group of a schemaless stream, row by row.
#[derive(Debug, Default, PartialEq)]
struct Naive {
    rows: u64,
    present: u64,
    sum: Option<f64>,
    low: Option<Value>,
    high: Option<Value>,
}

impl Naive {
    fn add(&mut self, value: &Value) {
        self.rows += 1;
        self.present += u64::from(!value.is_null());
        if let Some(number) = value.as_f64() {
            self.sum = Some(self.sum.unwrap_or(0.0) + number);
        }
        let candidate = match value {
            Value::Number(_) => Some(json!(value.as_f64())),
            Value::String(_) | Value::Bool(_) => Some(value.clone()),
            Value::Object(_) => Some(json!(value.to_string())),
            _ => None,
        };
        if let Some(candidate) = candidate {
            if self.low.as_ref().is_none_or(|low| order(&candidate) < order(low)) {
                self.low = Some(candidate.clone());
            }
            if self
                .high
                .as_ref()
                .is_none_or(|high| order(&candidate) > order(high))
            {
                self.high = Some(candidate);
            }
        }
    }
}

/// Booleans before numbers before texts.
fn order(value: &Value) -> (u8, i64, String) {
    let quarters = match value {
        Value::Bool(value) => i64::from(*value),
        value => value.as_f64().map_or(0, |number| (number * 4.0) as i64),
    };
    (
        match value {
            Value::Bool(_) => 0,
            Value::Number(_) => 1,
            _ => 2,
        },
        quarters,
        value.as_str().unwrap_or_default().to_owned(),
    )
}

/// A group key or number as a comparable text: 5.0 is 5.
fn canonical(value: &Value) -> String {
    value.as_f64().map_or_else(
        || {
            if value.is_object() {
                json!(value.to_string()).to_string()
            } else {
                value.to_string()
            }
        },
        |number| number.to_string(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn typed_views_agree_with_sqlite(
        events in prop::collection::vec(typed_event(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        condition in condition(),
        keys in prop_oneof![Just(""), Just("s, "), Just("d, i, "), Just("f, "), Just("i + i2, ")],
    ) {
        let rest = format!("WHERE {condition} {} {}", if keys.is_empty() { "" } else { "GROUP BY" }, keys.trim_end_matches(", "));
        let sql = view(&format!("{} {AMOUNTS}", keys.replace("i + i2", "i + i2 AS k")), &rest);
        let expected = sqlite(&events, &condition, keys);
        for layout in [Layout::Typed, Layout::JsonText] {
            let bench = run(&[&sql], &split(&events, &cuts), layout);
            let found = ours(&bench);
            prop_assert_eq!(found.len(), expected.len(), "{} over {:?}", sql, layout);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(found.len(), expected.len());
                let key_count = found.len() - AMOUNT_COUNT;
                // a row that is all JSON texts has no float columns, and 2.0 is written as 2
                let same = found.iter().zip(expected).enumerate().all(|(at, (a, b))| match (a.as_f64(), b.as_f64()) {
                    (Some(a), Some(b)) if at >= key_count => (a - b).abs() < 1e-9,
                    (Some(a), Some(b)) => a == b,
                    _ => a == b,
                });
                prop_assert!(same, "{} over {:?}: {:?} but SQLite says {:?}", sql, layout, found, expected);
            }
        }
    }

    #[test]
    fn wild_events_agree_with_a_naive_count_however_they_are_batched(
        events in prop::collection::vec(wild_event(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut expected = std::collections::BTreeMap::<(Millis, String), Naive>::new();
        for event in &events {
            let field = |name: &str| event.fields.get(name).unwrap_or(&Value::Null);
            if field("z").as_f64().is_some_and(|z| z > 1.0) {
                continue;
            }
            let key = (event.at.div_euclid(60_000), canonical(field("x")));
            expected.entry(key).or_default().add(field("y"));
        }
        let sql = view(
            "x, count(*) AS n, count(y) AS c, sum(y) AS s, min(y) AS lo, max(y) AS hi",
            "WHERE NOT coalesce(z > 1, false) GROUP BY x",
        );
        let bench = run(&[&sql], &split(&events, &cuts), Layout::Schemaless);
        let found: std::collections::BTreeMap<(Millis, String), Naive> = bench.page("v0").rows.iter().map(|row| {
            let value = |name: &str| json!(row.value(name));
            let extreme = |name: &str| Some(value(name)).filter(|v| !v.is_null()).map(|v| v.as_f64().map_or(v, |n| json!(n)));
            let naive = Naive {
                rows: value("n").as_u64().expect("a count"),
                present: value("c").as_u64().expect("a count"),
                sum: value("s").as_f64(),
                low: extreme("lo"),
                high: extreme("hi"),
            };
            ((row.window_start.expect("a window") / 60_000, canonical(&value("x"))), naive)
        }).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn the_batching_does_not_show(
        events in prop::collection::vec(wild_event(), 1..60),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let views = [
            view("x + y * 2 - z / 3 AS k, avg(y) AS a, sum(x * 1.5) AS s, max(z) AS m", "GROUP BY 1"),
            view("y AS k, count(*) AS n, max(x) AS m", "WHERE x >= y OR z = 'a' OR x IS NULL GROUP BY y, z % 2"),
            view("upper(x) AS k, sum(abs(y)) AS s", "WHERE NOT (y IN (1, 2.5, 'b')) GROUP BY upper(x)"),
            view("x::text AS k, sum(y::bigint) AS s, min(round(z / 7, 2)) AS r", "GROUP BY x::text"),
            "SELECT x, count(*) AS n FROM TUMBLE(readings, y, INTERVAL '1 minute') GROUP BY x".to_owned(),
        ];
        let views: Vec<&str> = views.iter().map(String::as_str).collect();
        let whole = run(&views, std::slice::from_ref(&events), Layout::Schemaless);
        let cut = run(&views, &split(&events, &cuts), Layout::Schemaless);
        for (at, sql) in views.iter().enumerate() {
            let name = format!("v{at}");
            prop_assert_eq!(whole.rows(&name), cut.rows(&name), "{}", sql);
            let counters = |bench: &Bench| bench.engine.stats(&name).expect("exists").counters;
            prop_assert_eq!(counters(&whole), counters(&cut), "{}", sql);
        }
    }

    #[test]
    fn a_snapshot_and_the_log_behind_it_give_the_straight_run(
        batches in prop::collection::vec((prop::collection::vec(wild_event(), 0..12), 1u32..4, 0i64..1_000_000), 1..10),
        saves in prop::collection::vec(any::<bool>(), 10),
        late_view in any::<prop::sample::Index>(),
    ) {
        let first = view("x, count(*) AS n, sum(y) AS s, avg(z) AS a, min(y) AS lo, max(z) AS hi", "GROUP BY x");
        let second = view("y, count(z) AS n", "WHERE x IS NOT NULL GROUP BY y");
        let records: Vec<_> = batches.iter().map(|(events, ..)| record_batch(events, Layout::Schemaless)).collect();
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("views.db");
        let mut store = ViewStore::open(&path).expect("opens");
        let def = |name: &str, sql: &str| crate::view::ViewDef {
            name: name.to_owned(), sql: sql.to_owned(), options: crate::view::ViewOptions::default(), created_at: 0, applies_from: crate::commit::LogPos(0),
        };
        store.put_view(&def("v0", &first)).expect("stores");
        let mut bench = Bench::new(&[&first]);
        let late_at = late_view.index(batches.len());
        for (at, (records, (_, lane, now))) in records.iter().zip(&batches).enumerate() {
            if at == late_at {
                // a view that is created now catches up from the log while the log goes on
                store.put_view(&def("v1", &second)).expect("stores");
                bench.engine.put_view(super::plan("v1", &second));
            }
            bench.commit(*lane, *now, records);
            if saves[at] {
                let snapshot = bench.engine.take_snapshot();
                store.save_snapshot(&snapshot).expect("saves");
            }
        }
        // the crash: what was not saved is gone
        drop(store);
        let store = ViewStore::open(&path).expect("opens again");
        let mut restored = Bench::new(&[]);
        let report = store.load_into(&mut restored.engine).expect("loads");
        prop_assert!(report.rebuilt.is_empty() && report.refused.is_empty());
        let mut straight = Bench::new(&[&first, &second]);
        for (records, (_, lane, now)) in records.iter().zip(&batches) {
            straight.commit(*lane, *now, records);
        }
        for bench in [&mut restored, &mut bench] {
            let seen = bench.engine.position().0 as usize;
            for (records, (_, lane, now)) in records.iter().zip(&batches).skip(seen) {
                bench.commit(*lane, *now, records);
            }
            catch_up(bench, &records, &batches);
            for name in ["v0", "v1"] {
                prop_assert_eq!(&bench.page(name).rows, &straight.page(name).rows);
                prop_assert_eq!(bench.engine.stats(name), straight.engine.stats(name));
            }
            prop_assert_eq!(bench.engine.watermark(&bench.stream), straight.engine.watermark(&straight.stream));
        }
    }
}

/// Replays the log for the views that are behind, as the engine's owner does.
fn catch_up(bench: &mut Bench, records: &[arrow_array::RecordBatch], batches: &[(Vec<Event>, u32, Millis)]) {
    while let Some((name, position)) = bench.engine.behind() {
        let at = position.0 as usize;
        let agent = tributary_shared::ids::AgentId::new("edge").expect("valid");
        let stream = bench.stream.clone();
        let batch = crate::window::AppliedBatch {
            replayed: false,
            range: tributary_shared::ids::SeqRange { first: 1, last: 1 },
            pos: position.next(),
            lane: tributary_shared::ids::LaneNo(batches[at].1),
            agent: &agent,
            stream: &stream,
            committed_at: batches[at].2,
            records: Some(&records[at]),
        };
        bench.engine.apply_to(&name, &batch);
    }
}

#[test]
fn replaced_dropped_and_damaged_views_keep_no_old_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("views.db");
    let (old, new) = (view("count(*) AS n", ""), view("count(*) AS m", ""));
    let def = |sql: &str| crate::view::ViewDef {
        name: "v0".to_owned(),
        sql: sql.to_owned(),
        options: crate::view::ViewOptions::default(),
        created_at: 5,
        applies_from: crate::commit::LogPos(0),
    };
    let mut store = ViewStore::open(&path).expect("opens");
    assert!(store.is_new().expect("reads"));
    store.set_initialised().expect("writes");
    assert!(!store.is_new().expect("reads"));
    assert!(store.put_view(&def(&old)).expect("stores"));
    assert!(!store.put_view(&def(&old)).expect("is there"));
    let mut bench = Bench::new(&[&old]);
    let records = record_batch(&[super::event(0, json!({"i": 1}))], Layout::Typed);
    bench.commit(1, 0, &records);
    let stale = bench.engine.take_snapshot();
    store.save_snapshot(&stale).expect("saves");
    assert!(store.put_view(&def(&new)).expect("replaces"));
    store
        .save_snapshot(&stale)
        .expect("the state of the old definition is passed over");
    let mut engine = Engine::new(EngineConfig::default());
    let report = store.load_into(&mut engine).expect("loads");
    assert_eq!(report.defs, [def(&new)]);
    assert_eq!(
        engine.view("v0").expect("exists").sql(),
        old,
        "the old one serves"
    );
    assert_eq!(
        engine.behind().expect("the new view needs the log").1,
        crate::commit::LogPos(0)
    );
    assert!(store.put_view(&def(&old)).expect("replaces the one that comes"));
    assert!(store.put_view(&def(&new)).expect("and again"));
    store.cut_over("v0", 3).expect("the newest serves");
    while store.sweep().expect("deletes") {}

    let mut bench = Bench::new(&[&new]);
    bench.commit(1, 0, &records);
    store.save_snapshot(&bench.engine.take_snapshot()).expect("saves");
    let raw = Connection::open(&path).expect("opens");
    raw.execute("UPDATE window_state SET state = X'0100'", [])
        .expect("damages");
    let mut engine = Engine::new(EngineConfig::default());
    let report = store.load_into(&mut engine).expect("loads");
    assert_eq!(
        report.rebuilt,
        [("v0".to_owned(), crate::window::StateError::Malformed)]
    );
    assert_eq!(
        engine.behind().expect("it begins anew").1,
        crate::commit::LogPos(0)
    );
    assert!(store.drop_view("v0").expect("drops"));
    assert!(!store.drop_view("v0").expect("is gone"));
    assert!(store.views().expect("reads").is_empty());
}
