//! The three roles' configuration files, as `up` writes them. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use tributary_shared::identity::TlsPaths;
use tributary_shared::ids::StreamName;

/// What the log of `up` keeps: this is somebody's own machine, and a weekend is 60 hours.
const LOG_KEEP_FOR: &str = "72h";
const LOG_KEEP_BYTES: &str = "2GiB";

/// Files to follow for one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    pub stream: StreamName,
    /// A glob over absolute paths.
    pub pattern: String,
}

impl Tail {
    /// Reads `STREAM=GLOB`; a relative glob counts from the working directory.
    ///
    /// # Errors
    /// With what is wrong, for the command line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (stream, pattern) = text
            .split_once('=')
            .ok_or("write STREAM=GLOB, for example app=/var/log/app/*.log")?;
        if pattern.is_empty() {
            return Err("the glob after = is empty".to_owned());
        }
        let stream = StreamName::new(stream).map_err(|error| error.to_string())?;
        let pattern = std::path::absolute(pattern).map_err(|error| error.to_string())?;
        Ok(Self {
            stream,
            pattern: text_of(&pattern),
        })
    }
}

/// What an agent's configuration says.
#[derive(Debug, Clone)]
pub struct AgentSettings<'a> {
    pub id: &'a str,
    pub dir: PathBuf,
    pub gateways: &'a [String],
    pub ready_file: Option<PathBuf>,
    pub tls: TlsPaths,
    pub intake: String,
    pub host_metrics: bool,
    pub tails: &'a [Tail],
}

/// What a gateway's configuration says.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    pub listen: String,
    pub aggregator: String,
    pub ready_file: PathBuf,
    pub tls: TlsPaths,
}

/// What an aggregator's configuration says.
#[derive(Debug, Clone)]
pub struct AggregatorSettings {
    pub dir: PathBuf,
    pub listen: String,
    pub http: String,
    pub registry: String,
    pub ready_file: PathBuf,
    pub tls: TlsPaths,
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn tls(paths: &TlsPaths) -> Value {
    let mut table = Table::new();
    for (key, path) in [("ca", &paths.ca), ("cert", &paths.cert), ("key", &paths.key)] {
        table.insert(key.to_owned(), text_of(path).into());
    }
    table.into()
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn render(table: &Table) -> String {
    table.to_string()
}

impl AgentSettings<'_> {
    #[must_use]
    pub fn render(&self) -> String {
        let mut top = table([
            ("id", self.id.into()),
            ("dir", text_of(&self.dir).into()),
            (
                "gateways",
                self.gateways
                    .iter()
                    .cloned()
                    .map(Value::String)
                    .collect::<Vec<_>>()
                    .into(),
            ),
            ("tls", tls(&self.tls)),
            ("intake", table([("listen", self.intake.clone().into())]).into()),
            (
                "host_metrics",
                table([("enabled", self.host_metrics.into())]).into(),
            ),
        ]);
        if let Some(path) = &self.ready_file {
            top.insert("ready_file".to_owned(), text_of(path).into());
        }
        // an agent takes one entry a stream
        let mut streams: BTreeMap<&StreamName, Vec<Value>> = BTreeMap::new();
        for tail in self.tails {
            streams
                .entry(&tail.stream)
                .or_default()
                .push(Value::String(tail.pattern.clone()));
        }
        let entry = |(stream, paths): (&StreamName, Vec<Value>)| {
            let read_from = "beginning".into();
            table([
                ("stream", stream.as_str().into()),
                ("paths", paths.into()),
                ("read_from", read_from),
            ])
            .into()
        };
        let files: Vec<Value> = streams.into_iter().map(entry).collect();
        if !files.is_empty() {
            top.insert("files".to_owned(), files.into());
        }
        render(&top)
    }
}

impl GatewaySettings {
    #[must_use]
    pub fn render(&self) -> String {
        render(&table([
            ("listen", self.listen.clone().into()),
            ("aggregator", self.aggregator.clone().into()),
            // health and metrics, for whoever debugs; the port is in the ready file
            ("http", "127.0.0.1:0".into()),
            ("ready_file", text_of(&self.ready_file).into()),
            ("tls", tls(&self.tls)),
        ]))
    }
}

impl AggregatorSettings {
    #[must_use]
    pub fn render(&self) -> String {
        let mut top = table([
            ("dir", text_of(&self.dir).into()),
            ("listen", self.listen.clone().into()),
            ("http", self.http.clone().into()),
            ("registry", self.registry.clone().into()),
            (
                "log",
                table([
                    ("keep_for", LOG_KEEP_FOR.into()),
                    ("keep_bytes", LOG_KEEP_BYTES.into()),
                ])
                .into(),
            ),
            ("ready_file", text_of(&self.ready_file).into()),
            ("tls", tls(&self.tls)),
        ]);
        if let Some(url) = page_at(&self.http) {
            top.insert("public".to_owned(), table([("url", url.into())]).into());
        }
        render(&top)
    }
}

/// Where the page will be, when that is known before the port is bound.
fn page_at(http: &str) -> Option<String> {
    let address: SocketAddr = http.parse().ok()?;
    let known = address.port() != 0 && !address.ip().is_unspecified();
    known.then(|| format!("http://{address}"))
}

#[cfg(test)]
mod tests {
    use tributary_shared::config::parse;

