//! Windows on disk and in memory: whatever leaves memory and whenever, every answer is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};
use tributary_shared::time::Millis;

use super::{Bench, Event, Layout, event, record_batch, view};
use crate::window::messages::GroupState;
use crate::window::{
    ColdError, ColdGroups, EngineConfig, LaneWatermark, Snapshot, SnapshotSlice, WindowFacts, WindowQuery,
    WindowScan,
};

type Windows = BTreeMap<(u64, Millis), WindowFacts>;
type States = BTreeMap<(u64, Millis, Vec<u8>), Vec<u8>>;

/// Stored snapshots in a map, and how often it was asked for a group.
#[derive(Debug, Clone, Default)]
struct Stored(Arc<Mutex<(Windows, States, u64)>>);

impl Stored {
    fn put(&self, snapshot: &Snapshot, slices: &[SnapshotSlice]) {
        let (windows, states, _) = &mut *self.0.lock().expect("one thread");
        for view in &snapshot.views {
            let of = view.generation;
            if view.reset {
                windows.retain(|(known, _), _| *known != of);
                states.retain(|(known, ..), _| *known != of);
            }
            for window in &view.expired {
                windows.remove(&(of, *window));
                states.retain(|(known, start, _), _| (*known, *start) != (of, *window));
            }
            for window in &view.emptied {
                windows.remove(&(of, *window));
            }
            for gone in &view.removed {
                states.remove(&(of, gone.window_start, gone.key.clone()));
            }
            let facts = view.windows.iter().map(|(start, facts)| ((of, *start), *facts));
            windows.extend(facts);
        }
        for SnapshotSlice { generation, groups } in slices {
            for group in groups {
                states.insert(
                    (*generation, group.window_start, group.key.clone()),
                    group.state.clone(),
                );
            }
        }
        for (of, start) in windows.keys() {
            let stored = states
                .keys()
                .filter(|(known, window, _)| (known, window) == (of, start))
                .count();
            assert_eq!(
                stored as u64,
                windows[&(*of, *start)].stored(),
                "the facts are those of the groups"
            );
        }
    }
}

impl ColdGroups for Stored {
    fn state(&self, view: u64, window: Millis, key: &[u8]) -> Result<Option<Vec<u8>>, ColdError> {
        let stored = &mut *self.0.lock().expect("one thread");
        stored.2 += 1;
        Ok(stored.1.get(&(view, window, key.to_vec())).cloned())
    }

    fn window(&self, view: u64, window: Millis) -> Result<Option<WindowFacts>, ColdError> {
        Ok(self.0.lock().expect("one thread").0.get(&(view, window)).copied())
    }

    fn starts(
        &self,
        view: u64,
        (from, to): (Millis, Millis),
        newest_first: bool,
        limit: usize,
    ) -> Result<Vec<Millis>, ColdError> {
        let stored = self.0.lock().expect("one thread");
        let starts = stored
            .0
            .range((view, from)..(view, to))
            .map(|((_, start), _)| *start);
        Ok(match newest_first {
            true => starts.rev().take(limit).collect(),
            false => starts.take(limit).collect(),
        })
    }

    fn groups(
        &self,
        view: u64,
        window: Millis,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<GroupState>, ColdError> {
        let stored = self.0.lock().expect("one thread");
        let from = (view, window, after.unwrap_or_default().to_vec());
        let of = |(known, start, _): &&(u64, Millis, Vec<u8>)| (*known, *start) == (view, window);
        let found = stored.1.range(from..).filter(|(key, _)| of(key));
        let behind = found.filter(|((_, _, key), _)| after.is_none_or(|after| key.as_slice() > after));
        let group = |((_, window_start, key), state): (&(u64, Millis, Vec<u8>), &Vec<u8>)| GroupState {
            window_start: *window_start,
            key: key.clone(),
            state: state.clone(),
        };
        Ok(behind.take(limit).map(group).collect())
    }
}

const VIEWS: [&str; 4] = [
    "SELECT d, i, count(*) AS n, sum(f) AS s, min(s) AS lo, max(i2) AS hi
     FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY d, i",
    "SELECT d, sum(f) AS s FROM HOP(readings, ts, INTERVAL '1 minute', INTERVAL '3 minutes') GROUP BY d",
    "SELECT d, count(*) AS n FROM SESSION(readings, ts, INTERVAL '20 seconds') GROUP BY d",
    "SELECT i, max(f) AS m FROM readings GROUP BY i",
];

fn bench(max_groups: u64, hot_bytes: u64) -> Bench {
    let mut config = EngineConfig {
        hot_bytes,
        ..EngineConfig::default()
    };
    config.options.max_groups = max_groups;
    Bench::with(config, &VIEWS)
}

/// All rows of a view, by a scan in small pages.
fn scanned(bench: &Bench, view: &str) -> Vec<Value> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let scan = WindowScan {
            after,
            limit: 3,
            ..WindowScan::default()
        };
        let page = bench.engine.scan(view, &scan).expect("the view exists");
        rows.extend(page.rows.iter().map(|row| json!(row)));
        let Some(next) = page.next else { return rows };
        after = Some(next);
    }
}

