//! The aggregator's configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tributary_shared::config::{Section, format_size};
use tributary_shared::identity::TlsPaths;
use tributary_shared::time::Millis;

use crate::commit::Retention;
use crate::openlineage::OpenLineageConfig;
use crate::window::EngineConfig;

/// Snapshots are some seconds apart; a log that is shorter keeps nothing that anybody could use.
const MIN_KEEP_FOR: Duration = Duration::from_secs(60);
/// Some groups of large batches.
const MIN_KEEP_BYTES: u64 = 64 << 20;
/// The groups of some large batches: with less, every batch would wait for the disk.
const MIN_HOT_BYTES: u64 = 1 << 20;
/// Some thousand batches; less would be gone before anybody could ask.
const MIN_KEEP_LINEAGE: u64 = 1 << 20;
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
    /// A page that shows a trace: an address with `{trace_id}` in it. An event's path leads there.
    pub trace_viewer: Option<String>,
    /// Where lineage of views is told; `None`: nowhere.
    pub openlineage: Option<OpenLineageConfig>,
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
        let trace_viewer = section.section("trace_viewer", trace_viewer);
        let openlineage = section
            .has("openlineage")
            .then(|| section.section("openlineage", OpenLineageConfig::from_section))
            .flatten();
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
            trace_viewer,
            hot_bytes,
            openlineage,
            public_url,
        })
    }
}

/// Reads `[trace_viewer]`.
fn trace_viewer(section: &mut Section) -> Option<String> {
    let url = section.string("url")?;
    let wrong = if !url.starts_with("http://") && !url.starts_with("https://") {
        "is not an address of the web"
    } else if !url.contains("{trace_id}") {
        "does not say where the trace's id goes"
    } else {
        return Some(url);
    };
    section.problem(
        "url",
        Some(url),
        wrong,
        Some("for example \"http://127.0.0.1:16686/trace/{trace_id}\""),
    );
    None
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
    // an entry's hops are kept as long as the entry itself in any case
    let keep_lineage_for = period("keep_lineage_for", default.keep_lineage_for.max(keep_for));
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
    let keep_lineage_bytes = section
        .size("keep_lineage_bytes")
        .unwrap_or(default.keep_lineage_bytes);
    if keep_lineage_bytes < MIN_KEEP_LINEAGE {
        let shown = Some(format_size(keep_lineage_bytes));
        section.problem(
            "keep_lineage_bytes",
            shown,
            "is too small",
            Some("at least \"1MiB\""),
        );
    }
    Retention {
        keep_for,
        keep_bytes,
        keep_dead_letters_for,
        keep_dead_letters_bytes,
        keep_lineage_for,
        keep_lineage_bytes,
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
        assert_eq!(long.keep_lineage_for, long.keep_for);
        let kept = read("keep_lineage_for = '365d'\nkeep_lineage_bytes = '5GiB'")
            .expect("valid")
            .log;
        assert_eq!(
            (kept.keep_lineage_for, kept.keep_lineage_bytes),
            (365 * 86_400_000, 5 << 30)
        );
        for (log, key) in [
            ("keep_for = '59s'", "log.keep_for"),
            ("keep_bytes = '1KiB'", "log.keep_bytes"),
            ("keep_dead_letters_bytes = '1KiB'", "log.keep_dead_letters_bytes"),
            ("keep_dead_letters_for = '2d'", "log.keep_dead_letters_for"),
            ("keep_lineage_for = '1s'", "log.keep_lineage_for"),
            ("keep_lineage_bytes = '1KiB'", "log.keep_lineage_bytes"),
            ("keep = '2d'", "log.keep"),
        ] {
            let error = read(log).expect_err(key);
            assert_eq!(error.problems[0].key, key, "{error}");
        }
    }

    #[test]
    fn the_trace_viewer_is_read_and_checked() {
        let read = |viewer: &str| {
            let top = "dir = '/d'\nlisten = '0.0.0.0:1'\nhttp = '127.0.0.1:0'\nregistry = '127.0.0.1:0'\n";
            parse(
                "a.toml",
                &format!("{top}[trace_viewer]\n{viewer}\n{TLS}"),
                AggregatorConfig::from_section,
            )
        };
        let url = "http://127.0.0.1:16686/trace/{trace_id}";
        let read_url = read(&format!("url = '{url}'")).expect("valid").trace_viewer;
        assert_eq!(read_url.as_deref(), Some(url));
        for wrong in ["url = 'jaeger'", "url = 'http://127.0.0.1:16686'"] {
            let error = read(wrong).expect_err(wrong);
            assert_eq!(error.problems[0].key, "trace_viewer.url", "{error}");
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
    fn the_endpoint_of_openlineage_is_read_and_checked() {
        let read = |openlineage: &str| {
            let top = "dir = '/d'\nlisten = '0.0.0.0:1'\nhttp = '127.0.0.1:0'\nregistry = '127.0.0.1:0'\n";
            parse(
                "a.toml",
                &format!("{top}{openlineage}\n{TLS}"),
                AggregatorConfig::from_section,
            )
        };
        assert_eq!(read("").expect("valid").openlineage, None);
        let config = read("[openlineage]\nurl = 'http://h:5000/api/v1/lineage'").expect("valid");
        let openlineage = config.openlineage.expect("there");
        assert_eq!(openlineage.namespace, "tributary");
        assert_eq!(openlineage.every, Duration::from_secs(300));
        for (lines, key) in [
            ("", "openlineage.url"),
            ("url = 'https://h/lineage'", "openlineage.url"),
            ("url = 'h:5000'", "openlineage.url"),
            ("url = 'http://h/'\nnamespace = ''", "openlineage.namespace"),
            ("url = 'http://h/'\nevery = '10ms'", "openlineage.every"),
        ] {
            let error = read(&format!("[openlineage]\n{lines}")).expect_err(lines);
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
