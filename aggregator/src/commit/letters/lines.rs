//! The ledger's lines of letters that were given up: how many, between which seqs, and why. Pure.
//!
//! Letters lie between valid events, so a line for each run of seqs would let the ledger grow with the number of
//! events. A lane has at most [`MAX_LINES`] lines a reason: beyond that the two that are nearest to each other become
//! one, which then counts fewer seqs than it spans.

use tributary_shared::ids::{Seq, SeqRange};

use super::super::messages::DroppedRange;

/// A person (or the API) gave them up.
pub const LETTER_DISCARDED: &str = "discarded";
/// Retention deleted them while they were open.
pub const LETTER_EXPIRED: &str = "dead_letter_expired";

/// Lines of one lane and one reason.
pub(super) const MAX_LINES: usize = 64;

/// So many of the seqs of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub range: SeqRange,
    pub count: u64,
}

/// Adds seqs (ascending, none of them counted yet) to lines (in order, disjoint).
pub(super) fn fold(lines: &mut Vec<Line>, seqs: &[Seq]) {
    for seq in seqs {
        add(lines, *seq);
        if lines.len() > MAX_LINES {
            merge_nearest(lines);
        }
    }
}

fn add(lines: &mut Vec<Line>, seq: Seq) {
    let after = lines.partition_point(|line| line.range.last < seq);
    // within a line that spans more than it counts
    if let Some(line) = lines.get_mut(after).filter(|line| line.range.first <= seq) {
        line.count += 1;
        return;
    }
    if let Some(line) = after.checked_sub(1).and_then(|before| lines.get_mut(before))
        && line.range.last + 1 == seq
    {
        line.range.last = seq;
        line.count += 1;
        return;
    }
    let range = SeqRange {
        first: seq,
        last: seq,
    };
    lines.insert(after, Line { range, count: 1 });
}

fn merge_nearest(lines: &mut Vec<Line>) {
    let gap = |at: &usize| lines[at + 1].range.first - lines[*at].range.last;
    let Some(at) = (0..lines.len().saturating_sub(1)).min_by_key(gap) else {
        return;
    };
    let next = lines.remove(at + 1);
    lines[at].range.last = next.range.last;
    lines[at].count += next.count;
}

/// Whether a lane's lines can be true: within the mark, no more seqs than they span, and together with the open
/// letters all that is dead.
pub fn lines_add_up(mark: Seq, dead: u64, open: u64, lines: &[DroppedRange]) -> bool {
    let possible = |line: &DroppedRange| {
        line.range.first >= 1 && line.range.last <= mark && (1..=line.range.count()).contains(&line.count)
    };
    let given_up: u64 = lines.iter().map(|line| line.count).sum();
    lines.iter().all(possible) && open + given_up == dead
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn line(first: Seq, last: Seq, count: u64) -> Line {
        let range = SeqRange { first, last };
        Line { range, count }
    }

    #[test]
    fn runs_are_lines_and_few_lines_are_exact() {
        let mut lines = Vec::new();
        fold(&mut lines, &[3, 4, 5, 9]);
        fold(&mut lines, &[6, 20]);
        assert_eq!(lines, [line(3, 6, 4), line(9, 9, 1), line(20, 20, 1)]);
    }

    proptest! {
        #[test]
        fn conservation_every_seq_is_counted_once_by_few_lines(
            groups in prop::collection::vec(prop::collection::btree_set(1u64..5_000, 1..80), 1..12)
        ) {
            let (mut lines, mut all) = (Vec::new(), BTreeSet::new());
            for group in groups {
                let new: Vec<Seq> = group.into_iter().filter(|seq| all.insert(*seq)).collect();
                fold(&mut lines, &new);
                prop_assert!(lines.len() <= MAX_LINES);
                prop_assert!(lines.windows(2).all(|pair| pair[0].range.last < pair[1].range.first));
                for line in &lines {
                    let within = all.range(line.range.first..=line.range.last).count() as u64;
                    prop_assert_eq!(within, line.count);
                }
                prop_assert_eq!(lines.iter().map(|line| line.count).sum::<u64>(), all.len() as u64);
            }
        }
    }
}
