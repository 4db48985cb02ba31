//! Bytes changed in the files of a stopped process, as a bad disk does.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tributary::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use tributary_shared::identity::Role;
use tributary_tests::{LONG, LedgerLane, Pki, RoleProcess, SOON, free_udp_port, http, wait_until};

use crate::{flow, injected, program, temp_dir};

const STREAM: &str = "app";
/// A page of the spool's database.
const PAGE: u64 = 8_192;

/// Three roles as processes of their own, which nobody starts again.
struct Site {
    dir: tempfile::TempDir,
    pki: Pki,
    gateway_port: u16,
    aggregator_port: u16,
}

impl Site {
    fn new() -> Self {
        let dir = temp_dir();
        let pki = Pki::at(&dir.path().join("pki"));
        Self {
            dir,
            pki,
            gateway_port: free_udp_port(),
            aggregator_port: free_udp_port(),
        }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The agent and its intake.
    fn agent(&self) -> (RoleProcess, String) {
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
        let mut agent = RoleProcess::start(program(), "agent", self.dir.path(), &settings.render());
        let intake = agent.serving()["intake"].clone();
        (agent, intake)
    }

    fn gateway(&self) -> RoleProcess {
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
    fn aggregator(&self) -> (RoleProcess, String) {
        let settings = AggregatorSettings {
            dir: self.at("aggregator"),
            listen: format!("127.0.0.1:{}", self.aggregator_port),
            http: "127.0.0.1:0".to_owned(),
            registry: "127.0.0.1:0".to_owned(),
            ready_file: RoleProcess::ready_file(self.dir.path(), "aggregator"),
            tls: self.pki.issue(Role::Aggregator, "agg-1"),
        };
        let mut aggregator = RoleProcess::start(program(), "aggregator", self.dir.path(), &settings.render());
        let http = aggregator.serving()["http"].clone();
        (aggregator, http)
    }
}

/// Posts so many events, each as large as a page once it is compressed.
fn post(intake: &str, events: u64) -> Value {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}")
    };
    let body: String = (0..events)
        .map(|n| {
            let text: String = (0..512).map(|_| noise()).collect();
            format!("{}\n", json!({ "n": n, "text": text }))
        })
        .collect();
    let url = format!("{intake}/v1/streams/{STREAM}/events");
    let answer = http::post(&url, "application/x-ndjson", body.as_bytes()).expect("an answer of the intake");
    answer.success().expect("the intake takes good events")
}

fn garble(file: &Path, from: u64, len: u64) {
    let garbage: Vec<u8> = (0..len).map(|at| (at * 151 + 7) as u8).collect();
    let file = OpenOptions::new().write(true).open(file).expect("the file");
    assert!(
        file.metadata().expect("its size").len() >= from + len,
        "there is so much of it"
    );
    file.write_all_at(&garbage, from).expect("a write");
}

fn delivered(api: &str, intake: &str) -> Vec<LedgerLane> {
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
            let ledger = flow::ledger(api, STREAM)?;
            let balanced = !ledger.is_empty() && ledger.iter().all(LedgerLane::balances);
            balanced
                .then(|| ledger.clone())
                .ok_or_else(|| format!("{ledger:?}"))
        },
    )
}

/// What the ledger says about all lanes: valid, and dropped by any reason.
fn sums(ledger: &[LedgerLane]) -> (u64, u64) {
    let dropped = ledger.iter().flat_map(|lane| &lane.dropped);
    (
        ledger.iter().map(|lane| lane.valid).sum(),
        dropped.map(|run| run.count).sum(),
    )
}

#[test]
fn an_agent_whose_database_is_garbage_sets_it_aside_says_so_and_takes_new_events() {
    let test = "an_agent_whose_database_is_garbage_sets_it_aside_says_so_and_takes_new_events";
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    post(&intake, 200);
    // a drained agent has everything in the database itself
    agent.stop();
    let spool = site.at("agent/spool/spool.db");
    // the header stays: it still says that it is a database
    garble(&spool, 100, 6 * PAGE);

    let (mut agent, intake) = site.agent();
    let status = http::get_json(&format!("{intake}/v1/status")).expect("the status");
    let aside = status["spool"]["quarantined"].as_str().expect("it says so");
    let kept = site.at("agent/spool").join(aside);
    assert!(kept.exists(), "{aside} is kept for whoever can read it");
    let (mut gateway, (mut aggregator, api)) = (site.gateway(), site.aggregator());
    post(&intake, 50);
    let ledger = delivered(&api, &intake);
    let (valid, _) = sums(&ledger);
    assert!(
        (50..=250).contains(&valid),
        "the new ones and no invented ones: {ledger:?}"
    );
    injected(test, "garbage in spool.db", 1);
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}

#[test]
fn events_of_a_damaged_block_are_named_in_the_ledger_and_all_others_are_counted() {
    let test = "events_of_a_damaged_block_are_named_in_the_ledger_and_all_others_are_counted";
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    for _ in 0..4 {
        // one block each
        post(&intake, 30);
    }
    agent.stop();
    let spool = site.at("agent/spool/spool.db");
    let size = std::fs::metadata(&spool).expect("the spool").len();
    // bodies are long chains of pages of their own, each of which begins with the number of the next
    garble(&spool, size / 2 / PAGE * PAGE + 64, 512);

    let (mut agent, intake) = site.agent();
    let (mut gateway, (mut aggregator, api)) = (site.gateway(), site.aggregator());
    post(&intake, 50);
    let ledger = delivered(&api, &intake);
    assert_eq!(sums(&ledger), (140, 30), "{ledger:?}");
    let reasons: Vec<&str> = ledger
        .iter()
        .flat_map(|lane| &lane.dropped)
        .map(|run| run.reason.as_str())
        .collect();
    assert_eq!(reasons, ["damaged"]);
    injected(test, "garbage in a block of the spool", 1);
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}

#[test]
fn an_aggregator_whose_log_lost_its_tail_names_in_the_ledger_what_is_gone() {
    let test = "an_aggregator_whose_log_lost_its_tail_names_in_the_ledger_what_is_gone";
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    let mut gateway = site.gateway();
    let (mut aggregator, api) = site.aggregator();
    for _ in 0..6 {
        post(&intake, 20);
        delivered(&api, &intake);
    }
    aggregator.process.kill();
    let wal = site.at("aggregator").join("log.db-wal");
    let size = std::fs::metadata(&wal)
        .expect("a killed aggregator leaves its WAL")
        .len();
    assert!(size > 0, "there is a tail to cut");
    let log = OpenOptions::new().write(true).open(&wal).expect("the WAL");
    // in the middle of a frame: the last commits are not whole any more
    log.set_len(size * 2 / 3 + 17).expect("a cut");
    drop(log);

    let (mut aggregator, api) = site.aggregator();
    let before = sums(&wait_until(SOON, "the ledger", || flow::ledger(&api, STREAM)));
    assert!(before.0 < 120, "something was forgotten: {before:?}");
    post(&intake, 30);
    wait_until(LONG, "new events are committed, and the old ones named", || {
        let ledger = flow::ledger(&api, STREAM)?;
        let (valid, dropped) = sums(&ledger);
        (valid + dropped == 150 && ledger.iter().all(LedgerLane::balances))
            .then_some(())
            .ok_or_else(|| format!("{ledger:?}"))
    });
    let (valid, dropped) = sums(&delivered(&api, &intake));
    assert_eq!(
        (valid, dropped),
        (before.0 + 30, 120 - before.0),
        "what is gone is named"
    );
    injected(test, "tail of log.db-wal cut off", 1);
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}
