//! An agent, a gateway and an aggregator that a test starts and stops one by one, and harms in between.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tributary::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use tributary_shared::identity::Role;
use tributary_tests::{LONG, LedgerLane, Pki, RoleProcess, free_udp_port, http, wait_until};

use crate::{flow, program, temp_dir};

/// Three roles as processes of their own, which nobody starts again.
pub struct Site {
    dir: tempfile::TempDir,
    pki: Pki,
    gateway_port: u16,
    aggregator_port: u16,
}

impl Site {
    pub fn new() -> Self {
        let dir = temp_dir();
        let pki = Pki::at(&dir.path().join("pki"));
        Self {
            dir,
            pki,
            gateway_port: free_udp_port(),
            aggregator_port: free_udp_port(),
        }
    }

    pub fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The agent and its intake.
    pub fn agent(&self) -> (RoleProcess, String) {
        self.agent_with(&[])
    }

    /// The same with these in its environment.
    pub fn agent_with(&self, env: &[(String, String)]) -> (RoleProcess, String) {
        let settings = AgentSettings {
            id: "edge-1",
            dir: self.at("agent"),
            gateways: &[format!("127.0.0.1:{}", self.gateway_port)],
            ready_file: Some(RoleProcess::ready_file(self.dir.path(), "agent")),
            tls: self.pki.issue(Role::Agent, "edge-1"),
            intake: "127.0.0.1:0".to_owned(),
            host_metrics: false,
            tails: &[],
        };
        let (dir, config) = (self.dir.path(), settings.render());
        let mut agent = RoleProcess::start_with(program(), "agent", dir, &config, env);
        let intake = agent.serving()["intake"].clone();
        (agent, intake)
    }

    pub fn gateway(&self) -> RoleProcess {
        let settings = GatewaySettings {
            listen: format!("127.0.0.1:{}", self.gateway_port),
            aggregator: format!("127.0.0.1:{}", self.aggregator_port),
            ready_file: RoleProcess::ready_file(self.dir.path(), "gateway"),
            tls: self.pki.issue(Role::Gateway, "gw-1"),
        };
        let mut gateway = RoleProcess::start(program(), "gateway", self.dir.path(), &settings.render());
        gateway.serving();
        gateway
    }

    /// The aggregator and its API.
    pub fn aggregator(&self) -> (RoleProcess, String) {
        self.aggregator_that(str::to_owned)
    }

    /// The same with another configuration than the usual one.
    pub fn aggregator_that(&self, configured: impl Fn(&str) -> String) -> (RoleProcess, String) {
        let settings = AggregatorSettings {
            dir: self.at("aggregator"),
            listen: format!("127.0.0.1:{}", self.aggregator_port),
            http: "127.0.0.1:0".to_owned(),
            registry: "127.0.0.1:0".to_owned(),
            ready_file: RoleProcess::ready_file(self.dir.path(), "aggregator"),
            tls: self.pki.issue(Role::Aggregator, "agg-1"),
        };
        let config = configured(&settings.render());
        let mut aggregator = RoleProcess::start(program(), "aggregator", self.dir.path(), &config);
        let http = aggregator.serving()["http"].clone();
        (aggregator, http)
    }
}

/// So many events as lines, each as large as a page once it is compressed.
pub fn noise(events: u64) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let line = |n| {
        let text: String = (0..512).map(|_| noise()).collect();
        format!("{}\n", json!({ "n": n, "text": text }))
    };
    (0..events).map(line).collect()
}

/// Posts so many of them.
pub fn post(intake: &str, stream: &str, events: u64) -> Value {
    let body = noise(events);
    let url = format!("{intake}/v1/streams/{stream}/events");
    let answer = http::post(&url, "application/x-ndjson", body.as_bytes()).expect("an answer of the intake");
    answer.success().expect("the intake takes good events")
}

/// Writes garbage over a part of a file.
pub fn garble(file: &Path, from: u64, len: u64) {
    let garbage: Vec<u8> = (0..len).map(|at| (at * 151 + 7) as u8).collect();
    let file = OpenOptions::new().write(true).open(file).expect("the file");
    assert!(
        file.metadata().expect("its size").len() >= from + len,
        "there is so much of it"
    );
    file.write_all_at(&garbage, from).expect("a write");
}

/// The ledger of a stream, once the agent holds nothing any more.
pub fn delivered(api: &str, intake: &str, stream: &str) -> Vec<LedgerLane> {
    wait_until(
        LONG,
        "the agent has delivered what it can, and the ledger balances",
        || {
            let status = http::get_json(&format!("{intake}/v1/status"))?;
            let lanes = status["lanes"].as_array().ok_or_else(|| status.to_string())?;
            let next: u64 = lanes.iter().filter_map(|lane| lane["next_seq"].as_u64()).sum();
            let committed: u64 = lanes
                .iter()
                .filter_map(|lane| lane["committed_seq"].as_u64())
                .sum();
            if lanes.is_empty() || next - lanes.len() as u64 != committed {
                return Err(status.to_string());
            }
            let ledger = flow::ledger(api, stream)?;
            let balanced = !ledger.is_empty() && ledger.iter().all(LedgerLane::balances);
            balanced
                .then(|| ledger.clone())
                .ok_or_else(|| format!("{ledger:?}"))
        },
    )
}

/// What the ledger says about all lanes: valid, and dropped by any reason.
pub fn sums(ledger: &[LedgerLane]) -> (u64, u64) {
    let dropped = ledger.iter().flat_map(|lane| &lane.dropped);
    (
        ledger.iter().map(|lane| lane.valid).sum(),
        dropped.map(|run| run.count).sum(),
    )
}
