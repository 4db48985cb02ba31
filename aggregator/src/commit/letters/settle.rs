//! Which letters a request settles, given where they stand: the one place that decides it. Pure.

use std::collections::HashMap;

use tributary_shared::ids::{LaneNo, Seq};

use super::super::messages::LogPos;
use super::messages::{LetterState, PreparedReplay, SettleAnswer};

/// A replay that goes into the open group, and nothing but letters that are open.
#[derive(Debug)]
pub struct Replay {
    pub pos: LogPos,
    pub batch: Box<PreparedReplay>,
}

/// A discard that goes into the open group.
#[derive(Debug)]
pub struct Discard {
    /// Id, lane and seq.
    pub letters: Vec<(i64, LaneNo, Seq)>,
    pub by: String,
    pub reason: String,
}

/// The letters that the open group settles, on top of what is durable: two replays of one letter may be in one group.
#[derive(Debug, Default)]
pub struct Settling {
    pending: HashMap<i64, LetterState>,
}

impl Settling {
    /// Takes the letters that are open for `to`, and counts all by where they stand. `durable` says where each letter
    /// stands on disk; `None` when it is not there. The answer has one `true` for each letter that was taken.
    pub fn take(
        &mut self,
        letters: impl IntoIterator<Item = (i64, Option<LetterState>)>,
        to: LetterState,
    ) -> (Vec<bool>, SettleAnswer) {
        let mut answer = SettleAnswer::default();
        let taken = letters
            .into_iter()
            .map(|(id, durable)| match self.pending.get(&id).copied().or(durable) {
                Some(LetterState::Open) => {
                    self.pending.insert(id, to);
                    answer.settled += 1;
                    true
                }
                Some(LetterState::Replayed) => {
                    answer.replayed += 1;
                    false
                }
                Some(LetterState::Discarded) => {
                    answer.discarded += 1;
                    false
                }
                None => {
                    answer.unknown += 1;
                    false
                }
            })
            .collect();
        (taken, answer)
    }

    /// Gives letters back that were taken, and are not settled after all.
    pub fn release(&mut self, ids: &[i64]) {
        ids.iter().for_each(|id| {
            self.pending.remove(id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_taken_once_within_a_group_and_after_it() {
        let mut group = Settling::default();
        let open = Some(LetterState::Open);
        let letters = [(1, open), (2, Some(LetterState::Replayed)), (3, None), (1, open)];
        let (taken, answer) = group.take(letters, LetterState::Replayed);
        assert_eq!(taken, [true, false, false, false]);
        let told = SettleAnswer {
            settled: 1,
            replayed: 2,
            discarded: 0,
            unknown: 1,
        };
        assert_eq!(answer, told);
        let (taken, answer) = group.take([(1, open), (4, open)], LetterState::Discarded);
        assert_eq!((taken, answer.replayed), (vec![false, true], 1));
    }
}
