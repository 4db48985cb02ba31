//! The spool's part of the agent's configuration: `[spool]` and `[streams.NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tributary_shared::config::{Section, format_size};
use tributary_shared::ids::StreamName;

use super::policy::WhenFull;

/// A day of 100 events a second, compressed, with room to spare.
pub const DEFAULT_LIMIT: u64 = 1 << 30;
/// Below this the WAL's share would be too small for one block.
pub const MIN_LIMIT: u64 = 8 << 20;

/// Where the spool lives, how large it may grow, and what gives way then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    pub dir: PathBuf,
    /// Bytes on disk, WAL and indexes included.
    pub limit: u64,
    /// For streams that `streams` does not name.
    pub when_full: WhenFull,
    pub streams: BTreeMap<StreamName, WhenFull>,
}

impl SpoolConfig {
    /// A spool in `dir` with every default.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            limit: DEFAULT_LIMIT,
            when_full: WhenFull::default(),
            streams: BTreeMap::new(),
        }
    }

    /// Reads `[spool] limit, when_full` and `[streams.NAME] when_full` from the agent's top level. The spool
    /// lives in `spool/` below the agent's directory.
    pub fn from_top(top: &mut Section, agent_dir: &Path) -> Self {
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
            if let Some(policy) = spool.from_text("when_full") {
                config.when_full = policy;
            }
        });
        top.named_sections("streams", |name, stream| {
            let policy = stream.from_text("when_full");
            match StreamName::new(name) {
                Ok(name) => config.streams.extend(policy.map(|policy| (name, policy))),
                Err(error) => stream.problem("(name)", None, &error.to_string(), None),
            }
        });
        config
    }

    /// The policy of one stream.
    #[must_use]
    pub fn policy(&self, stream: &StreamName) -> WhenFull {
        self.streams.get(stream).copied().unwrap_or(self.when_full)
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::config::parse;

    use super::*;

    fn read(text: &str) -> Result<SpoolConfig, tributary_shared::config::ConfigError> {
        parse("agent.toml", text, |top| {
            Some(SpoolConfig::from_top(top, Path::new("/var/lib/agent")))
        })
    }

    #[test]
    fn defaults_apply_and_streams_override() {
        let text = "[spool]\nlimit = '64MiB'\n[streams.logs]\nwhen_full = 'drop_oldest'\n";
        let config = read(text).expect("valid");
        assert_eq!(config.dir, Path::new("/var/lib/agent/spool"));
        assert_eq!(config.limit, 64 << 20);
        assert_eq!(
            config.policy(&"logs".parse().expect("name")),
            WhenFull::DropOldest
        );
        assert_eq!(config.policy(&"host".parse().expect("name")), WhenFull::Block);
    }

    #[test]
    fn every_problem_is_named() {
        let text = "[spool]\nlimit = '1MiB'\nwhen_full = 'panic'\n[streams.'a b']\nwhen_full = 'nope'\n";
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
                "streams.a b.(name)"
            ]
        );
    }
}
