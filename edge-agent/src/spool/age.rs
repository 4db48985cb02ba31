//! How old is a block, by a wall clock that may jump? Pure: both clocks are arguments.
//!
//! A device that boots without a battery says 1970 until it hears the time. What it spooled before then must
//! not look decades old afterwards. So steps of the wall clock against the monotonic one are noted, with the
//! span of readings that they make wrong, and a block is as young as any reading allows: it is kept too long
//! rather than dropped too early. Time in which the device sleeps counts as a step, too.

use std::time::{Duration, Instant};

use tributary_shared::time::Millis;

/// What a clock drifts, and a busy thread is late, is no step.
const MIN_STEP: Millis = 30_000;
/// Steps beyond are forgotten, the oldest first: their blocks are then only as old as they say.
pub(super) const MAX_STEPS: usize = 16;

/// Readings from `from` to `to` were this much too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub from: Millis,
    pub to: Millis,
    pub delta: Millis,
}

/// The wall clock with its known steps forward.
#[derive(Debug, Clone)]
pub(super) struct WallClock {
    steps: Vec<Step>,
    /// The first reading since the last step.
    since: Millis,
    last: (Instant, Millis),
}

impl WallClock {
    pub(super) fn new(steps: Vec<Step>, at: Instant, now: Millis) -> Self {
        Self {
            steps,
            since: now,
            last: (at, now),
        }
    }

    /// Reads both clocks; returns the step forward that lies between this reading and the last.
    pub(super) fn observe(&mut self, at: Instant, now: Millis) -> Option<Step> {
        let passed = at.saturating_duration_since(self.last.0);
        let passed = Millis::try_from(passed.as_millis()).unwrap_or(Millis::MAX);
        let expected = self.last.1.saturating_add(passed);
        self.last = (at, now);
        let delta = now.saturating_sub(expected);
        if delta.saturating_abs() < MIN_STEP {
            return None;
        }
        let from = std::mem::replace(&mut self.since, now);
        // backward: what was spooled before looks younger than it is, and waits
        let step = (delta > 0).then_some(Step {
            from,
            to: expected,
            delta,
        })?;
        if self.steps.len() == MAX_STEPS {
            self.steps.remove(0);
        }
        self.steps.push(step);
        Some(step)
    }

    /// The least age, at the last reading, of what was stamped with `stamp`.
    pub(super) fn age(&self, stamp: Millis) -> Duration {
        let mut youngest = stamp;
        for step in &self.steps {
            if (step.from..=step.to).contains(&youngest) {
                youngest = youngest.saturating_add(step.delta);
            }
        }
        let age = self.last.1.saturating_sub(youngest);
        Duration::from_millis(u64::try_from(age).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Millis = 1_790_000_000_000;

    #[test]
    fn a_clock_that_runs_measures_ages() {
        let at = Instant::now();
        let mut clock = WallClock::new(Vec::new(), at, NOON);
        assert_eq!(
            clock.observe(at + Duration::from_secs(60), NOON + 61_000),
            None,
            "drift"
        );
        assert_eq!(clock.age(NOON), Duration::from_secs(61));
        assert_eq!(clock.age(NOON + 99_000), Duration::ZERO, "from the future");
    }

    #[test]
    fn what_was_spooled_before_the_clock_was_set_is_not_decades_old() {
        let at = Instant::now();
        let mut clock = WallClock::new(Vec::new(), at, 1_000);
        let step = clock.observe(at + Duration::from_secs(9), NOON).expect("a step");
        assert_eq!((step.from, step.to), (1_000, 10_000));
        let later = at + Duration::from_secs(15);
        assert_eq!(clock.observe(later, NOON + 6_000), None);
        assert_eq!(clock.age(4_000), Duration::from_secs(12));
        assert_eq!(clock.age(NOON + 1_000), Duration::from_secs(5));
        // and not after a restart either
        let clock = WallClock::new(vec![step], later, NOON + 6_000);
        assert_eq!(clock.age(4_000), Duration::from_secs(12));
    }

    #[test]
    fn a_clock_that_falls_back_makes_nothing_old() {
        let at = Instant::now();
        let mut clock = WallClock::new(Vec::new(), at, NOON);
        assert_eq!(clock.observe(at + Duration::from_secs(5), NOON - 7_200_000), None);
        assert_eq!(clock.age(NOON), Duration::ZERO);
    }
}
