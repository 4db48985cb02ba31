//! How long to wait before a process that died is started again. Pure.

use std::time::Duration;

use tributary_shared::actors::Backoff;

/// From 100 ms, so that a crash by accident is repaired before anybody notices, up to 5 s, so that a process
/// that cannot start costs little.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// A process that ran this long was healthy, and its next crash is a first one again.
const HEALTHY: Duration = Duration::from_secs(30);

/// The crashes of one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crashes {
    in_a_row: u32,
}

impl Crashes {
    /// The wait before the next start, after a life of `lived`. `random` is evenly drawn from [0, 1).
    pub fn wait_after(&mut self, lived: Duration, random: f64) -> Duration {
        self.in_a_row = if lived >= HEALTHY {
            1
        } else {
            self.in_a_row.saturating_add(1)
        };
        BACKOFF.delay(self.in_a_row, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_crashes_in_a_row_and_health_resets_them() {
        let mut crashes = Crashes::default();
        let waits: Vec<_> = (0..7)
            .map(|_| crashes.wait_after(Duration::ZERO, 1.0).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000]);
        assert_eq!(crashes.wait_after(HEALTHY, 1.0), Duration::from_millis(100));
        assert_eq!(
            crashes.wait_after(Duration::ZERO, 1.0),
            Duration::from_millis(200)
        );
    }
}
