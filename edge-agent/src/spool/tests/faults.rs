//! Damaged files, full disks, foreign and newer spools.

use std::fs;

use super::*;

const LIMIT: u64 = 64 << 20;

fn aside(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .expect("dir")
        .map(|entry| entry.expect("entry").file_name());
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.retain(|name| name.contains("damaged") && !name.ends_with("-shm"));
    names.sort();
    names
}

#[test]
fn a_garbage_file_is_moved_aside_and_a_new_epoch_begun() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let old = spool.append(events("s", &[noise(1, 100)])).expect("taken");
    spool
        .actor
        .database_for_tests()
        .checkpoint(true)
        .expect("checkpoint");
    let image = spool.image();
    fs::write(image.path().join("spool.db"), noise(7, 100_000)).expect("write");
    spool.restore(image);
    assert!(spool.status().lanes.is_empty());
    assert!(spool.status().quarantined.is_some());
    assert_eq!(
        aside(spool.path()).len(),
        3,
        "database, wal, and its damaged first page"
    );
    assert!(!spool.status().salvage.expect("reported").problems.is_empty());
    let new = spool.append(events("s", &[noise(2, 100)])).expect("taken");
    assert_ne!(new.epoch, old.epoch);
}

#[test]
fn whichever_page_is_garbled_the_spool_starts_and_takes_events() {
    const PAGE: usize = 8 << 10;
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    for n in 0..40 {
        let position = Some(InputPosition {
            key: format!("file:{n}"),
            value: noise(n, 500),
        });
        spool
            .append(NewEvents {
                position,
                ..events("s", &[noise(n, 700)])
            })
            .expect("taken");
        spool.append(events("t", &[noise(n, 40_000)])).expect("taken");
    }
    spool.append_dropped("s", 3, "too_large").expect("taken");
    spool
        .actor
        .database_for_tests()
        .checkpoint(true)
        .expect("checkpoint");
    let pristine = spool.image();
    let whole = fs::read(pristine.path().join("spool.db")).expect("read");
    let mut quarantined = 0;
    for at in (0..whole.len()).step_by(PAGE) {
        let image = TempDir::new().expect("tempdir");
        let mut bytes = whole.clone();
        bytes[at..at + PAGE].copy_from_slice(&noise(at as u64, PAGE));
        fs::write(image.path().join("spool.db"), bytes).expect("write");
        spool.restore(image);
        for lane in spool.status().lanes.iter() {
            // may find the damage, and then answers so; it neither panics nor shows wrong bytes
            let read = Read {
                lane: lane.lane,
                from: 1,
                max_rows: u32::MAX,
                max_bytes: usize::MAX,
            };
            let _ = spool.control(|reply| Control::Read { read, reply });
        }
        let first_try = spool.append(events("s", &[noise(1, 100)]));
        if first_try.is_err() {
            spool
                .append(events("s", &[noise(1, 100)]))
                .expect("taken after the quarantine");
        }
        quarantined += usize::from(spool.status().quarantined.is_some());
    }
    assert!(quarantined > 5, "{quarantined} of {} pages", whole.len() / PAGE);
    injected(
        "whichever_page_is_garbled_the_spool_starts_and_takes_events",
        [("page of the database garbled", whole.len() / PAGE)],
    );
}

#[test]
fn a_torn_wal_tail_is_absorbed() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    spool.append(events("s", &[noise(1, 100)])).expect("taken");
    let image = spool.image();
    let wal = image.path().join("spool.db-wal");
    let mut bytes = fs::read(&wal).expect("wal");
    bytes.extend_from_slice(&noise(3, 5_000));
    fs::write(&wal, bytes).expect("write");
    spool.restore(image);
    assert_eq!(spool.status().quarantined, None);
    assert_eq!(spool.lane("s").held_events, 1);
    injected(
        "a_torn_wal_tail_is_absorbed",
        [("garbage behind the WAL's last commit", 1)],
    );
}

#[test]
fn lanes_that_contradict_their_blocks_are_damage() {
    for surgery in [
        "DELETE FROM blocks WHERE first_seq = 2",
        "UPDATE lanes SET next_seq = 9",
        "UPDATE lanes SET committed_seq = 3",
        "INSERT INTO drops VALUES (1, 2, 2, 'x')",
        "DELETE FROM lanes",
        "DELETE FROM meta",
        "DROP TABLE drops",
        "PRAGMA application_id = 1",
    ] {
        let mut spool = Harness::new(LIMIT, WhenFull::Block);
        for n in 0..3 {
            spool.append(events("s", &[noise(n, 100)])).expect("taken");
        }
        let image = spool.image();
        let conn = rusqlite::Connection::open(image.path().join("spool.db")).expect("open");
        conn.execute_batch(surgery).expect(surgery);
        drop(conn);
        spool.restore(image);
        assert!(spool.status().quarantined.is_some(), "{surgery}");
    }
}

