//! The full policies, priorities and ages on a real database.

use std::num::NonZeroU64;

use super::super::policy::Priority;
use super::super::{DROPPED_BY_PRIORITY, DROPPED_NEWEST, DROPPED_THINNED, DROPPED_TOO_OLD};
use super::*;

const LIMIT: u64 = 4 << 20;
const MAX_AGE: Duration = Duration::from_secs(60);

fn block(n: u64) -> NewEvents {
    events("s", &[noise(n, 60_000)])
}

fn aged(max_age: Duration) -> StreamPolicy {
    StreamPolicy {
        max_age: Some(max_age),
        ..StreamPolicy::default()
    }
}

fn conservation(lane: &LaneInfo) {
    assert_eq!(
        lane.committed_seq + lane.held_events + lane.dropped_events,
        lane.next_seq - 1,
        "conservation: {lane:?}"
    );
}

#[test]
fn reject_refuses_when_full_and_loses_nothing() {
    let mut spool = Harness::new(LIMIT, WhenFull::Reject);
    let taken = (0..).take_while(|&n| spool.append(block(n)).is_ok()).count() as u64;
    assert!(spool.status().full);
    let lane = spool.lane("s");
    assert_eq!((lane.held_events, lane.dropped_events), (taken, 0));
    spool.mark(lane.lane, taken / 2).expect("mark");
    assert!(!spool.status().full, "waiting producers are woken");
    assert!(spool.append(block(1)).is_ok());
}

#[test]
fn drop_newest_accepts_all_and_names_the_loss_in_one_line() {
    let mut spool = Harness::new(LIMIT, WhenFull::DropNewest);
    let mut dropped = 0;
    for n in 0..100 {
        let accepted = spool.append(block(n)).expect("always accepted");
        assert_eq!(accepted.range, SeqRange::from_count(n + 1, 1), "with its seq");
        dropped += accepted.dropped;
        assert!(spool.disk_bytes() <= LIMIT);
    }
    assert!(dropped > 50);
    let lane = spool.lane("s");
    conservation(&lane);
    assert_eq!(lane.dropped_events, dropped);
    assert_eq!(lane.dropped.len(), 1, "{:?}", lane.dropped);
    assert_eq!(&*lane.dropped[0].reason, DROPPED_NEWEST);
    assert_eq!(lane.dropped[0].range.last, 100, "the newest");
    // positions move with what was dropped
    let position = Some(InputPosition {
        key: "file".to_owned(),
        value: vec![7],
    });
    spool
        .append(NewEvents { position, ..block(1) })
        .expect("accepted");
    assert_eq!(spool.position("file"), Some(vec![7]));
    spool.crash();
    assert_eq!(spool.lane("s").dropped_events, dropped + 1);
}

#[test]
fn thin_keeps_every_nth_near_the_end_of_the_room_and_names_the_others_by_few_ranges() {
    let keep = NonZeroU64::new(10).expect("positive");
    let mut spool = Harness::new(LIMIT, WhenFull::Thin { keep });
    let mut serial = 0;
    let mut thinned = Vec::new();
    for request in 0..80 {
        let payloads: Vec<_> = (0..20)
            .map(|_| {
                serial += 1;
                noise(serial, 3_000)
            })
            .collect();
        let accepted = spool.append(events("s", &payloads)).expect("always accepted");
        if accepted.dropped > 0 {
            thinned.push((request, accepted));
        }
        assert!(spool.disk_bytes() <= LIMIT);
    }
    let lane = spool.lane("s");
    conservation(&lane);
    assert!(
        thinned.iter().any(|(_, accepted)| accepted.dropped == 18),
        "two of twenty stay"
    );
    let ranges = lane.dropped.len();
    assert!(
        ranges <= thinned.len(),
        "{ranges} ranges for {} requests",
        thinned.len()
    );
    assert!(
        lane.dropped
            .iter()
            .all(|record| &*record.reason == DROPPED_THINNED)
    );
    // what is kept is the producer's, within its own request
    let contents = spool.contents(&lane);
    for (request, accepted) in thinned {
        let own = contents.iter().filter(|(seq, _)| accepted.range.contains(*seq));
        let (kept, dropped): (Vec<_>, Vec<_>) = own.partition(|(_, found)| found.is_ok());
        assert_eq!(dropped.len() as u64, accepted.dropped);
        for (_, found) in kept {
            let payload = found.as_ref().expect("kept");
            let among = (1..=20u64).any(|n| *payload == noise(request * 20 + n, 3_000));
            assert!(among, "an event of another request");
        }
    }
}

