//! Hop records outlive their entries, for a time of their own.

use super::super::store::LogStore;
use super::super::trim::Trimmed;
use super::settled::{letters_of, replay_letters};
use super::*;

const HOUR: i64 = 3_600_000;
const LATER: i64 = 4_000_000_000_000;

/// Nothing of the log, and this of the hop records.
fn keep(lineage_for: i64, lineage_bytes: u64) -> Retention {
    Retention {
        keep_for: 0,
        keep_lineage_for: lineage_for,
        keep_lineage_bytes: lineage_bytes,
        ..Retention::EVERYTHING
    }
}

fn trim(store: &mut LogStore, keep: &Retention, covered: u64, now: i64) {
    while store.trim(keep, LogPos(covered), now).expect("trims") != Trimmed::Nothing {}
}

fn gone_of(log: &LogReader, seq: Seq) -> (Option<u64>, Gone) {
    match log.find(LaneNo(1), seq).expect("told") {
        Fate::Expired { hop, gone, .. } => (hop.map(|hop| hop.pos.0), gone),
        fate => panic!("its entry is gone: {fate:?}"),
    }
}

/// Twenty entries of ten events each, some dead, then drops, then a replay.
async fn fill(dir: &Path) {
    let log = Log::open(dir);
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    for n in 0..20 {
        let mut request = rows(lane, &key, range(10 * n + 1, 10 * n + 10));
        request.header.traceparent = Some(format!("of batch {n}"));
        log.submit(request).await;
    }
    log.submit(drops(lane, &key, range(201, 250), "drop_oldest"))
        .await;
    replay_letters(&log, &letters_of(&log.reader, "s")[..3]).await;
    log.close().await;
}

#[tokio::test]
async fn a_hop_record_stays_when_its_entry_goes_and_says_all_that_it_said() {
    let dir = tempfile::tempdir().expect("dir");
    fill(dir.path()).await;
    let log = Log::open(dir.path());
    let hops: Vec<Hop> = (0..25)
        .map(|n| match log.reader.find(LaneNo(1), 10 * n + 7).expect("told") {
            Fate::Valid { hop, .. } | Fate::Dropped { hop, .. } => hop,
            fate => panic!("{fate:?}"),
        })
        .collect();
    let before = log.reader.lineage().expect("reads");
    assert_eq!((before.in_log.entries, before.in_log.events), (22, 250));
    assert_eq!(before.beyond, LineagePart::default());
    log.close().await;

    let mut store = LogStore::open(dir.path()).expect("opens");
    let forever = keep(i64::MAX, u64::MAX);
    trim(&mut store, &forever, 15, LATER);
    drop(store);
    let log = Log::open(dir.path());
    for (n, hop) in hops.iter().enumerate() {
        let fate = log.reader.find(LaneNo(1), 10 * n as u64 + 7).expect("told");
        match fate {
            Fate::Expired {
                hop: Some(kept),
                gone,
                ..
            } => {
                assert!(n < 15);
                assert_eq!((*kept).clone(), hop.clone(), "as it was");
                let entry_at = Some(LATER - LATER % HOUR);
                assert_eq!(
                    gone,
                    Gone {
                        entry_at,
                        hops: false,
                        hops_at: None
                    }
                );
            }
            Fate::Valid { hop: kept, .. } | Fate::Dropped { hop: kept, .. } => {
                assert!(n >= 15);
                assert_eq!(&kept, hop);
            }
            fate => panic!("{fate:?}"),
        }
    }
    let after = log.reader.lineage().expect("reads");
    assert_eq!((after.in_log.entries, after.in_log.events), (7, 100));
    assert_eq!((after.beyond.entries, after.beyond.events), (15, 150));
    assert!(after.beyond.bytes > 15 * 100, "{after:?}");
    assert_eq!(after.hops_since, before.hops_since);
    assert!(after.entries_since >= before.entries_since);
    log.reader.verify().expect("every invariant holds");
    log.close().await;
}

#[tokio::test]
async fn hop_records_go_by_their_own_age_and_bytes_and_the_event_says_since_when() {
    let dir = tempfile::tempdir().expect("dir");
    fill(dir.path()).await;
    let mut store = LogStore::open(dir.path()).expect("opens");
    trim(&mut store, &keep(i64::MAX, u64::MAX), 10, LATER);
    trim(&mut store, &keep(i64::MAX, u64::MAX), 22, LATER + 5 * HOUR);
    let log = Log::open_beside(dir.path());
    let bytes = log.lineage().expect("reads").beyond.bytes;
    trim(&mut store, &keep(i64::MAX, bytes / 2), 22, LATER + 9 * HOUR);
    let hour = |n: i64| Some(LATER - LATER % HOUR + n * HOUR);
    let (hop, gone) = gone_of(&log, 1);
    let expected = Gone {
        entry_at: hour(0),
        hops: true,
        hops_at: hour(9),
    };
    assert_eq!((hop, gone), (None, expected), "the oldest ones are gone");
    let (hop, gone) = gone_of(&log, 191);
    let expected = Gone {
        entry_at: hour(5),
        hops: false,
        hops_at: None,
    };
    assert_eq!((hop, gone), (Some(20), expected), "the newest ones are not");
    let half = log.lineage().expect("reads").beyond;
    assert!(
        half.bytes <= bytes / 2 && half.bytes > bytes / 4,
        "{half:?} of {bytes}"
    );

    trim(&mut store, &keep(0, u64::MAX), 22, LATER + 10 * HOUR);
    assert_eq!(log.lineage().expect("reads").beyond, LineagePart::default());
    let (hop, gone) = gone_of(&log, 191);
    assert_eq!((hop, gone.hops_at), (None, hour(10)));
    assert_eq!(gone_of(&log, 1).1.hops_at, hour(9), "and the first ones earlier");
    log.verify().expect("every invariant holds");
}

#[tokio::test]
async fn what_an_earlier_version_deleted_has_no_time() {
    let dir = tempfile::tempdir().expect("dir");
    fill(dir.path()).await;
    let mut store = LogStore::open(dir.path()).expect("opens");
    trim(&mut store, &keep(i64::MAX, u64::MAX), 10, LATER);
    // as a file of format 5 is after its upgrade
    store
        .connection()
        .execute_batch(
            "DELETE FROM lineage; DELETE FROM deletions; DELETE FROM meta WHERE key LIKE 'lineage%'",
        )
        .expect("forgets");
    let log = Log::open_beside(dir.path());
    let nothing = Gone {
        entry_at: None,
        hops: true,
        hops_at: None,
    };
    assert_eq!(gone_of(&log, 1), (None, nothing));
    assert_eq!(log.lineage().expect("reads").beyond, LineagePart::default());
}
