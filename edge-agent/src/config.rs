//! The agent's configuration: one TOML file, checked in one pass that reports every problem.
//!
//! ```toml
//! id = "press-7"
//! dir = "/var/lib/tributary/agent"
//! gateways = ["gateway.example:8602"]
//! [tls]
//! ca = "ca.pem"
//! cert = "press-7.pem"
//! key = "press-7.key"
//! [[files]]
//! stream = "readings"
//! paths = ["/var/log/readings/*.ndjson"]
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tributary_shared::config::{Section, format_size};
use tributary_shared::host_schema::HOST_STREAM;
use tributary_shared::identity::TlsPaths;
use tributary_shared::ids::{AgentId, StreamName};
use tributary_shared::wire::MAX_EVENT_BYTES;

use crate::check::{CheckPolicies, CheckPolicy};
use crate::shipper::ShipConfig;
use crate::spool::{MAX_APPEND_BYTES, SpoolConfig};
use crate::tail::{FilesConfig, ReadFrom};

/// Loopback: whoever wants producers on other hosts opens it on purpose.
pub const DEFAULT_INTAKE_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8603);
/// What one append to the spool may hold: a request is one append.
pub const DEFAULT_MAX_REQUEST: u64 = MAX_APPEND_BYTES as u64;
/// Far beyond any sensible event, and four of them fit a megabyte.
pub const DEFAULT_MAX_LINE: u64 = 256 << 10;
/// Six values a minute make a live chart, and cost the device nothing that one could see.
pub const DEFAULT_HOST_METRICS_EVERY: Duration = Duration::from_secs(10);
/// CPU usage needs 200 ms between two readings; twice a second is as often as it makes sense.
pub const MIN_HOST_METRICS_EVERY: Duration = Duration::from_millis(500);

/// Everything an agent needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// Must be the id that the certificate names.
    pub id: AgentId,
    /// The agent's directory; the spool lies in it.
    pub dir: PathBuf,
    /// `host:port` of each gateway, tried in turn. At least one.
    pub gateways: Vec<String>,
    /// Written once the intake serves.
    pub ready_file: Option<PathBuf>,
    pub tls: TlsPaths,
    pub intake: IntakeConfig,
    pub spool: SpoolConfig,
    /// `[streams.NAME] check`
    pub checks: CheckPolicies,
    pub ship: ShipConfig,
    pub host_metrics: HostMetricsConfig,
    /// At most one entry a stream.
    pub files: Vec<FilesConfig>,
}

/// `[intake]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeConfig {
    pub listen: SocketAddr,
    /// Bytes of one request body.
    pub max_request: usize,
}

/// `[host_metrics]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostMetricsConfig {
    pub enabled: bool,
    pub every: Duration,
}

impl AgentConfig {
    /// Reads the top level of the file. `None` when something that is required is missing or wrong; the
    /// problems are in the section.
    pub fn from_section(top: &mut Section) -> Option<Self> {
        let id = top.required("id", "the id in the agent's certificate", |s| s.from_text("id"));
        let dir = top.required("dir", "a directory of the agent's own", |s| s.path("dir"));
        let gateways = read_gateways(top);
        let ready_file = top.path("ready_file");
        let tls = top.section("tls", TlsPaths::from_section);
        let intake = top.section("intake", IntakeConfig::from_section);
        // the problems of [spool] are to be found even if there is no dir to put it in
        let mut checks = CheckPolicies::new();
        let spool_dir = dir.as_deref().unwrap_or_else(|| "".as_ref());
        let spool = SpoolConfig::from_top(top, spool_dir, &mut |stream, section| {
            if let Some(check) = section.from_text("check") {
                checks.insert(stream.clone(), check);
            }
        });
        let ship = top.section("ship", ShipConfig::from_section);
        let host_metrics = top.section("host_metrics", HostMetricsConfig::from_section);
        let files = read_files(top);
        Some(Self {
            id: id?,
            dir: dir?,
            gateways: gateways?,
            ready_file,
            tls: tls?,
            intake,
            spool,
            checks,
            ship,
            host_metrics,
            files,
        })
    }
}

impl AgentConfig {
    /// For a program that does not check events: whoever asks for it must hear that.
    pub fn refuse_checks(&self, top: &mut Section) {
        for (stream, check) in self
            .checks
            .iter()
            .filter(|(_, check)| **check != CheckPolicy::Off)
        {
            top.problem(
                &format!("streams.{stream}.check"),
                Some(format!("{:?}", check.as_str())),
                "this small program does not check events",
                Some("run `tributary agent` in its place, or write \"off\": the gateway checks every event"),
            );
        }
    }
}

