//! What goes wrong: stale schemas, foreign lanes, failing disks, second writers.

use tokio::sync::mpsc;
use tributary_shared::wire::{RefuseCode, SchemaInfo, SchemaRef, SchemaUse};

use super::super::group::{Group, GroupEntry};
use super::super::lane::LaneCounts;
use super::super::store::LogStore;
use super::*;

fn schema_info(id: u32, version: u32) -> Arc<SchemaInfo> {
    Arc::new(SchemaInfo {
        id,
        version,
        format: "JSON".to_owned(),
        text: "{}".to_owned(),
        references: Vec::new(),
    })
}

fn code_of(answer: &CommitAnswer) -> Option<(RefuseCode, Seq)> {
    match answer {
        CommitAnswer::Refused { code, expected, .. } => Some((*code, *expected)),
        CommitAnswer::Committed { .. } => None,
    }
}

#[tokio::test]
async fn a_batch_that_an_old_schema_judged_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    let judged_by = |first, last, schema| {
        let mut request = rows(lane, &key, range(first, last));
        request.header.schema = schema;
        request
    };
    assert_eq!(code_of(&log.submit(judged_by(1, 5, None)).await), None);
    log.schemas.set(key.stream.clone(), schema_info(7, 1));
    let stale = Some((RefuseCode::SchemaChanged, 6));
    assert_eq!(code_of(&log.submit(judged_by(6, 9, None)).await), stale);
    assert_eq!(code_of(&log.submit(judged_by(6, 9, schema(7, 1))).await), None);
    log.schemas.set(key.stream.clone(), schema_info(8, 2));
    let answer = log.submit(judged_by(10, 12, schema(7, 1))).await;
    assert_eq!(code_of(&answer), Some((RefuseCode::SchemaChanged, 10)));
    let CommitAnswer::Refused { message, .. } = answer else {
        panic!("refused")
    };
    assert!(
        message.contains("version 1") && message.contains("version 2"),
        "{message}"
    );
    // what is committed already needs no judgement, and drops never had one
    assert_eq!(code_of(&log.submit(judged_by(6, 9, None)).await), None);
    assert_eq!(
        code_of(&log.submit(drops(lane, &key, range(10, 12), "drop_oldest")).await),
        None
    );
    log.close().await;
}

#[tokio::test]
async fn a_batch_whose_rows_name_an_unknown_schema_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    log.schemas.set(key.stream.clone(), schema_info(8, 2));
    let written_with = |id| {
        let mut request = rows(lane, &key, range(1, 5));
        request.header.schema = schema(8, 2);
        request.header.usage = vec![SchemaUse {
            schema: SchemaRef { id, version: 1 },
            rows: 5,
            rejected: 0,
        }];
        request
    };
    let answer = log.submit(written_with(7)).await;
    assert_eq!(code_of(&answer), Some((RefuseCode::SchemaChanged, 1)));
    let CommitAnswer::Refused { message, .. } = answer else {
        panic!("refused")
    };
    assert!(message.contains("schema 7"), "{message}");
    log.schemas.add_ids([7]);
    assert_eq!(
        code_of(&log.submit(written_with(7)).await),
        None,
        "nothing was lost"
    );
    log.close().await;
}

#[tokio::test]
async fn a_required_schema_is_waited_for() {
    let dir = tempfile::tempdir().expect("dir");
    let strict = CommitOptions {
        require_schema: true,
        ..options(dir.path())
    };
    let (handle, _, _thread) = open(strict, SchemaCache::default()).expect("opens");
    let key = lane_key("s", 1);
    let lane = handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    let answer = handle
        .submit(prepare(rows(lane, &key, range(1, 5))).expect("good"))
        .await
        .expect("answered");
    assert_eq!(code_of(&answer), Some((RefuseCode::Unavailable, 1)));
}

#[tokio::test]
async fn a_lane_number_must_be_that_of_the_lane() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let (one, two) = (lane_key("s", 1), lane_key("s", 2));
    let first = log.handle.open_lane(one.clone(), 1).await.expect("opens").lane_no;
    let second = log.handle.open_lane(two.clone(), 1).await.expect("opens").lane_no;
    assert_ne!(first, second);
    assert_eq!(
        log.handle.open_lane(one.clone(), 1).await.expect("opens").lane_no,
        first
    );
    for (lane, key) in [(second, &one), (LaneNo(99), &one), (first, &lane_key("t", 1))] {
        let answer = log.submit(rows(lane, key, range(1, 5))).await;
        assert_eq!(code_of(&answer), Some((RefuseCode::Malformed, 1)));
    }
    assert_eq!(log.reader.stats().expect("reads").newest, LogPos(0));
    log.close().await;
    let log = Log::open(dir.path());
    assert_eq!(
        log.handle.open_lane(two, 1).await.expect("opens").lane_no,
        second,
        "numbers are for ever"
    );
    log.close().await;
}

