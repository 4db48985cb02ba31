//! A network of its own between an agent and its gateway: cut, and slow.
//!
//! ```text
//! host                         namespace
//! test, ────── control ─────── agent's intake
//! gateway ──────  data ─────── agent
//! ```

use std::path::Path;
use std::process::Command;

use tributary::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use tributary_shared::identity::Role;
use tributary_tests::{Pki, Process, RoleProcess, SOON, Tool, http, impossible, is_root, run, wait_until};

use crate::{flow, injected, program, temp_dir};

const STREAM: &str = "readings";
const TIMES: u64 = 3;
/// Requests that are accepted while the link is down, or slow.
const MEANWHILE: u64 = 60;

/// A namespace with two links to it, taken away with this value.
struct Namespace {
    name: String,
    /// Of both links' networks: unused by others, as the pid is.
    subnet: u32,
}

fn ip(args: &str) -> Result<(), String> {
    run(Command::new("ip").args(args.split(' ')))
}

impl Namespace {
    fn new() -> Self {
        let pid = std::process::id();
        let space = Self {
            name: format!("tributary-{pid}"),
            subnet: pid % 64,
        };
        ip(&format!("netns add {}", space.name)).expect("root makes namespaces");
        space.link("control", 4);
        space.link("data", 8);
        space
    }

    /// The host's end of a link: names of interfaces have 15 letters at most.
    fn device(link: &str) -> String {
        format!("t{}{}", &link[..1], std::process::id())
    }

    fn address(&self, network: u32, end: u32) -> String {
        // 198.18.0.0/15 is set aside for tests between networks (RFC 2544)
        format!("198.18.{}.{}", self.subnet, network + end)
    }

    fn link(&self, link: &str, network: u32) {
        let (name, device) = (&self.name, Self::device(link));
        let (host, inside) = (self.address(network, 1), self.address(network, 2));
        for command in [
            format!("link add {device} type veth peer name {link} netns {name}"),
            format!("addr add {host}/30 dev {device}"),
            format!("link set {device} up"),
            format!("-n {name} addr add {inside}/30 dev {link}"),
            format!("-n {name} link set {link} up"),
        ] {
            ip(&command).expect("root makes links");
        }
    }

    fn set(&self, link: &str, state: &str) {
        ip(&format!("link set {} {state}", Self::device(link))).expect("our own link");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // the links go with it
        if let Err(error) = ip(&format!("netns del {}", self.name)) {
            impossible("the removal of a network namespace", &error);
        }
    }
}

/// `tributary agent` in the namespace, and its intake.
fn agent(dir: &Path, pki: &Pki, space: &Namespace, gateway: &str) -> (Process, String) {
    let intake = format!("{}:8603", space.address(4, 2));
    let settings = AgentSettings {
        id: "edge-1",
        dir: dir.join("agent"),
        gateways: &[gateway.to_owned()],
        ready_file: None,
        tls: pki.issue(Role::Agent, "edge-1"),
        intake: intake.clone(),
        host_metrics: false,
        tails: &[],
    };
    let config = dir.join("agent.toml");
    std::fs::write(&config, settings.render()).expect("the test's directory");
    let program = program().display().to_string();
    let config = config.display().to_string();
    let args = [
        "netns",
        "exec",
        &space.name,
        &program,
        "agent",
        "--config",
        &config,
    ];
    let process = Process::start(Path::new("ip"), args, &[], dir.join("agent.log"));
    let intake = format!("http://{intake}");
    wait_until(SOON, "the agent serves", || {
        http::get_json(&format!("{intake}/v1/status")).map(drop)
    });
    (process, intake)
}

#[test]
fn every_accepted_event_is_counted_once_while_the_agent_s_link_is_cut_and_slow() {
    let test = "every_accepted_event_is_counted_once_while_the_agent_s_link_is_cut_and_slow";
    let hint = "install iproute2";
    let tools = ["ip", "tc"].map(|name| Tool { name, hint }.find(test));
    if !is_root(test) || tools.iter().any(Option::is_none) {
        return;
    }
    let dir = temp_dir();
    let pki = Pki::at(&dir.path().join("pki"));
    let space = Namespace::new();
    let settings = AggregatorSettings {
        dir: dir.path().join("aggregator"),
        listen: "127.0.0.1:0".to_owned(),
        http: "127.0.0.1:0".to_owned(),
        registry: "127.0.0.1:0".to_owned(),
        ready_file: RoleProcess::ready_file(dir.path(), "aggregator"),
        tls: pki.issue(Role::Aggregator, "agg-1"),
    };
    let mut aggregator = RoleProcess::start(program(), "aggregator", dir.path(), &settings.render());
    let addresses = aggregator.serving();
    let settings = GatewaySettings {
        listen: format!("{}:0", space.address(8, 1)),
        aggregator: addresses["listen"].clone(),
        ready_file: RoleProcess::ready_file(dir.path(), "gateway"),
        tls: pki.issue(Role::Gateway, "gw-1"),
    };
    let mut gateway = RoleProcess::start(program(), "gateway", dir.path(), &settings.render());
    let listen = gateway.serving()["listen"].clone();
    let (_agent, intake) = agent(dir.path(), &pki, &space, &listen);
    flow::put_view_at(&addresses["http"], STREAM);

    let mut slow = "";
    let posted = flow::while_events_flow(&intake, STREAM, |flow| {
        for _ in 0..TIMES {
            space.set("data", "down");
            flow.wait_for_more(MEANWHILE);
            space.set("data", "up");
            flow.wait_for_more(MEANWHILE);
        }
        slow = slow_down(test);
        flow.wait_for_more(2 * MEANWHILE);
    });
    flow::check_at(&addresses["http"], &intake, STREAM, &posted, flow::BATCH);
    injected(test, "link down in a network namespace", TIMES);
    injected(test, slow, 1);
}

/// Makes the host's end of the data link slow: late and lossy where the kernel has netem, else narrow, which makes
/// what queues late and loses the rest. Returns which.
fn slow_down(test: &str) -> &'static str {
    let device = Namespace::device("data");
    let tc = |qdisc: &str| {
        let args = format!("qdisc add dev {device} root {qdisc}");
        run(Command::new("tc").args(args.split(' ')))
    };
    match tc("netem delay 80ms 40ms loss 5%") {
        Ok(()) => "link slow and lossy (netem)",
        Err(error) => {
            impossible(&format!("the netem part of {test}"), &error);
            tc("tbf rate 256kbit burst 3kb latency 80ms").expect("root shapes its own link");
            "link narrow (tbf)"
        }
    }
}
