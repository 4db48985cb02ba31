//! What a crash between any two bytes of the WAL leaves is a tree that verifies, and goes on.

use super::*;

#[tokio::test]
async fn a_crash_at_any_point_of_the_wal_leaves_a_tree_that_verifies_and_grows() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    for at in 0..270 {
        log.submit(rows(LaneNo(1), &key, range(at + 1, at + 1))).await;
    }
    log.handle
        .record(Act::new(Kind::View, json!({})))
        .await
        .expect("recorded");
    // the files as a kill leaves them: the log is still open
    let read = |name: &str| std::fs::read(dir.path().join(name)).expect("there");
    let (db, wal, keys) = (read(LOG_FILE), read("log.db-wal"), read(KEY_FILE));
    let mut sizes = Vec::new();
    for step in 0..=12 {
        let crashed = tempfile::tempdir().expect("dir");
        let put =
            |name: &str, bytes: &[u8]| std::fs::write(crashed.path().join(name), bytes).expect("writes");
        // frames are torn in their middle as well
        let cut = wal.len() / 12 * step + if step % 2 == 1 { 1_000 } else { 0 };
        put(LOG_FILE, &db);
        put("log.db-wal", &wal[..cut.min(wal.len())]);
        put(KEY_FILE, &keys);
        let reopened = Log::open(crashed.path());
        reopened.handle.open_lane(key.clone(), 1).await.expect("opens");
        let next = reopened
            .reader
            .lane_by_key(&key)
            .expect("reads")
            .expect("there")
            .mark
            + 1;
        reopened
            .submit(rows(LaneNo(1), &key, range(next, next + 4)))
            .await;
        reopened.handle.sign().await.expect("signs");
        assert_eq!(
            kinds_of(&reopened.reader, Kinds::One(Kind::Alarm)),
            [],
            "cut at {cut}"
        );
        reopened.close().await;
        let outcome = verdict(crashed.path(), &[]);
        assert!(outcome.is_sound(), "cut at {cut}: {outcome:?}");
        assert_eq!(outcome.unsigned(), 0);
        sizes.push(outcome.size);
    }
    assert!(sizes.first() < sizes.last(), "{sizes:?}");
    log.close().await;
}
