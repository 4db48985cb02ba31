//! How many restarts are still bad luck, and when they are a fault that a restart does not cure.

use std::collections::VecDeque;
use std::time::Duration;

/// So many restarts within so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub restarts: u32,
    pub per: Duration,
}

/// What was spent of a [`Budget`]. Times are since any fixed start, and never go back.
#[derive(Debug)]
pub(super) struct Spent {
    budget: Budget,
    deaths: VecDeque<Duration>,
}

impl Spent {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            budget,
            deaths: VecDeque::new(),
        }
    }

    /// Books a death. `Some(n)`: restart, it is the nth within the period. `None`: the budget is spent.
    pub(super) fn book(&mut self, now: Duration) -> Option<u32> {
        let Budget { restarts, per } = self.budget;
        while self
            .deaths
            .front()
            .is_some_and(|&at| now.saturating_sub(at) >= per)
        {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        let recent = u32::try_from(self.deaths.len()).unwrap_or(u32::MAX);
        (recent <= restarts).then_some(recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_forgiven_after_the_period() {
        let seconds = Duration::from_secs;
        let mut spent = Spent::new(Budget {
            restarts: 2,
            per: seconds(10),
        });
        assert_eq!(spent.book(seconds(0)), Some(1));
        assert_eq!(spent.book(seconds(1)), Some(2));
        // the first is forgiven at 10
        assert_eq!(spent.book(seconds(10)), Some(2));
        assert_eq!(spent.book(seconds(10)), None);
        assert_eq!(spent.book(seconds(60)), Some(1));
    }
}
