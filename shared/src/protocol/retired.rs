//! Lanes that an agent has drained and let go of: does the aggregator still have them? Pure.
//!
//! An aggregator that was restored from an older copy has forgotten what it committed since. A lane that is
//! still there tells its gap when it is opened. One that is gone has only its identity and its last mark left:
//! so each of them is opened once a session, after the lanes that hold something, a few at a time; what is
//! missing is reported as dropped, and counts in the ledger.
//!
//! The handles of these lanes come from the upper end and are used again and again, so that they never need more
//! than [`RETIRED_HANDLES`] of a session's lanes: opening a handle anew releases what it stood for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Claim, Tick};
use crate::ids::{Epoch, Seq, SeqRange, StreamName};
use crate::wire::history::differ;
use crate::wire::{History, OpenLane};

/// Retired lanes that are asked for at a time: the answers of a distant aggregator overlap, and a session with
/// all its lanes in use gives up few of them.
pub const RETIRED_HANDLES: u32 = 8;
/// Retired lanes that a spool remembers, the newest: what an agent retires between two backups of the aggregator, many
/// times over. Each is a row of some tens of bytes.
pub const MAX_RETIRED_LANES: usize = 1_024;
/// Nothing that was refused is reported again sooner.
const RETRY_AFTER: Tick = 1_000;

/// A lane that takes no new events and of which everything is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredLane {
    /// Rises with each lane that retires.
    pub no: u64,
    pub stream: StreamName,
    pub epoch: Epoch,
    /// All of it, up to here, was committed once.
    pub committed_seq: Seq,
    /// Who numbered it.
    pub history: History,
}

/// What the aggregator has forgotten of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// These seqs are free: they are reported as dropped.
    Gone(Claim),
    /// From this seq on it has other events now: what it forgot is reported under seqs elsewhere.
    Taken { no: u64, from: Seq },
}

#[derive(Debug)]
struct Check {
    lane: RetiredLane,
    /// Reported as forgotten up to here, and not acknowledged yet; `None` before the aggregator has answered.
    reported: Option<Seq>,
}

/// The state of one session.
#[derive(Debug, Default)]
pub(super) struct RetiredChecks {
    /// All that the spool knows, ascending; bounded by the spool.
    all: Arc<[RetiredLane]>,
    /// The newest of them that was queued.
    newest: u64,
    queue: VecDeque<RetiredLane>,
    open: BTreeMap<u32, Check>,
    not_before: Tick,
}

impl RetiredChecks {
    /// What the spool knows now. Lanes that retire during a session are checked as well: what acknowledged them
    /// may have been restored since.
    pub fn known(&mut self, all: &Arc<[RetiredLane]>) {
        if Arc::ptr_eq(&self.all, all) {
            return;
        }
        self.all = Arc::clone(all);
        let newer = all.iter().filter(|lane| lane.no > self.newest);
        self.queue.extend(newer.cloned());
        self.newest = all.last().map_or(self.newest, |lane| lane.no.max(self.newest));
    }

    /// The aggregator came back, and may have been restored: all are checked again.
    pub fn begin_again(&mut self) {
        let open: BTreeSet<u64> = self.open.values().map(|check| check.lane.no).collect();
        let others = self.all.iter().filter(|lane| !open.contains(&lane.no));
        self.queue = others.cloned().collect();
    }

    /// The next lane to open, when there is room for its handle.
    pub fn next(&mut self, now: Tick, room: usize) -> Option<OpenLane> {
        let room = room.min(RETIRED_HANDLES as usize);
        if now < self.not_before || self.open.len() >= room {
            return None;
        }
        let handle = (0..RETIRED_HANDLES)
            .map(|at| u32::MAX - at)
            .find(|handle| !self.open.contains_key(handle))?;
        let lane = self.queue.pop_front()?;
        let open = OpenLane {
            lane: handle,
            stream: lane.stream.clone(),
            epoch: lane.epoch,
            next_seq: lane.committed_seq + 1,
            schema_id: None,
        };
        self.open.insert(handle, Check { lane, reported: None });
        Some(open)
    }

