//! A stream's schema changes while agents send: those that know it, and one that was offline meanwhile.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tributary::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use tributary_shared::identity::Role;
use tributary_tests::{LONG, Pki, RoleProcess, SOON, free_udp_port, http, wait_until};

use crate::{integer, program, temp_dir};

const STREAM: &str = "readings";

/// The first version, and what the next two make of it: a field more and an integer that becomes a number; then that
/// number and a device that may be null.
fn schema(version: u32) -> Value {
    let n = ["integer", "number", "number"][version as usize - 1];
    let mut schema = json!({
        "type": "object",
        "properties": {
            "ts": { "type": "integer", "x-event-time": true },
            "device": { "type": "string" },
            "n": { "type": n, "maximum": 1_000_000 }
        },
        "required": ["ts", "device"],
        "additionalProperties": false
    });
    if version >= 2 {
        schema["properties"]["site"] = json!({ "type": "string" });
    }
    if version >= 3 {
        schema["properties"]["n"]["type"] = json!(["number", "null"]);
        schema["properties"]["device"]["type"] = json!(["string", "null"]);
    }
    schema
}

/// An event as a producer of a version writes it; its `n` is 1, 2.5 or null.
fn event(version: u32, producer: &str) -> Value {
    match version {
        1 => json!({ "ts": 0, "device": producer, "n": 1 }),
        2 => json!({ "ts": 0, "device": producer, "n": 2.5, "site": "north" }),
        _ => json!({ "ts": 0, "device": producer, "n": null, "site": "south" }),
    }
}

struct Site {
    dir: TempDir,
    pki: Pki,
    aggregator_port: u16,
    api: String,
    registry: String,
    _aggregator: RoleProcess,
}

impl Site {
    fn start() -> Self {
        let dir = temp_dir();
        let pki = Pki::at(&dir.path().join("pki"));
        let aggregator_port = free_udp_port();
        let settings = AggregatorSettings {
            dir: dir.path().join("aggregator"),
            listen: format!("127.0.0.1:{aggregator_port}"),
            http: "127.0.0.1:0".to_owned(),
            registry: "127.0.0.1:0".to_owned(),
            ready_file: RoleProcess::ready_file(dir.path(), "aggregator"),
            tls: pki.issue(Role::Aggregator, "agg-1"),
        };
        let mut aggregator = RoleProcess::start(program(), "aggregator", dir.path(), &settings.render());
        let at = aggregator.serving();
        Self {
            aggregator_port,
            api: at["http"].clone(),
            registry: at["registry"].clone(),
            _aggregator: aggregator,
            dir,
            pki,
        }
    }

    fn below(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).expect("the test's directory");
        dir
    }

    fn gateway(&self, name: &str, port: u16) -> RoleProcess {
        let dir = self.below(name);
        let settings = GatewaySettings {
            listen: format!("127.0.0.1:{port}"),
            aggregator: format!("127.0.0.1:{}", self.aggregator_port),
            ready_file: RoleProcess::ready_file(&dir, "gateway"),
            tls: self.pki.issue(Role::Gateway, name),
        };
        let mut gateway = RoleProcess::start(program(), "gateway", &dir, &settings.render());
        gateway.serving();
        gateway
    }

    fn agent(&self, id: &'static str, port: u16, check: &str) -> Agent {
        let dir = self.below(id);
        let settings = AgentSettings {
            id,
            dir: dir.join("agent"),
            gateways: &[format!("127.0.0.1:{port}")],
            ready_file: Some(RoleProcess::ready_file(&dir, "agent")),
            tls: self.pki.issue(Role::Agent, id),
            intake: "127.0.0.1:0".to_owned(),
            host_metrics: false,
            tails: &[],
        };
        let config = format!("{}\n[streams.{STREAM}]\ncheck = \"{check}\"\n", settings.render());
        Agent::start(id, &dir, config)
    }

    fn register(&self, schema: &Value) -> http::Answer {
        let url = format!("{}/subjects/{STREAM}-value/versions", self.registry);
        let body = json!({ "schemaType": "JSON", "schema": schema.to_string() }).to_string();
        let content_type = "application/vnd.schemaregistry.v1+json";
        http::post(&url, content_type, body.as_bytes()).expect("an answer of the registry")
    }

    /// Registers a version and returns its id.
    fn evolve(&self, version: u32) -> u64 {
        let answer = self
            .register(&schema(version))
            .success()
            .expect("a compatible version");
        integer(&answer, "id")
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        http::get_json(&format!("{}{path}", self.api))
    }
}

