//! How fast a gateway takes a returning fleet in. Pure.

use super::Tick;

/// Nobody is asked to stay away for longer: a queue that long is better asked again.
const LONGEST_WAIT: Tick = 60_000;

/// A token bucket for sessions. Whoever comes too early is told when a place is expected to be free; those
/// places are counted, so that a thousand who are turned away together are not asked back together.
#[derive(Debug, Clone)]
pub struct Ramp {
    per_s: f64,
    burst: f64,
    tokens: f64,
    /// Places that were promised to those who were turned away and are not due yet.
    promised: f64,
    at: Tick,
}

impl Ramp {
    /// `per_s` sessions a second in the long run, `burst` at once; at least 1 each.
    #[must_use]
    pub fn new(per_s: u32, burst: u32, now: Tick) -> Self {
        let (per_s, burst) = (f64::from(per_s.max(1)), f64::from(burst.max(1)));
        Self {
            per_s,
            burst,
            tokens: burst,
            promised: 0.0,
            at: now,
        }
    }

    /// A session may begin.
    ///
    /// # Errors
    /// The milliseconds after which it should come back; nothing was taken.
    pub fn admit(&mut self, now: Tick) -> Result<(), u32> {
        let gained = now.saturating_sub(self.at) as f64 / 1_000.0 * self.per_s;
        self.at = self.at.max(now);
        self.tokens = (self.tokens + gained).min(self.burst);
        self.promised = (self.promised - gained).max(0.0);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        self.promised += 1.0;
        let wait = (self.promised + 1.0 - self.tokens) / self.per_s * 1_000.0;
        self.promised = self.promised.min(LONGEST_WAIT as f64 / 1_000.0 * self.per_s);
        Err((wait.ceil() as u32).min(LONGEST_WAIT as u32))
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn a_fleet_that_comes_at_once_is_taken_in_at_the_rate_and_nobody_asks_often() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut ramp = Ramp::new(50, 50, 0);
        // all 3,000 lost their gateway in the same second
        let mut due: Vec<(Tick, u32)> = (0..3_000).map(|_| (rng.random_range(0..200), 0)).collect();
        let mut admitted = Vec::new();
        let mut asked = 0;
        while let Some(next) = due
            .iter()
            .enumerate()
            .min_by_key(|(_, (at, _))| *at)
            .map(|(n, _)| n)
        {
            let (now, tries) = due.swap_remove(next);
            asked += 1;
            match ramp.admit(now) {
                Ok(()) => admitted.push(now),
                // full jitter on top of what the gateway said, as agents do
                Err(wait) => due.push((
                    now + Tick::from(wait) + rng.random_range(0..=Tick::from(wait)),
                    tries + 1,
                )),
            }
        }
        for second in 0..*admitted.last().expect("all") / 1_000 {
            let begun = admitted.iter().filter(|at| **at / 1_000 == second).count();
            assert!(begun <= 101, "{begun} in second {second}");
        }
        let last = admitted.last().expect("all") / 1_000;
        assert!(last < 200, "the fleet of one minute's ramp is in after {last} s");
        assert!(asked < 6 * 3_000, "{asked} hellos for 3,000 sessions");
    }

    #[test]
    fn a_quiet_gateway_takes_an_agent_at_once_and_a_clock_that_stands_gives_nothing() {
        let mut ramp = Ramp::new(1, 2, 1_000);
        assert_eq!((ramp.admit(1_000), ramp.admit(1_000)), (Ok(()), Ok(())));
        assert_eq!(ramp.admit(1_000), Err(2_000));
        assert_eq!(
            ramp.admit(500),
            Err(3_000),
            "the second one is asked to come later"
        );
        assert_eq!(ramp.admit(2_000), Ok(()));
    }
}
