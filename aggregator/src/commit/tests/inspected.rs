//! Looking at a log that somebody else writes.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::*;

#[tokio::test]
async fn a_log_that_is_written_meanwhile_is_seen_at_one_moment() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    let lane = log.handle.open_lane(key.clone(), 1).await.expect("opens").lane_no;
    let path = dir.path().join(LOG_FILE);
    let ended = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&ended);
    let looker = std::thread::spawn(move || {
        let db = Connection::open(path).expect("opens");
        let mut looked = 0;
        while !until.load(Ordering::Acquire) {
            inspect(&db).expect("every invariant holds at any moment");
            looked += 1;
        }
        looked
    });
    for n in 0..400 {
        log.submit(rows(lane, &key, range(5 * n + 1, 5 * n + 5))).await;
    }
    ended.store(true, Ordering::Release);
    let looked = looker.join().expect("the books were never torn");
    assert!(looked > 10, "{looked}");
    log.close().await;
}
