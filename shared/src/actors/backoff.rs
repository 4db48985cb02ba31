//! How long to wait before the next try.

use std::time::Duration;

/// Exponential back-off with full jitter: a wait is drawn evenly from zero to the step's bound, so that a
/// thousand agents that lost their gateway together do not come back together. The bound doubles with each
/// failure up to `cap`; the jitter is applied after the cap, or all would meet again once they reach it.
/// Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// `base` bounds the first wait, `cap` every wait. A cap below the base counts as the base.
    #[must_use]
    pub const fn new(base: Duration, cap: Duration) -> Self {
        let cap = if cap.as_nanos() < base.as_nanos() {
            base
        } else {
            cap
        };
        Self { base, cap }
    }

    /// The wait after `failures` failures in a row (1 for the first). `random` is evenly drawn from
    /// [0, 1), as `rand::random::<f64>()` does; what lies outside counts as the nearest bound.
    #[must_use]
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        self.bound(failures).mul_f64(if random.is_finite() {
            random.clamp(0.0, 1.0)
        } else {
            1.0
        })
    }

    fn bound(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1);
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let bounds: Vec<u128> = (1..=8).map(|n| BACKOFF.delay(n, 1.0).as_millis()).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(BACKOFF.delay(u32::MAX, 1.0), Duration::from_secs(5));
        assert_eq!(BACKOFF.delay(0, 1.0), Duration::from_millis(100));
    }

    #[test]
    fn jitter_spreads_over_the_whole_range_even_at_the_cap() {
        assert_eq!(BACKOFF.delay(40, 0.0), Duration::ZERO);
        assert_eq!(BACKOFF.delay(40, 0.5), Duration::from_millis(2500));
        assert_eq!(BACKOFF.delay(1, 0.25), Duration::from_millis(25));
    }

    #[test]
    fn a_bad_random_number_never_exceeds_the_bound() {
        for random in [f64::NAN, f64::INFINITY, -1.0, 7.0] {
            assert!(BACKOFF.delay(3, random) <= Duration::from_millis(400), "{random}");
        }
    }
}
