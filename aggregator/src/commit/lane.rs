//! The rule `contiguous-lanes`, and the books of all lanes while a group is being written. Pure.

use std::collections::HashMap;

use tributary_shared::ids::{LaneKey, LaneNo, Seq};
pub use tributary_shared::protocol::{Claim, Decision, decide};
use tributary_shared::wire::History;

/// One lane's counts. `mark == valid + dead + dropped` at all times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneCounts {
    pub mark: Seq,
    pub valid: u64,
    pub dead: u64,
    pub dropped: u64,
}

impl LaneCounts {
    /// The counts after a batch whose range starts at `mark + 1`.
    #[must_use]
    pub fn plus(self, valid: u64, dead: u64, dropped: u64) -> Self {
        Self {
            mark: self.mark + valid + dead + dropped,
            valid: self.valid + valid,
            dead: self.dead + dead,
            dropped: self.dropped + dropped,
        }
    }
}

impl LaneCounts {
    /// The counts after `n` dead letters were replayed.
    #[must_use]
    pub fn revived(self, n: u64) -> Self {
        Self {
            valid: self.valid + n,
            // each of them is one of the lane's dead letters
            dead: self.dead.saturating_sub(n),
            ..self
        }
    }
}

/// A lane as the commit thread knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    pub no: LaneNo,
    pub key: LaneKey,
    pub counts: LaneCounts,
    /// Who numbered what is committed.
    pub history: History,
}

/// All lanes: the durable state, and over it what the open group would add. [`LaneBook::keep`] after the
/// fsync makes the group durable, [`LaneBook::forget`] after a failure leaves no trace of it.
#[derive(Debug, Default)]
pub struct LaneBook {
    by_no: HashMap<LaneNo, Lane>,
    by_key: HashMap<LaneKey, LaneNo>,
    highest: u32,
    /// Numbers up to this one are not given out.
    reserved: u32,
    pending: HashMap<LaneNo, LaneCounts>,
    /// Of lanes that another writer goes on with in the open group.
    pending_histories: HashMap<LaneNo, History>,
    opened: Vec<LaneNo>,
}

impl LaneBook {
    /// The book of the lanes that the log holds. Numbers up to `reserved` may have been given out by a later
    /// state of this log, before it was restored from a copy.
    #[must_use]
    pub fn new(lanes: impl IntoIterator<Item = Lane>, reserved: u32) -> Self {
        let mut book = Self {
            highest: reserved,
            reserved,
            ..Self::default()
        };
        lanes.into_iter().for_each(|lane| book.insert(lane));
        book
    }

    fn insert(&mut self, lane: Lane) {
        self.highest = self.highest.max(lane.no.0);
        self.by_key.insert(lane.key.clone(), lane.no);
        self.by_no.insert(lane.no, lane);
    }

    #[must_use]
    pub fn number(&self, key: &LaneKey) -> Option<LaneNo> {
        self.by_key.get(key).copied()
    }

    #[must_use]
    pub fn lane(&self, no: LaneNo) -> Option<&Lane> {
        self.by_no.get(&no)
    }

    /// Counts as the open group sees them; zeros for an unknown lane.
    #[must_use]
    pub fn counts(&self, no: LaneNo) -> LaneCounts {
        let durable = || self.by_no.get(&no).map(|lane| lane.counts);
        self.pending
            .get(&no)
            .copied()
            .or_else(durable)
            .unwrap_or_default()
    }

    /// The mark that is durable whatever becomes of the open group.
    #[must_use]
    pub fn durable_mark(&self, no: LaneNo) -> Seq {
        self.by_no.get(&no).map_or(0, |lane| lane.counts.mark)
    }

    /// Gives a new lane its number, within the open group. `None` when all numbers are taken.
    #[must_use]
    pub fn open(&mut self, key: &LaneKey) -> Option<LaneNo> {
        let no = LaneNo(self.highest.checked_add(1)?);
        self.insert(Lane {
            no,
            key: key.clone(),
            counts: LaneCounts::default(),
            history: History::default(),
        });
        self.opened.push(no);
        Some(no)
    }

    /// Sets a lane's counts within the open group.
    pub fn set(&mut self, no: LaneNo, counts: LaneCounts) {
        self.pending.insert(no, counts);
    }

    /// Who numbered the lane, as the open group sees it.
    #[must_use]
    pub fn history(&self, no: LaneNo) -> History {
        let durable = || self.by_no.get(&no).map(|lane| &lane.history);
        let history = self.pending_histories.get(&no).or_else(durable);
        history.cloned().unwrap_or_default()
    }

    /// The same, as far as it is durable whatever becomes of the open group.
    #[must_use]
    pub fn durable_history(&self, no: LaneNo) -> History {
        self.by_no
            .get(&no)
            .map(|lane| lane.history.clone())
            .unwrap_or_default()
    }

