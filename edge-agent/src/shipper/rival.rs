//! Another process lives with this agent's identity: how long to leave it alone. Pure.

use std::time::Duration;

use tributary_shared::actors::Backoff;
use tributary_shared::protocol::Tick;

/// No session is taken from a rival sooner: each change of hands costs both a reconnect.
const AT_LEAST: Duration = Duration::from_secs(5);
/// On top of that, with full jitter: the first bound, and the longest.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(300));
/// Whoever kept a session for so long has no rival any more.
const PEACE: Tick = 900_000;

/// Counts the sessions that were lost to a rival.
#[derive(Debug, Default)]
pub(super) struct Rivalry {
    lost: u32,
}

impl Rivalry {
    /// A session that began at `opened` was lost to a rival; the pause before the next attempt. `random` is
    /// drawn evenly from [0, 1).
    pub fn lost(&mut self, opened: Tick, now: Tick, random: f64) -> Duration {
        if now.saturating_sub(opened) >= PEACE {
            self.lost = 0;
        }
        self.lost = self.lost.saturating_add(1);
        AT_LEAST + BACKOFF.delay(self.lost, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two agents with one identity take the session from each other; how often, in an hour.
    fn changes_of_hands() -> u32 {
        let mut rivals = [Rivalry::default(), Rivalry::default()];
        let (mut holder, mut opened, mut now, mut changes) = (0, 0, 1_000, 0);
        while now < 3_600_000 {
            let pause = rivals[holder].lost(opened, now, f64::from(changes % 10) / 10.0);
            // the other one has the session until this one comes back
            (holder, opened) = (1 - holder, now);
            now += u64::try_from(pause.as_millis()).expect("short");
            changes += 1;
        }
        changes
    }

    #[test]
    fn two_agents_with_one_identity_do_not_flap() {
        assert!(
            changes_of_hands() < 60,
            "{} changes of hands in an hour",
            changes_of_hands()
        );
        let pause = Rivalry::default().lost(0, 1_000, 0.0);
        assert!(pause >= AT_LEAST, "{pause:?}");
    }

    #[test]
    fn an_old_quarrel_is_forgotten() {
        let mut rivalry = Rivalry::default();
        let pauses: Vec<_> = (0..20).map(|_| rivalry.lost(0, 1_000, 1.0)).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert_eq!(rivalry.lost(0, 1_000, 1.0), AT_LEAST + Duration::from_secs(300));
        assert_eq!(rivalry.lost(0, PEACE, 1.0), AT_LEAST + Duration::from_secs(10));
    }
}
