//! Several gateways: losing one loses nothing, and nothing is counted twice.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tributary::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use tributary_shared::identity::Role;
use tributary_shared::wire::{ByeCode, ToAgent};
use tributary_tests::{LONG, Metrics, Pki, RoleProcess, SOON, free_udp_port, http, wait_until};

use crate::raw_agent::{RawAgent, dial, endpoint, one_event};
use crate::{injected, program, temp_dir};

/// An agent that hears nothing for six seconds looks elsewhere, and a handshake takes a moment.
const MOVED: Duration = Duration::from_secs(15);

/// An aggregator and two gateways.
struct Site {
    dir: TempDir,
    pki: Pki,
    gateways: Vec<RoleProcess>,
    addresses: Vec<String>,
    metrics: Vec<String>,
    api: String,
    _aggregator: RoleProcess,
}

impl Site {
    /// `limits` goes into the gateways' configurations.
    fn start(limits: &str) -> Self {
        let dir = temp_dir();
        let pki = Pki::at(&dir.path().join("pki"));
        let port = free_udp_port();
        let settings = AggregatorSettings {
            dir: dir.path().join("aggregator"),
            listen: format!("127.0.0.1:{port}"),
            http: "127.0.0.1:0".to_owned(),
            registry: "127.0.0.1:0".to_owned(),
            ready_file: RoleProcess::ready_file(dir.path(), "aggregator"),
            tls: pki.issue(Role::Aggregator, "agg-1"),
        };
        let mut aggregator = RoleProcess::start(program(), "aggregator", dir.path(), &settings.render());
        let api = aggregator.serving()["http"].clone();
        let mut site = Self {
            dir,
            pki,
            gateways: Vec::new(),
            addresses: Vec::new(),
            metrics: Vec::new(),
            api,
            _aggregator: aggregator,
        };
        for number in 1..=2 {
            site.start_gateway(number, port, limits);
        }
        site
    }

    fn start_gateway(&mut self, number: usize, aggregator: u16, limits: &str) {
        let dir = self.dir.path().join(format!("gw-{number}"));
        std::fs::create_dir(&dir).expect("the test's directory");
        let settings = GatewaySettings {
            listen: "127.0.0.1:0".to_owned(),
            aggregator: format!("127.0.0.1:{aggregator}"),
            ready_file: RoleProcess::ready_file(&dir, "gateway"),
            tls: self.pki.issue(Role::Gateway, &format!("gw-{number}")),
        };
        let text = format!("{}\n[limits]\n{limits}\n", settings.render());
        let mut gateway = RoleProcess::start(program(), "gateway", &dir, &text);
        let at = gateway.serving();
        self.addresses.push(at["listen"].clone());
        self.metrics.push(at["http"].clone());
        self.gateways.push(gateway);
    }

    /// An agent `name` in a directory of its own, with the certificate of `id`.
    fn agent(&self, name: &str, id: &str, gateways: &[String], more: &str) -> (RoleProcess, String) {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).expect("the test's directory");
        let (process, intake) = agent_in(&dir, &self.pki, id, gateways, more);
        (process, intake)
    }

    fn sessions_opened(&self, gateway: usize) -> f64 {
        let metrics = Metrics::scrape(&self.metrics[gateway]).expect("the gateway's metrics");
        metrics.sum("tributary_gateway_sessions_opened_total", &[])
    }

    fn totals(&self) -> Result<Value, String> {
        Ok(http::get_json(&format!("{}/api/v1/ledger", self.api))?["totals"].clone())
    }

    fn wait_until_counted(&self, events: u64) {
        wait_until(LONG, &format!("{events} events are counted"), || {
            let totals = self.totals()?;
            (totals["valid"] == events && totals["produced"] == events)
                .then_some(())
                .ok_or_else(|| totals.to_string())
        });
    }
}

fn agent_in(dir: &Path, pki: &Pki, id: &str, gateways: &[String], more: &str) -> (RoleProcess, String) {
    let settings = AgentSettings {
        id,
        dir: dir.join("agent"),
        gateways,
        ready_file: Some(RoleProcess::ready_file(dir, "agent")),
        tls: pki.issue(Role::Agent, id),
        intake: "127.0.0.1:0".to_owned(),
        host_metrics: false,
        tails: &[],
    };
    let text = format!("{}\n{more}\n", settings.render());
    let mut agent = RoleProcess::start(program(), "agent", dir, &text);
    let intake = agent.serving()["intake"].clone();
    (agent, intake)
}

