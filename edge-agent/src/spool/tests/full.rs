//! The byte cap and the two policies.

use super::*;

const LIMIT: u64 = 4 << 20;

fn fill(spool: &mut Harness, name: &str) -> u64 {
    for n in 0..1_000 {
        match spool.append(events(name, &[noise(n, 60_000)])) {
            Ok(_) => assert!(
                spool.disk_bytes() <= LIMIT,
                "{} bytes on disk",
                spool.disk_bytes()
            ),
            Err(error) => {
                assert!(matches!(error, SpoolError::Full { .. }), "{error}");
                return n;
            }
        }
    }
    panic!("never full");
}

#[test]
fn block_refuses_when_full_and_takes_again_after_a_mark() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let taken = fill(&mut spool, "s");
    assert!(taken > 30, "most of the limit is used: {taken} blocks");
    let lane = spool.lane("s");
    assert_eq!((lane.held_events, lane.dropped_events), (taken, 0));
    // a refused request leaves nothing behind, its position included
    let position = Some(InputPosition {
        key: "file".to_owned(),
        value: vec![9],
    });
    let refused = spool.append(NewEvents {
        position,
        ..events("s", &[noise(1, 60_000)])
    });
    assert!(matches!(refused, Err(SpoolError::Full { .. })));
    assert_eq!(spool.position("file"), None);
    assert_eq!(spool.lane("s").next_seq, lane.next_seq);

    spool.mark(lane.lane, taken / 2).expect("mark");
    let accepted = spool
        .append(events("s", &[noise(1, 60_000)]))
        .expect("room again");
    assert_eq!(accepted.range.first, taken + 1);
}

#[test]
fn a_full_spool_can_be_emptied_and_filled_many_times() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    let first = fill(&mut spool, "s");
    for _ in 0..5 {
        let lane = spool.lane("s");
        spool.mark(lane.lane, lane.next_seq - 1).expect("mark");
        assert_eq!(spool.lane("s").held_bytes, 0);
        let again = fill(&mut spool, "s");
        assert!(
            again + 2 >= first,
            "the same room as at first: {again} of {first}"
        );
    }
}

#[test]
fn drop_oldest_stays_below_the_limit_and_merges_its_records() {
    let mut spool = Harness::new(LIMIT, WhenFull::DropOldest);
    for n in 0..200 {
        spool
            .append(events("s", &[noise(n, 60_000)]))
            .expect("always taken");
        assert!(
            spool.disk_bytes() <= LIMIT,
            "{} bytes on disk",
            spool.disk_bytes()
        );
    }
    let lane = spool.lane("s");
    assert_eq!(lane.held_events + lane.dropped_events, 200, "conservation");
    assert!(lane.dropped_events > 100);
    assert_eq!(lane.dropped.len(), 1, "{:?}", lane.dropped);
    assert_eq!(&*lane.dropped[0].reason, "drop_oldest");
    let contents = spool.contents(&lane);
    let kept: Vec<_> = contents
        .into_iter()
        .filter_map(|(seq, found)| Some((seq, found.ok()?)))
        .collect();
    assert!(
        kept.iter()
            .all(|(seq, payload)| *payload == noise(seq - 1, 60_000))
    );

    // the loss itself is shipped and committed
    spool.mark(lane.lane, lane.dropped[0].range.last).expect("mark");
    assert_eq!(
        (spool.lane("s").dropped_events, spool.lane("s").dropped.len()),
        (0, 0)
    );
}

#[test]
fn drop_oldest_spares_other_streams_and_what_is_in_flight() {
    let mut spool = Harness::new(LIMIT, WhenFull::DropOldest);
    spool.append(events("other", &[noise(0, 60_000)])).expect("taken");
    for n in 0..10 {
        spool.append(events("s", &[noise(n, 60_000)])).expect("taken");
    }
    let lane = spool.lane("s").lane;
    spool.in_flight.lock().expect("lock").insert(lane, 5);
    for n in 10..100 {
        spool.append(events("s", &[noise(n, 60_000)])).expect("taken");
    }
    assert_eq!(spool.lane("other").held_events, 1);
    let dropped = spool.lane("s").dropped;
    assert_eq!(dropped[0].range.first, 6, "{dropped:?}");
    let sent = spool.read(lane, 1, 5, 1 << 20);
    assert!(sent[..5].iter().all(|block| matches!(block, Block::Rows(_))));
}

#[test]
fn when_all_is_in_flight_even_drop_oldest_waits() {
    let mut spool = Harness::new(LIMIT, WhenFull::DropOldest);
    spool.append(events("s", &[noise(0, 60_000)])).expect("taken");
    spool
        .in_flight
        .lock()
        .expect("lock")
        .insert(spool.lane("s").lane, u64::from(u32::MAX));
    fill(&mut spool, "s");
}

#[test]
fn one_request_larger_than_the_share_is_too_large_for_ever() {
    let mut spool = Harness::new(LIMIT, WhenFull::DropOldest);
    let refused = spool.append(events("s", &[noise(0, 400_000)]));
    assert!(matches!(refused, Err(SpoolError::TooLarge { .. })), "{refused:?}");
    assert!(
        spool.append(events("s", &[noise(0, 60_000)])).is_ok(),
        "smaller ones go on"
    );
}

#[test]
fn a_refused_append_is_not_overtaken_within_its_group() {
    let mut spool = Harness::new(LIMIT, WhenFull::Block);
    fill(&mut spool, "s");
    let origin = |text: &str| Some(Arc::from(text));
    let large = NewEvents {
        origin: origin("x"),
        ..events("s", &[noise(1, 60_000)])
    };
    let small = NewEvents {
        origin: origin("y"),
        ..events("s", &[vec![1]])
    };
    let answers = spool.append_group(vec![large, small]);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(SpoolError::Full { .. }))),
        "{answers:?}"
    );
}
