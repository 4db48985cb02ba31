//! Windows in time: alignment, time columns, watermarks, finality.

use std::collections::BTreeSet;

use serde_json::json;
use tributary_shared::ids::{AgentId, LaneNo, SeqRange, StreamName};
use tributary_shared::time::{MAX_MILLIS, Millis};

use super::{Bench, Layout, event, record_batch, view};
use crate::commit::LogPos;
use crate::view::{ViewDef, ViewOptions};
use crate::window::{EngineConfig, LateLine, ViewStore, WindowProgress};

const MINUTE: Millis = 60_000;

#[test]
fn windows_are_half_open_and_floor_before_the_epoch() {
    let mut bench = Bench::new(&[&view("count(*) AS n", "")]);
    let times = [-60_001, -60_000, -1, 0, 59_999, 60_000];
    let events = times.map(|at| event(at, json!({"i": 1})));
    bench.commit(1, 0, &record_batch(&events, Layout::Typed));
    let found: Vec<_> = bench
        .page("v0")
        .rows
        .iter()
        .map(|row| {
            (
                row.window_start.expect("a window"),
                row.window_end.expect("a window"),
                json!(row.value("n")),
            )
        })
        .collect();
    let expected = [
        (60_000, 120_000, json!(1)),
        (0, 60_000, json!(2)),
        (-60_000, 0, json!(2)),
        (-120_000, -60_000, json!(1)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn another_time_column_is_read_as_text_or_millis_and_rows_without_are_counted() {
    let sql = "SELECT count(*) AS n FROM TUMBLE(readings, seen, INTERVAL '1 minute') WHERE i > 0";
    let mut bench = Bench::new(&[sql]);
    let seen = [
        json!("1970-01-01T00:01:30Z"),
        json!(90_000),
        json!("soon"),
        json!(null),
        json!(1e300),
        json!("1970-01-01T02:01:30+02:00"),
    ];
    let events = seen.map(|seen| event(0, json!({"seen": seen, "i": 1})));
    bench.commit(1, 0, &record_batch(&events, Layout::Schemaless));
    let excluded = event(0, json!({"seen": null, "i": 0}));
    bench.commit(1, 0, &record_batch(&[excluded], Layout::Schemaless));
    let page = bench.page("v0");
    assert_eq!(
        (
            page.rows[0].window_start.expect("a window"),
            json!(page.rows[0].value("n"))
        ),
        (MINUTE, json!(3))
    );
    assert_eq!(page.rows.len(), 1);
    assert_eq!(bench.engine.stats("v0").expect("exists").counters.without_time, 3);
}

#[test]
fn a_clock_in_the_future_does_not_move_the_watermark() {
    let mut bench = Bench::new(&[&view("count(*) AS n", "")]);
    let now = 10 * MINUTE;
    bench.commit(
        1,
        now,
        &record_batch(&[event(now - 5_000, json!({"i": 1}))], Layout::Typed),
    );
    bench.commit(
        1,
        now,
        &record_batch(&[event(MAX_MILLIS, json!({"i": 1}))], Layout::Typed),
    );
    assert_eq!(bench.engine.watermark(&bench.stream), Some(now - 5_000));
    assert_eq!(bench.engine.future_events(), 1, "it is counted instead");
    assert_eq!(bench.engine.lanes()[0].future_events, 1, "for its lane");
    // as far ahead as is believed
    bench.commit(
        1,
        now,
        &record_batch(&[event(now + MINUTE, json!({"i": 1}))], Layout::Typed),
    );
    assert_eq!(bench.engine.watermark(&bench.stream), Some(now + MINUTE));
    let rows = bench.page("v0").rows;
    assert_eq!(rows.len(), 3, "the events themselves are counted");
    assert!(rows.iter().all(|row| !row.is_final));
    bench.commit(
        1,
        now + MINUTE,
        &record_batch(&[event(now - MINUTE, json!({"i": 1}))], Layout::Typed),
    );
    assert_eq!(
        bench.engine.watermark(&bench.stream),
        Some(now + MINUTE),
        "it never goes back"
    );
}

#[test]
fn finality_and_completeness_follow_the_active_lanes() {
    let config = EngineConfig {
        options: crate::view::ViewOptions {
            allowed_lateness: 2 * MINUTE,
            ..crate::view::ViewOptions::default()
        },
        ..EngineConfig::default()
    };
    let mut bench = Bench::with(config, &[&view("count(*) AS n", "")]);
    let at = |at: Millis| record_batch(&[event(at, json!({"i": 1}))], Layout::Typed);
    let state = |bench: &Bench| {
        let row = bench
            .page("v0")
            .rows
            .into_iter()
            .rfind(|row| row.window_start == Some(0))
            .expect("the first window");
        (row.is_final, row.completeness, row.revision)
    };
    bench.commit(1, MINUTE, &at(30_000));
    bench.commit(2, MINUTE, &at(30_000));
    assert_eq!(state(&bench), (false, 0.0, 2));
    bench.commit(1, 4 * MINUTE, &at(4 * MINUTE));
    assert_eq!(
        state(&bench),
        (false, 1.0, 2),
        "the other agent is not expected any more, but its lane is waited for"
    );
    bench.commit(1, 6 * MINUTE, &at(6 * MINUTE));
    assert_eq!(
        bench.engine.watermark(&bench.stream),
        Some(30_000),
        "the other lane holds it back"
    );
    // the other lane has been silent for more than five minutes of commit time, and its agent for longer than is allowed
    bench.commit(1, 6 * MINUTE + 1, &at(6 * MINUTE));
    assert_eq!(state(&bench), (true, 1.0, 2));
    bench.commit(2, 7 * MINUTE, &at(40_000));
    assert_eq!(
        state(&bench),
        (false, 0.5, 3),
        "late data amends, and the lane counts again"
    );
    let other = StreamName::new("other").expect("valid");
    assert_eq!(bench.engine.watermark(&other), None);
}

#[test]
fn a_batch_raises_the_revision_of_the_rows_that_it_changes_once() {
    let mut bench = Bench::new(&[&view("s, count(*) AS n", "GROUP BY s")]);
    let batch = |names: &[&str]| {
        let events: Vec<_> = names.iter().map(|s| event(0, json!({"s": s}))).collect();
        record_batch(&events, Layout::Typed)
    };
    let changes = bench.commit(1, 0, &batch(&["a", "a", "b"]));
    assert_eq!(changes[0].groups.len(), 2);
    bench.commit(1, 0, &batch(&["b"]));
    let revisions: Vec<_> = bench.page("v0").rows.iter().map(|row| row.revision).collect();
    assert_eq!(revisions, [1, 2]);
    let none = bench.commit(1, 0, &batch(&[]));
    assert!(none.is_empty());
}

#[test]
fn a_replay_amends_its_window_and_moves_no_watermark() {
    let mut bench = Bench::new(&[&view("count(*) AS n", "")]);
    let at = |time| record_batch(&[event(time, json!({"i": 1}))], Layout::Typed);
    bench.commit(1, 0, &at(10_000));
    bench.commit(2, 0, &at(70_000));
    let stream = StreamName::new("readings").expect("valid");
    let before = bench.engine.watermark(&stream);
    // far ahead of its lane, long after everything else, and of a lane that is known by nothing else
    for lane in [1, 3] {
        let changes = bench.replay(lane, 900_000, &at(50_000));
        assert_eq!(changes[0].groups.len(), 1, "live subscribers are told");
    }
    assert_eq!(bench.engine.watermark(&stream), before);
    assert_eq!(bench.engine.lane_watermark(&stream, LaneNo(3)), None);
    let page = bench.page("v0");
    let amended = &page.rows[1];
    assert_eq!(
        (
            amended.window_start.expect("a window"),
            json!(amended.value("n")),
            amended.revision
        ),
        (0, json!(3), 3)
    );
}

#[test]
fn a_lane_holds_nothing_back_once_it_idles_or_its_agent_left_and_its_agent_is_told_as_missing() {
    let mut bench = Bench::new(&[&view("count(*) AS n", "")]);
    let at = |at: Millis| record_batch(&[event(at, json!({"i": 1}))], Layout::Typed);
    bench.commit(1, MINUTE, &at(30_000));
    bench.commit(2, MINUTE, &at(30_000));
    bench.commit(1, 4 * MINUTE, &at(4 * MINUTE));
    assert_eq!(bench.engine.watermark(&bench.stream), Some(30_000));
    let edge2 = AgentId::new("edge2").expect("valid");
    bench.engine.set_away([edge2.clone()].into());
    assert_eq!(bench.engine.watermark(&bench.stream), Some(4 * MINUTE));
    let first = |bench: &Bench| bench.page("v0").windows.pop().expect("the first window");
    let missing = WindowProgress {
        window_start: 0,
        window_end: MINUTE,
        expected: 2,
        reported: 1,
        missing: vec![edge2],
    };
    assert_eq!(first(&bench), missing);
    // it comes back, and all is as before; then it reports
    bench.engine.set_away(BTreeSet::new());
    assert_eq!(bench.engine.watermark(&bench.stream), Some(30_000));
    bench.commit(2, 5 * MINUTE, &at(2 * MINUTE));
    assert_eq!((first(&bench).reported, first(&bench).missing.len()), (2, 0));
    assert_eq!(
        bench.page("v0").rows.last().map(|row| row.completeness),
        Some(1.0)
    );
    assert_eq!(bench.engine.watermark(&bench.stream), Some(2 * MINUTE));
    // idle against the stream's newest commit, expected for three days all the same
    bench.commit(1, 11 * MINUTE, &at(11 * MINUTE));
    assert_eq!(bench.engine.watermark(&bench.stream), Some(11 * MINUTE));
    let newest = &bench.page("v0").windows[0];
    assert_eq!(
        (newest.window_start, newest.expected, newest.reported),
        (11 * MINUTE, 2, 0)
    );
}

#[test]
fn events_older_than_the_retention_are_counted_by_lane_and_the_count_outlives_a_restart() {
    let sql = view("count(*) AS n", "");
    let options = ViewOptions {
        retention: 10 * MINUTE,
        allowed_lateness: MINUTE,
        ..ViewOptions::default()
    };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("views.db");
    let mut store = ViewStore::open(&path).expect("opens");
    let def = ViewDef {
        name: "v".to_owned(),
        sql: sql.clone(),
        options,
        created_at: 0,
        applies_from: LogPos(0),
    };
    store.put_view(&def).expect("stores");
    let mut bench = Bench::new(&[]);
    bench.engine.put_view_with(super::plan("v", &sql), options);
    let batch = |times: &[Millis]| {
        let events: Vec<_> = times.iter().map(|at| event(*at, json!({"i": 1}))).collect();
        record_batch(&events, Layout::Typed)
    };
    let now = 100 * MINUTE;
    // nothing is late against itself: the retention counts from what was there before
    bench.commit(1, now, &batch(&[100 * MINUTE]));
    bench.commit(1, now, &batch(&[90 * MINUTE, 90 * MINUTE - 1, 5, -7]));
    bench.commit(2, now, &batch(&[89 * MINUTE]));
    bench.commit(1, now, &batch(&[99 * MINUTE]));
    let line = |lane, count| LateLine {
        lane: LaneNo(lane),
        range: SeqRange { first: 1, last: 9 },
        count,
    };
    let expected: Vec<(std::sync::Arc<str>, LateLine)> =
        vec![("v".into(), line(1, 3)), ("v".into(), line(2, 1))];
    assert_eq!(bench.engine.too_late(), expected);
    assert_eq!(bench.page("v").rows.len(), 3);
    let counters = bench.engine.stats("v").expect("exists").counters;
    assert_eq!((counters.too_late, counters.applied), (4, 3));
    store.save_snapshot(&bench.engine.take_snapshot()).expect("saves");
    drop(store);
    let mut restored = Bench::new(&[]);
    let store = ViewStore::open(&path).expect("opens again");
    store.load_into(&mut restored.engine).expect("loads");
    assert_eq!(restored.engine.too_late(), expected);
    assert_eq!(restored.engine.lanes(), bench.engine.lanes());
}