    /// The aggregator stands at `mark`. Returns what it has forgotten, if anything, to be reported now.
    pub fn opened(&mut self, handle: u32, mark: Seq, history: Option<&History>) -> Option<Forgotten> {
        if let Some(Check {
            lane,
            reported: Some(_),
        }) = self.open.get(&handle)
        {
            // it was away while the report was on its way
            self.queue.push_back(lane.clone());
            self.open.remove(&handle);
            return None;
        }
        let lane = &self.open.get(&handle)?.lane;
        let both = mark.min(lane.committed_seq);
        let taken = history.and_then(|theirs| lane.history.first_difference(theirs, 1, both));
        if let Some(from) = taken {
            let no = lane.no;
            self.open.remove(&handle);
            return Some(Forgotten::Taken { no, from });
        }
        self.report_behind(handle, mark)
    }

    /// A report was committed. Returns what is still to be reported.
    pub fn acked(&mut self, handle: u32, mark: Seq, writer: u64) -> Option<Forgotten> {
        let check = self.open.get(&handle)?;
        let foreign = differ(writer, check.lane.history.writer_at(mark));
        if foreign || mark < check.reported? {
            return None;
        }
        self.report_behind(handle, mark)
    }

    fn report_behind(&mut self, handle: u32, mark: Seq) -> Option<Forgotten> {
        let check = self.open.get_mut(&handle)?;
        if mark >= check.lane.committed_seq {
            self.open.remove(&handle);
            return None;
        }
        let first = mark + 1;
        let history = &check.lane.history;
        // one batch is of one writer, and names no more than it can count
        let last = check.lane.committed_seq.min(mark + u64::from(u32::MAX));
        let last = history.run_end(first).map_or(last, |end| end.min(last));
        check.reported = Some(last);
        Some(Forgotten::Gone(Claim {
            range: SeqRange { first, last },
            writer: history.writer_at(first),
            after_writer: history.writer_at(mark),
        }))
    }

    /// The report was not taken: the lane is asked for again.
    pub fn refused(&mut self, now: Tick, handle: u32, retry_after: Tick) {
        if let Some(check) = self.open.remove(&handle) {
            self.queue.push_back(check.lane);
            self.not_before = now + retry_after.max(RETRY_AFTER);
        }
    }

    /// Does this handle belong here?
    pub fn owns(handle: u32) -> bool {
        handle > u32::MAX - RETIRED_HANDLES
    }

    /// Is a lane being asked for with this handle?
    pub fn is_open(&self, handle: u32) -> bool {
        self.open.contains_key(&handle)
    }

