//! `[ship]`: live data and backlog. Pure.

use std::time::Duration;

use tributary_shared::config::{Section, format_size};
use tributary_shared::protocol::{DEFAULT_FRESH_SHARE, FreshShare};
use tributary_shared::time::Millis;

/// A backlog of this many events takes a slow link seconds: long enough to show on a dashboard.
const DEFAULT_BACKLOG_EVENTS: u64 = 10_000;
/// The same for large events: two of the usual batches.
const DEFAULT_BACKLOG_BYTES: u64 = 1 << 20;
/// Data so old is no longer live, however little it is.
const DEFAULT_BACKLOG_AGE: Duration = Duration::from_secs(30);

/// How live data and backlog share the link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShipConfig {
    /// Live data goes first up to this part of a link that both want, by bytes: from 0.05 to 1.
    pub fresh_share: f64,
    pub backlog: BacklogRule,
}

/// When what a lane holds at the beginning of a session is a backlog, which live data should not wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogRule {
    pub events: u64,
    pub bytes: u64,
    pub age: Duration,
}

impl Default for ShipConfig {
    fn default() -> Self {
        Self {
            fresh_share: DEFAULT_FRESH_SHARE,
            backlog: BacklogRule {
                events: DEFAULT_BACKLOG_EVENTS,
                bytes: DEFAULT_BACKLOG_BYTES,
                age: DEFAULT_BACKLOG_AGE,
            },
        }
    }
}

impl ShipConfig {
    pub(crate) fn from_section(section: &mut Section) -> Self {
        let default = Self::default();
        let bytes = section.size("backlog_bytes").unwrap_or(default.backlog.bytes);
        if bytes == 0 {
            section.problem(
                "backlog_bytes",
                Some(format_size(bytes)),
                "is out of range",
                Some("at least 1B"),
            );
        }
        Self {
            // at 0 live data would wait for every backlog to end
            fresh_share: section
                .float("fresh_share", 0.05, 1.0)
                .unwrap_or(default.fresh_share),
            backlog: BacklogRule {
                events: section
                    .integer("backlog_events", 1, i64::MAX as u64)
                    .unwrap_or(default.backlog.events),
                bytes,
                age: section.duration("backlog_age").unwrap_or(default.backlog.age),
            },
        }
    }

    pub(super) fn schedule(&self) -> FreshShare {
        FreshShare::new(self.fresh_share)
    }
}

impl BacklogRule {
    /// By amount alone.
    #[must_use]
    pub fn much(&self, held_events: u64, held_bytes: u64) -> bool {
        held_events >= self.events || held_bytes >= self.bytes
    }

    /// By the time at which the oldest held event was taken in.
    #[must_use]
    pub fn old(&self, oldest: Millis, now: Millis) -> bool {
        u128::try_from(now.saturating_sub(oldest)).is_ok_and(|age| age >= self.age.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::config::parse;

    use super::*;

    #[test]
    fn a_backlog_is_much_or_old() {
        let rule = ShipConfig::default().backlog;
        assert!(!rule.much(9_999, (1 << 20) - 1));
        assert!(rule.much(10_000, 0) && rule.much(1, 1 << 20));
        assert!(rule.old(0, 30_000) && !rule.old(0, 29_999));
        assert!(!rule.old(60_000, 0), "a clock that went back makes nothing old");
    }

    #[test]
    fn the_section_is_checked() {
        let read = |text: &str| {
            parse("agent.toml", text, |top| {
                Some(top.section("ship", ShipConfig::from_section))
            })
        };
        assert_eq!(read("").expect("defaults"), ShipConfig::default());
        let text =
            "[ship]\nfresh_share = 0.8\nbacklog_events = 5\nbacklog_bytes = '1KiB'\nbacklog_age = '2m'\n";
        let config = read(text).expect("valid");
        assert_eq!(
            (
                config.fresh_share,
                config.backlog.events,
                config.backlog.bytes,
                config.backlog.age
            ),
            (0.8, 5, 1024, Duration::from_secs(120))
        );
        let text =
            "[ship]\nfresh_share = 0.0\nbacklog_events = 0\nbacklog_bytes = '0B'\nbacklog_age = 'soon'\n";
        let problems = read(text).expect_err("invalid").problems;
        let mut keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "ship.backlog_age",
                "ship.backlog_bytes",
                "ship.backlog_events",
                "ship.fresh_share"
            ]
        );
    }
}
