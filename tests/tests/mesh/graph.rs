//! The metadata graph of a whole mesh: what real nodes say of themselves, over restarts.

use std::process::Command;

use serde_json::{Value, json};
use tributary_tests::{LONG, SOON, http, wait_until};

use crate::program;
use crate::site::{Site, post};

fn tributary(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program()).args(args).output().expect("runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), text.concat())
}

fn node(http: &str, kind: &str, name: &str) -> Result<Value, String> {
    let around = http::get_json(&format!("{http}/api/v1/graph/{kind}/{name}"))?;
    Ok(around["node"].clone())
}

fn has_edge(http: &str, from: &str, kind: &str, to: &str) -> Result<Value, String> {
    let graph = http::get_json(&format!("{http}/api/v1/graph"))?;
    let edges = graph["edges"].as_array().cloned().unwrap_or_default();
    let edge = edges
        .iter()
        .find(|edge| edge["from"] == from && edge["kind"] == kind && edge["to"] == to);
    edge.cloned()
        .ok_or_else(|| format!("no {from} {kind} {to} in {edges:?}"))
}

/// Leaves of the audit about configurations of one node.
fn leaves(http: &str, name: &str) -> Vec<Value> {
    let page = http::get_json(&format!("{http}/api/v1/audit?kind=configuration")).expect("a page");
    let leaves = page["leaves"].as_array().cloned().unwrap_or_default();
    leaves
        .into_iter()
        .filter(|leaf| leaf["detail"]["name"] == name)
        .collect()
}

#[test]
fn nodes_are_known_with_their_configurations_also_when_they_are_away() {
    let site = Site::new();
    let (mut aggregator, http) = site.aggregator();
    let mut gateway = site.gateway();
    let (mut agent, intake) = site.agent();
    post(&intake, "readings", 3);
    wait_until(LONG, "the way of the events", || {
        has_edge(&http, "agent:edge-1", "produces", "stream:readings")?;
        has_edge(&http, "agent:edge-1", "passes_through", "gateway:gw-1")?;
        let edge = has_edge(&http, "gateway:gw-1", "passes_through", "stream:readings")?;
        (edge["events"] == 3)
            .then_some(())
            .ok_or_else(|| edge.to_string())
    });
    // what an agent says of itself may come after its first events
    let known = wait_until(SOON, "the agent to be connected", || {
        let known = node(&http, "agent", "edge-1")?;
        let recorded = leaves(&http, "edge-1").len();
        (known["connected"] == true && recorded == 1)
            .then_some(known.clone())
            .ok_or_else(|| format!("{recorded} leaves, {known}"))
    });
    let software = known["software"].as_str().expect("told").to_owned();
    assert!(software.starts_with("tributary-agent/"), "{software}");
    let gateways = &known["configuration"]["gateways"];
    assert!(
        gateways[0]
            .as_str()
            .is_some_and(|address| address.starts_with("127.0.0.1:")),
        "{known}"
    );
    assert!(
        !known["configuration"].to_string().contains(".pem"),
        "keys stay at home"
    );
    let known = node(&http, "gateway", "gw-1").expect("known");
    assert_eq!(
        (&known["connected"], &known["agents"]),
        (&Value::Bool(true), &Value::from(1))
    );
    assert!(known["configuration"]["limits.max_sessions"].is_u64(), "{known}");
    // the same in the terminal, with exit codes for jobs
    let (code, said) = tributary(&["graph", "agent", "edge-1", "--http", &http]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("DOWNSTREAM\n  gateway:gw-1") && said.contains(&software),
        "{said}"
    );
    let view = "SELECT window_start, max(n) AS most FROM TUMBLE(readings, ts, INTERVAL '1 hour') GROUP BY window_start";
    let made = http::put(&format!("{http}/api/v1/views/most"), &json!({ "sql": view })).expect("an answer");
    made.success().expect("a view");
    for (field, exit, says) in [
        ("n", 1, "most = max(n) reads n"),
        ("text", 0, "nothing that is known"),
    ] {
        let (code, said) = tributary(&["impact", "readings", field, "--http", &http]);
        assert_eq!(code, Some(exit), "{said}");
        assert!(said.contains(says), "{said}");
    }
    let (code, said) = tributary(&["impact", "writings", "--http", &http]);
    assert_eq!(code, Some(2), "{said}");
    // everybody leaves; another aggregator process knows them still
    agent.stop();
    gateway.stop();
    aggregator.stop();
    let (mut aggregator, http) = site.aggregator();
    let away = node(&http, "agent", "edge-1").expect("known");
    assert_eq!(
        (&away["connected"], &away["software"]),
        (&Value::Bool(false), &Value::from(software.as_str()))
    );
    assert_eq!(
        has_edge(&http, "gateway:gw-1", "passes_through", "stream:readings").expect("there")["events"],
        3
    );
    // the same configuration again is nothing new
    let _gateway = site.gateway();
    let (mut agent, _) = site.agent();
    wait_until(SOON, "the agent to be back", || {
        let known = node(&http, "agent", "edge-1")?;
        (known["connected"] == true)
            .then_some(())
            .ok_or_else(|| known.to_string())
    });
    let again = node(&http, "agent", "edge-1").expect("known");
    assert_eq!(again["changed_at"], away["changed_at"]);
    assert_eq!(again["first_seen"], away["first_seen"]);
    assert_eq!(
        leaves(&http, "edge-1").len(),
        1,
        "the same configuration is not recorded twice"
    );
    agent.stop();
    aggregator.stop();
}