    /// Another writer goes on with the lane, within the open group.
    pub fn set_history(&mut self, no: LaneNo, history: History) {
        self.pending_histories.insert(no, history);
    }

    /// The lanes that the open group gives another writer, with all their tenures.
    pub fn changed_histories(&self) -> impl Iterator<Item = (LaneNo, History)> + '_ {
        let changed = self.pending_histories.iter();
        changed.map(|(no, history)| (*no, history.clone()))
    }

    /// The lanes that the open group changes, with their new counts.
    pub fn changed(&self) -> impl Iterator<Item = (LaneNo, LaneCounts)> + '_ {
        self.pending.iter().map(|(no, counts)| (*no, *counts))
    }

    /// The group is durable.
    pub fn keep(&mut self) {
        self.opened.clear();
        for (no, counts) in self.pending.drain() {
            if let Some(lane) = self.by_no.get_mut(&no) {
                lane.counts = counts;
            }
        }
        for (no, history) in self.pending_histories.drain() {
            if let Some(lane) = self.by_no.get_mut(&no) {
                lane.history = history;
            }
        }
    }

    /// The group was not stored.
    pub fn forget(&mut self) {
        self.pending.clear();
        self.pending_histories.clear();
        for no in self.opened.drain(..) {
            if let Some(lane) = self.by_no.remove(&no) {
                self.by_key.remove(&lane.key);
            }
        }
        let highest = self.by_no.keys().map(|no| no.0).max().unwrap_or(0);
        self.highest = highest.max(self.reserved);
    }

    /// All lanes with their durable counts.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.by_no.values()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_shared::ids::{AgentId, Epoch, SeqRange, StreamName};

    use super::*;

    fn range(first: Seq, last: Seq) -> SeqRange {
        SeqRange { first, last }
    }

    fn key(epoch: u64) -> LaneKey {
        LaneKey {
            agent: AgentId::new("a").expect("valid"),
            stream: StreamName::new("s").expect("valid"),
            epoch: Epoch(epoch),
        }
    }

    /// Of an agent that does not say who numbered its events.
    fn decide(mark: Seq, range: SeqRange) -> Decision {
        let claim = Claim {
            range,
            writer: 0,
            after_writer: 0,
        };
        super::decide(mark, &History::default(), claim)
    }

    #[test]
    fn contiguous_lanes_by_example() {
        assert_eq!(decide(0, range(1, 10)), Decision::Apply { trim: 0 });
        assert_eq!(decide(10, range(11, 11)), Decision::Apply { trim: 0 });
        assert_eq!(decide(10, range(8, 12)), Decision::Apply { trim: 3 });
        assert_eq!(decide(10, range(1, 10)), Decision::Duplicate);
        assert_eq!(decide(10, range(12, 12)), Decision::Gap { expected: 11 });
        assert_eq!(decide(0, range(2, 3)), Decision::Gap { expected: 1 });
        assert_eq!(decide(u64::MAX, range(u64::MAX, u64::MAX)), Decision::Duplicate);
    }

    proptest! {
        #[test]
        fn an_applied_range_continues_the_mark(mark in 0u64..200, first in 1u64..200, count in 1u32..50) {
            let range = SeqRange::from_count(first, count);
            match decide(mark, range) {
                Decision::Apply { trim } => {
                    prop_assert_eq!(range.first + trim, mark + 1);
                    prop_assert!(trim < range.count());
                }
                Decision::Duplicate => prop_assert!(range.last <= mark),
                Decision::Gap { expected } => {
                    prop_assert_eq!(expected, mark + 1);
                    prop_assert!(range.first > expected);
                }
                Decision::OtherWriter { .. } => prop_assert!(false, "nobody has written"),
            }
        }
    }

    #[test]
    fn reserved_numbers_are_not_given_out() {
        let mut book = LaneBook::new([], 1_000);
        assert_eq!(book.open(&key(1)), Some(LaneNo(1_001)));
        book.forget();
        assert_eq!(book.open(&key(2)), Some(LaneNo(1_001)));
        assert_eq!(LaneBook::new([], u32::MAX).open(&key(1)), None);
    }

    #[test]
    fn a_forgotten_group_leaves_no_trace() {
        let mut book = LaneBook::default();
        let first = book.open(&key(1)).expect("free");
        book.set(first, LaneCounts::default().plus(3, 1, 0));
        book.keep();
        let second = book.open(&key(2)).expect("free");
        book.set(first, book.counts(first).plus(0, 0, 9));
        assert_eq!((book.counts(first).mark, book.durable_mark(first)), (13, 4));
        book.forget();
        assert_eq!((book.counts(first).mark, book.number(&key(2))), (4, None));
        assert_eq!(
            book.open(&key(3)),
            Some(second),
            "the number was never told, so it is free again"
        );
    }
}