fn read_gateways(top: &mut Section) -> Option<Vec<String>> {
    let hint = "list at least one, for example [\"gateway.example:8602\"]";
    let gateways = top.required("gateways", hint, |s| s.strings("gateways"))?;
    if gateways.is_empty() {
        top.problem("gateways", Some("[]".to_owned()), "is empty", Some(hint));
    }
    for gateway in &gateways {
        let port = gateway
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            let hint = "for example \"gateway.example:8602\" or \"[::1]:8602\"";
            top.problem(
                "gateways",
                Some(format!("{gateway:?}")),
                "expected host:port",
                Some(hint),
            );
        }
    }
    Some(gateways)
}

impl IntakeConfig {
    fn from_section(section: &mut Section) -> Self {
        let listen = section.address("listen").unwrap_or(DEFAULT_INTAKE_LISTEN);
        let max_request = read_size(
            section,
            "max_request",
            DEFAULT_MAX_REQUEST,
            MAX_APPEND_BYTES as u64,
        );
        Self { listen, max_request }
    }
}

impl HostMetricsConfig {
    fn from_section(section: &mut Section) -> Self {
        let enabled = section.boolean("enabled").unwrap_or(true);
        let every = section.duration("every").unwrap_or(DEFAULT_HOST_METRICS_EVERY);
        if every < MIN_HOST_METRICS_EVERY {
            section.problem(
                "every",
                Some(format!("{every:?}")),
                "is too short",
                Some("at least \"500ms\""),
            );
        }
        Self { enabled, every }
    }
}

