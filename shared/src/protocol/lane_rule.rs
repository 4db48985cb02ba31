//! The two rules about a lane's mark: what the aggregator does with a batch (`contiguous-lanes`), and what its
//! mark means to a spool. Pure; the commit log and the spool use them, and the simulator proves them.
//!
//! Both compare [histories](History): a seq that different writers have numbered is not one event, but two.

use crate::ids::{Seq, SeqRange};
use crate::wire::history::{History, UNKNOWN_WRITER, differ};

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Commit it without its first `trim` events, which are committed already.
    Apply { trim: u64 },
    /// All of it is committed already.
    Duplicate,
    /// It starts after `expected`, the only seq that may follow.
    Gap { expected: Seq },
    /// Under this seq another copy of the sender's spool has numbered another event, and that one is committed.
    OtherWriter { seq: Seq },
}

/// A batch's place in its lane, and who numbered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub range: SeqRange,
    pub writer: u64,
    /// Who numbered the seq before the first one: whoever agrees on that agrees on all below.
    pub after_writer: u64,
}

/// A lane's mark moves by whole, contiguous ranges only. What lies at or below it must be of the same writer as
/// what was committed, and so must be the seq that the batch continues.
#[must_use]
pub fn decide(mark: Seq, history: &History, claim: Claim) -> Decision {
    let Claim {
        range,
        writer,
        after_writer,
    } = claim;
    let expected = mark.saturating_add(1);
    if range.first > expected {
        return Decision::Gap { expected };
    }
    if range.first > 1 && differ(after_writer, history.writer_at(range.first - 1)) {
        return Decision::OtherWriter { seq: range.first - 1 };
    }
    let batch = History::default()
        .extended(range.first, writer)
        .unwrap_or_default();
    if let Some(seq) = batch.first_difference(history, range.first, range.last.min(mark)) {
        return Decision::OtherWriter { seq };
    }
    if range.last <= mark {
        Decision::Duplicate
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
    /// The spool is behind its own past, or a copy of it went ahead. Held seqs below `keep_below` are the very
    /// events that the aggregator has; those from it on are other events and need new seqs. Where it lies at or
    /// below the spool's own mark, the aggregator has forgotten what it had there, and has other events now.
    BehindPast { keep_below: Seq },
}

/// A lane as its spool knows it.
#[derive(Debug, Clone, Copy)]
pub struct SpoolLane<'a> {
    /// The lane's next seq when a process first opened the spool since the aggregator was last heard: seqs from
    /// there on were given out but never sent; `None` once it was heard since.
    pub unsent_from: Option<Seq>,
    pub committed_seq: Seq,
    pub next_seq: Seq,
    pub history: &'a History,
}

/// Judges the aggregator's mark. `history` is what the aggregator has up to there, `None` when it does not know.
///
/// A disk image that was restored goes on from an old `next_seq`, offline perhaps for days, while the aggregator
/// has other events under the same seqs; so has a copy that lives beside its original. The writers tell where
/// the two part. What either side does not know the writer of is judged by the mark alone: when it covers a seq
/// that this spool never sent (at or above `unsent_from`: an image is only restored under a new process) or never
/// gave out, unknown seqs from there on count as other events.
#[must_use]
pub fn judge(spool: SpoolLane<'_>, mark: Seq, history: Option<&History>) -> SpoolVerdict {
    let SpoolLane {
        unsent_from,
        committed_seq,
        next_seq,
        ..
    } = spool;
    let unknown = History::default();
    let theirs = history.unwrap_or(&unknown);
    let both = mark.min(next_seq - 1);
    let doubtful_from = match unsent_from {
        Some(unsent) if mark >= unsent => Some(unsent),
        // another process lives with a copy of this spool: which held events it has sent is not known, and
        // counting one twice is better than losing one
        None if mark >= next_seq => Some(committed_seq + 1),
        _ => None,
    };
    let other = spool.history.first_difference(theirs, 1, both);
    let doubtful = doubtful_from.and_then(|from| spool.history.first_unknown(theirs, from, both));
    if let Some(keep_below) = other.into_iter().chain(doubtful).min() {
        SpoolVerdict::BehindPast { keep_below }
    } else if mark >= next_seq {
        SpoolVerdict::BehindPast { keep_below: next_seq }
    } else if mark < committed_seq {
        SpoolVerdict::Rewound {
            lost: SeqRange {
                first: mark + 1,
                last: committed_seq,
            },
        }
    } else {
        SpoolVerdict::Resume
    }
}

