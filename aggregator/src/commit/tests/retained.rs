//! Retention over a real log: what goes, what stays, and what is told of what went.

use super::super::retention::CHUNK_ENTRIES;
use super::super::store::LogStore;
use super::super::trim::{Trimmed, used_bytes};
use super::*;

/// Everything that the views have, as soon as a millisecond has passed.
const NOTHING: Retention = Retention {
    keep_for: 0,
    ..Retention::EVERYTHING
};

/// Commits entries of five events each; seq 3 of each five is dead.
async fn fill(dir: &Path, entries: u64) -> LaneNo {
    let log = Log::open(dir);
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    for n in 0..entries {
        log.submit(rows(lane, &key, range(5 * n + 1, 5 * n + 5))).await;
    }
    log.close().await;
    lane
}

fn trim_all(store: &mut LogStore, keep: &Retention, covered: LogPos) -> usize {
    let mut chunks = 0;
    while store.trim(keep, covered, i64::MAX).expect("trims") != Trimmed::Nothing {
        chunks += 1;
    }
    chunks
}

#[tokio::test]
async fn never_forget_marks_counts_and_ledger_outlive_the_entries() {
    let dir = tempfile::tempdir().expect("dir");
    let (key, lane) = (lane_key("s", 1), fill(dir.path(), 100).await);
    let log = Log::open(dir.path());
    log.submit(drops(lane, &key, range(501, 520), "drop_oldest"))
        .await;
    let before = log.reader.ledger().expect("reads");
    log.close().await;

    let mut store = LogStore::open(dir.path()).expect("opens");
    assert_eq!(
        trim_all(&mut store, &NOTHING, LogPos(70)),
        70usize.div_ceil(CHUNK_ENTRIES)
    );
    let log = Log::open_beside(dir.path());
    log.verify().expect("every invariant holds");
    let books = |ledger: Ledger| {
        (
            ledger.totals,
            ledger.lanes[0].dropped.clone(),
            ledger.lanes[0].lane.mark,
        )
    };
    assert_eq!(books(log.ledger().expect("reads")), books(before.clone()));
    assert_eq!(log.stats().expect("reads").floor, LogPos(70));
    assert_eq!(log.scan(LogPos(0), 1, 1).expect("reads")[0].pos, LogPos(71));
    let Fate::Expired {
        floor_seq: 350,
        verdict: ExpiredVerdict::Counted,
        hop: Some(hop),
        ..
    } = log.find(lane, 1).expect("told")
    else {
        panic!("counted, and its hops are kept")
    };
    assert_eq!((hop.pos, hop.header.range()), (LogPos(1), range(1, 5)));
    let Fate::Expired {
        verdict: ExpiredVerdict::Dead(letter),
        ..
    } = log.find(lane, 3).expect("told")
    else {
        panic!("a dead letter outlives its entry")
    };
    assert_eq!(letter.seq, 3);
    assert!(matches!(log.find(lane, 351).expect("told"), Fate::Valid { .. }));

    // all of it: the marks still refuse what was committed, and positions go on
    trim_all(&mut store, &NOTHING, LogPos(101));
    drop((log, store));
    let log = Log::open(dir.path());
    assert_eq!(log.reader.stats().expect("reads").newest, LogPos(101));
    log.reader.verify().expect("every invariant holds");
    let dropped = ExpiredVerdict::Dropped {
        reason: "drop_oldest".to_owned(),
        range: range(501, 520),
    };
    let Fate::Expired {
        floor_seq: 520,
        verdict,
        ..
    } = log.reader.find(lane, 510).expect("told")
    else {
        panic!("its entry is gone")
    };
    assert_eq!(verdict, dropped);
    let again = log.submit(rows(lane, &key, range(511, 525))).await;
    let expected = CommitAnswer::Committed {
        mark: 525,
        pos: Some(LogPos(102)),
        applied: Some(range(521, 525)),
    };
    assert_eq!(again, expected);
    assert_eq!(
        books(log.reader.ledger().expect("reads")).1,
        before.lanes[0].dropped
    );
    log.reader.verify().expect("every invariant holds");
    log.close().await;
}

