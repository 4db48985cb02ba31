//! Disk images from the past, twins, and an aggregator that forgot.

use tributary_shared::wire::History;

use super::*;

const LIMIT: u64 = 64 << 20;

fn payload(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn texts(spool: &mut Harness, lane: &LaneInfo) -> Vec<String> {
    let text = |found: Content| match found {
        Ok(payload) => String::from_utf8(payload).expect("text"),
        Err(reason) => format!("<{reason}>"),
    };
    spool
        .contents(lane)
        .into_iter()
        .map(|(_, found)| text(found))
        .collect()
}

fn append(spool: &mut Harness, texts: &[&str]) -> Accepted {
    spool
        .append(events("s", &texts.iter().map(|t| payload(t)).collect::<Vec<_>>()))
        .expect("taken")
}

/// An image with a, b held of which the aggregator has none, and a lane that it has been asked for.
fn image_with_two_held() -> (Harness, TempDir) {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a", "b"]);
    let lane = spool.lane("s").lane;
    spool.lane_opened(lane, 0).expect("opened");
    let image = spool.image();
    (spool, image)
}

#[test]
fn a_restored_image_gives_new_events_a_new_epoch_and_keeps_the_old_ones_single() {
    let (mut original, image) = image_with_two_held();
    append(&mut original, &["c", "d", "e"]); // ships all: the aggregator stands at 5
    let old = original.lane("s");

    let mut restored = original;
    restored.restore(image);
    append(&mut restored, &["x", "y"]);
    restored.append_dropped("s", 1, "too_large").expect("taken");
    let lane = restored.lane("s");
    assert_eq!((lane.epoch, lane.next_seq), (old.epoch, 6), "it cannot know yet");

    let fork = restored.lane_opened(lane.lane, 5).expect("opened");
    assert_ne!(fork.epoch, old.epoch);
    assert_eq!((fork.committed_seq, fork.next_seq, fork.active), (0, 4, true));
    assert_eq!(
        texts(&mut restored, &fork),
        ["x", "y", "<too_large>"],
        "a and b are committed under their seqs"
    );
    assert_eq!(restored.lane("s"), fork, "the old lane is gone");
    assert_eq!(append(&mut restored, &["z"]).epoch, fork.epoch);

    restored.crash();
    let again = restored.lane("s");
    assert_eq!(
        restored.lane_opened(again.lane, 0).expect("opened").epoch,
        fork.epoch,
        "and stays"
    );
    assert_eq!(texts(&mut restored, &again), ["x", "y", "<too_large>", "z"]);
}

#[test]
fn a_restored_image_that_has_overtaken_the_mark_is_found_out_as_well() {
    let (original, image) = image_with_two_held();
    let mut restored = original;
    restored.restore(image);
    append(&mut restored, &["v", "w", "x", "y", "z"]);
    let lane = restored.lane("s").lane;
    // the original had shipped one event more than the image holds
    let fork = restored.lane_opened(lane, 3).expect("opened");
    assert_eq!(texts(&mut restored, &fork), ["v", "w", "x", "y", "z"]);
}

#[test]
fn the_same_spool_resumes_after_crashes_on_both_sides_of_an_ack() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a", "b"]);
    spool.crash(); // before the aggregator was ever heard
    append(&mut spool, &["c"]);
    let lane = spool.lane("s");
    spool.lane_opened(lane.lane, 0).expect("opened");
    // sends 1 to 3; they are committed, and the ack is lost with the process
    spool.crash();
    append(&mut spool, &["d"]);
    let resumed = spool.lane_opened(spool.lane("s").lane, 3).expect("opened");
    assert_eq!(resumed.epoch, lane.epoch);
    assert_eq!(texts(&mut spool, &resumed), ["d"]);
}

#[test]
fn a_twin_that_went_ahead_costs_duplicates_and_no_event() {
    let (mut spool, _image) = image_with_two_held();
    let lane = spool.lane("s").lane;
    assert!(matches!(
        spool.mark(lane, 7),
        Err(SpoolError::MarkAhead { mark: 7, next_seq: 3 })
    ));
    let fork = spool.lane_opened(lane, 7).expect("opened");
    assert_eq!(texts(&mut spool, &fork), ["a", "b"]);
}