/// A size from 1 to `max` bytes.
fn read_size(section: &mut Section, key: &str, default: u64, max: u64) -> usize {
    let size = section.size(key).unwrap_or(default);
    if !(1..=max).contains(&size) {
        let hint = format!("from 1B to {}", format_size(max));
        section.problem(key, Some(format_size(size)), "is out of range", Some(&hint));
    }
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn read_files(top: &mut Section) -> Vec<FilesConfig> {
    let mut streams = BTreeSet::new();
    let entries = top.sections("files", |entry| {
        let files = read_entry(entry)?;
        if !streams.insert(files.stream.clone()) {
            let hint = "list all paths of a stream in one [[files]] entry, else a file could be read twice";
            entry.problem(
                "stream",
                Some(format!("{:?}", files.stream)),
                "has an entry already",
                Some(hint),
            );
        }
        Some(files)
    });
    entries.into_iter().flatten().collect()
}

fn read_entry(entry: &mut Section) -> Option<FilesConfig> {
    let stream: Option<StreamName> = entry.required("stream", "the stream that the lines go to", |s| {
        s.from_text("stream")
    });
    if stream
        .as_ref()
        .is_some_and(|stream| stream.as_str() == HOST_STREAM)
    {
        let hint = "choose another name: this stream has a schema of its own";
        entry.problem(
            "stream",
            Some(format!("{HOST_STREAM:?}")),
            "is for the agent's host metrics",
            Some(hint),
        );
    }
    let hint = "for example [\"/var/log/app/*.ndjson\"]";
    let paths = entry.required("paths", hint, |s| s.strings("paths"));
    if let Some([]) = paths.as_deref() {
        entry.problem("paths", Some("[]".to_owned()), "is empty", Some(hint));
    }
    for path in paths.iter().flatten() {
        check_pattern(entry, path);
    }
    let max_line = read_size(entry, "max_line", DEFAULT_MAX_LINE, MAX_EVENT_BYTES as u64);
    let read_from = entry.from_text("read_from").unwrap_or(ReadFrom::Beginning);
    Some(FilesConfig {
        stream: stream?,
        paths: paths?,
        max_line,
        read_from,
    })
}

fn check_pattern(entry: &mut Section, path: &str) {
    if !path.starts_with('/') {
        let hint = "write it from the root: the agent's working directory is not yours";
        entry.problem(
            "paths",
            Some(format!("{path:?}")),
            "expected an absolute path",
            Some(hint),
        );
    }
    if let Err(error) = glob::Pattern::new(path) {
        let message = format!("is no pattern: {error}");
        entry.problem(
            "paths",
            Some(format!("{path:?}")),
            &message,
            Some("use *, ?, [a-z] and **"),
        );
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::config::{ConfigError, parse};

    use super::*;

    const MINIMAL: &str = "id = 'press-7'\ndir = '/var/lib/agent'\ngateways = ['gw.example:8602', '[::1]:8602']\n\
                           [tls]\nca = 'ca.pem'\ncert = 'c.pem'\nkey = 'k.pem'\n";

    fn read(text: &str) -> Result<AgentConfig, ConfigError> {
        parse("agent.toml", text, AgentConfig::from_section)
    }

    #[test]
    fn the_minimum_gets_every_default() {
        let config = read(MINIMAL).expect("valid");
        assert_eq!(config.id.as_str(), "press-7");
        assert_eq!(config.gateways.len(), 2);
        assert_eq!(
            config.intake,
            IntakeConfig {
                listen: DEFAULT_INTAKE_LISTEN,
                max_request: 8 << 20
            }
        );
        assert_eq!(config.spool.limit, 1 << 30);
        assert_eq!(
            config.host_metrics,
            HostMetricsConfig {
                enabled: true,
                every: Duration::from_secs(10)
            }
        );
        assert!(config.files.is_empty() && config.ready_file.is_none());
    }

    #[test]
    fn streams_are_checked_where_it_says_so() {
        let text =
            "[streams.a]\ncheck = 'reject'\nwhen_full = 'reject'\n[streams.b]\ncheck = 'tag'\n[streams.c]\n";
        let config = read(&format!("{MINIMAL}{text}")).expect("valid");
        let checks: Vec<_> = config
            .checks
            .iter()
            .map(|(s, c)| (s.as_str(), c.as_str()))
            .collect();
        assert_eq!(checks, [("a", "reject"), ("b", "tag")]);
        let small = |text: &str| {
            parse("agent.toml", text, |top| {
                let config = AgentConfig::from_section(top)?;
                config.refuse_checks(top);
                Some(config)
            })
        };
        let problems = small(&format!("{MINIMAL}{text}"))
            .expect_err("it cannot")
            .problems;
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["streams.a.check", "streams.b.check"]);
        small(&format!("{MINIMAL}[streams.a]\ncheck = 'off'\n")).expect("nothing is asked for");
        let problems = read(&format!("{MINIMAL}[streams.a]\ncheck = 'yes'\n"))
            .expect_err("invalid")
            .problems;
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "streams.a.check");
        assert!(problems[0].message.contains("\"tag\""), "{:?}", problems[0]);
    }

    #[test]
    fn files_are_read_in_order() {
        let text = "[[files]]\nstream = 'a'\npaths = ['/log/*.ndjson', '/more/**/x?.log']\nread_from = 'end'\n\
                    [[files]]\nstream = 'b'\npaths = ['/b']\nmax_line = '1KiB'\n";
        let files = read(&format!("{MINIMAL}{text}")).expect("valid").files;
        let names: Vec<_> = files
            .iter()
            .map(|f| (f.stream.as_str(), f.max_line, f.read_from))
            .collect();
        assert_eq!(
            names,
            [("a", 256 << 10, ReadFrom::End), ("b", 1024, ReadFrom::Beginning)]
        );
    }

    #[test]
    fn all_problems_come_at_once_with_their_keys() {
        let text = "gateways = ['gw.example', ':1']\n[tls]\nca = 'ca.pem'\n[intake]\nmax_request = '1GiB'\n\
                    listen = 'here'\n[spool]\nlimit = '1KiB'\n[host_metrics]\nevery = '1ms'\n\
                    [[files]]\nstream = 'host'\npaths = ['relative', '/a/***']\nmax_line = '0B'\nread_from = 'middle'\n\
                    [[files]]\nstream = 'a'\npaths = []\n[[files]]\nstream = 'a'\npaths = ['/x']\ncolour = 'red'\n";
        let problems = read(text).expect_err("invalid").problems;
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        let want = [
            "id",
            "dir",
            "gateways",
            "gateways",
            "tls.cert",
            "tls.key",
            "intake.listen",
            "intake.max_request",
            "spool.limit",
            "host_metrics.every",
            "files[0].stream",
            "files[0].paths",
            "files[0].paths",
            "files[0].max_line",
            "files[0].read_from",
            "files[1].paths",
            "files[2].stream",
            "files[2].colour",
        ];
        assert_eq!(keys, want);
    }
}
