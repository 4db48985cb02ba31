//! The gateway's configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use tributary_shared::config::Section;
use tributary_shared::identity::TlsPaths;
use tributary_shared::wire::MAX_CONFIGURATION;

/// Agents connect here by default.
const DEFAULT_LISTEN: &str = "127.0.0.1:8602";
/// One session costs some tens of KiB when idle; a gateway on a small machine serves so many.
const DEFAULT_MAX_SESSIONS: u64 = 4_096;
/// A session costs a TLS handshake of about two milliseconds, and then its backlog: at this rate a fleet that
/// comes back together takes a fifth of a core, and ten thousand agents are back within two minutes.
const DEFAULT_SESSIONS_PER_S: u64 = 100;
/// Batch bodies that are received and not yet handed on, all sessions together. Sixteen of the largest
/// batches; when it is used up, streams are not read and QUIC's flow control slows the agents.
const DEFAULT_ADMISSION_BUDGET: u64 = 64 << 20;

/// Everything that a gateway needs to run. Valid by construction.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    pub listen: SocketAddr,
    /// `host:port` of the aggregator's QUIC port.
    pub aggregator: String,
    /// Health and metrics over HTTP, where wanted.
    pub http: Option<SocketAddr>,
    pub ready_file: Option<PathBuf>,
    pub tls: TlsPaths,
    pub limits: LimitsConfig,
}

/// What agents may use together and alone.
#[derive(Debug, Clone, Copy)]
pub struct LimitsConfig {
    pub max_sessions: usize,
    /// Sessions that may begin a second, and at once; whoever comes too early is told when to come back.
    pub sessions_per_s: u32,
    /// Bytes of batch bodies in work.
    pub admission_budget: u32,
    /// Events a second that one agent may send; `None` for no limit.
    pub events_per_s: Option<u32>,
}

impl GatewayConfig {
    /// Reads and checks the whole file; problems are collected in the section.
    pub fn from_section(section: &mut Section) -> Option<Self> {
        let listen = section.address("listen").or_else(|| DEFAULT_LISTEN.parse().ok());
        let aggregator = section.required("aggregator", "host:port of the aggregator's QUIC port", |s| {
            let text = s.string("aggregator")?;
            let fits = text
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if !fits {
                s.problem(
                    "aggregator",
                    Some(text.clone()),
                    "expected host:port",
                    Some("for example \"10.0.0.5:8604\""),
                );
            }
            fits.then_some(text)
        });
        let http = section.address("http");
        let ready_file = section.path("ready_file");
        let tls = section.section("tls", TlsPaths::from_section);
        let limits = section.section("limits", LimitsConfig::from_section);
        Some(Self {
            listen: listen?,
            aggregator: aggregator?,
            http,
            ready_file,
            tls: tls?,
            limits,
        })
    }
}

impl GatewayConfig {
    /// Every setting by its key, as the centre shows it; paths of keys stay at home. `None` when that is longer than
    /// what may be told.
    #[must_use]
    pub fn shown(&self) -> Option<String> {
        let LimitsConfig {
            max_sessions,
            sessions_per_s,
            admission_budget,
            events_per_s,
        } = self.limits;
        let settings = serde_json::json!({
            "listen": self.listen.to_string(),
            "aggregator": self.aggregator,
            "http": self.http.map(|http| http.to_string()),
            "limits.max_sessions": max_sessions,
            "limits.sessions_per_s": sessions_per_s,
            "limits.admission_budget": admission_budget,
            "limits.events_per_s": events_per_s,
        });
        Some(settings.to_string()).filter(|text| text.len() <= MAX_CONFIGURATION)
    }
}

impl LimitsConfig {
    fn from_section(section: &mut Section) -> Self {
        let max_sessions = section
            .integer("max_sessions", 1, 100_000)
            .unwrap_or(DEFAULT_MAX_SESSIONS);
        let budget = section
            .size("admission_budget")
            .unwrap_or(DEFAULT_ADMISSION_BUDGET);
        let lowest = tributary_shared::wire::MAX_BATCH_BODY as u64;
        if budget < lowest || u32::try_from(budget).is_err() {
            section.problem(
                "admission_budget",
                Some(budget.to_string()),
                "is out of range",
                Some("from 4MiB to 3GiB"),
            );
        }
        let sessions_per_s = section
            .integer("sessions_per_s", 1, 100_000)
            .unwrap_or(DEFAULT_SESSIONS_PER_S);
        let events_per_s = section.integer("events_per_s", 1, u64::from(u32::MAX));
        Self {
            max_sessions: usize::try_from(max_sessions).unwrap_or(usize::MAX),
            sessions_per_s: u32::try_from(sessions_per_s).unwrap_or(u32::MAX),
            admission_budget: u32::try_from(budget).unwrap_or(u32::MAX),
            events_per_s: events_per_s.and_then(|rate| u32::try_from(rate).ok()),
        }
    }
}
