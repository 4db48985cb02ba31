//! How long to wait before a process that died is started again. Pure.

use std::time::Duration;

/// The first back-off is at most this: a crash by accident is repaired before anybody notices.
pub const BASE: Duration = Duration::from_millis(100);
/// No back-off is longer: a process that cannot start costs one attempt every few seconds.
pub const CAP: Duration = Duration::from_secs(5);
/// A process that ran this long was healthy, and its next crash is a first one again.
pub const HEALTHY: Duration = Duration::from_secs(30);

/// Exponential back-off with full jitter, applied after the cap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    crashes: u32,
}

impl Backoff {
    /// The wait before the next start, after a life of `lived`. `random` is from 0 to 1.
    pub fn after_crash(&mut self, lived: Duration, random: f64) -> Duration {
        if lived >= HEALTHY {
            self.crashes = 0;
        }
        let ceiling = BASE.saturating_mul(1 << self.crashes.min(16)).min(CAP);
        self.crashes = self.crashes.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_to_the_cap_and_health_resets_them() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<_> = (0..8).map(|_| backoff.after_crash(Duration::ZERO, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.after_crash(HEALTHY, 1.0), BASE);
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        let mut backoff = Backoff { crashes: 40 };
        assert_eq!(backoff.after_crash(Duration::ZERO, 0.0), Duration::ZERO);
        assert_eq!(backoff.after_crash(Duration::ZERO, 0.5), CAP / 2);
    }
}
