//! Byte surgery: what a damaged database still holds comes back under its old identity, once.

use std::collections::BTreeMap;
use std::fs;

use super::super::{DROPPED_DAMAGED, Salvage};
use super::*;

const LIMIT: u64 = 64 << 20;
const PAGE: usize = 8 << 10;

/// Everything that the aggregator will be told of, by lane name, epoch and seq.
type World = BTreeMap<(String, u64, Seq), Content>;

fn world(spool: &mut Harness) -> World {
    let mut world = World::new();
    for lane in spool.status().lanes.iter() {
        for (seq, found) in spool.contents(lane) {
            world.insert((lane.stream.to_string(), lane.epoch.0, seq), found);
        }
    }
    world
}

/// Small and large events of two streams, a drop record, positions, and a mark within a block; and all that was
/// ever produced.
fn furnished() -> (Harness, World) {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    for n in 0..60 {
        let position = Some(InputPosition {
            key: format!("file:{n}"),
            value: noise(n, 300),
        });
        let three = [noise(n, 700), noise(n + 1, 80), noise(n + 2, 900)];
        spool
            .append(NewEvents {
                position,
                ..events("small", &three)
            })
            .expect("taken");
        spool.append(events("large", &[noise(n, 30_000)])).expect("taken");
    }
    spool.append_dropped("small", 3, "too_large").expect("taken");
    let produced = world(&mut spool);
    let lane = spool.lane("small").lane;
    spool.mark(lane, 7).expect("within the third block");
    let checkpointed = spool.actor.database_for_tests().checkpoint(true);
    checkpointed.expect("checkpoint");
    (spool, produced)
}

fn finish(spool: &mut Harness) -> Salvage {
    for _ in 0..1_000 {
        match spool.status().salvage {
            Some(salvage) if !salvage.running => return (*salvage).clone(),
            _ => spool.round(Vec::new(), Vec::new()),
        }
    }
    panic!("the salvage never ends: {:?}", spool.status());
}

/// Every event of `before` is there as it was, or its seq is named as damaged. Returns how many are there.
fn compare(produced: &World, before: &World, after: &World, case: &str) -> usize {
    let mut saved = 0;
    for (at, found) in after {
        match (produced.get(at), found) {
            (Some(Ok(given)), Ok(payload)) => {
                assert_eq!(given, payload, "{case}: {at:?}");
                // where the mark was lost as well, what it covered comes back, and will be trimmed
                saved += usize::from(before.contains_key(at));
            }
            (Some(Err(_)), Err(_)) => saved += 1,
            (_, Err(reason)) => assert_eq!(&**reason, DROPPED_DAMAGED, "{case}: {at:?}"),
            (None, Ok(_)) => panic!("{case}: {at:?} comes from nowhere"),
            (Some(Err(_)), Ok(_)) => panic!("{case}: {at:?} came back from the dead"),
        }
    }
    saved
}

fn damage(spool: &Harness, surgery: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let image = spool.image();
    let file = image.path().join("spool.db");
    let mut bytes = fs::read(&file).expect("read");
    surgery(&mut bytes);
    fs::write(&file, bytes).expect("write");
    image
}

#[test]
fn a_damaged_header_costs_no_event_and_new_events_get_a_new_epoch() {
    let (mut spool, _) = furnished();
    let before = world(&mut spool);
    let old = spool.lane("small");
    spool.restore(damage(&spool, |bytes| {
        bytes[..PAGE].copy_from_slice(&noise(5, PAGE))
    }));
    assert!(spool.status().quarantined.is_some());
    // events are taken while the old ones are still being read
    let new = spool
        .append(events("small", &[noise(1, 10)]))
        .expect("taken at once");
    assert_ne!(new.epoch, old.epoch);
    let salvage = finish(&mut spool);
    assert_eq!((salvage.lost_events, salvage.problems), (0, vec![]), "all of it");
    assert_eq!(salvage.saved_events, 60 * 3 - 7 + 60);
    let lanes = spool.lanes("small");
    assert_eq!(lanes.len(), 2);
    assert_eq!(
        (lanes[0].epoch, lanes[0].committed_seq, lanes[0].next_seq),
        (old.epoch, 7, 184)
    );
    let mut after = world(&mut spool);
    let own = after.remove(&("small".to_owned(), new.epoch.0, 1));
    assert_eq!(own, Some(Ok(noise(1, 10))), "the new one");
    assert_eq!(after, before);
    assert_eq!(
        spool.position("file:59"),
        Some(noise(59, 300)),
        "files go on where they were"
    );
    spool.crash();
    assert_eq!(
        spool
            .status()
            .salvage
            .as_deref()
            .map(|salvage| salvage.saved_events),
        Some(233),
        "still reported"
    );
}

