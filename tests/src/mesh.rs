//! A whole mesh: `tributary up` and its three children.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tributary_shared::ready::Ready as RoleReady;

use crate::process::{kill, runs_with};
use crate::{Metrics, Process, SOON, http, wait_until};

const ROLES: [&str; 3] = ["agent", "gateway", "aggregator"];
/// `up` gives each of the three 10 s to drain.
const DRAIN: Duration = Duration::from_secs(40);
/// The most rows that the API gives at once.
const WINDOWS: &str = "10000";

/// What `up` writes to `--ready-file`.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    pub http: String,
    pub registry: String,
    pub gateway: String,
    pub intake: String,
    pub agent_id: String,
    pub pids: BTreeMap<String, u32>,
    pub dirs: BTreeMap<String, PathBuf>,
}

/// How a mesh is started.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Off in most tests: numbers then change only by what the test does.
    pub host_metrics: bool,
    /// More arguments of `up`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// A mesh that serves.
#[derive(Debug)]
pub struct Mesh {
    up: Process,
    dir: PathBuf,
    ready: Ready,
}

impl Mesh {
    /// Starts a mesh on free ports, with everything below `dir`, and waits until it serves.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn start(program: &Path, dir: &Path, options: &Options) -> Self {
        let ready_file = dir.join("ready.json");
        let mut args: Vec<String> = vec!["up".into(), "--dir".into(), dir.display().to_string()];
        args.extend(["--ready-file".into(), ready_file.display().to_string()]);
        for flag in ["--http", "--registry", "--gateway", "--intake"] {
            args.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
        }
        if !options.host_metrics {
            args.push("--no-host-metrics".to_owned());
        }
        args.extend(options.args.iter().cloned());
        let mut up = Process::start(program, args, &options.env, dir.join("up.log"));
        let ready = wait_until(SOON, "the mesh serves", || {
            if let Some(status) = up.ended() {
                panic!("the mesh ended while it was starting: {status}");
            }
            read_ready(&ready_file)
        });
        Self {
            up,
            dir: dir.to_owned(),
            ready,
        }
    }

    /// Where it serves; addresses stay the same over restarts of its processes.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The pid of a role now.
    ///
    /// # Panics
    /// When the ready file is gone: `up` has ended.
    #[must_use]
    pub fn pid(&self, role: &str) -> u32 {
        let ready = read_ready(&self.dir.join("ready.json")).expect("the ready file of a mesh that serves");
        ready.pids[role]
    }

    /// Kills a role with SIGKILL and waits until `up` has replaced it.
    ///
    /// # Panics
    /// When it is not replaced.
    pub fn kill_and_await_restart(&self, role: &str) {
        let killed = self.pid(role);
        assert!(runs_with(killed, &self.dir), "pid {killed} is our own {role}");
        kill(killed, Signal::KILL);
        wait_until(SOON, &format!("the {role} is started again"), || {
            let now = self.pid(role);
            (now != killed).then_some(()).ok_or_else(|| format!("pid {now}"))
        });
    }

    /// Stops a role with SIGSTOP for as long as the value lives.
    #[must_use]
    pub fn pause(&self, role: &str) -> Paused {
        let pid = self.pid(role);
        assert!(runs_with(pid, &self.dir), "pid {pid} is our own {role}");
        kill(pid, Signal::STOP);
        Paused {
            pid,
            dir: self.dir.clone(),
        }
    }

    /// The gateway's own HTTP address, which `up` picks.
    ///
    /// # Panics
    /// When the gateway has not reported it.
    #[must_use]
    pub fn gateway_http(&self) -> String {
        self.role_ready("gateway").addresses["http"].clone()
    }

    /// The aggregator's port for gateways.
    ///
    /// # Panics
    /// When the aggregator has not reported it.
    #[must_use]
    pub fn aggregator_listen(&self) -> String {
        self.role_ready("aggregator").addresses["listen"].clone()
    }

    fn role_ready(&self, role: &str) -> RoleReady {
        let path = self.dir.join("run").join(format!("{role}.json"));
        wait_until(SOON, &format!("the ready file of the {role}"), || {
            let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())
        })
    }

    /// Drains and ends the whole mesh.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn terminate(mut self) -> ExitStatus {
        self.up.terminate(DRAIN)
    }

    // --- what users call

    fn events_url(&self, stream: &str) -> String {
        format!("{}/v1/streams/{stream}/events", self.ready.intake)
    }

    /// Posts events that the intake must take.
    ///
    /// # Panics
    /// When it does not.
    pub fn post_events(&self, stream: &str, events: &[Value]) -> Value {
        let body: String = events.iter().map(|event| format!("{event}\n")).collect();
        let answer = self.post_raw(stream, "application/x-ndjson", body.as_bytes());
        assert_eq!(answer.status, 200, "the intake takes {stream}: {}", answer.body);
        assert_eq!(
            answer.json()["accepted"],
            events.len(),
            "all of them: {}",
            answer.body
        );
        answer.json()
    }

    /// Posts a body that need not be right.
    ///
    /// # Panics
    /// When no answer comes.
    #[must_use]
    pub fn post_raw(&self, stream: &str, content_type: &str, body: &[u8]) -> http::Answer {
        http::post(&self.events_url(stream), content_type, body).expect("an answer of the intake")
    }

    /// # Panics
    /// When the view is refused.
    pub fn put_view(&self, name: &str, sql: &str) {
        let url = format!("{}/api/v1/views/{name}", self.ready.http);
        let answer = http::put(&url, &json!({ "sql": sql })).expect("an answer of the API");
        answer
            .success()
            .unwrap_or_else(|error| panic!("view {name}: {error}"));
    }

    /// # Panics
    /// When there is no such view.
    pub fn delete_view(&self, name: &str) {
        let url = format!("{}/api/v1/views/{name}", self.ready.http);
        let answer = http::delete(&url).expect("an answer of the API");
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    /// Registers a JSON Schema for a stream.
    ///
    /// # Panics
    /// When it is refused.
    pub fn put_schema(&self, stream: &str, schema: &Value) {
        let url = format!("{}/subjects/{stream}-value/versions", self.ready.registry);
        let body = json!({ "schemaType": "JSON", "schema": schema.to_string() });
        let content_type = "application/vnd.schemaregistry.v1+json";
        let answer =
            http::post(&url, content_type, body.to_string().as_bytes()).expect("an answer of the registry");
        answer
            .success()
            .unwrap_or_else(|error| panic!("schema of {stream}: {error}"));
    }

    /// The windows of a view, newest first.
    ///
    /// # Errors
    /// With what came instead.
    pub fn windows(&self, view: &str) -> Result<Vec<Value>, String> {
        let answer = self.api(&format!("/api/v1/views/{view}/windows?limit={WINDOWS}"))?;
        assert_ne!(
            answer["truncated"], true,
            "the test asks for fewer rows than the API gives"
        );
        answer["rows"]
            .as_array()
            .cloned()
            .ok_or_else(|| format!("no rows: {answer}"))
    }

    /// The JSON of a path of the API.
    ///
    /// # Errors
    /// With what came instead.
    pub fn api(&self, path: &str) -> Result<Value, String> {
        http::get_json(&format!("{}{path}", self.ready.http))
    }

    /// The ledger's lines of a stream.
    ///
    /// # Errors
    /// With what came instead.
    pub fn ledger(&self, stream: &str) -> Result<Vec<LedgerLane>, String> {
        let ledger = self.api("/api/v1/ledger")?;
        let lanes: Vec<LedgerLane> =
            serde_json::from_value(ledger["lanes"].clone()).map_err(|error| format!("{error}: {ledger}"))?;
        Ok(lanes.into_iter().filter(|lane| lane.stream == stream).collect())
    }

    /// `GET /v1/status` of the agent.
    ///
    /// # Errors
    /// With what came instead.
    pub fn agent_status(&self) -> Result<Value, String> {
        http::get_json(&format!("{}/v1/status", self.ready.intake))
    }

    /// Waits until the agent holds nothing any more: everything is committed at the aggregator.
    ///
    /// # Panics
    /// When that does not come `within` the time.
    pub fn wait_until_delivered(&self, within: Duration) {
        wait_until(within, "the agent has delivered everything", || {
            let status = self.agent_status()?;
            let lanes = status["lanes"].as_array().ok_or_else(|| status.to_string())?;
            let held: u64 = lanes.iter().filter_map(|lane| lane["held_events"].as_u64()).sum();
            (held == 0).then_some(()).ok_or_else(|| status.to_string())
        });
    }

    /// Posts one good event of a stream of its own and waits until it is committed: the traffic flows.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_traffic_flows(&self, stream: &str) {
        self.post_events(stream, &[json!({ "ok": true })]);
        wait_until(SOON, &format!("a normal event of {stream} is committed"), || {
            let lanes = self.ledger(stream)?;
            (lanes.len() == 1 && lanes[0].valid == 1)
                .then_some(())
                .ok_or_else(|| format!("{lanes:?}"))
        });
    }

    /// A counter of the gateway now.
    ///
    /// # Panics
    /// When the gateway does not answer.
    #[must_use]
    pub fn gateway_count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Metrics::scrape(&self.gateway_http())
            .expect("the gateway's metrics")
            .sum(name, labels)
    }
}