#[test]
fn a_second_aggregator_is_kept_out() {
    let dir = tempfile::tempdir().expect("dir");
    let _log = Log::open(dir.path());
    let second = open(options(dir.path()), SchemaCache::default());
    assert!(matches!(second, Err(CommitError::InUse { .. })));
}

/// Makes every write of the commit thread fail until the returned connection is dropped.
fn block_writes(dir: &Path) -> rusqlite::Connection {
    let blocker = rusqlite::Connection::open(dir.join(LOG_FILE)).expect("opens");
    blocker
        .execute_batch("BEGIN IMMEDIATE")
        .expect("takes the write lock");
    blocker
}

#[tokio::test]
async fn a_failed_commit_is_refused_whole_and_the_log_goes_on() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    assert_eq!(code_of(&log.submit(rows(lane, &key, range(1, 5))).await), None);
    let blocker = block_writes(dir.path());
    assert_eq!(
        code_of(&log.submit(rows(lane, &key, range(6, 9))).await),
        Some((RefuseCode::Unavailable, 6))
    );
    let other = log.handle.open_lane(lane_key("other", 1), 1).await;
    assert!(matches!(other, Err(CommitError::Unavailable(_))), "{other:?}");
    drop(blocker);
    // at most one attempt to open again in a while: until then it keeps refusing
    let mut answer = log.submit(rows(lane, &key, range(6, 9))).await;
    while code_of(&answer) == Some((RefuseCode::Unavailable, 6)) {
        answer = log.submit(rows(lane, &key, range(6, 9))).await;
    }
    assert_eq!(
        answer,
        CommitAnswer::Committed {
            mark: 9,
            pos: Some(LogPos(2)),
            applied: Some(range(6, 9))
        }
    );
    log.reader.verify().expect("every invariant holds");
    log.close().await;
}

fn counts(valid: u64, dead: u64) -> LaneCounts {
    LaneCounts::default().plus(valid, dead, 0)
}

#[tokio::test]
async fn a_commit_that_failed_but_is_on_disk_reaches_the_engine() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let (feed, mut engine) = mpsc::channel(8);
    log.handle.attach(feed).await.expect("attached");
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    let blocker = block_writes(dir.path());
    assert!(code_of(&log.submit(rows(lane, &key, range(1, 5))).await).is_some());
    drop(blocker);
    // the same group, on disk after all
    let batch = Box::new(prepare(rows(lane, &key, range(1, 5))).expect("good"));
    let group = Group {
        entries: vec![GroupEntry {
            pos: LogPos(1),
            batch,
        }],
        lanes: vec![(lane, counts(4, 1))],
        ..Group::default()
    };
    LogStore::open(dir.path())
        .expect("opens")
        .write(&group)
        .expect("writes");
    let answer = log.submit(rows(lane, &key, range(1, 5))).await;
    assert_eq!(
        answer,
        CommitAnswer::Committed {
            mark: 5,
            pos: None,
            applied: None
        },
        "a duplicate now"
    );
    assert_eq!(engine.recv().await.expect("fed").header.range(), range(1, 5));
    assert_eq!(*log.handle.committed().borrow(), LogPos(1));
    log.close().await;
}

#[tokio::test]
async fn a_log_that_lost_acknowledged_entries_ends_the_thread() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    assert_eq!(code_of(&log.submit(rows(lane, &key, range(1, 5))).await), None);
    let blocker = block_writes(dir.path());
    assert!(code_of(&log.submit(rows(lane, &key, range(6, 9))).await).is_some());
    let lose = "DELETE FROM log; UPDATE lanes SET mark = 0, valid = 0, dead = 0; COMMIT";
    blocker.execute_batch(lose).expect("loses");
    drop(blocker);
    let answer = log
        .handle
        .submit(prepare(rows(lane, &key, range(6, 9))).expect("good"))
        .await;
    assert!(matches!(answer, Err(CommitError::Stopped)), "{answer:?}");
    assert!(matches!(log.end().await, Err(CommitError::Damaged { .. })));
}

#[tokio::test]
async fn damaged_columns_are_found_on_reading() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    log.submit(rows(lane, &key, range(1, 5))).await;
    let shell = rusqlite::Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    shell
        .execute("UPDATE log SET body = zeroblob(length(body))", [])
        .expect("damages");
    let error = log.reader.scan(LogPos(0), 10, 1 << 20).expect_err("found");
    assert!(matches!(error, CommitError::Damaged { .. }), "{error}");
    log.close().await;
}

