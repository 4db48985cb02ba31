//! Priority classes of streams share what their kind of data (live, or backlog) may send: who goes next. Pure.

use std::str::FromStr;

/// Of what several classes want to send, each of the lower ones gets this part, by bytes: a twentieth hardly shows in
/// the time that a higher class takes, and a low one that waits behind it for ever still moves.
pub const GUARANTEED_SHARE: f64 = 0.05;
/// A lower class has its first turn once so much is owed to it: 1.25 MiB of a higher class go before, so that what is
/// urgent and small never shares the link at all.
const OWED_FOR_A_TURN: f64 = (64u32 << 10) as f64;
/// The variants of [`Priority`].
const CLASSES: usize = 3;

/// Whose events go first, and whose give way in a full spool. The lowest comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// A word that names no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a priority: use \"low\", \"normal\" or \"high\"")]
pub struct UnknownPriority;

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        match text {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            _ => Err(UnknownPriority),
        }
    }
}

/// The lanes of one kind: a higher class goes before a lower one, which is owed [`GUARANTEED_SHARE`] for as long as it
/// waits; lanes of a class take turns.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turns {
    /// What each class may send before a higher one, by bytes; below zero after a batch that was larger than that.
    owed: [f64; CLASSES],
    /// The classes that waited when the last turn was given.
    waited: [bool; CLASSES],
    /// The lane of each class that had its turn last.
    last: [u32; CLASSES],
}

impl Turns {
    /// The lane whose turn it is. `ready` are the lanes that could send now, ascending.
    pub(super) fn next(&self, ready: impl Iterator<Item = (u32, Priority)> + Clone) -> Option<u32> {
        let waits = waiting(ready.clone());
        let owed = |class: &usize| waits[*class] && self.owed[*class] >= OWED_FOR_A_TURN;
        let highest = (0..CLASSES).rev().find(|class| waits[*class])?;
        let class = (0..highest).rev().find(owed).unwrap_or(highest);
        let mut lanes = ready
            .filter(|(_, of)| *of as usize == class)
            .map(|(lane, _)| lane);
        let first = lanes.clone().next();
        lanes.find(|lane| *lane > self.last[class]).or(first)
    }

    /// The lane has its turn; `ready` as for [`Self::next`].
    pub(super) fn given(&mut self, lane: u32, class: Priority, ready: impl Iterator<Item = (u32, Priority)>) {
        self.last[class as usize] = lane;
        self.waited = waiting(ready);
    }

    /// The batch went out.
    pub(super) fn sent(&mut self, class: Priority, bytes: u64) {
        let (class, bytes) = (class as usize, bytes as f64);
        for lower in (0..class).filter(|lower| self.waited[*lower]) {
            self.owed[lower] = (self.owed[lower] + bytes * GUARANTEED_SHARE).min(2.0 * OWED_FOR_A_TURN);
        }
        if self.waited[class + 1..].contains(&true) {
            self.owed[class] -= bytes;
        }
    }
}

fn waiting(ready: impl Iterator<Item = (u32, Priority)>) -> [bool; CLASSES] {
    let mut waits = [false; CLASSES];
    ready.for_each(|(_, class)| waits[class as usize] = true);
    waits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Priority; CLASSES] = [Priority::Low, Priority::Normal, Priority::High];

    /// One turn of lanes that all wait; the lane that had it.
    fn turn(
        turns: &mut Turns,
        lanes: &[(u32, Priority)],
        bytes: impl Fn(Priority) -> u64,
    ) -> (u32, Priority) {
        let lane = turns.next(lanes.iter().copied()).expect("all wait");
        let class = lanes.iter().find(|(id, _)| *id == lane).expect("one of them").1;
        turns.given(lane, class, lanes.iter().copied());
        turns.sent(class, bytes(class));
        (lane, class)
    }

    #[test]
    fn a_higher_class_goes_first_and_what_is_urgent_and_small_never_shares() {
        let (mut turns, lanes) = (Turns::default(), [(1, Priority::Low), (2, Priority::High)]);
        for _ in 0..10 {
            assert_eq!(turn(&mut turns, &lanes, |_| 128 << 10).0, 2);
        }
        assert_eq!(turns.next([(1, Priority::Low)].into_iter()), Some(1), "alone");
    }

    #[test]
    fn lanes_of_one_class_take_turns() {
        let lanes = [
            (3, Priority::Normal),
            (5, Priority::Normal),
            (9, Priority::Normal),
        ];
        let mut turns = Turns::default();
        let order: Vec<u32> = (0..6).map(|_| turn(&mut turns, &lanes, |_| 100).0).collect();
        assert_eq!(order, [3, 5, 9, 3, 5, 9]);
    }

    #[test]
    fn what_a_class_sends_alone_is_not_held_against_it() {
        let (mut turns, both) = (Turns::default(), [(1, Priority::Low), (2, Priority::High)]);
        for _ in 0..1_000 {
            turn(&mut turns, &both[..1], |_| 1 << 20);
        }
        let sent: u64 = (0..)
            .map_while(|_| (turn(&mut turns, &both, |_| 1 << 14).1 == Priority::High).then_some(1 << 14))
            .sum();
        assert!(
            sent <= 3 << 19,
            "{sent} bytes before the lower class has its turn"
        );
    }

    proptest! {
        /// `never starved, never first`: whatever the sizes of the batches, while all wait each lower class gets its
        /// share within one batch, and no more than that.
        #[test]
        fn a_lower_class_gets_its_share_and_no_more(
            sizes in prop::array::uniform3(1_000u64..1_000_000),
            present in prop::sample::subsequence(ALL.to_vec(), 2..=3),
        ) {
            let lanes: Vec<_> = present.iter().map(|class| (*class as u32 + 1, *class)).collect();
            let (mut turns, mut sent) = (Turns::default(), [0u64; CLASSES]);
            let total = 500_000_000;
            while sent.iter().sum::<u64>() < total {
                let (_, class) = turn(&mut turns, &lanes, |class| sizes[class as usize]);
                sent[class as usize] += sizes[class as usize];
            }
            let highest = *present.last().expect("two at least");
            for class in present.iter().filter(|class| **class < highest) {
                let above: u64 = sent[*class as usize + 1..].iter().sum();
                let (got, due) = (sent[*class as usize] as f64, above as f64 * GUARANTEED_SHARE);
                let batch = sizes[*class as usize] as f64;
                prop_assert!(got <= due + batch, "{class:?}: {got} of {due}");
                // with one turn a batch of the others, tiny batches cannot use up what they are owed
                let turns_at_most = got + OWED_FOR_A_TURN + batch + 1_000_000.0 * GUARANTEED_SHARE;
                let tiny = batch < 1_000_000.0 * 2.0 * GUARANTEED_SHARE;
                prop_assert!(tiny || turns_at_most >= due, "{class:?}: {got} of {due}");
                prop_assert!(got > 0.0, "{class:?} starves");
            }
        }
    }
}
