//! Entries by the times of their events.

use rusqlite::Connection;
use tributary_shared::time::Millis;

use super::super::store::LogStore;
use super::settled::{letters_of, replay_letters};
use super::*;

const HOUR: Millis = 3_600_000;

/// A batch of one lane whose events happened at these times.
fn at_times(lane: LaneNo, key: &LaneKey, first: Seq, times: &[Millis]) -> CommitRequest {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let schema = Schema::new(vec![Field::new(EVENT_TIME_COLUMN, time, false)]);
    let column = TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC");
    let records = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).expect("fits");
    let body = columns::encode(&records).expect("encodes");
    let mut header = header(
        lane,
        range(first, first + times.len() as u64 - 1),
        BatchContent::Columns,
    );
    header.columns_len = body.len() as u32;
    header.body_crc = checksum(&body);
    CommitRequest {
        key: key.clone(),
        header,
        body,
    }
}

fn between(log: &LogReader, stream: &str, from: Millis, to: Millis) -> Vec<u64> {
    let stream = StreamName::new(stream).expect("valid");
    let found = log
        .entries_between(&stream, TimeRange { from, to }, LogPos(0), 100)
        .expect("reads");
    found.iter().map(|entry| entry.pos.0).collect()
}

/// Two lanes of two streams, narrow entries and wide ones.
async fn fill(log: &Log) {
    let (a, b) = (lane_key("a", 1), lane_key("b", 1));
    let a_no = log.handle.open_lane(a.clone(), 1).await.expect("opens").lane_no;
    let b_no = log.handle.open_lane(b.clone(), 1).await.expect("opens").lane_no;
    for (lane, key, first, times) in [
        (a_no, &a, 1, [10, 20, 15].as_slice()),
        (a_no, &a, 4, &[5 * HOUR, 0]),
        (b_no, &b, 1, &[12]),
        (a_no, &a, 6, &[30, -40]),
        (a_no, &a, 8, &[i64::MIN, i64::MAX]),
        (a_no, &a, 10, &[HOUR, 0]),
    ] {
        log.submit(at_times(lane, key, first, times)).await;
    }
    log.submit(drops(a_no, &a, range(12, 15), "drop_oldest")).await;
}

#[tokio::test]
async fn entries_are_found_by_the_times_of_their_events() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    fill(&log).await;
    let found = |from, to| between(&log.reader, "a", from, to);
    assert_eq!(found(15, 16), [1, 2, 4, 5, 6]);
    assert_eq!(found(20, 21), [1, 2, 4, 5, 6], "the latest event is included");
    assert_eq!(found(21, 30), [2, 4, 5, 6]);
    assert_eq!(found(-50, -40), [5], "the end is not");
    assert_eq!(found(-50, -39), [4, 5]);
    assert_eq!(found(HOUR + 1, i64::MAX), [2, 5]);
    assert_eq!(found(i64::MIN, i64::MAX), [1, 2, 4, 5, 6]);
    assert_eq!(found(16, 16), Vec::<u64>::new());
    assert_eq!(between(&log.reader, "b", 0, 100), [3]);
    assert_eq!(between(&log.reader, "c", 0, 100), Vec::<u64>::new());
    let stream = lane_key("a", 1).stream;
    let page = |after| {
        let range = TimeRange { from: 0, to: 100 };
        let found = log
            .reader
            .entries_between(&stream, range, LogPos(after), 2)
            .expect("reads");
        found.iter().map(|entry| entry.pos.0).collect::<Vec<_>>()
    };
    assert_eq!(
        (page(0), page(2), page(5), page(u64::MAX)),
        (vec![1, 2], vec![4, 5], vec![6], vec![])
    );
    log.close().await;
}

#[tokio::test]
async fn both_searches_by_time_end_behind_their_range() {
    let dir = tempfile::tempdir().expect("dir");
    Log::open(dir.path()).close().await;
    let db = Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    let mut plan = db
        .prepare(&format!("EXPLAIN QUERY PLAN {}", super::super::times::BETWEEN))
        .expect("plans");
    let steps: Vec<String> = plan
        .query_map(rusqlite::params![0, 1, 2, 0, "a", 9], |row| row.get(3))
        .expect("runs")
        .collect::<rusqlite::Result<_>>()
        .expect("reads");
    let uses = |start: &str| steps.iter().any(|step| step.starts_with(start));
    assert!(
        uses("SEARCH entry_times USING COVERING INDEX entry_times_by_time (max_time>? AND max_time<?)"),
        "{steps:?}"
    );
    assert!(
        uses("SEARCH entry_times USING COVERING INDEX entry_times_wide (max_time>?)"),
        "{steps:?}"
    );
}

#[tokio::test]
async fn a_trimmed_batch_and_a_replay_have_the_times_of_what_they_hold() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("a", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    // events happen at their seq; 3, 8, 13 and so on are dead
    log.submit(rows(lane, &key, range(1, 10))).await;
    log.submit(rows(lane, &key, range(6, 14))).await;
    let replayed = replay_letters(&log, &letters_of(&log.reader, "a")).await;
    assert_eq!(replayed.settled, 3);
    let found = log
        .reader
        .entries_between(&key.stream, TimeRange { from: 0, to: 100 }, LogPos(0), 9)
        .expect("reads");
    let times: Vec<(u64, Millis, Millis)> = found
        .iter()
        .map(|entry| (entry.pos.0, entry.times.min, entry.times.max))
        .collect();
    assert_eq!(times, [(1, 1, 10), (2, 11, 14), (3, 3, 13)]);
    log.close().await;
}

#[tokio::test]
async fn times_go_with_their_entries() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    fill(&log).await;
    log.close().await;
    let mut store = LogStore::open(dir.path()).expect("opens");
    let nothing = Retention {
        keep_for: 0,
        ..Retention::EVERYTHING
    };
    while store.trim(&nothing, LogPos(4), i64::MAX).expect("trims") != trim::Trimmed::Nothing {}
    drop(store);
    let log = Log::open(dir.path());
    assert_eq!(between(&log.reader, "a", i64::MIN, i64::MAX), [5, 6]);
    log.close().await;
}

#[tokio::test]
async fn a_log_of_format_5_gets_its_times_also_when_that_is_cut_short() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    fill(&log).await;
    let before = between(&log.reader, "a", i64::MIN, i64::MAX);
    log.close().await;
    let db = Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    db.execute_batch(
        "DROP TABLE entry_times; DROP TABLE lineage; DROP TABLE deletions;
         UPDATE meta SET value = '5' WHERE key = 'format_version';",
    )
    .expect("goes back");
    // a former start came as far as the second entry
    db.execute_batch(super::super::upgrade::LINEAGE).expect("makes");
    db.execute_batch(
        "INSERT INTO entry_times VALUES (1, 1, 10, 20), (2, 1, 0, 18000000);
         INSERT INTO meta VALUES ('times_upto', '2');",
    )
    .expect("fills");
    // and one entry is damaged: its events cannot be found, all others can
    db.execute("UPDATE log SET body = zeroblob(length(body)) WHERE pos = 6", [])
        .expect("damages");
    drop(db);
    let log = Log::open(dir.path());
    let expected: Vec<u64> = before.into_iter().filter(|pos| *pos != 6).collect();
    assert_eq!(between(&log.reader, "a", i64::MIN, i64::MAX), expected);
    assert_eq!(between(&log.reader, "b", 0, 100), [3]);
    log.close().await;
    let db = Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    let meta: i64 = db
        .query_row("SELECT count(*) FROM meta WHERE key = 'times_upto'", [], |row| {
            row.get(0)
        })
        .expect("reads");
    assert_eq!(meta, 0);
}