/// Posts `events` to a stream; each post is one block of the spool.
fn post(intake: &str, stream: &str, events: u64) {
    let body: String = (0..events).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let url = format!("{intake}/v1/streams/{stream}/events");
    let answer = http::post(&url, "application/x-ndjson", body.as_bytes()).expect("an answer of the intake");
    answer.success().expect("the intake takes events");
}

fn status(intake: &str) -> Result<Value, String> {
    http::get_json(&format!("{intake}/v1/status"))
}

fn connected_to(intake: &str) -> String {
    wait_until(SOON, "the agent is connected", || {
        let status = status(intake)?;
        let gateway = status["connection"]["gateway"].as_str();
        match (status["connection"]["state"].as_str(), gateway) {
            (Some("connected"), Some(gateway)) => Ok(gateway.to_owned()),
            _ => Err(status.to_string()),
        }
    })
}

/// How long until the agent is connected to another gateway than `lost`.
fn moved_from(intake: &str, lost: &str) -> Duration {
    let began = Instant::now();
    wait_until(LONG, "the agent is connected to the other gateway", || {
        let gateway = connected_to(intake);
        (gateway != lost).then_some(()).ok_or(gateway)
    });
    began.elapsed()
}

#[test]
fn fail_over_loses_and_doubles_nothing_when_a_gateway_is_killed_and_when_one_stands_still() {
    let mut site = Site::start("");
    let (_agent, intake) = site.agent("a", "edge-1", &site.addresses.clone(), "");
    let first = connected_to(&intake);
    let at = site
        .addresses
        .iter()
        .position(|a| *a == first)
        .expect("one of the two");
    let mut sent = 0;
    let mut some = |count: u64| {
        for _ in 0..count {
            post(&intake, "app", 200);
            sent += 200;
        }
        sent
    };
    some(20);
    // it stands still with batches in flight, which it forwards when it goes on
    site.gateways[at].process.signal(rustix::process::Signal::STOP);
    some(20);
    let stopped = moved_from(&intake, &first);
    assert!(
        stopped < MOVED,
        "{stopped:?} until the agent left a gateway that stands still"
    );
    some(20);
    site.gateways[at].process.signal(rustix::process::Signal::CONT);
    let all = some(20);
    site.wait_until_counted(all);

    let second = connected_to(&intake);
    let other = site
        .addresses
        .iter()
        .position(|a| *a == second)
        .expect("one of the two");
    assert_ne!(at, other, "the one that came back did not draw the agent back");
    some(20);
    site.gateways[other].process.kill();
    some(20);
    let killed = moved_from(&intake, &second);
    assert!(
        killed < MOVED,
        "{killed:?} until the agent left a gateway that was killed"
    );
    let all = some(20);
    site.wait_until_counted(all);
    let test = "fail_over_loses_and_doubles_nothing_when_a_gateway_is_killed_and_when_one_stands_still";
    injected(test, "SIGSTOP of the gateway", 1);
    injected(test, "kill -9 of the gateway", 1);
}