    /// Reports that were sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        let reported = |check: &&Check| check.reported.is_some();
        self.open.values().filter(reported).count()
    }

    /// Something is asked that only the aggregator can answer.
    pub fn waits(&self) -> bool {
        !self.open.is_empty()
    }

    /// Everything is known to be there, or reported.
    pub fn done(&self) -> bool {
        self.queue.is_empty() && self.open.is_empty()
    }

    /// When the next one may be asked for, if one waits for a time.
    pub fn next_timeout(&self, now: Tick) -> Option<Tick> {
        (!self.queue.is_empty() && self.not_before > now).then_some(self.not_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(count: u64) -> Arc<[RetiredLane]> {
        let lane = |no| RetiredLane {
            no,
            stream: StreamName::new("s").expect("valid"),
            epoch: Epoch(no),
            committed_seq: 10,
            history: History::default().extended(1, 7).expect("new"),
        };
        (1..=count).map(lane).collect()
    }

    fn gone(first: Seq, last: Seq) -> Option<Forgotten> {
        Some(Forgotten::Gone(Claim {
            range: SeqRange { first, last },
            writer: 7,
            after_writer: if first > 1 { 7 } else { 0 },
        }))
    }

    fn open_all(checks: &mut RetiredChecks, now: Tick) -> Vec<OpenLane> {
        std::iter::from_fn(|| checks.next(now, 100)).collect()
    }

    #[test]
    fn every_retired_lane_is_asked_for_once_with_a_handful_of_handles() {
        let mut checks = RetiredChecks::default();
        checks.known(&lanes(100));
        let mut asked = Vec::new();
        while !checks.done() {
            let open = open_all(&mut checks, 0);
            assert!(open.len() <= RETIRED_HANDLES as usize);
            for open in open {
                assert!(RetiredChecks::owns(open.lane) && open.next_seq == 11);
                asked.push(open.epoch.0);
                assert_eq!(checks.opened(open.lane, 10, None), None, "nothing is forgotten");
            }
        }
        assert_eq!(asked, (1..=100).collect::<Vec<_>>());
        checks.known(&lanes(102));
        assert_eq!(open_all(&mut checks, 0).len(), 2, "those that retired meanwhile");
    }

    #[test]
    fn what_the_aggregator_forgot_is_reported_until_it_is_committed() {
        let mut checks = RetiredChecks::default();
        checks.known(&lanes(1));
        let handle = open_all(&mut checks, 0)[0].lane;
        assert_eq!(checks.opened(handle, 4, None), gone(5, 10));
        assert_eq!((checks.in_flight(), checks.done()), (1, false));
        assert_eq!(checks.acked(handle, 7, 0), None);
        checks.refused(100, handle, 0);
        assert_eq!(open_all(&mut checks, 100), [], "not at once");
        assert_eq!(checks.next_timeout(100), Some(1_100));
        let handle = open_all(&mut checks, 1_100)[0].lane;
        assert_eq!(checks.opened(handle, 4, None), gone(5, 10));
        assert_eq!(checks.acked(handle, 10, 0), None);
        assert!(checks.done());
    }

    #[test]
    fn an_aggregator_that_comes_back_is_asked_again() {
        let mut checks = RetiredChecks::default();
        checks.known(&lanes(2));
        let open = open_all(&mut checks, 0);
        assert_eq!(checks.opened(open[0].lane, 10, None), None);
        assert!(checks.opened(open[1].lane, 0, None).is_some());
        // while that report was on its way
        assert_eq!(checks.opened(open[1].lane, 0, None), None);
        checks.begin_again();
        assert_eq!(open_all(&mut checks, 0).len(), 2);
    }

    #[test]
    fn more_than_a_batch_can_count_is_reported_in_parts() {
        let mut checks = RetiredChecks::default();
        let mut many = lanes(1).to_vec();
        many[0].committed_seq = u64::from(u32::MAX) + 10;
        checks.known(&many.into());
        let handle = open_all(&mut checks, 0)[0].lane;
        let most = u64::from(u32::MAX);
        assert_eq!(checks.opened(handle, 0, None), gone(1, most));
        assert_eq!(checks.acked(handle, most, 0), gone(most + 1, most + 10));
    }

    #[test]
    fn a_report_is_of_one_writer_and_never_for_events_of_another() {
        let mut checks = RetiredChecks::default();
        let mut two = lanes(1).to_vec();
        two[0].history = two[0].history.extended(6, 8).expect("another");
        let (ours, other) = (
            two[0].history.clone(),
            History::default().extended(4, 9).expect("new"),
        );
        checks.known(&two.into());
        let handle = open_all(&mut checks, 0)[0].lane;
        assert_eq!(checks.opened(handle, 2, Some(&ours)), gone(3, 5));
        let rest = Claim {
            range: SeqRange { first: 6, last: 10 },
            writer: 8,
            after_writer: 7,
        };
        assert_eq!(checks.acked(handle, 5, 0), Some(Forgotten::Gone(rest)));
        assert_eq!(checks.acked(handle, 10, 0), None);
        checks.begin_again();
        let handle = open_all(&mut checks, 0)[0].lane;
        let taken = Forgotten::Taken { no: 1, from: 4 };
        assert_eq!(checks.opened(handle, 20, Some(&other)), Some(taken));
    }
}
