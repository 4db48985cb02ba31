//! A stream whose schema changes while views run: events of all versions feed the same windows.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tributary_shared::ids::LaneNo;
use tributary_shared::wire::batch::EXTRA_COLUMN;

use super::{Bench, Event, assemble, event, plan, view};
use crate::commit::LogPos;
use crate::view::ViewDef;
use crate::window::{AppliedBatch, EngineConfig, ViewStore};

/// The versions: field `n` is an integer, then a number, then a number or a text; `t` a text, with and without
/// a dictionary, then one of several types; `old` is taken away by the third, `added` comes with the second.
const VERSIONS: [&[(&str, char)]; 3] = [
    &[("n", 'i'), ("old", 'i'), ("t", 's')],
    &[("added", 'd'), ("n", 'f'), ("old", 'i'), ("t", 'd')],
    &[("added", 's'), ("n", 'j'), ("t", 'j')],
];
const NEWEST: usize = VERSIONS.len() - 1;

/// What may be said in every version, and gives the same in every version.
const VIEWS: [(&str, &str); 7] = [
    (
        "n AS k, count(*) AS c, count(added) AS ca, sum(n) AS s, avg(n) AS a, min(n) AS lo, max(n) AS hi",
        "GROUP BY n",
    ),
    (
        "t AS k, sum(n * 2 + 1) AS s, min(n) AS lo, max(n) AS hi, avg(n) AS a, min(t) AS tl, max(added) AS ah",
        "WHERE n >= -2 OR added = 'x' GROUP BY t",
    ),
    (
        "added AS k, count(*) AS c, sum(n::double precision / 2) AS s",
        "WHERE n IN (1, 2.25) OR t LIKE 'a%' OR n IS NULL GROUP BY added",
    ),
    (
        "n % 2 AS k, count(old) AS c, sum(old) AS s, max(abs(n)) AS hi",
        "GROUP BY n % 2",
    ),
    (
        "coalesce(added, t, 'none') AS k, sum(CASE WHEN n > 1 THEN n ELSE 0 END) AS s",
        "WHERE n <> '7' GROUP BY coalesce(added, t, 'none')",
    ),
    (
        "t AS k, n AS k2, count(*) AS c, max(n) AS hi",
        "WHERE NOT (t = 'b') GROUP BY t, n",
    ),
    (
        "count(*) AS c, sum(n) AS s, avg(n) AS a, min(n) AS lo, max(n) AS hi",
        "",
    ),
];

/// An event that some version takes, before it is known which.
#[derive(Debug, Clone)]
struct Draft {
    at: i64,
    quarters: Option<i32>,
    n_is_text: bool,
    t: Option<&'static str>,
    added: Option<&'static str>,
    old: Option<i64>,
}

fn draft() -> impl Strategy<Value = Draft> {
    let text = || prop::option::weighted(0.8, prop_oneof![Just("a"), Just("b"), Just("ab"), Just("3")]);
    let fields = (
        prop::option::weighted(0.9, -12i32..16),
        prop::bool::weighted(0.1),
        text(),
        prop::option::weighted(0.6, prop_oneof![Just("x"), Just("y")]),
        prop::option::weighted(0.6, -3i64..4),
    );
    (-200_000i64..200_000, fields).prop_map(|(at, (quarters, n_is_text, t, added, old))| Draft {
        at,
        quarters,
        n_is_text,
        t,
        added,
        old,
    })
}

impl Draft {
    /// As a producer of the version says it. One that is ahead of the schema sends `added` early, one that is
    /// behind it sends `old` late; both stay beside the columns, in `_extra`.
    fn say(&self, version: usize) -> Event {
        let n = self.quarters.map(|quarters| match version {
            0 => json!(quarters / 4),
            // as a JSON number, 2.0 and 2 are one
            2 if self.n_is_text => json!("7"),
            _ => json!(f64::from(quarters) / 4.0),
        });
        let fields = json!({"n": n, "t": self.t, "added": self.added, "old": self.old});
        event(self.at, fields)
    }
}

fn batch(events: &[Event], version: usize) -> arrow_array::RecordBatch {
    let known = VERSIONS[version];
    let extras: Vec<Value> = events
        .iter()
        .map(|event| {
            let unknown = event
                .fields
                .iter()
                .filter(|(name, value)| !value.is_null() && known.iter().all(|(known, _)| known != name));
            let unknown: Map<String, Value> = unknown.map(|(k, v)| (k.clone(), v.clone())).collect();
            if unknown.is_empty() {
                Value::Null
            } else {
                json!(Value::Object(unknown).to_string())
            }
        })
        .collect();
    let columns = known.iter().map(|(name, kind)| {
        let values = events.iter().map(|event| &event.fields[*name]).collect();
        ((*name).to_owned(), *kind, values)
    });
    let extra = std::iter::once((EXTRA_COLUMN.to_owned(), 's', extras.iter().collect()));
    assemble(events, columns.chain(extra), false)
}