/// An agent, and how many events of each version it was given.
struct Agent {
    id: &'static str,
    dir: PathBuf,
    config: String,
    process: RoleProcess,
    intake: String,
    taken: [AtomicU64; 3],
}

impl Agent {
    fn start(id: &'static str, dir: &Path, config: String) -> Self {
        let mut process = RoleProcess::start(program(), "agent", dir, &config);
        let intake = process.serving()["intake"].clone();
        Self {
            id,
            dir: dir.to_owned(),
            config,
            process,
            intake,
            taken: Default::default(),
        }
    }

    fn kill_and_start_again(&mut self) {
        self.process.process.kill();
        let again = Self::start(self.id, &self.dir, self.config.clone());
        (self.process, self.intake) = (again.process, again.intake);
    }

    fn try_post(&self, events: &[Value]) -> http::Answer {
        let body: String = events.iter().map(|event| format!("{event}\n")).collect();
        let url = format!("{}/v1/streams/{STREAM}/events", self.intake);
        http::post(&url, "application/x-ndjson", body.as_bytes()).expect("an answer of the intake")
    }

    /// Posts events of a version, which must be taken.
    fn post(&self, version: u32, count: usize) {
        let answer = self.try_post(&vec![event(version, self.id); count]);
        assert_eq!(
            answer.status, 200,
            "version {version} at {}: {}",
            self.id, answer.body
        );
        self.taken[version as usize - 1].fetch_add(count as u64, Ordering::Relaxed);
    }

    fn check(&self) -> Result<Value, String> {
        let status = http::get_json(&format!("{}/v1/status", self.intake))?;
        Ok(status["checks"][0].clone())
    }

    fn wait_until_told(&self, schema_id: u64) {
        wait_until(
            SOON,
            &format!("{} has heard of schema {schema_id}", self.id),
            || {
                let check = self.check()?;
                (check["schema_id"] == schema_id)
                    .then_some(())
                    .ok_or_else(|| check.to_string())
            },
        );
    }

    fn taken(&self) -> [u64; 3] {
        [0, 1, 2].map(|at: usize| self.taken[at].load(Ordering::Relaxed))
    }
}

fn committed(site: &Site) -> Result<u64, String> {
    let ledger = site.get("/api/v1/ledger")?;
    ledger["totals"]["produced"]
        .as_u64()
        .ok_or_else(|| ledger.to_string())
}

