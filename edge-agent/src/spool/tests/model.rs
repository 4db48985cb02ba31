//! Random appends, drops, marks and crashes against a model that is a list.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::{DROPPED_OLDEST, MIN_LIMIT};
use super::*;

const LIMIT: u64 = MIN_LIMIT;
const STREAMS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Action {
    /// Requests of one group: stream, events, size of each.
    Append(Vec<(usize, usize, usize)>),
    Dropped(usize, u32),
    /// The stream's first lane is committed up to this share of what it holds.
    Mark(usize, f64),
    Fork(usize),
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    let request = (0..3usize, 1..20usize, 0..600usize);
    prop_oneof![
        8 => prop::collection::vec(request, 2..6).prop_map(Action::Append),
        1 => (0..3usize, 1..5u32).prop_map(|(stream, count)| Action::Dropped(stream, count)),
        1 => (0..3usize, 0.0..=1.0).prop_map(|(stream, share)| Action::Mark(stream, share)),
        1 => (0..3usize).prop_map(Action::Fork),
        1 => Just(Action::Crash),
    ]
}

/// What each seq of each lane was given to; `None` for events that were dropped when they came.
#[derive(Debug, Default)]
struct Model {
    events: BTreeMap<(String, u64), Vec<Option<Vec<u8>>>>,
    serial: u64,
}

impl Model {
    fn payloads(&mut self, count: usize, len: usize) -> Vec<Vec<u8>> {
        self.serial += 1;
        (0..count as u64)
            .map(|n| noise(self.serial * 1_000 + n, len))
            .collect()
    }

    fn give(&mut self, accepted: &Accepted, events: Vec<Option<Vec<u8>>>) {
        let lane = self
            .events
            .entry((accepted.stream.to_string(), accepted.epoch.0))
            .or_default();
        assert_eq!(accepted.range.first, lane.len() as u64 + 1, "contiguous-lanes");
        lane.extend(events);
        assert_eq!(accepted.range.last, lane.len() as u64, "as many seqs as events");
    }

    /// The spool shows exactly what the model has: content, order, and conservation.
    fn check(&self, spool: &mut Harness) {
        let status = spool.status();
        for ((name, epoch), produced) in &self.events {
            let info = status
                .lanes
                .iter()
                .find(|lane| lane.stream.as_str() == name && lane.epoch.0 == *epoch);
            let Some(info) = info else { continue }; // drained, and its stream has moved on
            assert_eq!(info.next_seq, produced.len() as u64 + 1);
            let contents = spool.contents(info);
            assert_eq!(contents.len() as u64 + info.committed_seq, produced.len() as u64);
            let mut dropped = 0;
            for (seq, found) in contents {
                match (found, &produced[seq as usize - 1]) {
                    (Ok(payload), Some(given)) => assert_eq!(&payload, given, "seq {seq}"),
                    (Err(_), None) => dropped += 1,
                    (Err(reason), Some(_)) => {
                        assert_eq!(&*reason, DROPPED_OLDEST);
                        dropped += 1;
                    }
                    (Ok(_), None) => panic!("seq {seq} came back from the dead"),
                }
            }
            assert_eq!(info.dropped_events, dropped);
            let sum = info.committed_seq + info.held_events + info.dropped_events;
            assert_eq!(sum, produced.len() as u64, "conservation");
        }
        for lane in status.lanes.iter() {
            assert!(self.events.contains_key(&(lane.stream.to_string(), lane.epoch.0)) || lane.next_seq == 1);
        }
    }
}

/// Leaves room for some ten average groups.
fn fill_up(spool: &mut Harness, model: &mut Model) {
    loop {
        let payloads = model.payloads(1, 200_000);
        match spool.append(events(BALLAST, &payloads)) {
            Ok(accepted) => model.give(&accepted, payloads.into_iter().map(Some).collect()),
            Err(_) => break,
        }
    }
    let lane = spool.lane(BALLAST).lane;
    spool.mark(lane, 1).expect("mark");
}

/// Returns whether the spool was full on the way.
fn run(actions: Vec<Action>, policy: WhenFull) -> bool {
    let mut pressed = false;
    let mut spool = Harness::new(LIMIT, policy);
    let mut model = Model::default();
    fill_up(&mut spool, &mut model);
    for action in actions {
        match action {
            Action::Append(requests) => {
                let group: Vec<_> = requests
                    .iter()
                    .map(|(s, count, len)| (*s, model.payloads(*count, *len)))
                    .collect();
                let answers = spool.append_group(group.iter().map(|(s, p)| events(STREAMS[*s], p)).collect());
                for (answer, (_, payloads)) in answers.into_iter().zip(group) {
                    match answer {
                        Ok(accepted) => model.give(&accepted, payloads.into_iter().map(Some).collect()),
                        Err(error) => {
                            assert!(matches!(error, SpoolError::Full { .. }), "{error}");
                            pressed = true;
                        }
                    }
                }
            }
            Action::Dropped(s, count) => match spool.append_dropped(STREAMS[s], count, "too_large") {
                Ok(accepted) => model.give(&accepted, vec![None; count as usize]),
                Err(error) => assert!(matches!(error, SpoolError::Full { .. }), "{error}"),
            },
            Action::Mark(s, share) => {
                if let Some(lane) = spool.lanes(STREAMS[s]).first() {
                    let held = lane.next_seq - 1 - lane.committed_seq;
                    let mark = lane.committed_seq + (held as f64 * share) as u64;
                    spool.mark(lane.lane, mark).expect("a mark within the lane");
                }
            }
            Action::Fork(s) => {
                if let Some(active) = spool.lanes(STREAMS[s]).last().map(|lane| lane.lane) {
                    let reason = ForkReason::Backlog;
                    spool
                        .control(|reply| Control::Fork {
                            lane: active,
                            reason,
                            reply,
                        })
                        .expect("fork");
                }
            }
            Action::Crash => spool.crash(),
        }
        let evicted = |lane: &LaneInfo| {
            lane.dropped
                .iter()
                .any(|record| &*record.reason == DROPPED_OLDEST)
        };
        pressed |= spool.status().lanes.iter().any(evicted);
        assert!(
            spool.disk_bytes() <= LIMIT,
            "{} bytes on disk",
            spool.disk_bytes()
        );
    }
    model.check(&mut spool);
    spool.crash();
    model.check(&mut spool);
    pressed
}

/// Runs random actions, of which some must have met a full spool.
fn check(policy: WhenFull) {
    let pressed = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&prop::collection::vec(action(), 1..100), |actions| {
        pressed.set(pressed.get() + u32::from(run(actions, policy)));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    assert!(pressed.get() >= 3, "only {} runs filled the spool", pressed.get());
}

/// identity-first, contiguous-lanes and conservation, over crashes, when the producer waits.
#[test]
fn nothing_is_lost_when_the_policy_is_to_wait() {
    check(WhenFull::Block);
}

/// The same when the oldest gives way: what is gone has a drop record.
#[test]
fn what_gives_way_is_in_the_ledger() {
    check(WhenFull::DropOldest);
}