/// Batches of ascending versions.
fn log(
    drafts: &[Draft],
    upgrades: &[prop::sample::Index; NEWEST],
    cuts: &[prop::sample::Index],
) -> Vec<(Vec<Event>, usize)> {
    let mut upgrades = upgrades.map(|at| at.index(drafts.len() + 1));
    upgrades.sort_unstable();
    let version = |at: usize| upgrades.iter().filter(|upgrade| **upgrade <= at).count();
    let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(drafts.len())).collect();
    let mut batches: Vec<(Vec<Event>, usize)> = Vec::new();
    for (at, draft) in drafts.iter().enumerate() {
        let version = version(at);
        match batches.last_mut() {
            Some((events, of)) if *of == version && !cuts.contains(&at) => events.push(draft.say(version)),
            _ => batches.push((vec![draft.say(version)], version)),
        }
    }
    batches
}

/// Rows without their revisions, with every number as a float.
fn numerically(bench: &Bench, name: &str) -> Vec<Value> {
    let mut rows = bench.rows(name);
    for value in rows
        .iter_mut()
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        if let Some(number) = value.as_f64() {
            *value = json!(number);
        }
    }
    rows.sort_by_key(ToString::to_string);
    rows
}

fn views() -> Vec<String> {
    VIEWS.iter().map(|(list, rest)| view(list, rest)).collect()
}