#[test]
fn a_fork_cuts_a_block_that_lies_across_the_mark() {
    let (mut spool, _image) = image_with_two_held();
    append(&mut spool, &["c"]);
    let lane = spool.lane("s").lane;
    spool.mark(lane, 1).expect("within the first block");
    let held = spool.lane("s");
    assert_eq!(
        (held.held_events, texts(&mut spool, &held)),
        (2, vec!["b".to_owned(), "c".to_owned()])
    );
    let fork = spool.lane_opened(lane, 9).expect("opened");
    assert_eq!(texts(&mut spool, &fork), ["b", "c"]);
    assert_eq!((fork.held_events, fork.next_seq), (2, 3));
    spool.crash();
    assert_eq!(spool.lane("s").held_bytes, fork.held_bytes);
}

#[test]
fn an_aggregator_that_forgot_gets_a_drop_record_for_what_is_gone() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a"]);
    append(&mut spool, &["b"]);
    append(&mut spool, &["c", "d"]);
    let lane = spool.lane("s").lane;
    spool.mark(lane, 3).expect("mark"); // within the last block
    let rewound = spool.lane_opened(lane, 0).expect("opened");
    assert_eq!(
        (rewound.committed_seq, rewound.dropped_events, rewound.held_events),
        (0, 2, 2)
    );
    assert_eq!(
        texts(&mut spool, &rewound),
        ["<forgotten_by_aggregator>", "<forgotten_by_aggregator>", "c", "d"]
    );
    spool.crash();
    assert_eq!(spool.lane("s"), rewound);
}

#[test]
fn a_backlog_keeps_its_identity_beside_the_live_lane_and_vanishes_when_drained() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["old"]);
    let backlog = spool.lane("s");
    let reason = ForkReason::Backlog;
    let live = spool
        .control(|reply| Control::Fork {
            lane: backlog.lane,
            reason,
            reply,
        })
        .expect("fork");
    let accepted = append(&mut spool, &["new"]);
    assert_eq!((accepted.epoch, accepted.range.first), (live.epoch, 1));
    let lanes = spool.lanes("s");
    assert_eq!(
        lanes
            .iter()
            .map(|lane| (lane.epoch, lane.active))
            .collect::<Vec<_>>(),
        [(backlog.epoch, false), (live.epoch, true)]
    );
    spool.mark(backlog.lane, 1).expect("mark");
    assert_eq!(spool.lane("s").epoch, live.epoch);
    assert_eq!(spool.mark(backlog.lane, 1), Err(SpoolError::UnknownLane));
}

/// The lanes that were let go of, and up to where they were committed.
fn retired(spool: &Harness) -> Vec<(u64, Seq)> {
    let retired = spool.status().retired;
    retired
        .iter()
        .map(|lane| (lane.epoch.0, lane.committed_seq))
        .collect()
}

/// Live data goes on in a new epoch.
fn fork_backlog(spool: &mut Harness) -> LaneInfo {
    let (lane, reason) = (spool.lane("s").lane, ForkReason::Backlog);
    let fork = |reply| Control::Fork { lane, reason, reply };
    spool.control(fork).expect("fork")
}

#[test]
fn conservation_a_lane_that_is_drained_and_gone_is_remembered_with_its_mark() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a", "b"]);
    let old = spool.lane("s");
    fork_backlog(&mut spool);
    assert_eq!(retired(&spool), [], "it still drains");
    spool.mark(old.lane, 2).expect("mark");
    assert_eq!(retired(&spool), [(old.epoch.0, 2)]);
    // a lane that never had an event leaves nothing, and one that was behind its own past what is known of it
    fork_backlog(&mut spool);
    assert_eq!(retired(&spool).len(), 1);
    append(&mut spool, &["c"]);
    let behind = spool.lane("s");
    spool.lane_opened(behind.lane, 9).expect("opened");
    spool.crash();
    assert_eq!(retired(&spool), [(old.epoch.0, 2), (behind.epoch.0, 9)]);
}

