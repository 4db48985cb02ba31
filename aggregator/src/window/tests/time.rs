//! Windows in time: alignment, time columns, watermarks, finality.

use serde_json::json;
use tributary_shared::ids::{LaneNo, StreamName};
use tributary_shared::time::{MAX_MILLIS, Millis};

use super::{Bench, Layout, event, record_batch, view};
use crate::window::EngineConfig;

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
        .map(|row| (row.window_start, row.window_end, json!(row.value("n"))))
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
        (page.rows[0].window_start, json!(page.rows[0].value("n"))),
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
    assert_eq!(bench.engine.watermark(&bench.stream), Some(now + MINUTE));
    let rows = bench.page("v0").rows;
    assert_eq!(rows.len(), 2, "the event itself is counted");
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
            .rfind(|row| row.window_start == 0)
            .expect("the first window");
        (row.is_final, row.completeness, row.revision)
    };
    bench.commit(1, MINUTE, &at(30_000));
    bench.commit(2, MINUTE, &at(30_000));
    assert_eq!(state(&bench), (false, 0.0, 2));
    bench.commit(1, 4 * MINUTE, &at(4 * MINUTE));
    assert_eq!(
        state(&bench),
        (false, 0.5, 2),
        "one of two lanes has passed the end"
    );
    bench.commit(1, 6 * MINUTE, &at(6 * MINUTE));
    assert_eq!(
        bench.engine.watermark(&bench.stream),
        Some(30_000),
        "the other lane holds it back"
    );
    // the other lane has been silent for more than five minutes of commit time
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
        (amended.window_start, json!(amended.value("n")), amended.revision),
        (0, json!(3), 3)
    );
}
