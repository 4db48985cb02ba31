//! When to send which event. Pure.

use std::time::Duration;

/// Events a request: enough that one fsync at the agent serves many, and one request stays small.
const LARGEST_BATCH: u64 = 1_000;
/// With a rate, requests are spread at least this fine.
const REQUESTS_PER_S: u64 = 20;

/// An even rate, or none.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    per_s: Option<u64>,
}

impl Pace {
    /// `per_s` is at least 1.
    #[must_use]
    pub fn new(per_s: Option<u64>) -> Self {
        Self { per_s }
    }

    /// Events in one request.
    #[must_use]
    pub fn batch(self) -> u64 {
        self.per_s.map_or(LARGEST_BATCH, |rate| {
            (rate / REQUESTS_PER_S).clamp(1, LARGEST_BATCH)
        })
    }

    /// When, after the start, the event after `sent` others may go. A sender that fell behind catches up.
    #[must_use]
    pub fn due(self, sent: u64) -> Duration {
        self.per_s.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(sent as f64 / rate as f64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_even_and_none_never_waits() {
        let pace = Pace::new(Some(2_000));
        assert_eq!((pace.batch(), pace.due(500)), (100, Duration::from_millis(250)));
        assert_eq!(Pace::new(Some(3)).batch(), 1);
        let free = Pace::new(None);
        assert_eq!((free.batch(), free.due(1 << 40)), (LARGEST_BATCH, Duration::ZERO));
    }
}