#[tokio::test]
async fn a_lagging_engine_holds_the_commits_back_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let (feed, mut engine) = mpsc::channel(1);
    log.handle.attach(feed).await.expect("attached");
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    let mut pending = Vec::new();
    for n in 0..5 {
        let batch = prepare(rows(lane, &key, range(10 * n + 1, 10 * n + 10))).expect("good");
        pending.push(log.handle.enqueue(batch).await.expect("queued"));
    }
    for n in 0..5 {
        assert_eq!(engine.recv().await.expect("fed").header.range().first, 10 * n + 1);
    }
    for answer in pending {
        assert_eq!(code_of(&answer.await.expect("answered")), None);
    }
    log.close().await;
}

#[tokio::test]
async fn dead_letters_are_listed_by_stream_reason_and_page() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    for stream in ["a", "b"] {
        let key = lane_key(stream, 1);
        let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
        log.submit(rows(lane, &key, range(1, 20))).await;
    }
    let list = |filter: &DeadLetterFilter| log.reader.dead_letters(filter).expect("reads");
    let all = list(&DeadLetterFilter::default());
    assert_eq!(all.len(), 8);
    assert!(all.is_sorted_by(|a, b| a.id > b.id), "newest first");
    let of_a = DeadLetterFilter {
        stream: Some(lane_key("a", 1).stream),
        ..DeadLetterFilter::default()
    };
    assert_eq!(
        list(&of_a).iter().map(|letter| letter.seq).collect::<Vec<_>>(),
        [18, 13, 8, 3]
    );
    let by_reason = |reason: &str| DeadLetterFilter {
        reason: Some(reason.to_owned()),
        ..of_a.clone()
    };
    assert_eq!(list(&by_reason("type")).len(), 4);
    assert_eq!(list(&by_reason("required")).len(), 0);
    let first = list(&DeadLetterFilter {
        limit: 3,
        ..of_a.clone()
    });
    let second = list(&DeadLetterFilter {
        limit: 3,
        before: first.last().map(|letter| letter.id),
        ..of_a
    });
    assert_eq!(second.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [3]);
    let streams = log.reader.streams().expect("reads");
    assert_eq!(streams.len(), 2);
    assert_eq!(
        (
            streams[0].stream.as_str(),
            streams[0].totals.dead,
            streams[0].agents
        ),
        ("a", 4, 1)
    );
    log.close().await;
}

#[tokio::test]
async fn adjacent_drops_of_one_reason_are_one_line_of_the_ledger() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    for (range, reason) in [
        (range(1, 5), "drop_oldest"),
        (range(4, 9), "drop_oldest"),
        (range(10, 10), "too_large"),
        (range(11, 12), "drop_oldest"),
    ] {
        log.submit(drops(lane, &key, range, reason)).await;
    }
    let ledger = log.reader.ledger().expect("reads");
    let lines: Vec<_> = ledger.lanes[0]
        .dropped
        .iter()
        .map(|drop| (drop.range, drop.reason.as_str(), drop.count))
        .collect();
    assert_eq!(
        lines,
        [
            (range(1, 9), "drop_oldest", 9),
            (range(10, 10), "too_large", 1),
            (range(11, 12), "drop_oldest", 2)
        ]
    );
    assert_eq!(ledger.totals.dropped, 12);
    log.reader.verify().expect("every invariant holds");
    log.close().await;
}

/// Writes one MiB to the log and nothing to the books.
fn write_a_mebibyte(store: &mut LogStore, pos: u64) {
    let mut batch = prepare(drops(
        LaneNo(1),
        &lane_key("s", 1),
        range(pos, pos),
        "drop_oldest",
    ))
    .expect("good");
    batch.columns = vec![7; 1 << 20].into();
    let entries = vec![GroupEntry {
        pos: LogPos(pos),
        batch: Box::new(batch),
    }];
    store
        .write(&Group {
            entries,
            ..Group::default()
        })
        .expect("writes");
}

#[test]
fn the_wal_grows_while_a_reader_holds_it_and_starts_over_after() {
    let dir = tempfile::tempdir().expect("dir");
    let mut store = LogStore::open(dir.path()).expect("opens");
    let wal = || {
        std::fs::metadata(dir.path().join("log.db-wal"))
            .expect("is there")
            .len()
    };
    for pos in 1..=4 {
        write_a_mebibyte(&mut store, pos);
        assert!(!store.checkpoint().expect("runs").held_back);
    }
    let alone = wal();
    assert!(alone < 2 << 20, "it starts over after each checkpoint: {alone}");
    let reader = rusqlite::Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM log")
        .expect("reads");
    for pos in 5..=7 {
        write_a_mebibyte(&mut store, pos);
        store.checkpoint().expect("runs");
    }
    let held = wal();
    assert!(held > 3 << 20, "it cannot start over: {held}");
    assert!(store.restart_wal().expect("runs").held_back);
    reader.execute_batch("COMMIT").expect("ends");
    assert!(!store.restart_wal().expect("runs").held_back);
    write_a_mebibyte(&mut store, 8);
    assert_eq!(wal(), held, "the space is used again");
}