#[tokio::test]
async fn entries_go_by_bytes_and_their_space_is_used_again() {
    let dir = tempfile::tempdir().expect("dir");
    fill(dir.path(), 200).await;
    let mut store = LogStore::open(dir.path()).expect("opens");
    let used = used_bytes(store.connection()).expect("reads");
    let keep = Retention {
        keep_bytes: used * 3 / 4,
        ..Retention::EVERYTHING
    };
    trim_all(&mut store, &keep, LogPos(200));
    let log = Log::open_beside(dir.path());
    let floor = log.floor().expect("reads");
    assert!(
        (20..190).contains(&floor.0),
        "a part of them, the older ones: {floor}"
    );
    assert!(
        used_bytes(store.connection()).expect("reads")
            <= used * 3 / 4 + 4 * u64::from(super::super::store::PAGE_SIZE)
    );
    log.verify().expect("every invariant holds");
    drop((log, store));
    let size = || {
        std::fs::metadata(dir.path().join(LOG_FILE))
            .expect("is there")
            .len()
    };
    let before = size();
    let log = Log::open(dir.path());
    let (key, lane) = (lane_key("s", 1), LaneNo(1));
    for n in 200..200 + floor.0 / 2 {
        log.submit(rows(lane, &key, range(5 * n + 1, 5 * n + 5))).await;
    }
    log.close().await;
    assert!(size() <= before, "{} after {before}", size());
}

#[tokio::test]
async fn dead_letters_go_after_a_time_of_their_own_and_stay_counted() {
    let dir = tempfile::tempdir().expect("dir");
    let lane = fill(dir.path(), 10).await;
    let mut store = LogStore::open(dir.path()).expect("opens");
    let letters = Retention {
        keep_dead_letters_for: 0,
        ..Retention::EVERYTHING
    };
    assert_eq!(
        trim_all(&mut store, &letters, LogPos(10)),
        0,
        "their entries are still there"
    );
    trim_all(
        &mut store,
        &Retention {
            keep_for: 0,
            ..letters
        },
        LogPos(6),
    );
    let log = Log::open_beside(dir.path());
    let listed = |reason: Option<&str>| {
        let reason = reason.map(str::to_owned);
        log.dead_letters(&DeadLetterFilter {
            reason,
            ..DeadLetterFilter::default()
        })
        .expect("reads")
        .len()
    };
    assert_eq!((listed(None), listed(Some("type"))), (4, 4));
    let rules: u64 = store
        .connection()
        .query_row("SELECT count(*) FROM dead_letter_rules", [], |row| row.get(0))
        .expect("reads");
    assert_eq!(rules, 8, "no rule or path names a letter that is gone");
    let fate = log.find(lane, 3).expect("told");
    let counted = matches!(
        fate,
        Fate::Expired {
            floor_seq: 30,
            verdict: ExpiredVerdict::Counted,
            ..
        }
    );
    assert!(counted, "{fate:?}");
    assert_eq!(log.ledger().expect("reads").totals.dead, 10);
}

#[tokio::test]
async fn the_thread_deletes_what_the_views_have_and_nothing_else() {
    let dir = tempfile::tempdir().expect("dir");
    let lane = fill(dir.path(), 200).await;
    let (handle, log, thread) =
        open_with_retention(options(dir.path()), NOTHING, SchemaCache::default()).expect("opens");
    let key = lane_key("s", 1);
    handle.covered(LogPos(150));
    let mut next = 1_001;
    // batches are committed between the chunks
    while log.floor().expect("reads") < LogPos(150) {
        let batch = prepare(rows(lane, &key, range(next, next + 4))).expect("good");
        let answer = handle.submit(batch).await.expect("answered");
        assert!(matches!(answer, CommitAnswer::Committed { .. }), "{answer:?}");
        next += 5;
    }
    handle.stop().await;
    thread.join().expect("ends well");
    assert_eq!(log.floor().expect("reads"), LogPos(150), "and not further");
    log.verify().expect("every invariant holds");
}