#[test]
fn a_full_spool_takes_room_from_droppable_streams_of_lower_priority_lowest_first() {
    let of = |when_full, priority| StreamPolicy {
        when_full,
        priority,
        max_age: None,
    };
    let mut spool = Harness::with_streams(
        LIMIT,
        WhenFull::Block.into(),
        [
            ("low", of(WhenFull::DropOldest, Priority::Low)),
            ("low_kept", of(WhenFull::Block, Priority::Low)),
            ("normal", of(WhenFull::DropNewest, Priority::Normal)),
            ("high", of(WhenFull::Block, Priority::High)),
        ],
    );
    let of_size = |name: &str, n| events(name, &[noise(n, 60_000)]);
    for n in 0..8 {
        for name in ["low", "low_kept", "normal"] {
            spool.append(of_size(name, n)).expect("taken");
        }
    }
    let mut taken = 0;
    while spool.append(of_size("high", taken)).is_ok() {
        taken += 1;
        let (low, normal) = (spool.lane("low"), spool.lane("normal"));
        assert!(
            normal.dropped_events == 0 || low.held_events == 0,
            "the lowest first"
        );
        assert!(spool.disk_bytes() <= LIMIT);
    }
    for name in ["low", "normal"] {
        let lane = spool.lane(name);
        conservation(&lane);
        assert_eq!((lane.held_events, lane.dropped_events), (0, 8), "{name}");
        assert_eq!(&*lane.dropped[0].reason, DROPPED_BY_PRIORITY);
    }
    assert_eq!(spool.lane("low_kept").held_events, 8, "it must lose nothing");
    assert!(taken > 20);
    assert!(
        spool.append(of_size("low_kept", 1)).is_err(),
        "and takes nothing from its betters"
    );
}

#[test]
fn what_is_too_old_is_dropped_with_its_range_and_the_rest_stays() {
    let mut spool = Harness::with_streams(LIMIT, StreamPolicy::default(), [("s", aged(MAX_AGE))]);
    spool.append(block(0)).expect("taken");
    spool.append(events("other", &[noise(1, 10)])).expect("taken");
    spool.pass(Duration::from_secs(40));
    spool.append(block(1)).expect("taken");
    assert_eq!(spool.lane("s").dropped_events, 0);
    spool.pass(Duration::from_secs(30));
    let lane = spool.lane("s");
    conservation(&lane);
    assert_eq!((lane.held_events, lane.dropped_events), (1, 1));
    assert_eq!(&*lane.dropped[0].reason, DROPPED_TOO_OLD);
    assert_eq!(spool.lane("other").held_events, 1, "it may grow old");
    spool.crash();
    assert_eq!(spool.lane("s"), lane);
}

#[test]
fn what_is_in_flight_does_not_expire() {
    let mut spool = Harness::with_streams(LIMIT, StreamPolicy::default(), [("s", aged(MAX_AGE))]);
    spool.append(block(0)).expect("taken");
    spool.append(block(1)).expect("taken");
    let lane = spool.lane("s").lane;
    spool.in_flight.lock().expect("lock").insert(lane, 1);
    spool.pass(Duration::from_secs(100));
    assert_eq!(spool.lane("s").dropped[0].range, SeqRange { first: 2, last: 2 });
    assert_eq!(spool.lane("s").held_events, 1);
}

#[test]
fn a_clock_that_is_set_makes_nothing_expire_not_even_after_a_restart() {
    let mut spool = Harness::with_streams(LIMIT, StreamPolicy::default(), [("s", aged(MAX_AGE))]);
    spool.now = 1_000; // 1970: no battery
    spool.round(Vec::new(), Vec::new());
    spool.pass(Duration::from_secs(6));
    spool.append(block(0)).expect("taken");
    spool.now = NOW;
    spool.pass(Duration::from_secs(6));
    assert_eq!(spool.lane("s").dropped_events, 0, "it is seconds old");
    spool.crash();
    spool.pass(Duration::from_secs(6));
    assert_eq!(spool.lane("s").dropped_events, 0);
    spool.pass(Duration::from_secs(61));
    assert_eq!(spool.lane("s").dropped_events, 1, "and then a minute");
}
