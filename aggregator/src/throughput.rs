//! Events committed in each of the last ten minutes' seconds, for the page's sparkline.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tributary_shared::time::{Millis, to_rfc3339};

/// Seconds that are remembered.
pub const SECONDS: usize = 600;

/// Events of one second, by verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    pub valid: u64,
    pub dead: u64,
    pub dropped: u64,
}

/// One second as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Start of the second, RFC 3339.
    pub at: String,
    #[serde(flatten)]
    pub counts: Counts,
}

/// A ring of one-second buckets. Pure; a bucket is emptied when its second comes round again.
#[derive(Debug)]
struct Ring {
    slots: Vec<(i64, Counts)>,
}

impl Ring {
    fn new() -> Self {
        Self {
            slots: vec![(i64::MIN, Counts::default()); SECONDS],
        }
    }

    fn slot(second: i64) -> usize {
        usize::try_from(second.rem_euclid(SECONDS as i64)).unwrap_or(0)
    }

    fn record(&mut self, at: Millis, add: Counts) {
        let second = at.div_euclid(1000);
        let (held, counts) = &mut self.slots[Self::slot(second)];
        if second < *held {
            return; // older than anything that is remembered
        }
        if second > *held {
            *held = second;
            *counts = Counts::default();
        }
        counts.valid += add.valid;
        counts.dead += add.dead;
        counts.dropped += add.dropped;
    }

    /// The `seconds` whole seconds before `now`, oldest first.
    fn last(&self, now: Millis, seconds: usize) -> Vec<Bucket> {
        let end = now.div_euclid(1000);
        let count = i64::try_from(seconds.min(SECONDS - 1)).unwrap_or(0);
        let at = |second: i64| {
            let (held, counts) = self.slots[Self::slot(second)];
            let counts = if held == second { counts } else { Counts::default() };
            Bucket {
                at: to_rfc3339(second * 1000),
                counts,
            }
        };
        (end - count..end).map(at).collect()
    }
}

/// Shared between the engine's thread, which counts, and the API, which reads.
#[derive(Debug)]
pub struct Throughput {
    ring: Mutex<Ring>,
}

impl Default for Throughput {
    fn default() -> Self {
        Self {
            ring: Mutex::new(Ring::new()),
        }
    }
}

impl Throughput {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts events that were committed at `at`.
    pub fn record(&self, at: Millis, add: Counts) {
        self.lock().record(at, add);
    }

    /// The `seconds` whole seconds before `now`, oldest first; at most one less than [`SECONDS`].
    #[must_use]
    pub fn last(&self, now: Millis, seconds: usize) -> Vec<Bucket> {
        self.lock().last(now, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(valid: u64) -> Counts {
        Counts {
            valid,
            ..Counts::default()
        }
    }

    #[test]
    fn a_second_is_summed_and_forgotten_after_a_round() {
        let mut ring = Ring::new();
        ring.record(10_100, valid(3));
        ring.record(10_900, valid(4));
        ring.record(11_000, valid(1));
        let seen = ring.last(12_000, 3);
        assert_eq!(seen.iter().map(|b| b.counts.valid).collect::<Vec<_>>(), [0, 7, 1]);
        assert_eq!(seen[1].at, "1970-01-01T00:00:10.000Z");
        // the same slot, a round later: the old second is gone, and a late one does not disturb it
        ring.record(610_000, valid(9));
        ring.record(10_500, valid(100));
        assert_eq!(ring.last(611_000, 1)[0].counts, valid(9));
        assert!(ring.last(11_000, 1)[0].counts == Counts::default());
    }
}