/// A process that does nothing; goes on (SIGCONT) when this is dropped.
#[derive(Debug)]
pub struct Paused {
    pid: u32,
    dir: PathBuf,
}

impl Drop for Paused {
    fn drop(&mut self) {
        if runs_with(self.pid, &self.dir) {
            kill(self.pid, Signal::CONT);
        }
    }
}

/// A lane's line in the ledger.
#[derive(Debug, Clone, Deserialize)]
pub struct LedgerLane {
    pub agent: String,
    pub stream: String,
    pub epoch: u64,
    pub mark: u64,
    pub valid: u64,
    pub dead: u64,
    pub dropped: Vec<Dropped>,
}

/// Events that the agent gave up.
#[derive(Debug, Clone, Deserialize)]
pub struct Dropped {
    pub from: u64,
    pub to: u64,
    pub reason: String,
    pub count: u64,
}

impl LedgerLane {
    /// The promise `conservation`, as far as the aggregator knows the lane.
    #[must_use]
    pub fn balances(&self) -> bool {
        let dropped: u64 = self.dropped.iter().map(|run| run.count).sum();
        self.mark == self.valid + self.dead + dropped
    }
}

fn read_ready(path: &Path) -> Result<Ready, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // first the one that would start the others again; they drain when their parent is gone, and that
        // nobody waits for here
        self.up.kill();
        let now =
            read_ready(&self.dir.join("ready.json")).map_or_else(|_| BTreeMap::new(), |ready| ready.pids);
        for role in ROLES {
            let pid = now.get(role).or_else(|| self.ready.pids.get(role));
            if let Some(pid) = pid.copied().filter(|pid| runs_with(*pid, &self.dir)) {
                kill(pid, Signal::KILL);
            }
        }
    }
}
