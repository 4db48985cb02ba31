//! The two rules about a lane's mark: what the aggregator does with a batch (`contiguous-lanes`), and what its
//! mark means to a spool. Pure; the commit log and the spool use them, and the simulator proves them.

use crate::ids::{Seq, SeqRange};

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Commit it without its first `trim` events, which are committed already.
    Apply { trim: u64 },
    /// All of it is committed already.
    Duplicate,
    /// It starts after `expected`, the only seq that may follow.
    Gap { expected: Seq },
}

/// A lane's mark moves by whole, contiguous ranges only.
#[must_use]
pub fn decide(mark: Seq, range: SeqRange) -> Decision {
    let expected = mark.saturating_add(1);
    if range.last <= mark {
        Decision::Duplicate
    } else if range.first > expected {
        Decision::Gap { expected }
    } else {
        Decision::Apply {
            trim: expected - range.first,
        }
    }
}

/// What the mark that the aggregator answered to a lane's opening means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolVerdict {
    /// Ship from `mark + 1`.
    Resume,
    /// The aggregator has forgotten seqs that it had committed: they are gone.
    Rewound { lost: SeqRange },
    /// The spool is behind its own past. Held seqs below `keep_below` are the very events that the aggregator
    /// has; those from it on are other events and need new seqs.
    BehindPast { keep_below: Seq },
}

/// Judges the aggregator's mark. `unsent_from` is the lane's next seq when a process first opened the spool
/// since the aggregator was last heard: seqs from there on were given out but never sent; `None` once it was
/// heard since.
///
/// A disk image that was restored goes on from an old `next_seq`, offline perhaps for days, while the
/// aggregator has other events under the same seqs. That shows when the mark covers a seq that this spool
/// never sent: one at or above `unsent_from` (an image is only restored under a new process), or one that
/// it never gave out.
#[must_use]
pub fn judge(unsent_from: Option<Seq>, committed_seq: Seq, next_seq: Seq, mark: Seq) -> SpoolVerdict {
    match unsent_from {
        Some(unsent) if mark >= unsent => SpoolVerdict::BehindPast { keep_below: unsent },
        // another process lives with a copy of this spool: which held events it has sent is not known, and
        // counting one twice is better than losing one
        None if mark >= next_seq => SpoolVerdict::BehindPast {
            keep_below: committed_seq + 1,
        },
        _ if mark < committed_seq => SpoolVerdict::Rewound {
            lost: SeqRange {
                first: mark + 1,
                last: committed_seq,
            },
        },
        _ => SpoolVerdict::Resume,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_below_what_was_sent_is_the_spools_own(
            committed in 0u64..50, held in 0u64..50, unsent in proptest::option::of(0u64..50), at in 0u64..120,
        ) {
            let next = committed + held + 1;
            let unsent = unsent.map(|n| committed + 1 + n.min(held));
            match judge(unsent, committed, next, at) {
                SpoolVerdict::Resume => prop_assert!((committed..next).contains(&at)),
                SpoolVerdict::Rewound { lost } => prop_assert_eq!((lost.first, lost.last), (at + 1, committed)),
                SpoolVerdict::BehindPast { keep_below } => {
                    prop_assert!(at >= unsent.unwrap_or(next));
                    prop_assert!((committed + 1..=next).contains(&keep_below));
                }
            }
        }
    }
}
