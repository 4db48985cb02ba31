//! An agent with nobody to talk to.

use std::path::Path;

use serde_json::Value;
use tributary::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use tributary_shared::identity::Role;
use tributary_tests::{LONG, Pki, RoleProcess, SOON, free_udp_port, http, wait_until};

use crate::{program, temp_dir};

fn agent(dir: &Path, pki: &Pki, gateways: &[String]) -> RoleProcess {
    let settings = AgentSettings {
        id: "edge-1",
        dir: dir.join("agent"),
        gateways,
        ready_file: Some(RoleProcess::ready_file(dir, "agent")),
        tls: pki.issue(Role::Agent, "edge-1"),
        intake: "127.0.0.1:0".to_owned(),
        host_metrics: false,
        tails: &[],
    };
    RoleProcess::start(program(), "agent", dir, &settings.render())
}

fn post(intake: &str, events: u64) -> Value {
    let body: String = (0..events).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let url = format!("{intake}/v1/streams/app/events");
    let answer = http::post(&url, "application/x-ndjson", body.as_bytes()).expect("an answer of the intake");
    answer
        .success()
        .expect("the intake takes events with no gateway in sight")
}

fn status(intake: &str) -> Result<Value, String> {
    http::get_json(&format!("{intake}/v1/status"))
}

#[test]
fn an_agent_takes_events_with_no_gateway_in_sight_and_delivers_them_when_one_appears() {
    let dir = temp_dir();
    let pki = Pki::at(&dir.path().join("pki"));
    // the first address never answers: the agent must go on to the next
    let (dead, gateway_port, aggregator_port) = (free_udp_port(), free_udp_port(), free_udp_port());
    let gateways = [format!("127.0.0.1:{dead}"), format!("127.0.0.1:{gateway_port}")];
    let mut agent = self::agent(dir.path(), &pki, &gateways);
    let intake = agent.serving()["intake"].clone();
    assert_eq!(post(&intake, 300)["last_seq"], 300);
    let seen = wait_until(SOON, "the agent says that it has nobody to talk to", || {
        let status = status(&intake)?;
        let told = status["connection"]["last_error"].is_string() && status["lanes"][0]["held_events"] == 300;
        told.then(|| status.clone()).ok_or_else(|| status.to_string())
    });
    assert_ne!(seen["connection"]["state"], "connected", "{seen}");

    // a power cut at the edge: what was accepted is still there
    agent.process.kill();
    let mut agent = self::agent(dir.path(), &pki, &gateways);
    let intake = agent.serving()["intake"].clone();
    assert_eq!(post(&intake, 200)["first_seq"], 301, "the same lane goes on");

    // first the gateway, which has no aggregator yet
    let settings = GatewaySettings {
        listen: format!("127.0.0.1:{gateway_port}"),
        aggregator: format!("127.0.0.1:{aggregator_port}"),
        ready_file: RoleProcess::ready_file(dir.path(), "gateway"),
        tls: pki.issue(Role::Gateway, "gw-1"),
    };
    let mut gateway = RoleProcess::start(program(), "gateway", dir.path(), &settings.render());
    gateway.serving();
    let settings = AggregatorSettings {
        dir: dir.path().join("aggregator"),
        listen: format!("127.0.0.1:{aggregator_port}"),
        http: "127.0.0.1:0".to_owned(),
        registry: "127.0.0.1:0".to_owned(),
        ready_file: RoleProcess::ready_file(dir.path(), "aggregator"),
        tls: pki.issue(Role::Aggregator, "agg-1"),
    };
    let mut aggregator = RoleProcess::start(program(), "aggregator", dir.path(), &settings.render());
    let api = aggregator.serving()["http"].clone();

    let ledger = wait_until(LONG, "everything is committed", || {
        let ledger = http::get_json(&format!("{api}/api/v1/ledger"))?;
        (ledger["totals"]["produced"] == 500)
            .then(|| ledger.clone())
            .ok_or_else(|| ledger.to_string())
    });
    for (total, count) in [("valid", 500), ("dead", 0), ("dropped", 0)] {
        assert_eq!(ledger["totals"][total], count, "{total}: {ledger}");
    }
    assert_eq!(ledger["lanes"].as_array().map(Vec::len), Some(1), "{ledger}");
    wait_until(SOON, "the agent has let go of it", || {
        let status = status(&intake)?;
        let done = status["lanes"][0]["held_events"] == 0 && status["connection"]["state"] == "connected";
        done.then_some(()).ok_or_else(|| status.to_string())
    });
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}