#[test]
fn a_block_with_a_flipped_bit_becomes_a_drop_record_and_the_rest_goes_on() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    for n in 0..3 {
        spool
            .append(events("s", &[noise(n, 5_000), noise(n + 10, 100)]))
            .expect("taken");
    }
    let image = spool.image();
    let conn = rusqlite::Connection::open(image.path().join("spool.db")).expect("open");
    conn.execute("UPDATE blocks SET body = zeroblob(bytes) WHERE first_seq = 3", [])
        .expect("update");
    drop(conn);
    spool.restore(image);
    let lane = spool.lane("s");
    let found: Vec<_> = spool
        .contents(&lane)
        .into_iter()
        .map(|(_, found)| found.is_ok())
        .collect();
    assert_eq!(found, [true, true, false, false, true, true]);
    let after = spool.lane("s");
    assert_eq!((after.held_events, after.dropped_events), (4, 2));
    assert_eq!(&*after.dropped[0].reason, "damaged");
    injected(
        "a_block_with_a_flipped_bit_becomes_a_drop_record_and_the_rest_goes_on",
        [("body of a block overwritten", 1)],
    );
}

#[test]
fn a_newer_format_and_a_foreign_agent_are_refused_and_left_alone() {
    let spool = Harness::new(LIMIT, WhenFull::Block);
    for (surgery, expected) in [
        ("UPDATE meta SET format_version = 99", "format 99"),
        ("UPDATE meta SET agent = 'someone-else'", "agent someone-else"),
    ] {
        let image = spool.image();
        let conn = rusqlite::Connection::open(image.path().join("spool.db")).expect("open");
        conn.execute_batch(surgery).expect(surgery);
        drop(conn);
        let path = image.path().to_owned();
        let kept = fs::read(path.join("spool.db")).expect("read");
        let config = SpoolConfig::new(&path);
        let error = super::super::open(config, agent())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(aside(&path), Vec::<String>::new());
        assert_eq!(fs::read(path.join("spool.db")).expect("read"), kept);
    }
}

#[test]
fn a_full_disk_refuses_appends_keeps_what_is_there_and_recovers() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    spool.append(events("s", &[noise(1, 1_000)])).expect("taken");
    let conn = &spool.actor.database_for_tests().store.conn;
    conn.execute_batch("PRAGMA max_page_count = 1").expect("pragma"); // sqlite keeps at least the present size
    let position = Some(InputPosition {
        key: "file".to_owned(),
        value: vec![1],
    });
    let refused = spool.append_group(vec![
        NewEvents {
            position,
            ..events("s", &[noise(2, 100_000)])
        },
        events("t", &[noise(3, 100_000)]),
    ]);
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(SpoolError::Unavailable(_)))),
        "{refused:?}"
    );
    assert!(matches!(spool.status().health, SpoolHealth::Failing { .. }));

    // during the pause nothing new, but what is held can be shipped
    assert!(matches!(
        spool.append(events("s", &[noise(4, 10)])),
        Err(SpoolError::Unavailable(_))
    ));
    let lane = spool.lane("s");
    assert_eq!(spool.contents(&lane), [(1, Ok(noise(1, 1_000)))]);
    spool.mark(lane.lane, 1).expect("mark");

    spool.at += Duration::from_secs(2);
    spool.round(Vec::new(), Vec::new());
    assert_eq!(spool.status().health, SpoolHealth::Healthy);
    let accepted = spool.append(events("s", &[noise(5, 100_000)])).expect("taken");
    assert_eq!(accepted.range.first, 2, "the failed append has used no seq");
    assert_eq!(spool.position("file"), None, "nor moved its position");
    assert!(spool.lanes("t").is_empty());
}

#[test]
fn requests_that_do_not_add_up_are_refused_alone() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let good = events("s", &[noise(1, 10)]);
    let answers = spool.append_group(vec![
        NewEvents {
            count: 2,
            ..good.clone()
        },
        NewEvents {
            rows: vec![0x05, b'a'],
            ..good.clone()
        },
        events("s", &[]),
        events("s", &[noise(2, (1 << 20) + 1)]),
        good,
    ]);
    assert!(
        answers[..3]
            .iter()
            .all(|answer| matches!(answer, Err(SpoolError::Invalid(_)))),
        "{answers:?}"
    );
    assert!(matches!(answers[3], Err(SpoolError::TooLarge { .. })));
    assert_eq!(answers[4].as_ref().expect("taken").range.first, 1);
}