fn answers(bench: &Bench) -> Vec<Value> {
    let named = (0..VIEWS.len()).map(|at| format!("v{at}"));
    named
        .map(|name| {
            let query = |filters: &[(&str, &str)], limit| {
                let query = WindowQuery {
                    limit,
                    from: Some(-60_000),
                    filters: filters.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
                    ..WindowQuery::default()
                };
                bench.engine.windows(&name, &query).expect("the view exists").rows
            };
            let newest: Vec<Value> = query(&[], 5).iter().map(|row| json!(row)).collect();
            let finals: Vec<Value> = query(&[("final", "false")], 50)
                .iter()
                .map(|row| json!(row))
                .collect();
            let mut scanned = scanned(bench, &name);
            scanned.sort_by_key(ToString::to_string);
            let stats = bench.engine.stats(&name).expect("exists");
            json!([bench.rows(&name), newest, finals, scanned, stats])
        })
        .collect()
}

fn readings() -> impl Strategy<Value = Vec<Event>> {
    let reading = (-200_000i64..200_000, 0..4i64, -8i32..8, "[a-e]").prop_map(|(at, i, f, d)| {
        let f = f64::from(f) / 4.0;
        event(
            at,
            json!({"i": i, "i2": i * 7, "f": f, "s": format!("{d}x"), "d": d}),
        )
    });
    prop::collection::vec(reading, 0..20)
}

/// What the owner of the engine does after a batch.
#[derive(Debug, Clone, Copy)]
enum Then {
    Nothing,
    Begin,
    Slice,
    Finish,
    Fail,
    Evict,
}

