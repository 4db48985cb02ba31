//! The audit of a whole mesh: it verifies after kills, and agents notice a tree whose tail was cut off.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tributary_tests::{LONG, Mesh, SOON, wait_until};

use crate::{injected, mesh, program, temp_dir};

const VIEW: &str = "SELECT window_start, window_end, count(*) AS n \
                    FROM TUMBLE(app, ts, INTERVAL '1 hour') GROUP BY window_start, window_end";
/// Requests, each a commit of its own.
const REQUESTS: u64 = 60;
/// Leaves that are cut off: more than a restart and a view bring.
const CUT: u64 = 40;

fn tributary(args: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program()).args(args).output().expect("runs");
    let text = [stdout, stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    (status.code(), text)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// The tree of a running mesh against the key and what its agent has kept.
fn verify(mesh: &Mesh, key: &Path) -> (Option<i32>, String) {
    let (http, agent) = (mesh.ready().http.as_str(), mesh.ready().intake.as_str());
    tributary(&[
        "audit",
        "verify",
        "--key",
        path(key),
        "--agent",
        agent,
        "--http",
        http,
    ])
}

fn event(n: u64) -> Value {
    json!({ "ts": "2026-01-01T12:00:00Z", "n": n })
}

/// Takes the newest leaves away, and every head that would show it.
fn cut_tail(home: &Path) {
    let db = rusqlite::Connection::open(home.join("log.db")).expect("opens");
    let size: u64 = db
        .query_row("SELECT max(idx) + 1 FROM audit_leaves", [], |row| row.get(0))
        .expect("reads");
    db.execute_batch(&format!(
        "DELETE FROM audit_leaves WHERE idx >= {0}; DELETE FROM audit_heads WHERE size > {0};",
        size - CUT
    ))
    .expect("cuts");
}

#[test]
fn the_audit_verifies_after_kills_and_agents_notice_a_tail_that_was_cut_off() {
    let dir = temp_dir();
    let first = mesh(&dir);
    first.put_view("totals", VIEW);
    let mut epoch = Value::Null;
    for n in 0..REQUESTS {
        epoch = first.post_events("app", &[event(n)])["epoch"].clone();
        if n % 20 != 10 {
            // a commit of its own
            first.wait_until_delivered(LONG);
        }
        if n % 20 == 10 {
            // commits are under way
            first.kill_and_await_restart("aggregator");
        }
    }
    injected(
        "the_audit_verifies_after_kills_and_agents_notice_a_tail_that_was_cut_off",
        "kill -9 of the aggregator",
        3,
    );
    first.wait_until_delivered(LONG);
    // the newest head of all that is an act's
    first.put_view("more", VIEW);
    let head = first.api("/api/v1/audit/head").expect("there");
    wait_until(SOON, "the agent to keep the newest head", || {
        let status = first.agent_status()?;
        let kept = status["audit"]["heads"]
            .as_array()
            .and_then(|heads| heads.last())
            .cloned();
        (kept.as_ref() == Some(&head["head"]))
            .then_some(())
            .ok_or_else(|| format!("{kept:?}"))
    });
    let (http, home) = (
        first.ready().http.clone(),
        first.ready().dirs["aggregator"].clone(),
    );
    let key = dir.path().join("kept.pub");
    std::fs::copy(home.join("audit.pub"), &key).expect("copies");
    let (code, said) = verify(&first, &key);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("RIGHT"), "{said}");
    let receipt = dir.path().join("receipt.json");
    let name = format!("{}/app/{epoch}/7", first.ready().agent_id);
    let (code, said) = tributary(&[
        "audit",
        "prove",
        "--http",
        &http,
        "--event",
        &name,
        "--out",
        path(&receipt),
    ]);
    assert_eq!(code, Some(0), "{said}");
    let (code, listed) = tributary(&["audit", "list", "--http", &http, "--kind", "view"]);
    assert!(
        code == Some(0) && listed.contains("path=/api/v1/views/totals"),
        "{listed}"
    );
    assert_eq!(first.terminate().code(), Some(0));

    cut_tail(&home);
    let second = mesh(&dir);
    second.put_view("totals", VIEW);
    wait_until(SOON, "the agent to notice", || {
        let status = second.agent_status()?;
        let warnings = status["audit"]["warnings"].to_string();
        warnings.contains("removed tail").then_some(()).ok_or(warnings)
    });
    let (code, said) = verify(&second, &key);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("forked tree") || said.contains("removed tail"),
        "{said}"
    );
    assert_eq!(second.terminate().code(), Some(0));
    // what was proved before is proved for ever
    let text = std::fs::read_to_string(&receipt).expect("there");
    let kept: tributary_audit::Receipt = serde_json::from_str(&text).expect("a receipt");
    let key =
        tributary_audit::PublicKey::parse(&std::fs::read_to_string(&key).expect("there")).expect("a key");
    assert!(kept.verify(None, &[key]).is_ok());
}
