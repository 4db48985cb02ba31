//! A token bucket: how many events an agent may send. Pure; `now` is an argument.

use tributary_shared::protocol::Tick;

/// Refills at `per_s` tokens a second, holds at most one second's worth, starts full. A batch larger than the
/// bucket is let through when the bucket is full, and paid off afterwards.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_s: f64,
    tokens: f64,
    at: Tick,
}

impl TokenBucket {
    #[must_use]
    pub fn new(per_s: u32, now: Tick) -> Self {
        Self {
            per_s: f64::from(per_s),
            tokens: f64::from(per_s),
            at: now,
        }
    }

    /// Takes `count` tokens.
    ///
    /// # Errors
    /// The milliseconds until the same request would succeed; nothing was taken.
    pub fn take(&mut self, count: u32, now: Tick) -> Result<(), u32> {
        let elapsed = now.saturating_sub(self.at) as f64 / 1_000.0;
        self.at = self.at.max(now);
        self.tokens = (self.tokens + elapsed * self.per_s).min(self.per_s);
        let need = f64::from(count).min(self.per_s);
        if self.tokens >= need {
            self.tokens -= f64::from(count);
            return Ok(());
        }
        Err(((need - self.tokens) / self.per_s * 1_000.0).ceil() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_run_rate_holds_also_for_batches_larger_than_the_bucket() {
        let mut bucket = TokenBucket::new(1_000, 0);
        let (mut now, mut sent) = (0, 0u64);
        while now < 100_000 {
            match bucket.take(2_500, now) {
                Ok(()) => sent += 2_500,
                Err(wait) => now += Tick::from(wait),
            }
        }
        assert!(
            (100_000..=105_000).contains(&sent),
            "{sent} events in 100 s at 1,000 a second"
        );
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_no_tokens() {
        let mut bucket = TokenBucket::new(10, 1_000);
        assert_eq!(bucket.take(10, 1_000), Ok(()));
        assert_eq!(bucket.take(10, 500), Err(1_000));
        assert_eq!(bucket.take(10, 1_000), Err(1_000));
    }
}
