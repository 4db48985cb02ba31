//! The aggregator's configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use tributary_shared::config::Section;
use tributary_shared::identity::TlsPaths;

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
        let tls = section.section("tls", TlsPaths::from_section);
        Some(Self {
            dir: dir?,
            listen: listen?,
            http: http?,
            registry: registry?,
            ready_file,
            tls: tls?,
            require_schema,
        })
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
