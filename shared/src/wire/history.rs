//! Who numbered a lane's seqs. Pure.
//!
//! Each start of an agent's process on a spool is a *writer* with a random number. A spool and the aggregator each
//! keep, for a lane, from which seq on which writer numbered it. A writer gives a seq once, behind one past: so
//! two histories that name the same writer at a seq agree on that event and on all below it. Where they name
//! different ones, copies of a spool have numbered different events alike.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::Seq;

/// The writer of seqs that were numbered by a program that kept none, or too long ago.
pub const UNKNOWN_WRITER: u64 = 0;
/// The highest number of a writer: it fits the integers of SQLite.
pub const MAX_WRITER: u64 = i64::MAX as u64;
/// Tenures that are kept of a lane, the newest: two months of daily restarts. What is older counts as unknown.
pub const MAX_TENURES: usize = 64;

/// From `from` on, up to the next tenure, a lane's seqs were numbered by `writer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenure {
    pub from: Seq,
    pub writer: u64,
}

/// The tenures of a lane, ascending; at most [`MAX_TENURES`]. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Tenure>", into = "Vec<Tenure>")]
pub struct History(Arc<[Tenure]>);

impl From<Vec<Tenure>> for History {
    /// Whatever comes is put in order, and cut to what is kept.
    fn from(mut tenures: Vec<Tenure>) -> Self {
        tenures.sort_by_key(|tenure| tenure.from);
        tenures.dedup_by_key(|tenure| tenure.from);
        let old = tenures.len().saturating_sub(MAX_TENURES);
        Self(tenures[old..].into())
    }
}

impl From<History> for Vec<Tenure> {
    fn from(history: History) -> Self {
        history.0.to_vec()
    }
}

impl History {
    #[must_use]
    pub fn tenures(&self) -> &[Tenure] {
        &self.0
    }

    /// Who numbered a seq; [`UNKNOWN_WRITER`] when that is not known.
    #[must_use]
    pub fn writer_at(&self, seq: Seq) -> u64 {
        let next = self.0.partition_point(|tenure| tenure.from <= seq);
        let tenure = next.checked_sub(1).and_then(|at| self.0.get(at));
        tenure.map_or(UNKNOWN_WRITER, |tenure| tenure.writer)
    }

    /// The last seq behind `seq` that has the same writer; `None` when there is no later tenure.
    #[must_use]
    pub fn run_end(&self, seq: Seq) -> Option<Seq> {
        let next = self.0.partition_point(|tenure| tenure.from <= seq);
        self.0.get(next).map(|tenure| tenure.from - 1)
    }

    /// The history once `writer` numbers what follows from `from` on; `None` when it does so already.
    #[must_use]
    pub fn extended(&self, from: Seq, writer: u64) -> Option<Self> {
        let newest = self.0.last().map_or(UNKNOWN_WRITER, |tenure| tenure.writer);
        if newest == writer {
            return None;
        }
        let mut tenures: Vec<Tenure> = self.0.iter().copied().filter(|t| t.from < from).collect();
        tenures.push(Tenure { from, writer });
        Some(tenures.into())
    }

    /// The history of the seqs above `shift`, once they begin with 1.
    #[must_use]
    pub fn shifted(&self, shift: Seq) -> Self {
        let first = Tenure {
            from: 1,
            writer: self.writer_at(shift + 1),
        };
        let later = self.0.iter().filter(|tenure| tenure.from > shift + 1);
        let later = later.map(|tenure| Tenure {
            from: tenure.from - shift,
            ..*tenure
        });
        let first = (first.writer != UNKNOWN_WRITER).then_some(first);
        Self(first.into_iter().chain(later).collect())
    }

    /// The first seq in `first..=last` for which `differs` holds of the two writers: those change at few places.
    fn find(&self, other: &Self, first: Seq, last: Seq, differs: fn(u64, u64) -> bool) -> Option<Seq> {
        let changes = self.0.iter().chain(other.0.iter()).map(|tenure| tenure.from);
        let places = changes.chain([first]).filter(|seq| (first..=last).contains(seq));
        places
            .filter(|seq| differs(self.writer_at(*seq), other.writer_at(*seq)))
            .min()
    }

    /// The first seq in `first..=last` that the two know as different events.
    #[must_use]
    pub fn first_difference(&self, other: &Self, first: Seq, last: Seq) -> Option<Seq> {
        self.find(other, first, last, differ)
    }

    /// The first seq in `first..=last` of which one of the two does not know the writer.
    #[must_use]
    pub fn first_unknown(&self, other: &Self, first: Seq, last: Seq) -> Option<Seq> {
        self.find(other, first, last, |one, two| {
            one == UNKNOWN_WRITER || two == UNKNOWN_WRITER
        })
    }
}

/// Are these two writers known to be different ones?
#[must_use]
pub fn differ(one: u64, two: u64) -> bool {
    one != two && one != UNKNOWN_WRITER && two != UNKNOWN_WRITER
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn history(tenures: &[(Seq, u64)]) -> History {
        let tenure = |&(from, writer): &(Seq, u64)| Tenure { from, writer };
        tenures.iter().map(tenure).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_history_grows_by_writers_and_forgets_the_oldest() {
        let mut all = History::default();
        assert_eq!(all.extended(1, UNKNOWN_WRITER), None);
        for n in 1..=100 {
            all = all.extended(10 * n, n).expect("another writer");
            assert_eq!(all.extended(10 * n + 5, n), None);
        }
        assert_eq!(all.tenures().len(), MAX_TENURES);
        assert_eq!(
            (all.writer_at(369), all.writer_at(370), all.writer_at(5_000)),
            (UNKNOWN_WRITER, 37, 100)
        );
        assert_eq!((all.run_end(375), all.run_end(1_000)), (Some(379), None));
    }

    proptest! {
        #[test]
        fn differences_are_found_where_a_search_seq_by_seq_finds_them(
            one in prop::collection::vec((1u64..40, 0u64..4), 0..6),
            two in prop::collection::vec((1u64..40, 0u64..4), 0..6),
            first in 1u64..45, len in 0u64..45, shift in 0u64..45,
        ) {
            let (one, two, last) = (history(&one), history(&two), first + len);
            let found = (first..=last).find(|seq| differ(one.writer_at(*seq), two.writer_at(*seq)));
            prop_assert_eq!(one.first_difference(&two, first, last), found);
            let unknown = |seq: &Seq| one.writer_at(*seq) == 0 || two.writer_at(*seq) == 0;
            prop_assert_eq!(one.first_unknown(&two, first, last), (first..=last).find(unknown));
            let shifted = one.shifted(shift);
            for seq in 1..60 {
                prop_assert_eq!(shifted.writer_at(seq), one.writer_at(seq + shift));
            }
        }
    }
}