fn then() -> impl Strategy<Value = Then> {
    prop_oneof![
        2 => Just(Then::Nothing),
        2 => Just(Then::Begin),
        3 => Just(Then::Slice),
        3 => Just(Then::Finish),
        1 => Just(Then::Fail),
        4 => Just(Then::Evict),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_snapshots_and_evictions_give_the_answers_of_an_engine_that_keeps_everything(
        steps in prop::collection::vec((readings(), prop::collection::vec(then(), 0..4)), 1..14),
        max_groups in 1u64..12,
    ) {
        let (mut all, mut small) = (bench(max_groups, u64::MAX), bench(max_groups, 0));
        let stored = Stored::default();
        small.engine.set_cold(Box::new(stored.clone()));
        let mut taking: Option<(Snapshot, Vec<SnapshotSlice>)> = None;
        let mut crash: Option<(Snapshot, Stored)> = None;
        let mut lanes = Vec::new();
        for (number, (events, thens)) in steps.iter().enumerate() {
            let records = record_batch(events, Layout::Typed);
            let now = 300_000 + number as i64;
            all.commit(1, now, &records);
            small.commit(1, now, &records);
            for then in thens {
                match then {
                    Then::Nothing => {}
                    Then::Begin if taking.is_none() => taking = Some((small.engine.begin_snapshot(), Vec::new())),
                    Then::Begin => {}
                    Then::Slice => if let Some((_, slices)) = &mut taking {
                        slices.extend(small.engine.next_slice(2));
                    },
                    Then::Finish => if let Some((snapshot, mut slices)) = taking.take() {
                        slices.extend(std::iter::from_fn(|| small.engine.next_slice(3)));
                        stored.put(&snapshot, &slices);
                        small.engine.snapshot_stored();
                        if !snapshot.lanes.is_empty() {
                            lanes.clone_from(&snapshot.lanes);
                        }
                        let copy = stored.0.lock().expect("one thread");
                        crash = Some((snapshot, Stored(Arc::new(Mutex::new((copy.0.clone(), copy.1.clone(), 0))))));
                    },
                    Then::Fail => if taking.take().is_some() {
                        small.engine.snapshot_failed();
                    },
                    Then::Evict => {
                        small.engine.evict();
                    }
                }
                prop_assert_eq!(answers(&small), answers(&all), "after {:?}", then);
            }
            prop_assert!(small.engine.failure().is_none());
        }
        // what was stored last is all as of one position, and the log behind it gives the rest
        if let Some((snapshot, stored)) = crash {
            let mut restarted = bench(max_groups, 0);
            restore(&mut restarted, &snapshot, lanes, &stored);
            for (number, (events, _)) in steps.iter().enumerate().skip(snapshot.position.0 as usize) {
                restarted.commit(1, 300_000 + number as i64, &record_batch(events, Layout::Typed));
            }
            for at in 0..VIEWS.len() {
                let name = format!("v{at}");
                prop_assert_eq!(restarted.rows(&name), all.rows(&name));
                prop_assert_eq!(scanned(&restarted, &name).len(), scanned(&all, &name).len());
            }
        }
    }
}

/// An engine that begins with a stored snapshot: sessions in memory, all else on disk.
fn restore(bench: &mut Bench, snapshot: &Snapshot, lanes: Vec<LaneWatermark>, stored: &Stored) {
    let engine = &mut bench.engine;
    engine.restore_clocks(snapshot.position, lanes);
    engine.set_cold(Box::new(stored.clone()));
    let (windows, states, _) = &*stored.0.lock().expect("one thread");
    for view in &snapshot.views {
        let of = view.generation;
        let mine: Vec<_> = windows.iter().filter(|((known, _), _)| *known == of).collect();
        let groups = mine.iter().map(|(_, facts)| facts.stored()).sum();
        let newest = mine.iter().map(|((_, start), _)| *start).max();
        engine.restore_cold(of, groups, mine.len() as u64, newest);
        if view.sql.contains("SESSION") {
            for ((_, start), facts) in mine {
                engine.restore_window(of, *start, *facts);
            }
            for ((_, window_start, key), state) in states.iter().filter(|((known, ..), _)| *known == of) {
                let (window_start, key, state) = (*window_start, key.clone(), state.clone());
                let group = GroupState {
                    window_start,
                    key,
                    state,
                };
                engine.restore_group(of, &group).expect("is ours");
            }
        }
        engine.restored(of, view.position, view.counters);
    }
}

#[test]
fn a_cold_window_is_loaded_to_be_amended_and_memory_is_used_again() {
    let sql = view("d, count(*) AS n", "GROUP BY d");
    let config = EngineConfig {
        hot_bytes: 0,
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config, &[&sql]);
    let stored = Stored::default();
    bench.engine.set_cold(Box::new(stored.clone()));
    let mut most = 0;
    for minute in 0..200i64 {
        let key = |n: i64| event(minute * 60_000, json!({"d": format!("{minute}-{n}")}));
        let events: Vec<Event> = (0..10).map(key).collect();
        bench.commit(1, minute, &record_batch(&events, Layout::Typed));
        let snapshot = bench.engine.begin_snapshot();
        let slices: Vec<_> = std::iter::from_fn(|| bench.engine.next_slice(100)).collect();
        stored.put(&snapshot, &slices);
        bench.engine.snapshot_stored();
        assert_eq!(bench.engine.evict(), 10);
        most = most.max(bench.engine.hot_bytes());
    }
    let stats = bench.engine.stats("v0").expect("exists");
    assert_eq!((stats.groups, stats.windows), (2_000, 200));
    assert!(most < 20_000, "2,000 groups passed through {most} bytes");
    let asked = |stored: &Stored| stored.0.lock().expect("one thread").2;
    let before = asked(&stored);
    bench.commit(
        1,
        1,
        &record_batch(&[event(5, json!({"d": "0-3"}))], Layout::Typed),
    );
    assert_eq!(asked(&stored) - before, 1, "one group of one window is loaded");
    let row = bench
        .rows("v0")
        .into_iter()
        .find(|row| row["d"] == "0-3")
        .expect("is there");
    assert_eq!(row["n"], 2);
    assert_eq!(bench.engine.stats("v0").expect("exists").groups, 2_000);
}

#[test]
fn windows_beyond_the_retention_are_hidden_at_once_and_deleted_with_the_next_snapshots() {
    let sql = view("d, count(*) AS n", "GROUP BY d");
    let mut config = EngineConfig {
        hot_bytes: 0,
        ..EngineConfig::default()
    };
    config.options.retention = 10 * 60_000;
    config.options.allowed_lateness = 60_000;
    let mut bench = Bench::with(config, &[&sql]);
    let stored = Stored::default();
    bench.engine.set_cold(Box::new(stored.clone()));
    let save = |bench: &mut Bench| {
        let snapshot = bench.engine.begin_snapshot();
        let slices: Vec<_> = std::iter::from_fn(|| bench.engine.next_slice(100)).collect();
        stored.put(&snapshot, &slices);
        bench.engine.snapshot_stored();
    };
    for minute in 0..30i64 {
        let events = [event(minute * 60_000, json!({"d": "x"}))];
        bench.commit(1, minute * 60_000, &record_batch(&events, Layout::Typed));
        if minute == 14 {
            save(&mut bench);
            bench.engine.evict();
        }
    }
    assert_eq!(
        bench.rows("v0").len(),
        11,
        "those that ended within the last ten minutes"
    );
    save(&mut bench);
    assert_eq!(bench.rows("v0").len(), 11);
    let stats = bench.engine.stats("v0").expect("exists");
    assert_eq!((stats.groups, stats.windows), (11, 11));
    assert_eq!(
        stored.0.lock().expect("one thread").1.len(),
        11,
        "on disk as well"
    );
}
