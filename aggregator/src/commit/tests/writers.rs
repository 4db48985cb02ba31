//! Two agents with copies of one spool: what both hold is counted once, and what each numbered alone is not mixed up.

use rusqlite::Connection;
use tributary_shared::wire::{History, RefuseCode};

use super::*;

const LANE: LaneNo = LaneNo(1);

/// A batch of seqs that this history has numbered.
fn by(key: &LaneKey, range: SeqRange, history: &History) -> CommitRequest {
    let mut request = rows(LANE, key, range);
    request.header.writer = history.writer_at(range.first);
    request.header.after_writer = history.writer_at(range.first - 1);
    request
}

/// Common up to 10; from there on each has a writer of its own.
fn copies() -> (History, History) {
    let common = History::default().extended(1, 7).expect("new");
    (
        common.extended(11, 8).expect("new"),
        common.extended(11, 9).expect("new"),
    )
}

fn refused_at(answer: &CommitAnswer) -> Option<Seq> {
    match answer {
        CommitAnswer::Refused {
            expected,
            code: RefuseCode::OtherWriter,
            ..
        } => Some(*expected),
        _ => None,
    }
}

fn committed_up_to(answer: &CommitAnswer) -> Option<Seq> {
    match answer {
        CommitAnswer::Committed { mark, .. } => Some(*mark),
        CommitAnswer::Refused { .. } => None,
    }
}

#[tokio::test]
async fn never_twice_events_of_a_copied_spool_are_told_from_those_of_its_original() {
    let dir = tempfile::tempdir().expect("dir");
    let (key, (one, two)) = (lane_key("s", 1), copies());
    let log = Log::open(dir.path());
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    log.submit(by(&key, range(1, 10), &one)).await;
    log.submit(by(&key, range(11, 20), &one)).await;

    // what both hold is a duplicate, and its acknowledgement says nothing of what lies behind it
    let common = log.submit(by(&key, range(5, 10), &two)).await;
    assert_eq!(committed_up_to(&common), Some(10), "{common:?}");
    // the copy's own events are refused, also where they would continue the mark
    for (batch, first) in [(range(11, 15), 11), (range(11, 25), 11), (range(21, 25), 20)] {
        let answer = log.submit(by(&key, batch, &two)).await;
        assert_eq!(refused_at(&answer), Some(first), "{batch:?}: {answer:?}");
    }
    let before = replay(&log.reader);
    log.close().await;

    // it is known for good
    let log = Log::open(dir.path());
    assert_eq!(replay(&log.reader), before, "nothing of the copy was applied");
    let state = log.handle.open_lane(key.clone(), 16).await.expect("opens");
    assert_eq!((state.mark, &state.history), (20, &one));
    let answer = log.submit(by(&key, range(11, 15), &two)).await;
    assert_eq!(refused_at(&answer), Some(11));
    let on = log.submit(by(&key, range(18, 22), &one)).await;
    assert_eq!(committed_up_to(&on), Some(22), "{on:?}");
    // an agent of an older version does not say who numbered its events
    let unknown = log.submit(rows(LANE, &key, range(20, 24))).await;
    assert_eq!(committed_up_to(&unknown), Some(24), "{unknown:?}");
    log.reader.verify().expect("every invariant holds");
    log.close().await;
}

#[tokio::test]
async fn a_writer_that_no_agent_can_have_is_malformed() {
    let (key, dir) = (lane_key("s", 1), tempfile::tempdir().expect("dir"));
    let log = Log::open(dir.path());
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    let mut request = rows(LANE, &key, range(1, 3));
    request.header.after_writer = u64::MAX;
    let error = prepare(request).expect_err("beyond 63 bits");
    assert!(error.to_string().contains("writer"), "{error}");
    log.close().await;
}

#[tokio::test]
async fn a_log_of_format_3_opens_and_does_not_know_who_numbered_what_it_has() {
    let dir = tempfile::tempdir().expect("dir");
    let (key, (one, two)) = (lane_key("s", 1), copies());
    let log = Log::open(dir.path());
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    log.submit(rows(LANE, &key, range(1, 15))).await;
    let before = replay(&log.reader);
    log.close().await;
    let file = Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    file.execute_batch(
        "DROP TABLE tenures; DROP TABLE audit_leaves; DROP TABLE audit_nodes; DROP TABLE audit_heads;
         DROP TABLE passed_entries; DROP TABLE entry_times; DROP TABLE lineage; DROP TABLE deletions;
         ALTER TABLE lanes DROP COLUMN opened_leaf;
         UPDATE meta SET value = '3' WHERE key = 'format_version'",
    )
    .expect("format 3");
    drop(file);

    let log = Log::open(dir.path());
    assert_eq!(replay(&log.reader), before);
    let duplicate = log.submit(by(&key, range(11, 15), &two)).await;
    assert_eq!(committed_up_to(&duplicate), Some(15), "{duplicate:?}");
    let next = log.submit(by(&key, range(16, 20), &one)).await;
    assert_eq!(committed_up_to(&next), Some(20), "{next:?}");
    let other = log.submit(by(&key, range(16, 20), &two)).await;
    assert_eq!(refused_at(&other), Some(16), "{other:?}");
    log.close().await;
}