#[test]
fn fresh_first_shows_live_data_at_once_while_the_backlog_drains() {
    // so slow that the backlog takes a while
    let site = Site::start("events_per_s = 4000");
    let away = [format!("127.0.0.1:{}", free_udp_port())];
    let (mut agent, intake) = site.agent("a", "edge-1", &away, "");
    for _ in 0..30 {
        post(&intake, "app", 2_000);
    }
    agent.process.kill();
    let dir = site.dir.path().join("a");
    let (_agent, intake) = agent_in(&dir, &site.pki, "edge-1", &site.addresses, "");
    connected_to(&intake);
    let began = Instant::now();
    wait_until(SOON, "live data has an epoch of its own", || {
        let status = status(&intake)?;
        let lanes = status["lanes"].as_array().map_or(0, Vec::len);
        (lanes == 2).then_some(()).ok_or_else(|| status.to_string())
    });
    post(&intake, "app", 7);
    let held = wait_until(SOON, "live data is committed", || {
        let status = status(&intake)?;
        let lanes = status["lanes"].as_array().ok_or("no lanes")?;
        let of = |active: bool| lanes.iter().find(|lane| lane["active"] == active);
        let live = of(true).ok_or("no live lane")?;
        let backlog = of(false).map_or(0, |lane| lane["held_events"].as_u64().unwrap_or(0));
        (live["committed_seq"] == 7)
            .then_some(backlog)
            .ok_or_else(|| status.to_string())
    });
    let fresh = began.elapsed();
    assert!(held > 20_000, "{held} events of the backlog were still to come");
    assert!(fresh < Duration::from_secs(5), "live data after {fresh:?}");
    site.wait_until_counted(60_007);
    let test = "fresh_first_shows_live_data_at_once_while_the_backlog_drains";
    injected(test, "kill -9 of the agent", 1);
}

/// Two agents with one certificate, each with a spool of its own, at these gateways.
fn told_apart(test: &str, (one, two): (usize, usize), because: &str) {
    let site = &Site::start("");
    let at = |number: usize| &site.addresses[number..=number];
    let (_one, first) = site.agent("a", "edge-1", at(one), "");
    connected_to(&first);
    post(&first, "app", 10);
    let (_two, second) = site.agent("b", "edge-1", at(two), "");
    connected_to(&second);
    let told = wait_until(SOON, "the older one says that it has a rival", || {
        let status = status(&first)?;
        (status["connection"]["state"] == "superseded")
            .then(|| status["connection"]["last_error"].to_string())
            .ok_or_else(|| status.to_string())
    });
    assert!(told.contains("Superseded") && told.contains(because), "{told}");
    let opened = site.sessions_opened(0) + site.sessions_opened(1);
    assert!(
        opened < 4.0,
        "{opened} sessions: they take it from each other in a loop"
    );
    // both deliver all the same, each in its turn
    post(&first, "app", 5);
    post(&second, "app", 5);
    site.wait_until_counted(20);
    injected(test, "two live agents with one identity", 1);
}

#[test]
fn two_live_agents_with_one_identity_are_told_apart_across_gateways() {
    let test = "two_live_agents_with_one_identity_are_told_apart_across_gateways";
    told_apart(test, (0, 1), "newer session at another gateway");
}

#[test]
fn two_live_agents_with_one_identity_are_told_apart_at_one_gateway() {
    let test = "two_live_agents_with_one_identity_are_told_apart_at_one_gateway";
    told_apart(test, (0, 0), "opened a newer session");
}

/// A copy of a stopped agent's directory that does not show: as if its whole machine had been cloned.
fn clone_machine(from: &Path, to: &Path) {
    let spool = |dir: &Path| dir.join("agent").join("spool");
    std::fs::create_dir_all(spool(to)).expect("the test's directory");
    for entry in std::fs::read_dir(spool(from)).expect("the spool") {
        let entry = entry.expect("an entry");
        if entry.file_name().to_string_lossy().starts_with("spool.db") {
            std::fs::copy(entry.path(), spool(to).join(entry.file_name())).expect("copied");
        }
    }
    let copy = rusqlite::Connection::open(spool(to).join("spool.db")).expect("a database");
    copy.execute("DELETE FROM host", []).expect("cleared");
}

/// The stream's epochs at the aggregator, with what is counted of each.
fn epochs(site: &Site) -> Vec<u64> {
    let ledger = http::get_json(&format!("{}/api/v1/ledger", site.api)).expect("an answer");
    let lanes = ledger["lanes"].as_array().expect("lanes");
    let valid = lanes.iter().filter_map(|lane| lane["valid"].as_u64());
    // an epoch that nobody has written to may be there as well
    let mut valid: Vec<_> = valid.filter(|valid| *valid > 0).collect();
    valid.sort_unstable();
    valid
}

