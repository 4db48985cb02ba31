//! The spool's part of the agent's configuration: `[spool]` and `[streams.NAME]`.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tributary_shared::config::{Section, format_size};
use tributary_shared::ids::StreamName;

use super::policy::{StreamPolicy, WhenFull};

/// A day of 100 events a second, compressed, with room to spare.
pub const DEFAULT_LIMIT: u64 = 1 << 30;
/// Below this the WAL's share would be too small for one block.
pub const MIN_LIMIT: u64 = 8 << 20;
/// One event in a million is as good as none.
const MAX_THIN_KEEP: u64 = 1_000_000;
/// Expiry runs every few seconds: less would promise what it cannot keep.
const MIN_MAX_AGE: Duration = Duration::from_secs(10);

/// Where the spool lives, how large it may grow, and what gives way then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    pub dir: PathBuf,
    /// Bytes on disk, WAL and indexes included.
    pub limit: u64,
    /// For streams that `streams` does not name.
    pub default_policy: StreamPolicy,
    pub streams: BTreeMap<StreamName, StreamPolicy>,
}

impl SpoolConfig {
    /// A spool in `dir` with every default.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            limit: DEFAULT_LIMIT,
            default_policy: StreamPolicy::default(),
            streams: BTreeMap::new(),
        }
    }

    /// Reads `[spool]` with its limit and the default policy, and `[streams.NAME]` with what differs for one
    /// stream, from the agent's top level; `more` reads what else is set for a stream. The spool lives in `spool/` below the agent's directory.
    pub fn from_top(
        top: &mut Section,
        agent_dir: &Path,
        more: &mut dyn FnMut(&StreamName, &mut Section),
    ) -> Self {
        let mut config = Self::new(agent_dir.join("spool"));
        top.section("spool", |spool| {
            if let Some(limit) = spool.size("limit") {
                config.limit = limit;
            }
            if config.limit < MIN_LIMIT {
                let hint = format!("at least {}", format_size(MIN_LIMIT));
                spool.problem(
                    "limit",
                    Some(format_size(config.limit)),
                    "is too small",
                    Some(&hint),
                );
            }
            config.default_policy = read_policy(spool, StreamPolicy::default());
        });
        let default = config.default_policy;
        top.named_sections("streams", |name, stream| {
            let policy = read_policy(stream, default);
            match StreamName::new(name) {
                Ok(name) => {
                    more(&name, stream);
                    config.streams.insert(name, policy);
                }
                Err(error) => stream.problem("(name)", None, &error.to_string(), None),
            }
        });
        config
    }

    /// The policy of one stream.
    #[must_use]
    pub fn policy(&self, stream: &StreamName) -> StreamPolicy {
        self.streams.get(stream).copied().unwrap_or(self.default_policy)
    }

    /// Does any stream drop what is too old?
    #[must_use]
    pub fn any_max_age(&self) -> bool {
        let mut policies = self.streams.values().chain([&self.default_policy]);
        policies.any(|policy| policy.max_age.is_some())
    }
}

fn read_policy(section: &mut Section, default: StreamPolicy) -> StreamPolicy {
    let mut policy = default;
    if let Some(when_full) = section.from_text("when_full") {
        policy.when_full = when_full;
    }
    if let Some(n) = section.integer("thin_keep", 2, MAX_THIN_KEEP) {
        match (&mut policy.when_full, NonZeroU64::new(n)) {
            (WhenFull::Thin { keep }, Some(n)) => *keep = n,
            _ => section.problem(
                "thin_keep",
                Some(n.to_string()),
                "has no meaning here",
                Some("it goes with when_full = \"thin\""),
            ),
        }
    }
    if let Some(priority) = section.from_text("priority") {
        policy.priority = priority;
    }
    if let Some(max_age) = section.duration("max_age") {
        if max_age < MIN_MAX_AGE {
            section.problem(
                "max_age",
                Some(format!("{max_age:?}")),
                "is too short",
                Some("at least \"10s\""),
            );
        }
        policy.max_age = Some(max_age);
    }
    policy
}

#[cfg(test)]
mod tests {
    use tributary_shared::config::parse;

    use super::super::policy::Priority;
    use super::*;

    fn read(text: &str) -> Result<SpoolConfig, tributary_shared::config::ConfigError> {
        parse("agent.toml", text, |top| {
            Some(SpoolConfig::from_top(
                top,
                Path::new("/var/lib/agent"),
                &mut |_, _| (),
            ))
        })
    }

    #[test]
    fn defaults_apply_and_streams_override() {
        let text = "[spool]\nlimit = '64MiB'\npriority = 'low'\n[streams.logs]\nwhen_full = 'drop_oldest'\n\
                    [streams.debug]\nwhen_full = 'thin'\nthin_keep = 50\npriority = 'high'\nmax_age = '2h'\n";
        let config = read(text).expect("valid");
        assert_eq!(config.dir, Path::new("/var/lib/agent/spool"));
        assert_eq!(config.limit, 64 << 20);
        let policy = |name: &str| config.policy(&name.parse().expect("name"));
        let low = StreamPolicy {
            priority: Priority::Low,
            ..StreamPolicy::default()
        };
        assert_eq!(policy("host"), low);
        let when_full = WhenFull::DropOldest;
        assert_eq!(policy("logs"), StreamPolicy { when_full, ..low });
        assert_eq!(
            policy("debug"),
            StreamPolicy {
                when_full: WhenFull::Thin {
                    keep: NonZeroU64::new(50).expect("positive")
                },
                priority: Priority::High,
                max_age: Some(Duration::from_secs(7_200)),
            }
        );
    }

    #[test]
    fn every_problem_is_named() {
        let text = "[spool]\nlimit = '1MiB'\nwhen_full = 'panic'\n[streams.'a b']\nwhen_full = 'nope'\n\
                    [streams.b]\nthin_keep = 5\nmax_age = '1s'\npriority = 'urgent'\n[streams.c]\nwhen_full = 'thin'\n\
                    thin_keep = 1\n";
        let keys: Vec<_> = read(text)
            .expect_err("invalid")
            .problems
            .into_iter()
            .map(|p| p.key)
            .collect();
        assert_eq!(
            keys,
            [
                "spool.limit",
                "spool.when_full",
                "streams.a b.when_full",
                "streams.a b.(name)",
                "streams.b.thin_keep",
                "streams.b.priority",
                "streams.b.max_age",
                "streams.c.thin_keep",
            ]
        );
    }
}