#[test]
fn what_the_aggregator_has_already_is_trimmed_and_nothing_is_renumbered() {
    let (mut spool, _) = furnished();
    spool.restore(damage(&spool, |bytes| bytes[..PAGE].fill(0)));
    finish(&mut spool);
    let lane = spool.lane("large");
    // acknowledged in the moment before the damage: the mark is beyond what the file knew
    let resumed = spool.lane_opened(lane.lane, 40).expect("opened");
    assert_eq!(
        (resumed.epoch, resumed.committed_seq, resumed.held_events),
        (lane.epoch, 40, 20)
    );
    // and a mark beyond its end means that all of it is committed
    let lane = spool.lane("small").lane;
    assert_eq!(spool.lane_opened(lane, 500), Err(SpoolError::UnknownLane));
    assert!(
        spool.lanes("small").is_empty(),
        "and no event got a second identity"
    );
}

#[test]
fn whichever_page_is_garbled_every_event_comes_back_or_is_named_or_the_report_says_why() {
    let (mut spool, produced) = furnished();
    let before = world(&mut spool);
    let pages = fs::metadata(spool.path().join("spool.db")).expect("file").len() as usize / PAGE;
    let (mut quarantined, mut nearly_all, mut silent) = (0, 0, 0);
    // the first ones hold the trees; most of the others are bodies, and alike
    let surgeries: Vec<_> = (0..pages).filter(|page| *page < 24 || page % 4 == 0).collect();
    let pages = surgeries.len();
    for page in surgeries {
        let image = damage(&spool, |bytes| {
            bytes[page * PAGE..(page + 1) * PAGE].copy_from_slice(&noise(page as u64, PAGE));
        });
        let mut damaged = Harness::open(image, spool.config.clone()).expect("opens");
        let mut after = None;
        for _ in 0..3 {
            // reading may find the damage, and then the salvage begins
            let salvage = damaged.status().salvage.is_some().then(|| finish(&mut damaged));
            let readable = damaged.status().lanes.iter().all(|lane| {
                let read = Read {
                    lane: lane.lane,
                    from: lane.committed_seq + 1,
                    max_rows: u32::MAX,
                    max_bytes: usize::MAX,
                };
                damaged.control(|reply| Control::Read { read, reply }).is_ok()
            });
            if readable {
                after = Some((world(&mut damaged), salvage));
                break;
            }
        }
        let (after, salvage) = after.expect("readable after the salvage");
        let saved = compare(&produced, &before, &after, &format!("page {page}"));
        quarantined += usize::from(salvage.is_some());
        nearly_all += usize::from(saved + 20 >= before.len());
        let lost = before.len() - saved;
        let named = after
            .values()
            .filter(|found| found.as_ref().is_err_and(|r| &**r == DROPPED_DAMAGED))
            .count();
        if lost > named && salvage.is_none_or(|salvage| salvage.problems.is_empty()) {
            silent += 1;
        }
    }
    injected(
        "whichever_page_is_garbled_every_event_comes_back_or_is_named_or_the_report_says_why",
        [("page of the database garbled", pages)],
    );
    assert!(quarantined > 5, "{quarantined} of {pages}");
    assert!(nearly_all * 10 > pages * 9, "{nearly_all} of {pages}");
    assert_eq!(silent, 0, "losses that nobody was told of");
}

