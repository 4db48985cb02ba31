//! Keeps every n-th of a unit's events, such that the dropped ones are named by few ranges. Pure.
//!
//! Seqs are given out here for the first time, so a request's kept events may all lie beside each other: its
//! range stays its own, kept events keep their order, and one drop record names the rest. Which end the kept
//! ones are at changes from request to request, so that neighbours share blocks and records.

use std::num::NonZeroU64;

use tributary_shared::ids::Seq;
use tributary_shared::wire::rows::{Rows, push_row};

/// Seqs of one kind, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    Kept { count: u32, raw: Vec<u8> },
    Dropped { count: u32 },
}

/// What becomes of a unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Thinned {
    /// In seq order, neighbours of different kinds.
    pub runs: Vec<Run>,
    /// How many of each request's events are dropped.
    pub dropped: Vec<u32>,
}

/// The lane's `first` seq and those behind it go to the requests in order; of all events that a lane is given
/// while this lasts every `keep`-th stays, however they are divided into requests.
pub(super) fn thin(raw: &[u8], requests: &[u32], first: Seq, keep: NonZeroU64) -> Thinned {
    let mut rows = Rows::new(raw).map_while(Result::ok);
    let mut ordinal = first;
    let mut out = Thinned {
        runs: Vec::new(),
        dropped: Vec::with_capacity(requests.len()),
    };
    for &count in requests {
        let (mut kept, mut kept_rows) = (0, Vec::new());
        for row in rows.by_ref().take(count as usize) {
            if ordinal % keep == 0 {
                push_row(&mut kept_rows, row);
                kept += 1;
            }
            ordinal += 1;
        }
        let dropped = count - kept;
        out.dropped.push(dropped);
        if matches!(out.runs.last(), Some(Run::Kept { .. })) {
            out.keep(kept, &kept_rows);
            out.drop(dropped);
        } else {
            out.drop(dropped);
            out.keep(kept, &kept_rows);
        }
    }
    out
}

impl Thinned {
    fn keep(&mut self, more: u32, rows: &[u8]) {
        match self.runs.last_mut() {
            _ if more == 0 => {}
            Some(Run::Kept { count, raw }) => {
                *count += more;
                raw.extend_from_slice(rows);
            }
            _ => self.runs.push(Run::Kept {
                count: more,
                raw: rows.to_vec(),
            }),
        }
    }

    fn drop(&mut self, more: u32) {
        match self.runs.last_mut() {
            _ if more == 0 => {}
            Some(Run::Dropped { count }) => *count += more,
            _ => self.runs.push(Run::Dropped { count: more }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(count: u32) -> Vec<u8> {
        let mut raw = Vec::new();
        (0..count).for_each(|n| push_row(&mut raw, &n.to_le_bytes()));
        raw
    }

    proptest! {
        /// Every n-th event stays, within its own request's range and in order; the others are counted; the
        /// runs are few.
        #[test]
        fn every_nth_stays_and_the_rest_is_named_by_few_ranges(
            requests in prop::collection::vec(1u32..40, 1..20), first in 1u64..1_000, keep in 1u64..12,
        ) {
            let total: u32 = requests.iter().sum();
            let thinned = thin(&numbered(total), &requests, first, NonZeroU64::new(keep).expect("positive"));
            let mut at_seq = Vec::new();
            for run in &thinned.runs {
                match run {
                    Run::Dropped { count } => at_seq.extend((0..*count).map(|_| None)),
                    Run::Kept { count, raw } => {
                        let rows: Vec<_> = Rows::new(raw).map(|row| row.expect("row").to_vec()).collect();
                        prop_assert_eq!(rows.len(), *count as usize);
                        at_seq.extend(rows.into_iter().map(|row| Some(u32::from_le_bytes(row.try_into().expect("4")))));
                    }
                }
            }
            prop_assert_eq!(at_seq.len(), total as usize);
            let kept: Vec<u32> = at_seq.iter().flatten().copied().collect();
            let expected: Vec<u32> = (0..total).filter(|n| (first + u64::from(*n)) % keep == 0).collect();
            prop_assert_eq!(kept, expected);
            let mut begin = 0;
            for (count, dropped) in requests.iter().zip(&thinned.dropped) {
                let own = &at_seq[begin as usize..(begin + count) as usize];
                prop_assert!(own.iter().flatten().all(|n| (begin..begin + count).contains(n)));
                prop_assert_eq!(own.iter().filter(|seq| seq.is_none()).count(), *dropped as usize);
                begin += count;
            }
            prop_assert!(thinned.runs.len() <= requests.len() + 1);
        }
    }
}