fn replay(bench: &mut Bench, records: &[arrow_array::RecordBatch]) {
    let (agent, stream) = (
        tributary_shared::ids::AgentId::new("edge").expect("valid"),
        bench.stream.clone(),
    );
    while let Some((name, position)) = bench.engine.behind() {
        let batch = AppliedBatch {
            replayed: false,
            range: tributary_shared::ids::SeqRange { first: 1, last: 1 },
            pos: position.next(),
            lane: LaneNo(1),
            agent: &agent,
            stream: &stream,
            committed_at: 1_000_000,
            records: Some(&records[position.0 as usize]),
        };
        bench.engine.apply_to(&name, &batch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_mixture_of_versions_gives_the_windows_of_the_newest_for_all_rows(
        drafts in prop::collection::vec(draft(), 1..60),
        upgrades in any::<[prop::sample::Index; NEWEST]>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let views = views();
        let views: Vec<&str> = views.iter().map(String::as_str).collect();
        let batches = log(&drafts, &upgrades, &cuts);
        let mut mixed = Bench::new(&views);
        for (events, version) in &batches {
            mixed.commit(1, 1_000_000, &batch(events, *version));
        }
        let mut newest = Bench::new(&views);
        let all: Vec<Event> = batches.iter().flat_map(|(events, _)| events.clone()).collect();
        newest.commit(1, 1_000_000, &batch(&all, NEWEST));
        for (at, sql) in views.iter().enumerate() {
            let name = format!("v{at}");
            prop_assert_eq!(numerically(&mixed, &name), numerically(&newest, &name), "{}", sql);
        }
    }

    #[test]
    fn a_restart_and_a_late_view_over_mixed_versions_give_the_straight_run(
        drafts in prop::collection::vec(draft(), 1..40),
        upgrades in any::<[prop::sample::Index; NEWEST]>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        crash in any::<prop::sample::Index>(),
        late in 0..VIEWS.len(),
    ) {
        let views = views();
        let views: Vec<&str> = views.iter().map(String::as_str).collect();
        let records: Vec<_> = log(&drafts, &upgrades, &cuts).iter().map(|(events, v)| batch(events, *v)).collect();
        let mut straight = Bench::new(&views);
        records.iter().for_each(|records| drop(straight.commit(1, 1_000_000, records)));

        let dir = tempfile::tempdir().expect("a directory");
        let mut store = ViewStore::open(&dir.path().join("views.db")).expect("opens");
        let mut first = Bench::new(&[]);
        let crash = crash.index(records.len());
        for (at, sql) in views.iter().enumerate().filter(|(at, _)| *at != late) {
            let def = ViewDef { name: format!("v{at}"), sql: (*sql).to_owned(), options: crate::view::ViewOptions::default(), created_at: 0, applies_from: LogPos(0) };
            store.put_view(&def).expect("stores");
            first.engine.put_view(plan(&def.name, sql));
        }
        records[..crash].iter().for_each(|records| drop(first.commit(1, 1_000_000, records)));
        store.save_snapshot(&first.engine.take_snapshot()).expect("saves");
        let mut restored = Bench::with(EngineConfig::default(), &[]);
        let report = store.load_into(&mut restored.engine).expect("loads");
        prop_assert!(report.rebuilt.is_empty() && report.refused.is_empty());
        restored.engine.put_view(plan(&format!("v{late}"), views[late]));
        records[crash..].iter().for_each(|records| drop(restored.commit(1, 1_000_000, records)));
        replay(&mut restored, &records);
        for at in 0..views.len() {
            let name = format!("v{at}");
            prop_assert_eq!(&restored.page(&name).rows, &straight.page(&name).rows);
            prop_assert_eq!(restored.engine.stats(&name), straight.engine.stats(&name));
        }
    }
}

fn rows_of(bench: &Bench) -> Vec<(Value, Value)> {
    let mut rows: Vec<_> = bench
        .rows("v0")
        .iter()
        .map(|row| (row["k"].clone(), row["s"].clone()))
        .collect();
    rows.sort_by_key(|row| row.0.to_string());
    rows
}

#[test]
fn a_widened_key_keeps_its_groups_and_its_sum_widens() {
    let mut bench = Bench::new(&[&view("n AS k, sum(n) AS s", "GROUP BY n")]);
    let say = |n: Value| event(0, json!({"n": n, "t": null, "old": null, "added": null}));
    bench.commit(1, 0, &batch(&[say(json!(3)), say(json!(4))], 0));
    bench.commit(1, 0, &batch(&[say(json!(3.0)), say(json!(3.5))], 1));
    let expected = [
        (json!(3), json!(6.0)),
        (json!(3.5), json!(3.5)),
        (json!(4), json!(4)),
    ];
    assert_eq!(rows_of(&bench), expected);
}

#[test]
fn a_view_may_name_a_field_that_only_a_later_version_has() {
    let mut bench = Bench::new(&[&view("added AS k, count(*) AS s", "GROUP BY added")]);
    let say = |added: Value| event(0, json!({"n": 1, "t": null, "old": null, "added": added}));
    bench.commit(1, 0, &batch(&[say(Value::Null)], 0));
    assert_eq!(rows_of(&bench), [(Value::Null, json!(1))]);
    bench.commit(1, 0, &batch(&[say(json!("x"))], 1));
    assert_eq!(rows_of(&bench), [(json!("x"), json!(1)), (Value::Null, json!(1))]);
}

/// Earlier versions stored 5 and 5.0 as two groups.
#[test]
fn groups_that_were_stored_apart_become_one_and_stay_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("views.db");
    let sql = view(
        "n AS k, sum(n) AS s, count(n) AS c, min(n) AS lo, max(t) AS hi, count(*) AS rows",
        "GROUP BY n",
    );
    let say = |n: Value, t: &str| event(0, json!({"n": n, "t": t, "old": null, "added": null}));
    let mut store = ViewStore::open(&path).expect("opens");
    let def = ViewDef {
        name: "v0".to_owned(),
        sql: sql.clone(),
        options: crate::view::ViewOptions::default(),
        created_at: 0,
        applies_from: LogPos(0),
    };
    store.put_view(&def).expect("stores");
    let mut bench = Bench::new(&[&sql]);
    bench.commit(
        1,
        0,
        &batch(&[say(json!(5), "a"), say(json!(5), "c"), say(json!(6), "z")], 0),
    );
    let mut snapshot = bench.engine.take_snapshot();
    let int = snapshot.views[0].groups[0].clone();
    let mut float = int.clone();
    // format 1: a version byte, the kind of the value (3: integer, 4: float), and eight bytes
    float.key = [&[1, 4][..], &5.0f64.to_le_bytes()].concat();
    snapshot.views[0].groups.insert(0, float);
    store.save_snapshot(&snapshot).expect("saves");

    for _ in 0..2 {
        let mut restored = Bench::new(&[]);
        let report = store.load_into(&mut restored.engine).expect("loads");
        assert!(report.rebuilt.is_empty(), "{report:?}");
        let mut rows = restored.rows("v0");
        rows.sort_by_key(|row| row["k"].to_string());
        rows.iter_mut().for_each(|row| {
            row.as_object_mut()
                .expect("an object")
                .retain(|k, _| !k.contains("window") && k != "final" && k != "completeness")
        });
        let five = json!({"k": 5, "s": 20, "c": 4, "lo": 5, "hi": "c", "rows": 4});
        let six = json!({"k": 6, "s": 6, "c": 1, "lo": 6, "hi": "z", "rows": 1});
        assert_eq!(rows, [five, six]);
        let again = restored.engine.take_snapshot();
        store.save_snapshot(&again).expect("saves");
    }
    let raw = rusqlite::Connection::open(&path).expect("opens");
    let stored: i64 = raw
        .query_row("SELECT count(*) FROM window_state", [], |row| row.get(0))
        .expect("counts");
    assert_eq!(stored, 2, "what was stored before is gone");
}