#[test]
fn of_a_truncated_file_the_beginning_is_saved_and_the_rest_is_named() {
    let (mut spool, produced) = furnished();
    let before = world(&mut spool);
    for share in [9, 5, 2] {
        let image = damage(&spool, |bytes| bytes.truncate(bytes.len() / 10 * share + 77));
        let mut cut = Harness::open(image, spool.config.clone()).expect("opens");
        let salvage = finish(&mut cut);
        let after = world(&mut cut);
        let saved = compare(&produced, &before, &after, "truncated");
        assert_eq!(
            after.len(),
            before.len(),
            "each seq is there or named: {salvage:?}"
        );
        assert!(
            saved * 16 > before.len() * share,
            "{saved} of {} with {share} tenths",
            before.len()
        );
        assert!(salvage.lost_events > 0);
        assert!(cut.append(events("small", &[noise(1, 10)])).is_ok());
    }
}

#[test]
fn a_crash_during_the_salvage_costs_nothing_and_doubles_nothing() {
    let (mut spool, _) = furnished();
    let before = world(&mut spool);
    spool.restore(damage(&spool, |bytes| bytes[..PAGE].fill(0xff)));
    let mut crashes = 0;
    while spool.status().salvage.is_some_and(|salvage| salvage.running) {
        spool.round(Vec::new(), Vec::new());
        spool.crash();
        crashes += 1;
    }
    assert!(crashes >= 2, "{crashes} crashes");
    assert_eq!(world(&mut spool), before);
    assert_eq!(spool.status().salvage.expect("reported").saved_events, 233);
}

#[test]
fn a_damaged_file_that_vanishes_ends_the_salvage_with_named_losses() {
    let (mut spool, _) = furnished();
    spool.restore(damage(&spool, |bytes| bytes[..PAGE].fill(0xff)));
    let image = spool.image();
    for entry in fs::read_dir(image.path()).expect("dir") {
        let path = entry.expect("entry").path();
        if path.to_string_lossy().contains("damaged") {
            fs::remove_file(path).expect("remove");
        }
    }
    spool.restore(image);
    let salvage = finish(&mut spool);
    assert_eq!(
        (salvage.saved_events, salvage.lost_events),
        (0, 233),
        "{salvage:?}"
    );
    let lane = spool.lane("large");
    assert_eq!((lane.held_events, lane.dropped_events), (0, 60));
    spool
        .mark(lane.lane, 60)
        .expect("the loss is shipped like any other");
}

#[test]
fn conservation_lanes_that_were_gone_before_the_damage_are_still_known_after_it() {
    let (mut spool, _) = furnished();
    let lane = spool.lane("small");
    let fork = |reply| Control::Fork {
        lane: lane.lane,
        reason: ForkReason::Backlog,
        reply,
    };
    spool.control(fork).expect("fork");
    spool.mark(lane.lane, lane.next_seq - 1).expect("drained");
    let before = spool.status().retired;
    assert_eq!(before.len(), 1);
    let checkpointed = spool.actor.database_for_tests().checkpoint(true);
    checkpointed.expect("checkpoint");
    let image = spool.image();
    // the check at opening finds a lane whose blocks are not where its row says
    let conn = rusqlite::Connection::open(image.path().join("spool.db")).expect("open");
    conn.execute(
        "UPDATE lanes SET next_seq = next_seq + 5 WHERE active = 0 OR stream = 'large'",
        [],
    )
    .expect("damage");
    drop(conn);
    spool.restore(image);
    assert!(spool.status().quarantined.is_some());
    finish(&mut spool);
    let known = spool.status().retired;
    assert!(
        known
            .iter()
            .any(|lane| (lane.epoch, lane.committed_seq) == (before[0].epoch, before[0].committed_seq)),
        "{known:?}"
    );
}