/// Which writer the events from `from` on have, if that makes them the same events in every copy of the spool that
/// must give them a new epoch.
#[must_use]
pub fn known_writer(history: &History, from: Seq, next_seq: Seq) -> Option<u64> {
    let writer = history.writer_at(from);
    (from < next_seq && writer != UNKNOWN_WRITER).then_some(writer)
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
            let history = History::default();
            let lane = SpoolLane { unsent_from: unsent, committed_seq: committed, next_seq: next, history: &history };
            match judge(lane, at, None) {
                SpoolVerdict::Resume => prop_assert!((committed..next).contains(&at)),
                SpoolVerdict::Rewound { lost } => prop_assert_eq!((lost.first, lost.last), (at + 1, committed)),
                SpoolVerdict::BehindPast { keep_below } => {
                    prop_assert!(at >= unsent.unwrap_or(next));
                    prop_assert!((committed + 1..=next).contains(&keep_below));
                }
            }
        }
    }

    /// The histories of two copies of a spool: common up to a seq, and then by writers of their own.
    fn copies() -> (History, History) {
        let common = History::default().extended(1, 7).expect("new");
        (
            common.extended(11, 8).expect("new"),
            common.extended(11, 9).expect("new"),
        )
    }

    fn claim(first: Seq, last: Seq, of: &History) -> Claim {
        Claim {
            range: SeqRange { first, last },
            writer: of.writer_at(first),
            after_writer: of.writer_at(first - 1),
        }
    }

    #[test]
    fn never_twice_common_events_of_two_copies_are_duplicates_and_those_after_them_are_others() {
        let (one, two) = copies();
        // the aggregator has what the first copy held up to 15
        assert_eq!(decide(15, &one, claim(3, 10, &two)), Decision::Duplicate);
        assert_eq!(
            decide(15, &one, claim(11, 20, &two)),
            Decision::OtherWriter { seq: 11 }
        );
        assert_eq!(decide(15, &one, claim(11, 20, &one)), Decision::Apply { trim: 5 });
        // it would continue the mark, but behind events that its sender never had
        assert_eq!(
            decide(15, &one, claim(16, 20, &two)),
            Decision::OtherWriter { seq: 15 }
        );
        assert_eq!(
            decide(15, &one, claim(18, 20, &two)),
            Decision::Gap { expected: 16 }
        );
        assert_eq!(
            decide(10, &History::default(), claim(3, 12, &two)),
            Decision::Apply { trim: 8 }
        );
        let unknown = History::default();
        assert_eq!(
            decide(15, &one, claim(11, 20, &unknown)),
            Decision::Apply { trim: 5 }
        );
    }

    #[test]
    fn a_copy_goes_on_under_new_seqs_from_where_the_two_part() {
        let (one, two) = copies();
        let lane = |committed_seq, unsent_from| SpoolLane {
            unsent_from,
            committed_seq,
            next_seq: 21,
            history: &two,
        };
        let parted = SpoolVerdict::BehindPast { keep_below: 11 };
        assert_eq!(judge(lane(2, None), 15, Some(&one)), parted);
        assert_eq!(
            judge(lane(2, Some(5)), 40, Some(&one)),
            parted,
            "known writers need no guess"
        );
        assert_eq!(judge(lane(2, Some(5)), 8, Some(&one)), SpoolVerdict::Resume);
        // a restored aggregator has got other events since
        assert_eq!(judge(lane(14, None), 12, Some(&one)), parted);
        // a later process of the same spool went ahead: all that is held is committed
        let all = SpoolVerdict::BehindPast { keep_below: 21 };
        assert_eq!(judge(lane(2, Some(5)), 40, Some(&two)), all);
        // an older aggregator does not know: as much as may be another event is sent again
        let guessed = SpoolVerdict::BehindPast { keep_below: 5 };
        assert_eq!(judge(lane(2, Some(5)), 40, None), guessed);
    }
}