#[test]
fn a_copied_spool_gives_up_a_lane_that_has_given_out_no_seq_yet() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a"]);
    let fresh = fork_backlog(&mut spool);
    assert_eq!(
        (fresh.next_seq, fresh.active),
        (1, true),
        "nobody has written to it"
    );
    let copy = spool.image();
    spool.restore_elsewhere(copy);
    let begun = append(&mut spool, &["b"]);
    assert_ne!(
        begun.epoch, fresh.epoch,
        "the original gives its first event that identity"
    );
}

#[test]
fn bounded_only_the_newest_of_the_lanes_that_are_gone_are_remembered() {
    let spool = Harness::new(LIMIT, WhenFull::Block);
    let store = &spool.actor.database_for_tests().store;
    let most = tributary_shared::protocol::MAX_RETIRED_LANES as u64;
    let stream = stream("s");
    let fill = || {
        for epoch in 1..=most + 5 {
            store.retire(
                &stream,
                tributary_shared::ids::Epoch(epoch),
                epoch,
                &History::default(),
            )?;
        }
        Ok(())
    };
    store.transaction(fill).expect("stored");
    let kept = store.retired().expect("read");
    let epochs: Vec<_> = kept.iter().map(|lane| lane.epoch.0).collect();
    assert_eq!(epochs, (6..=most + 5).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_spool_cloned_to_another_place_begins_a_new_epoch_and_keeps_what_it_holds() {
    let original = TempDir::new().expect("tempdir");
    let config = SpoolConfig::new(original.path());
    let spool = super::super::open(config.clone(), agent()).expect("opens");
    let old = spool.append(events("s", &[payload("a")])).await.expect("taken");
    spool.append(events("t", &[payload("b")])).await.expect("taken");
    let lane = spool.watch().borrow().lanes[1].lane;
    spool.commit_mark(lane, 1).await.expect("t is drained");
    spool.shutdown().await.expect("closed");

    // the file that was there all the time goes on
    let spool = super::super::open(config, agent()).expect("opens");
    let same = spool.append(events("s", &[payload("c")])).await.expect("taken");
    assert_eq!(same.epoch, old.epoch);
    spool.shutdown().await.expect("closed");

    let clone = TempDir::new().expect("tempdir");
    std::fs::copy(original.path().join("spool.db"), clone.path().join("spool.db")).expect("copy");
    let spool = super::super::open(SpoolConfig::new(clone.path()), agent()).expect("opens");
    let status = spool.watch().borrow().clone();
    let shown: Vec<_> = status
        .lanes
        .iter()
        .map(|lane| (lane.epoch, lane.active, lane.held_events))
        .collect();
    assert_eq!(shown, [(old.epoch, false, 2)], "what is held keeps its identity");
    for name in ["s", "t"] {
        let new = spool.append(events(name, &[payload("d")])).await.expect("taken");
        assert_ne!(new.epoch, old.epoch);
        assert_eq!(new.range.first, 1, "no seq of the original's");
    }
    // the original has shipped what both hold: it is committed, and nothing of it is sent again
    let lane = status.lanes[0].lane;
    assert_eq!(
        spool.lane_opened(lane, 9, None).await,
        Err(SpoolError::UnknownLane)
    );
    assert!(spool.watch().borrow().lanes.iter().all(|lane| lane.active));
}

/// Two spools with copies of one file, both alive: a, b are common, c, d and x, y, z are not.
fn twins() -> (Harness, Harness) {
    let (mut one, image) = image_with_two_held();
    append(&mut one, &["c", "d"]);
    let mut two = Harness::open(image, one.config.clone()).expect("opens");
    append(&mut two, &["x", "y", "z"]);
    (one, two)
}

#[test]
fn never_twice_a_twin_keeps_what_is_common_and_gives_its_own_events_new_seqs() {
    let (one, mut two) = twins();
    let (theirs, old) = (one.lane("s").history, two.lane("s"));
    // the aggregator has all of the first one's
    let fork = two.lane_opened_by(old.lane, 4, Some(theirs)).expect("opened");
    assert_ne!(fork.epoch, old.epoch);
    assert_eq!(
        texts(&mut two, &fork),
        ["x", "y", "z"],
        "a and b are committed once"
    );
    assert_eq!(two.status().renumbered, 3);
    assert_eq!(retired(&two), [(old.epoch.0, 4)]);
    // a twin of this twin finds the same place, and the same new epoch
    let again = old.epoch.parted(3, old.history.writer_at(3));
    assert_eq!(fork.epoch, again);
    two.crash();
    assert_eq!(texts(&mut two, &fork), ["x", "y", "z"]);
}

#[test]
fn never_twice_a_twin_whose_mark_covers_less_than_the_common_part_resumes() {
    let (one, mut two) = twins();
    let lane = two.lane("s");
    let theirs = one.lane("s").history;
    let same = two.lane_opened_by(lane.lane, 1, Some(theirs)).expect("opened");
    assert_eq!((same.epoch, same.committed_seq), (lane.epoch, 1));
    assert_eq!(texts(&mut two, &same), ["b", "x", "y", "z"]);
}

#[test]
fn never_twice_an_image_taken_between_a_restart_and_the_first_contact_sends_only_its_own_events() {
    let mut original = Harness::new(LIMIT, WhenFull::Block);
    append(&mut original, &["a"]);
    original.crash(); // the aggregator was never heard
    append(&mut original, &["b"]);
    let image = original.image();
    append(&mut original, &["c"]);
    let theirs = original.lane("s").history;
    let mut restored = Harness::open(image, original.config.clone()).expect("opens");
    append(&mut restored, &["x"]);
    let lane = restored.lane("s").lane;
    let fork = restored.lane_opened_by(lane, 3, Some(theirs)).expect("opened");
    assert_eq!(texts(&mut restored, &fork), ["x"]);
}

#[test]
fn conservation_what_a_restored_aggregator_forgot_and_gave_to_a_twin_is_named_in_the_new_epoch() {
    let (mut one, two) = twins();
    let lane = one.lane("s").lane;
    one.mark(lane, 3).expect("mark");
    append(&mut one, &["e"]);
    // it went back to 2, and has the twin's events since
    let theirs = two.lane("s").history;
    let fork = one.lane_opened_by(lane, 5, Some(theirs)).expect("opened");
    assert_eq!(texts(&mut one, &fork), ["<forgotten_by_aggregator>", "d", "e"]);
    one.crash();
    assert_eq!(one.lane("s"), fork);
}

#[test]
fn conservation_a_loss_of_a_lane_that_is_gone_gets_new_seqs_when_its_own_are_taken() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a", "b", "c"]);
    let old = spool.lane("s");
    fork_backlog(&mut spool);
    spool.mark(old.lane, 3).expect("drained");
    let no = spool.status().retired[0].no;
    for _ in 0..2 {
        // the second time it is known
        let taken = |reply| Control::ForgottenAndTaken { no, from: 2, reply };
        spool.control(taken).expect("named");
    }
    let lane = spool.lane("s");
    let gone = "<forgotten_by_aggregator>";
    assert_eq!(texts(&mut spool, &lane), [gone, gone]);
    assert_eq!(retired(&spool), [(old.epoch.0, 1)]);
}

#[test]
fn each_process_is_a_writer_of_its_own_and_the_spool_knows_who_numbered_what() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a", "b"]);
    let first = spool.lane("s").history.writer_at(1);
    spool.crash();
    assert_eq!(
        spool.lane("s").history.tenures().len(),
        1,
        "it has numbered nothing yet"
    );
    spool.append_dropped("s", 1, "too_large").expect("taken");
    append(&mut spool, &["c"]);
    spool.crash();
    let history = spool.lane("s").history;
    let writers: Vec<_> = (1..=4).map(|seq| history.writer_at(seq)).collect();
    assert!(
        writers[0] == first && writers[1] == first && writers[2] == writers[3],
        "{writers:?}"
    );
    assert!(first != 0 && first != writers[2], "{writers:?}");
}

