//! The aggregator's configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tributary_shared::config::{Section, format_size};
use tributary_shared::identity::TlsPaths;
use tributary_shared::time::Millis;

use crate::commit::Retention;
use crate::window::EngineConfig;

/// Snapshots are some seconds apart; a log that is shorter keeps nothing that anybody could use.
const MIN_KEEP_FOR: Duration = Duration::from_secs(60);
/// Some groups of large batches.
const MIN_KEEP_BYTES: u64 = 64 << 20;
/// The groups of some large batches: with less, every batch would wait for the disk.
const MIN_HOT_BYTES: u64 = 1 << 20;
/// Less than that and one rejected batch would push out another.
const MIN_KEEP_LETTERS: u64 = 1 << 20;

/// A valid configuration of the aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregatorConfig {
    /// Holds `log.db`, `registry.db` and `views.db`; created when missing.
    pub dir: PathBuf,
    /// UDP address for gateways.
    pub listen: SocketAddr,
    /// TCP address of the API and the page.
    pub http: SocketAddr,
    /// TCP address of the schema registry.
    pub registry: SocketAddr,
    /// Written, atomically, once everything serves.
    pub ready_file: Option<PathBuf>,
    pub tls: TlsPaths,
    /// Refuse events of streams that have no schema. Off: they are taken as schemaless JSON objects.
    pub require_schema: bool,
    /// How long the log keeps its entries.
    pub log: Retention,
    /// Bytes that the windows of all views may take in memory. Older ones are on disk only.
    pub hot_bytes: u64,
    /// Where people reach the page, as spans lead there.
    pub public_url: Option<String>,
}

impl AggregatorConfig {
    /// Reads every key; problems are left in the section.
    pub fn from_section(section: &mut Section) -> Option<Self> {
        let dir = section.required("dir", "where the log and the views are kept", |s| s.path("dir"));
        let listen = section.required(
            "listen",
            "the UDP address for gateways, for example \"0.0.0.0:8601\"",
            |s| s.address("listen"),
        );
        let http = section.required("http", "the API's address, for example \"127.0.0.1:8600\"", |s| {
            s.address("http")
        });
        let registry = section.required(
            "registry",
            "the schema registry's address, for example \"127.0.0.1:8081\"",
            |s| s.address("registry"),
        );
        let same = http
            .zip(registry)
            .filter(|(http, registry)| http == registry && http.port() != 0);
        if let Some((http, _)) = same {
            section.problem(
                "registry",
                Some(http.to_string()),
                "is the address of http too",
                Some("give it a port of its own"),
            );
        }
        let ready_file = section.path("ready_file");
        let require_schema = section.boolean("require_schema").unwrap_or(false);
        let log = section.section("log", retention);
        let hot_bytes = section.section("views", hot_bytes);
        let public_url = section.section("public", public_url);
        let tls = section.section("tls", TlsPaths::from_section);
        Some(Self {
            dir: dir?,
            listen: listen?,
            http: http?,
            registry: registry?,
            ready_file,
            tls: tls?,
            require_schema,
            log,
            hot_bytes,
            public_url,
        })
    }
}

/// Reads `[views]`.
fn hot_bytes(section: &mut Section) -> u64 {
    let hot_bytes = section
        .size("hot_bytes")
        .unwrap_or(EngineConfig::default().hot_bytes);
    if hot_bytes < MIN_HOT_BYTES {
        let shown = Some(format_size(hot_bytes));
        section.problem("hot_bytes", shown, "is too small", Some("at least \"1MiB\""));
    }
    hot_bytes
}

/// Reads `[public]`.
fn public_url(section: &mut Section) -> Option<String> {
    let url = section.string("url")?;
    let host = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        let hint = Some("as a browser opens it, for example \"https://mesh.example\"");
        section.problem("url", Some(url), "is no address of a page", hint);
        return None;
    }
    Some(url)
}

