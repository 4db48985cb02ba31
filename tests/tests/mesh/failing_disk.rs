//! What producers and operators see of an agent whose disk is full, read-only or fails to sync.

use serde_json::{Value, json};
use tributary_tests::{DiskFault, FailingDisk, SOON, Tmpfs, http, is_root, wait_until};

use crate::injected;
use crate::site::{Site, delivered, noise, post, sums};

const STREAM: &str = "app";
const REQUEST: u64 = 20;
const DISK_MIB: u32 = 32;
const TIMES: u64 = 2;

/// Events by what their producer was told.
#[derive(Debug, Default)]
struct Told {
    accepted: u64,
    /// May be there or not: when only the sync of their commit failed, they are.
    refused: u64,
}

fn get(intake: &str, path: &str) -> (u16, Value) {
    let answer = http::get(&format!("{intake}{path}")).expect("the agent answers");
    (answer.status, answer.json())
}

/// Posts until the intake refuses, and looks at all that it says then.
fn refused(intake: &str, told: &mut Told, troubles: &[&str]) {
    let url = format!("{intake}/v1/streams/{STREAM}/events");
    let error = wait_until(SOON, "the intake refuses events", || {
        let answer = http::post(&url, "application/x-ndjson", noise(REQUEST).as_bytes())
            .map_err(|error| error.to_string())?;
        if answer.status == 200 {
            told.accepted += REQUEST;
            return Err("it takes them".to_owned());
        }
        told.refused += REQUEST;
        assert_eq!(answer.status, 503, "{answer:?}");
        Ok(answer.json()["error"].clone())
    });
    assert_eq!(error["code"], "spool_unavailable", "{error}");
    let message = error["message"].as_str().expect("words");
    assert!(message.len() > 20, "says what, where and what to do: {message}");

    let (status, body) = get(intake, "/readyz");
    assert_eq!(
        (status, &body["error"]["code"]),
        (503, &json!("spool_unavailable")),
        "{body}"
    );
    assert_eq!(
        get(intake, "/healthz").0,
        200,
        "it lives, and should not be started anew"
    );
    let (_, status) = get(intake, "/v1/status");
    let spool = &status["spool"];
    assert_eq!(spool["healthy"], false, "{status}");
    assert!(
        troubles.iter().any(|trouble| spool["trouble"] == *trouble),
        "{status}"
    );
    let metrics = tributary_tests::Metrics::scrape(intake).expect("the agent's metrics");
    assert!(metrics.sum("tributary_spool_healthy", &[]) < 0.5);
    assert!(metrics.sum("tributary_spool_failures_total", &[]) > 0.5);
}

/// The agent goes on without any help.
fn taken_again(intake: &str, told: &mut Told) {
    wait_until(SOON, "the agent is ready again", || {
        let (status, body) = get(intake, "/readyz");
        (status == 200).then_some(()).ok_or_else(|| body.to_string())
    });
    assert_eq!(post(intake, STREAM, REQUEST)["accepted"], REQUEST);
    told.accepted += REQUEST;
    let (_, status) = get(intake, "/v1/status");
    assert_eq!(status["spool"]["healthy"], true, "{status}");
}

/// Everything that was accepted is counted, and nothing was given up.
fn counted(site: &Site, intake: &str, told: &Told) {
    let (mut gateway, (mut aggregator, api)) = (site.gateway(), site.aggregator());
    let (valid, dropped) = sums(&delivered(&api, intake, STREAM));
    let most = told.accepted + told.refused;
    assert!(
        (told.accepted..=most).contains(&valid),
        "{valid} counted: {told:?}"
    );
    assert_eq!(dropped, 0, "{told:?}");
    gateway.stop();
    aggregator.stop();
}

/// The system calls of the process fail while it runs.
fn a_failing_disk_is_named_and_survived(test: &str, fault: DiskFault, troubles: &[&str], kind: &str) {
    let site = Site::new();
    let (at, dir) = (site.at("agent"), site.at("disk"));
    let Some(disk) = FailingDisk::new(test, &at, &dir) else {
        return;
    };
    let (mut agent, intake) = site.agent_with(&disk.env());
    let (mut told, pid) = (Told::default(), agent.process.pid());
    post(&intake, STREAM, REQUEST);
    told.accepted += REQUEST;
    for _ in 0..TIMES {
        disk.fail(fault);
        refused(&intake, &mut told, troubles);
        disk.heal(fault);
        taken_again(&intake, &mut told);
    }
    assert!(
        agent.process.ended().is_none() && agent.process.pid() == pid,
        "it stayed up"
    );
    counted(&site, &intake, &told);
    agent.stop();
    injected(test, kind, TIMES);
}

#[test]
fn an_agent_whose_disk_fails_to_sync_answers_503_is_not_ready_and_goes_on_by_itself() {
    a_failing_disk_is_named_and_survived(
        "an_agent_whose_disk_fails_to_sync_answers_503_is_not_ready_and_goes_on_by_itself",
        DiskFault::Sync,
        &["io"],
        "EIO of fsync under the agent",
    );
}

#[test]
fn an_agent_whose_disk_turns_read_only_answers_503_is_not_ready_and_goes_on_by_itself() {
    a_failing_disk_is_named_and_survived(
        "an_agent_whose_disk_turns_read_only_answers_503_is_not_ready_and_goes_on_by_itself",
        DiskFault::ReadOnly,
        &["read_only", "io"],
        "EROFS under the agent",
    );
}

#[test]
fn an_agent_on_a_file_system_without_room_answers_503_is_not_ready_and_goes_on_by_itself() {
    let test = "an_agent_on_a_file_system_without_room_answers_503_is_not_ready_and_goes_on_by_itself";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let disk = Tmpfs::mount(&site.at("agent"), DISK_MIB);
    let (mut agent, intake) = site.agent();
    let mut told = Told::default();
    for _ in 0..TIMES {
        disk.fill();
        refused(&intake, &mut told, &["disk_full"]);
        disk.free();
        taken_again(&intake, &mut told);
    }
    counted(&site, &intake, &told);
    agent.stop();
    injected(test, "ENOSPC of the spool", TIMES);
}

#[test]
fn an_agent_that_starts_on_a_read_only_file_system_serves_says_so_and_goes_on_by_itself() {
    let test = "an_agent_that_starts_on_a_read_only_file_system_serves_says_so_and_goes_on_by_itself";
    if !is_root(test) {
        return;
    }
    let site = Site::new();
    let disk = Tmpfs::mount(&site.at("agent"), DISK_MIB);
    let (mut agent, intake) = site.agent();
    let mut told = Told::default();
    post(&intake, STREAM, REQUEST);
    told.accepted += REQUEST;
    agent.stop();
    disk.remount("ro");
    let (mut agent, intake) = site.agent();
    refused(&intake, &mut told, &["read_only"]);
    disk.remount("rw");
    taken_again(&intake, &mut told);
    counted(&site, &intake, &told);
    agent.stop();
    injected(test, "read-only file system under the agent", 1);
}