#[test]
fn never_twice_two_live_agents_with_copies_of_one_spool_deliver_what_both_hold_once_and_lose_nothing() {
    let site = Site::start("");
    let away = [format!("127.0.0.1:{}", free_udp_port())];
    let (one, two) = (site.dir.path().join("a"), site.dir.path().join("b"));
    // offline: twenty events that both will hold, under the same identities
    let (mut agent, intake) = site.agent("a", "edge-1", &away, "");
    post(&intake, "app", 20);
    agent.stop();
    clone_machine(&one, &two);
    // and others that each gives the next seqs
    for (dir, events) in [(&one, 5), (&two, 7)] {
        let (mut agent, intake) = agent_in(dir, &site.pki, "edge-1", &away, "");
        post(&intake, "app", events);
        agent.stop();
    }
    let (_one, first) = agent_in(&one, &site.pki, "edge-1", &site.addresses[..1], "");
    post(&first, "app", 3);
    site.wait_until_counted(28);
    let (_two, second) = agent_in(&two, &site.pki, "edge-1", &site.addresses[1..], "");
    post(&second, "app", 2);
    site.wait_until_counted(37);
    let status = status(&second).expect("an answer");
    let renumbered = status["spool"]["renumbered_events"].as_u64();
    // what it took in after it was started may have come when it had parted already
    assert!(renumbered == Some(7) || renumbered == Some(9), "{status}");
    assert_eq!(epochs(&site), [9, 28], "the common ones are in the first epoch");
    let renumbered_metric = Metrics::scrape(&second).expect("the agent's metrics");
    let counted = renumbered_metric.sum("tributary_spool_renumbered_events_total", &[]);
    assert!((7.0..=9.0).contains(&counted), "{counted}");
}

#[test]
fn a_ramp_turns_a_hello_away_with_the_time_at_which_it_is_taken() {
    let site = Site::start("sessions_per_s = 1");
    let tls = site.pki.issue(Role::Agent, "edge-1");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let endpoint = endpoint();
        let mut taken = Vec::new();
        // one is taken at once, and another one a second: sooner or later there is no place
        let wait = loop {
            let connection = dial(&endpoint, &site.addresses[0], &tls).await;
            match RawAgent::try_open(connection, "edge-1").await {
                Ok(agent) => taken.push(agent),
                Err(bye) => {
                    assert_eq!(bye.code, ByeCode::Busy, "{bye:?}");
                    break Duration::from_millis(bye.retry_after_ms.into());
                }
            }
            assert!(
                taken.len() < 100,
                "a hundred sessions within a few seconds, at one a second"
            );
        };
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(2),
            "{wait:?}"
        );
        tokio::time::sleep(wait).await;
        let connection = dial(&endpoint, &site.addresses[0], &tls).await;
        RawAgent::try_open(connection, "edge-1")
            .await
            .expect("a place, as was said");
    });
    let metrics = Metrics::scrape(&site.metrics[0]).expect("the gateway's metrics");
    let refused = metrics.sum("tributary_gateway_refused_total", &[("reason", "ramp")]);
    assert!((refused - 1.0).abs() < f64::EPSILON, "{refused} turned away");
}

#[test]
fn a_session_survives_a_change_of_the_agents_address() {
    let site = Site::start("");
    let tls = site.pki.issue(Role::Agent, "edge-1");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let endpoint = endpoint();
        let connection = dial(&endpoint, &site.addresses[0], &tls).await;
        let mut agent = RawAgent::open(connection, "edge-1").await;
        agent.open_lane(1, "app").await;
        let committed =
            |mark| move |answer: &ToAgent| matches!(answer, ToAgent::Ack(ack) if ack.mark >= mark);
        let (header, body) = one_event(1, 1, br#"{"n":1}"#);
        agent.send(&header, body).await;
        agent.wait_for("the first event is committed", committed(1)).await;

        let before = endpoint.local_addr().expect("bound");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("another port");
        endpoint.rebind(socket).expect("the endpoint moves");
        assert_ne!(endpoint.local_addr().expect("bound"), before);
        let (header, body) = one_event(1, 2, br#"{"n":2}"#);
        agent.send(&header, body).await;
        agent
            .wait_for("the second event is committed from the new address", committed(2))
            .await;
    });
    assert!(
        (site.sessions_opened(0) - 1.0).abs() < f64::EPSILON,
        "no new session was opened"
    );
    site.wait_until_counted(2);
}
