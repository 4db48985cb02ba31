//! Live data and backlog share one link: who goes next. Pure.

/// Live data may take half of a contended link: it is rarely that much, and then never waits, while even a
/// stream that comes as fast as it is shipped leaves the backlog half, so that the backlog ends.
pub const DEFAULT_FRESH_SHARE: f64 = 0.5;
/// What the backlog sends while no live data waits counts against it by at most this many bytes: a burst of live
/// data goes out at once, and no quiet night buys the right to starve the backlog.
const BURST: f64 = (4u32 << 20) as f64;

/// Decides between the two by the bytes that each has sent: live data goes first for as long as its part of a
/// contended link is at most the share. When only one of them waits, it goes.
#[derive(Debug, Clone, Copy)]
pub struct FreshShare {
    share: f64,
    /// What live data has sent beyond its share; at least minus [`BURST`].
    lead: f64,
    contended: bool,
}

impl Default for FreshShare {
    fn default() -> Self {
        Self::new(DEFAULT_FRESH_SHARE)
    }
}

impl FreshShare {
    /// `share` lies between 0 (live data only when there is no backlog) and 1 (backlog only when there is no
    /// live data); what lies outside counts as the nearest bound.
    #[must_use]
    pub fn new(share: f64) -> Self {
        Self {
            share: if share.is_finite() {
                share.clamp(0.0, 1.0)
            } else {
                DEFAULT_FRESH_SHARE
            },
            lead: 0.0,
            contended: false,
        }
    }

    /// Whether the next batch is live data; `None` when nothing waits.
    #[must_use]
    pub fn live_first(&self, live_waits: bool, backlog_waits: bool) -> Option<bool> {
        match (live_waits, backlog_waits) {
            (false, false) => None,
            (true, true) => Some(self.share > 0.0 && self.lead <= 0.0),
            (live, _) => Some(live),
        }
    }

    /// Whether both wait for the batch that is sent next.
    pub fn contended(&mut self, both: bool) {
        self.contended = both;
    }

    /// A batch went out.
    pub fn sent(&mut self, live: bool, bytes: u64) {
        let bytes = bytes as f64;
        if !live {
            self.lead = (self.lead - bytes * self.share).max(-BURST);
        } else if self.contended {
            self.lead += bytes * (1.0 - self.share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `total` bytes with both kinds waiting all the time; the part of live data.
    fn contend(schedule: &mut FreshShare, live_batch: u64, backlog_batch: u64, total: u64) -> f64 {
        let (mut live, mut sum) = (0, 0);
        while sum < total {
            let first = schedule.live_first(true, true).expect("both wait");
            let bytes = if first { live_batch } else { backlog_batch };
            schedule.contended(true);
            schedule.sent(first, bytes);
            live += if first { bytes } else { 0 };
            sum += bytes;
        }
        live as f64 / sum as f64
    }

    #[test]
    fn fresh_first_up_to_the_share_whatever_the_sizes_of_the_batches() {
        for share in [0.1, 0.5, 0.8] {
            for (live, backlog) in [(1_000, 500_000), (500_000, 1_000), (300, 300)] {
                let part = contend(&mut FreshShare::new(share), live, backlog, 1 << 30);
                assert!(
                    (part - share).abs() < 0.01,
                    "{part} of {share} with batches of {live} and {backlog}"
                );
            }
        }
    }

    #[test]
    fn the_bounds_are_strict_priorities() {
        assert!(contend(&mut FreshShare::new(1.0), 1_000, 1_000, 1 << 20) > 0.999);
        assert!(contend(&mut FreshShare::new(0.0), 1_000, 1_000, 1 << 20) < 0.001);
        assert!(contend(&mut FreshShare::new(f64::NAN), 1_000, 1_000, 1 << 20) > 0.49);
    }

    #[test]
    fn live_data_below_its_share_never_waits_for_backlog() {
        let mut schedule = FreshShare::new(0.5);
        for _ in 0..10_000 {
            // four backlog batches, then one small live one
            for _ in 0..4 {
                assert_eq!(schedule.live_first(false, true), Some(false));
                schedule.contended(false);
                schedule.sent(false, 100_000);
            }
            assert_eq!(schedule.live_first(true, true), Some(true));
            schedule.contended(true);
            schedule.sent(true, 2_000);
        }
    }

    #[test]
    fn a_long_quiet_time_buys_a_bounded_burst_only() {
        let mut schedule = FreshShare::new(0.5);
        for _ in 0..100_000 {
            schedule.contended(false);
            schedule.sent(false, 500_000);
        }
        let mut burst = 0;
        while schedule.live_first(true, true) == Some(true) {
            schedule.contended(true);
            schedule.sent(true, 100_000);
            burst += 100_000;
        }
        assert!((8_000_000..9_000_000).contains(&burst), "{burst} bytes");
    }

    #[test]
    fn live_data_alone_owes_nothing_to_a_backlog_that_comes_later() {
        let mut schedule = FreshShare::new(0.5);
        for _ in 0..1_000 {
            schedule.contended(false);
            schedule.sent(true, 1 << 20);
        }
        assert_eq!(schedule.live_first(true, true), Some(true));
    }
}