/// Two further versions, while producers go on with the first.
fn evolve_under_load(site: &Site, strict: &Agent, tagging: &Agent) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // producers that never heard of another version, all the time
        for agent in [strict, tagging] {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    agent.post(1, 25);
                }
            });
        }
        for version in [2, 3] {
            let before = committed(site).expect("the ledger");
            wait_until(LONG, "the load goes on", || {
                let now = committed(site)?;
                (now > before).then_some(()).ok_or_else(|| format!("{now}"))
            });
            let id = site.evolve(version);
            // whoever only counts takes an event of the new version before it has heard of it
            tagging.post(version, 30);
            strict.wait_until_told(id);
            strict.post(version, 30);
            tagging.wait_until_told(id);
            tagging.post(version, 30);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Everything that was taken is committed, none of it is dead, and the view has the sums of all versions.
fn every_event_is_valid_and_counted(site: &Site, agents: &[&Agent]) {
    let all: u64 = agents.iter().flat_map(|agent| agent.taken()).sum();
    let ledger = wait_until(LONG, "everything is committed", || {
        let ledger = site.get("/api/v1/ledger")?;
        (ledger["totals"]["produced"] == all)
            .then(|| ledger.clone())
            .ok_or_else(|| format!("{all} of {ledger}"))
    });
    let totals = &ledger["totals"];
    assert_eq!(
        (&totals["valid"], &totals["dead"], &totals["dropped"]),
        (&json!(all), &json!(0), &json!(0)),
        "{totals}"
    );
    for agent in agents {
        let [v1, v2, v3] = agent.taken();
        let row = wait_until(SOON, "the view has them all", || {
            let page = site.get(&format!("/api/v1/views/by_device/windows?device={}", agent.id))?;
            let row = page["rows"][0].clone();
            (row["events"] == v1 + v2 + v3)
                .then(|| row.clone())
                .ok_or_else(|| page.to_string())
        });
        assert_eq!(row["s"].as_f64(), Some(v1 as f64 + 2.5 * v2 as f64), "{row}");
        assert_eq!(row["hi"].as_f64(), Some(2.5), "{row}");
        assert_eq!(integer(&row, "sites"), v2 + v3, "{row}");
    }
}

#[test]
fn a_schema_evolves_twice_under_load_and_no_valid_event_is_lost_or_refused() {
    let site = Site::start();
    let (near, far) = (free_udp_port(), free_udp_port());
    let _gateway = site.gateway("gw-1", near);
    let mut far_gateway = site.gateway("gw-2", far);
    let url = format!("{}/api/v1/views/by_device", site.api);
    let sql = "SELECT window_start, window_end, device, count(*) AS events, sum(n) AS s, max(n) AS hi, \
               count(site) AS sites FROM TUMBLE(readings, ts, INTERVAL '1 minute') \
               GROUP BY window_start, window_end, device";
    http::put(&url, &json!({ "sql": sql }))
        .expect("an answer")
        .success()
        .expect("a view may name fields that come later");
    let first = site.evolve(1);
    let strict = site.agent("strict", near, "reject");
    let tagging = site.agent("tagging", near, "tag");
    let mut away = site.agent("away", far, "tag");
    for agent in [&strict, &tagging, &away] {
        // before its first event
        agent.wait_until_told(first);
        agent.post(1, 20);
    }

    // nobody tells it anything for a while
    far_gateway.process.kill();
    away.post(1, 100);
    evolve_under_load(&site, &strict, &tagging);
    let refused = strict.try_post(&[
        event(3, "strict"),
        json!({ "ts": 0, "device": "strict", "n": "x" }),
    ]);
    let error = refused.json()["error"].clone();
    assert_eq!(
        (refused.status, error["code"].as_str()),
        (422, Some("invalid_event")),
        "{error}"
    );
    assert_eq!(
        (error["line"].as_u64(), error["path"].as_str()),
        (Some(2), Some("/n")),
        "{error}"
    );

    let mut incompatible = schema(3);
    incompatible["properties"]["n"]["type"] = json!("string");
    let answer = site.register(&incompatible);
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(
        answer.body.contains("/properties/n"),
        "the field is named: {}",
        answer.body
    );

    // it judges by what it knows, counts, and loses nothing; a power cut does not make it forget
    away.post(2, 40);
    let check = away.check().expect("its status");
    assert_eq!(
        (&check["schema_id"], &check["invalid"]),
        (&json!(first), &json!(40)),
        "{check}"
    );
    away.kill_and_start_again();
    away.post(2, 10);
    away.post(3, 10);
    let check = away.check().expect("its status");
    assert_eq!(
        (&check["schema_id"], &check["invalid"]),
        (&json!(first), &json!(20)),
        "{check}"
    );
    let _far_gateway = site.gateway("gw-2", far);
    away.wait_until_told(site.evolve(3));
    away.post(3, 10);
    assert_eq!(
        away.check().expect("its status")["invalid"],
        20,
        "what is valid now is not counted"
    );

    every_event_is_valid_and_counted(&site, &[&strict, &tagging, &away]);
    wait_until(SOON, "the centre shows what agents found", || {
        let rows = site.get("/api/v1/agents")?;
        let away = rows["agents"]
            .as_array()
            .and_then(|rows| rows.iter().find(|row| row["agent"] == "away"));
        let invalid = away.map(|row| row["checks"][0]["invalid"].clone());
        (invalid == Some(json!(20)))
            .then_some(())
            .ok_or_else(|| rows.to_string())
    });
}