/// Makes a spool of the current format one of format 2, which knew nothing of its past.
fn to_format_2(image: &TempDir) {
    let conn = rusqlite::Connection::open(image.path().join("spool.db")).expect("open");
    let older = "DROP TABLE contexts; DROP TABLE retired; ALTER TABLE lanes DROP COLUMN writers; UPDATE meta SET format_version = 2";
    conn.execute_batch(older).expect("format 2");
}

#[test]
fn a_spool_of_format_2_opens_with_all_that_it_holds() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    append(&mut spool, &["a", "b"]);
    let before = spool.lane("s");
    let image = spool.image();
    to_format_2(&image);
    spool.restore(image);
    assert_eq!(spool.status().quarantined, None);
    let lane = spool.lane("s");
    assert_eq!((lane.epoch, lane.next_seq), (before.epoch, 3));
    assert_eq!(texts(&mut spool, &lane), ["a", "b"]);
    fork_backlog(&mut spool);
    spool.mark(lane.lane, 2).expect("mark");
    assert_eq!(retired(&spool), [(before.epoch.0, 2)]);
}

/// The tables and one lane as the program of format 1 wrote them.
const FORMAT_1: &str = "
CREATE TABLE meta(
  format_version INTEGER NOT NULL, spool_id TEXT NOT NULL, agent TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE lanes(
  id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, epoch INTEGER NOT NULL, next_seq INTEGER NOT NULL,
  committed_seq INTEGER NOT NULL, unsent_from INTEGER, active INTEGER NOT NULL, UNIQUE(stream, epoch));
CREATE TABLE blocks(
  id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL,
  collected_at INTEGER NOT NULL, spooled_at INTEGER NOT NULL, codec INTEGER NOT NULL, raw_len INTEGER NOT NULL,
  bytes INTEGER NOT NULL, crc INTEGER NOT NULL, origin TEXT, body BLOB NOT NULL);
CREATE UNIQUE INDEX blocks_by_seq ON blocks(lane, first_seq, last_seq, bytes);
CREATE TABLE drops(
  lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY(lane, first_seq)) WITHOUT ROWID;
CREATE TABLE inputs(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
PRAGMA application_id = 1414677075;
INSERT INTO meta VALUES (1, '00', 'a1', 1);
INSERT INTO lanes(stream, epoch, next_seq, committed_seq, active) VALUES ('s', 77, 4, 1, 1);
INSERT INTO blocks VALUES (1, 1, 1, 2, 5, 6, 0, 4, 4, 1013208842, 'http', X'01410142');
INSERT INTO drops VALUES (1, 3, 3, 'too_large');
INSERT INTO inputs VALUES ('file', X'07');
";

#[test]
fn a_spool_of_the_previous_format_opens_with_all_that_it_holds() {
    let dir = TempDir::new().expect("tempdir");
    let conn = rusqlite::Connection::open(dir.path().join("spool.db")).expect("open");
    conn.execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL")
        .expect("pragmas");
    conn.execute_batch(FORMAT_1).expect("format 1");
    let crc = tributary_shared::wire::frame::checksum(b"\x01A\x01B");
    conn.execute("UPDATE blocks SET crc = ?1", [crc])
        .expect("checksum");
    drop(conn);
    let mut spool = Harness::open(dir, SpoolConfig::new("")).expect("opens");
    let lane = spool.lane("s");
    assert_eq!((lane.epoch.0, lane.committed_seq, lane.next_seq), (77, 1, 4));
    assert_eq!(texts(&mut spool, &lane), ["B", "<too_large>"]);
    assert_eq!(spool.position("file"), Some(vec![7]));
    assert_eq!(append(&mut spool, &["C"]).range.first, 4);
    assert_eq!(spool.status().quarantined, None);
    // it is of this format now, and stays whole
    let conn = &spool.actor.database_for_tests().store.conn;
    let format: i64 = conn
        .query_row("SELECT format_version FROM meta", [], |row| row.get(0))
        .expect("meta");
    assert_eq!(format, super::super::FORMAT_VERSION);
    spool.crash();
    let lane = spool.lane("s");
    assert_eq!(texts(&mut spool, &lane), ["B", "<too_large>", "C"]);
}
