//! Puts the batches of one lane back in order.

use std::collections::BTreeMap;

use super::Tick;
use crate::ids::{Seq, SeqRange};

/// Holds what came too early and hands out what may be committed next.
///
/// Invariants: items come out with `first <= expected` at that moment, so they never leave a hole; `expected`
/// only moves back by [`Sequencer::rewind`]. Ranges may overlap: the commit trims what it already has.
#[derive(Debug)]
pub struct Sequencer<T> {
    expected: Seq,
    early: BTreeMap<Seq, (SeqRange, T)>,
    stalled_since: Option<Tick>,
}

impl<T> Sequencer<T> {
    /// A lane whose next uncommitted seq is `expected`.
    #[must_use]
    pub fn new(expected: Seq) -> Self {
        Self {
            expected,
            early: BTreeMap::new(),
            stalled_since: None,
        }
    }

    #[must_use]
    pub fn expected(&self) -> Seq {
        self.expected
    }

    /// How many items wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.early.len()
    }

    /// Takes an item. Of two with the same first seq the newer stays: it was sent for a reason.
    pub fn push(&mut self, range: SeqRange, item: T) {
        self.early.insert(range.first, (range, item));
    }

    /// The next item in order. A wholly old one comes out as well, so that its sender gets its answer.
    pub fn pop(&mut self, now: Tick) -> Option<(SeqRange, T)> {
        let ready = self
            .early
            .first_key_value()
            .is_some_and(|(first, _)| *first <= self.expected);
        if !ready {
            let hole = !self.early.is_empty();
            self.stalled_since = if hole {
                self.stalled_since.or(Some(now))
            } else {
                None
            };
            return None;
        }
        self.stalled_since = None;
        let (_, (range, item)) = self.early.pop_first()?;
        self.expected = self.expected.max(range.last.saturating_add(1));
        Some((range, item))
    }

    /// Since when items wait behind a hole.
    #[must_use]
    pub fn stalled_since(&self) -> Option<Tick> {
        self.stalled_since
    }

    /// Goes back to `expected` and forgets what waits: it will be sent again. Returns how many were forgotten.
    pub fn rewind(&mut self, expected: Seq) -> usize {
        self.expected = expected;
        self.stalled_since = None;
        let forgotten = self.early.len();
        self.early.clear();
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(first: Seq, last: Seq) -> SeqRange {
        SeqRange { first, last }
    }

    #[test]
    fn a_hole_is_noticed_and_closes() {
        let mut lane = Sequencer::new(1);
        lane.push(range(3, 4), 'b');
        assert_eq!(lane.pop(100), None);
        assert_eq!(lane.pop(200), None);
        assert_eq!(lane.stalled_since(), Some(100));
        lane.push(range(1, 2), 'a');
        assert_eq!(lane.pop(300), Some((range(1, 2), 'a')));
        assert_eq!(lane.pop(300), Some((range(3, 4), 'b')));
        assert_eq!(lane.stalled_since(), None);
    }

    proptest! {
        #[test]
        fn any_arrival_order_comes_out_contiguous_and_complete(
            counts in prop::collection::vec(1u32..50, 1..40),
            order in prop::collection::vec(any::<u32>(), 40),
        ) {
            let mut batches = Vec::new();
            let mut next = 1;
            for count in counts {
                batches.push(SeqRange::from_count(next, count));
                next += u64::from(count);
            }
            let mut arrivals: Vec<_> = batches.iter().copied().zip(order).collect();
            arrivals.sort_by_key(|(_, key)| *key);
            let mut lane = Sequencer::new(1);
            let mut out = Vec::new();
            for (range, _) in arrivals {
                lane.push(range, ());
                while let Some((range, ())) = lane.pop(0) {
                    out.push(range);
                }
            }
            prop_assert_eq!(out, batches);
        }
    }
}