    use super::*;

    fn paths() -> TlsPaths {
        TlsPaths {
            ca: "/p/ca.pem".into(),
            cert: "/p/cert.pem".into(),
            key: "/p/key.pem".into(),
        }
    }

    #[test]
    fn spans_lead_to_a_page_whose_address_is_known() {
        assert_eq!(
            page_at("127.0.0.1:8600").as_deref(),
            Some("http://127.0.0.1:8600")
        );
        for unknown in ["127.0.0.1:0", "0.0.0.0:8600", "mesh.example:8600"] {
            assert_eq!(page_at(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn tails_are_stream_and_absolute_glob() {
        let tail = Tail::parse("app=/var/log/*.log").expect("valid");
        assert_eq!(
            (tail.stream.as_str(), tail.pattern.as_str()),
            ("app", "/var/log/*.log")
        );
        assert!(
            Tail::parse("app=logs/*.log")
                .expect("valid")
                .pattern
                .starts_with('/')
        );
        for bad in ["app", "app=", "a b=/x", "=/x"] {
            assert!(Tail::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_roles_take_what_up_writes() {
        let agent = AgentSettings {
            id: "edge \"quoted\"",
            dir: "/d/agent".into(),
            gateways: &["127.0.0.1:8602".to_owned()],
            ready_file: Some("/d/run/agent.json".into()),
            tls: paths(),
            intake: "127.0.0.1:8603".into(),
            host_metrics: true,
            tails: &["app=/var/log/*.log", "app=/srv/*.log", "b=/b"]
                .map(|tail| Tail::parse(tail).expect("valid")),
        };
        let error = parse(
            "agent",
            &agent.render(),
            edge_agent::config::AgentConfig::from_section,
        )
        .expect_err("an id has no quotes");
        let keys: Vec<_> = error
            .problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        assert_eq!(keys, ["id"], "and all else is right: {error}");
        let agent = AgentSettings {
            id: "edge-1",
            ..agent
        };
        parse(
            "agent",
            &agent.render(),
            edge_agent::config::AgentConfig::from_section,
        )
        .expect("agent");
        let gateway = GatewaySettings {
            listen: "127.0.0.1:0".into(),
            aggregator: "127.0.0.1:8604".into(),
            ready_file: "/d/run/gateway.json".into(),
            tls: paths(),
        };
        parse(
            "gateway",
            &gateway.render(),
            gateway::config::GatewayConfig::from_section,
        )
        .expect("gateway");
        let aggregator = AggregatorSettings {
            dir: "/d/aggregator".into(),
            listen: "127.0.0.1:0".into(),
            http: "127.0.0.1:8600".into(),
            registry: "127.0.0.1:0".into(),
            ready_file: "/d/run/aggregator.json".into(),
            tls: paths(),
        };
        parse(
            "aggregator",
            &aggregator.render(),
            aggregator::config::AggregatorConfig::from_section,
        )
        .expect("aggregator");
    }
}
