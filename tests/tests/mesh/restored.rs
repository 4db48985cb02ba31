//! An aggregator that is restored from a backup knows less than its agents: the gap is counted, never silent.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tributary::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use tributary_shared::identity::Role;
use tributary_tests::{Pki, RoleProcess, SOON, free_udp_port, http, wait_until};

use crate::{injected, integer, mesh, program, temp_dir};

const VIEW: &str = "SELECT window_start, window_end, count(*) AS n \
                    FROM TUMBLE(app, ts, INTERVAL '1 hour') GROUP BY window_start, window_end";
const FORGOTTEN: &str = "forgotten_by_aggregator";
const DELIVERY: Duration = Duration::from_secs(30);

fn tributary(args: &[&str]) -> Output {
    Command::new(program()).args(args).output().expect("runs")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn conservation_holds_after_the_aggregator_is_restored_from_an_older_backup() {
    let dir = temp_dir();
    let backup = dir.path().join("backup");
    let event = |n: u32| json!({ "ts": "2026-01-01T12:00:00Z", "n": n });
    let events = |from, to| (from..to).map(event).collect::<Vec<_>>();
    let first = mesh(&dir);
    first.put_view("totals", VIEW);
    first.post_events("app", &events(0, 100));
    first.post_events("idle", &events(0, 10));
    first.wait_until_delivered(DELIVERY);
    let http = first.ready().http.clone();
    let made = tributary(&["backup", "--http", &http, "--out", path(&backup)]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    assert!(text(&made).contains("110 events of 2 lanes"), "{}", text(&made));

    // what the backup does not have, and the agent deletes once it is committed; `later` is a lane of its own
    first.post_events("app", &events(100, 150));
    first.post_events("idle", &events(10, 13));
    first.post_events("later", &events(0, 5));
    first.wait_until_delivered(DELIVERY);
    let home = first.ready().dirs["aggregator"].clone();
    let restore = ["restore", "--from", path(&backup), "--dir", path(&home)];
    let refused = tributary(&restore);
    assert_eq!(refused.status.code(), Some(1), "it runs: {}", text(&refused));
    assert!(text(&refused).contains("stop it first"), "{}", text(&refused));
    assert_eq!(first.terminate().code(), Some(0));
    let refused = tributary(&restore);
    assert!(text(&refused).contains("--force"), "{}", text(&refused));
    let restored = tributary(&[&restore[..], &["--force"]].concat());
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored));

    // lanes that have nothing to send tell their gap all the same, and the others go on behind it
    let second = mesh(&dir);
    second.post_events("app", &events(150, 170));
    for (stream, valid, from, to) in [("app", 120, 101, 150), ("idle", 10, 11, 13), ("later", 0, 1, 5)] {
        let forgotten = to - from + 1;
        let lane = wait_until(SOON, &format!("the gap of {stream} is told"), || {
            let lanes = second.ledger(stream)?;
            let [lane] = &lanes[..] else {
                return Err(format!("{lanes:?}"));
            };
            let told = lane.mark == valid + forgotten;
            told.then(|| lane.clone()).ok_or_else(|| format!("{lane:?}"))
        });
        assert!(lane.valid == valid && lane.balances(), "{lane:?}");
        let [run] = &lane.dropped[..] else {
            panic!("{lane:?}")
        };
        assert_eq!((run.reason.as_str(), run.count), (FORGOTTEN, forgotten));
        assert_eq!((run.from, run.to), (from, to));
    }
    wait_until(
        SOON,
        "the windows count what the backup had, and what is new",
        || {
            let rows = second.windows("totals")?;
            let counted: u64 = rows.iter().map(|row| integer(row, "n")).sum();
            (counted == 120).then_some(()).ok_or_else(|| format!("{rows:?}"))
        },
    );
    second.wait_until_delivered(DELIVERY);
    let ledger = tributary(&["ledger", "--http", &http]);
    assert_eq!(ledger.status.code(), Some(0), "{}", text(&ledger));
    assert!(
        text(&ledger).contains("58  forgotten_by_aggregator, in 3 lanes"),
        "{}",
        text(&ledger)
    );
    let as_json = tributary(&["ledger", "--http", &http, "--json"]);
    let as_json: serde_json::Value = serde_json::from_slice(&as_json.stdout).expect("json");
    assert_eq!(as_json["dropped_by_reason"][FORGOTTEN], 58, "{as_json}");
    assert_eq!(
        (&as_json["at_agents"]["held"], &as_json["balanced"]),
        (&json!(0), &json!(true))
    );
    injected(
        "conservation_holds_after_the_aggregator_is_restored_from_an_older_backup",
        "aggregator restored from an older backup",
        1,
    );
    assert_eq!(second.terminate().code(), Some(0));
    let gone = tributary(&["ledger", "--http", &http]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(
        text(&gone).contains("no aggregator can be reached"),
        "{}",
        text(&gone)
    );
}

/// A mesh of which each part can be stopped by itself, at fixed places.
struct Parts {
    dir: TempDir,
    aggregator: (RoleProcess, String),
    gateway: (RoleProcess, String),
    _agent: RoleProcess,
    intake: String,
    listen: String,
    pki: Pki,
}

impl Parts {
    fn start() -> Self {
        let dir = temp_dir();
        let pki = Pki::at(&dir.path().join("pki"));
        let (listen, at) = (
            format!("127.0.0.1:{}", free_udp_port()),
            format!("127.0.0.1:{}", free_udp_port()),
        );
        let aggregator = aggregator_in(dir.path(), &pki, &listen);
        let gateway = (gateway_in(dir.path(), &pki, &at, &listen), at);
        let settings = AgentSettings {
            id: "edge-1",
            dir: dir.path().join("agent"),
            gateways: std::slice::from_ref(&gateway.1),
            ready_file: Some(RoleProcess::ready_file(dir.path(), "agent")),
            tls: pki.issue(Role::Agent, "edge-1"),
            intake: "127.0.0.1:0".to_owned(),
            host_metrics: false,
            tails: &[],
        };
        // whatever is held when a session begins is a backlog
        let text = format!("{}\n[ship]\nbacklog_events = 1\n", settings.render());
        let mut agent = RoleProcess::start(program(), "agent", dir.path(), &text);
        let intake = agent.serving()["intake"].clone();
        Self {
            dir,
            aggregator,
            gateway,
            _agent: agent,
            intake,
            listen,
            pki,
        }
    }

    fn post(&self, events: u64) {
        let body: String = (0..events).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        let url = format!("{}/v1/streams/app/events", self.intake);
        let answer = http::post(&url, "application/x-ndjson", body.as_bytes()).expect("an answer");
        answer.success().expect("the intake takes events");
    }

    /// The events go to an epoch that drains beside a new one, and is gone then.
    fn post_to_an_epoch_that_ends(&mut self, events: u64) {
        self.gateway.0.stop();
        self.post(events);
        self.gateway.0 = gateway_in(self.dir.path(), &self.pki, &self.gateway.1, &self.listen);
        self.wait_until_held(0, 1);
    }

    fn wait_until_held(&self, held: u64, lanes: usize) {
        wait_until(SOON, "the agent has delivered", || {
            let status = http::get_json(&format!("{}/v1/status", self.intake))?;
            let all = status["lanes"].as_array().ok_or("no lanes")?;
            let sum: u64 = all.iter().map(|lane| integer(lane, "held_events")).sum();
            ((sum, all.len()) == (held, lanes))
                .then_some(())
                .ok_or_else(|| status.to_string())
        });
    }

    fn ledger(&self) -> Result<serde_json::Value, String> {
        http::get_json(&format!("{}/api/v1/ledger", self.aggregator.1))
    }
}

fn aggregator_in(dir: &Path, pki: &Pki, listen: &str) -> (RoleProcess, String) {
    let settings = AggregatorSettings {
        dir: dir.join("aggregator"),
        listen: listen.to_owned(),
        http: "127.0.0.1:0".to_owned(),
        registry: "127.0.0.1:0".to_owned(),
        ready_file: RoleProcess::ready_file(dir, "aggregator"),
        tls: pki.issue(Role::Aggregator, "agg-1"),
    };
    let mut process = RoleProcess::start(program(), "aggregator", dir, &settings.render());
    let api = process.serving()["http"].clone();
    (process, api)
}

fn gateway_in(dir: &Path, pki: &Pki, listen: &str, aggregator: &str) -> RoleProcess {
    let settings = GatewaySettings {
        listen: listen.to_owned(),
        aggregator: aggregator.to_owned(),
        ready_file: RoleProcess::ready_file(dir, "gateway"),
        tls: pki.issue(Role::Gateway, "gw-1"),
    };
    let mut process = RoleProcess::start(program(), "gateway", dir, &settings.render());
    process.serving();
    process
}

#[test]
fn conservation_names_what_a_restored_aggregator_forgot_of_epochs_that_are_drained_and_gone() {
    let mut parts = Parts::start();
    wait_until(SOON, "the agent is connected", || {
        let status = http::get_json(&format!("{}/v1/status", parts.intake))?;
        let connected = (status["connection"]["state"] == "connected").then_some(());
        connected.ok_or_else(|| status.to_string())
    });
    parts.post(10);
    parts.wait_until_held(0, 1);
    let backup = parts.dir.path().join("backup");
    let made = tributary(&["backup", "--http", &parts.aggregator.1, "--out", path(&backup)]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    // three epochs live and end behind it; the backup knows one of them, without an event
    for events in [5, 7, 11] {
        parts.post_to_an_epoch_that_ends(events);
    }
    parts.aggregator.0.process.kill();
    let home = parts.dir.path().join("aggregator");
    let restored = tributary(&[
        "restore",
        "--from",
        path(&backup),
        "--dir",
        path(&home),
        "--force",
    ]);
    assert_eq!(restored.status.code(), Some(0), "{}", text(&restored));
    // the agent's session with its gateway outlives it
    parts.aggregator = aggregator_in(parts.dir.path(), &parts.pki, &parts.listen);

    let ledger = wait_until(SOON, "every gap is told", || {
        let ledger = parts.ledger()?;
        let told = ledger["totals"]["dropped"] == 23;
        told.then(|| ledger.clone()).ok_or_else(|| ledger.to_string())
    });
    assert_eq!(ledger["totals"]["valid"], 10, "{ledger}");
    let lanes = ledger["lanes"].as_array().expect("lanes");
    let mut gaps: Vec<_> = lanes
        .iter()
        .flat_map(|lane| lane["dropped"].as_array().expect("ranges"))
        .map(|gap| {
            assert_eq!(gap["reason"], FORGOTTEN, "{ledger}");
            (integer(gap, "from"), integer(gap, "to"), integer(gap, "count"))
        })
        .collect();
    gaps.sort_unstable();
    assert_eq!(gaps, [(1, 5, 5), (1, 7, 7), (1, 11, 11)], "{ledger}");
}