/// Reads `[log]`. What is kept at least is what a restart of the engine or a slow view needs anyway.
fn retention(section: &mut Section) -> Retention {
    let default = Retention::default();
    let mut period = |key: &str, default: Millis| match section.duration(key) {
        None => default,
        Some(period) => {
            if period < MIN_KEEP_FOR {
                let shown = Some(format!("{period:?}"));
                section.problem(key, shown, "is too short", Some("at least \"1m\""));
            }
            Millis::try_from(period.as_millis()).unwrap_or(Millis::MAX)
        }
    };
    let keep_for = period("keep_for", default.keep_for);
    // by default letters stay longer than their entries, whatever those do
    let letters = default.keep_dead_letters_for.max(keep_for);
    let keep_dead_letters_for = period("keep_dead_letters_for", letters);
    if keep_dead_letters_for < keep_for {
        let hint = "at least as long as keep_for: an event's path leads to its dead letter";
        section.problem(
            "keep_dead_letters_for",
            None,
            "is shorter than keep_for",
            Some(hint),
        );
    }
    let keep_bytes = section.size("keep_bytes").unwrap_or(default.keep_bytes);
    if keep_bytes < MIN_KEEP_BYTES {
        let shown = Some(format_size(keep_bytes));
        section.problem("keep_bytes", shown, "is too small", Some("at least \"64MiB\""));
    }
    let keep_dead_letters_bytes = section
        .size("keep_dead_letters_bytes")
        .unwrap_or(default.keep_dead_letters_bytes);
    if keep_dead_letters_bytes < MIN_KEEP_LETTERS {
        let shown = Some(format_size(keep_dead_letters_bytes));
        let hint = Some("at least \"1MiB\"");
        section.problem("keep_dead_letters_bytes", shown, "is too small", hint);
    }
    Retention {
        keep_for,
        keep_bytes,
        keep_dead_letters_for,
        keep_dead_letters_bytes,
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::config::parse;

    use super::*;

    const TLS: &str = "[tls]\nca = 'ca.pem'\ncert = 'c.pem'\nkey = 'k.pem'\n";

    #[test]
    fn a_whole_configuration_is_read() {
        let text = format!(
            "dir = '/d'\nlisten = '0.0.0.0:8601'\nhttp = '127.0.0.1:0'\nregistry = '127.0.0.1:0'\nrequire_schema = true\n{TLS}"
        );
        let config = parse("a.toml", &text, AggregatorConfig::from_section).expect("valid");
        assert!(config.require_schema);
        assert_eq!(config.listen.port(), 8601);
        assert_eq!(config.ready_file, None);
        assert_eq!(config.log, Retention::default());
        assert_eq!(config.hot_bytes, 1 << 30);
    }

    #[test]
    fn the_pages_address_is_read_and_checked() {
        let read = |url: &str| {
            let top = "dir = '/d'\nlisten = '0.0.0.0:1'\nhttp = '127.0.0.1:0'\nregistry = '127.0.0.1:0'\n";
            let text = format!("{top}[public]\nurl = '{url}'\n{TLS}");
            parse("a.toml", &text, AggregatorConfig::from_section)
        };
        let config = read("https://mesh.example").expect("valid");
        assert_eq!(config.public_url.as_deref(), Some("https://mesh.example"));
        for url in ["mesh.example", "http://", "https:///events", "ftp://x"] {
            let error = read(url).expect_err(url);
            assert_eq!(error.problems[0].key, "public.url", "{error}");
        }
    }

    #[test]
    fn the_logs_retention_is_read_and_checked() {
        let read = |log: &str| {
            let top = "dir = '/d'\nlisten = '0.0.0.0:1'\nhttp = '127.0.0.1:0'\nregistry = '127.0.0.1:0'\n";
            parse(
                "a.toml",
                &format!("{top}[log]\n{log}\n{TLS}"),
                AggregatorConfig::from_section,
            )
        };
        let config = read("keep_for = '72h'\nkeep_bytes = '10GiB'").expect("valid");
        assert_eq!(
            (config.log.keep_for, config.log.keep_bytes),
            (72 * 3_600_000, 10 << 30)
        );
        let long = read("keep_for = '90d'").expect("valid").log;
        assert_eq!(long.keep_dead_letters_for, long.keep_for);
        for (log, key) in [
            ("keep_for = '59s'", "log.keep_for"),
            ("keep_bytes = '1KiB'", "log.keep_bytes"),
            ("keep_dead_letters_bytes = '1KiB'", "log.keep_dead_letters_bytes"),
            ("keep_dead_letters_for = '2d'", "log.keep_dead_letters_for"),
            ("keep = '2d'", "log.keep"),
        ] {
            let error = read(log).expect_err(key);
            assert_eq!(error.problems[0].key, key, "{error}");
        }
    }

    #[test]
    fn the_memory_of_the_views_is_read_and_checked() {
        let read = |views: &str| {
            let top = "dir = '/d'\nlisten = '0.0.0.0:1'\nhttp = '127.0.0.1:0'\nregistry = '127.0.0.1:0'\n";
            parse(
                "a.toml",
                &format!("{top}[views]\n{views}\n{TLS}"),
                AggregatorConfig::from_section,
            )
        };
        assert_eq!(read("hot_bytes = '64MiB'").expect("valid").hot_bytes, 64 << 20);
        for (views, key) in [
            ("hot_bytes = '64KiB'", "views.hot_bytes"),
            ("hot = 1", "views.hot"),
        ] {
            let error = read(views).expect_err(key);
            assert_eq!(error.problems[0].key, key, "{error}");
        }
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text =
            "listen = 'here'\nhttp = '127.0.0.1:80'\nregistry = '127.0.0.1:80'\nrequire_shema = true\n";
        let error = parse("a.toml", text, AggregatorConfig::from_section).expect_err("many problems");
        let mut keys: Vec<_> = error
            .problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "dir",
                "listen",
                "registry",
                "require_shema",
                "tls.ca",
                "tls.cert",
                "tls.key"
            ]
        );
    }
}
