//! `tributary spool`, on the directory of an agent that does not run.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::program;
use crate::site::{Site, delivered, garble, post, sums};

fn spool(site: &Site, args: &[&str]) -> Output {
    let (command, rest) = args.split_first().expect("a command");
    let mut tributary = Command::new(program());
    tributary
        .args(["spool", command, "--dir"])
        .arg(site.at("agent"))
        .args(rest);
    tributary.output().expect("it runs")
}

/// What a command prints, when it ends with this code.
fn said(output: &Output, code: i32) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}{errors}");
    text
}

#[test]
fn an_operator_sees_copies_and_gives_up_what_a_stopped_agent_holds_and_the_ledger_names_it() {
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    let first = post(&intake, "app", 30);
    post(&intake, "app", 20);
    post(&intake, "other", 10);
    let refused = spool(&site, &["stat"]);
    said(&refused, 1);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("another agent uses the spool"), "{why}");
    agent.stop();

    let stat = said(&spool(&site, &["stat"]), 0);
    assert!(
        stat.starts_with("agent edge-1: 60 events held in 2 lanes"),
        "{stat}"
    );
    let fsck = said(&spool(&site, &["fsck"]), 0);
    assert!(
        fsck.starts_with("2 lanes, 3 blocks, 60 whole events: nothing is wrong"),
        "{fsck}"
    );

    let exported = said(&spool(&site, &["export", "--stream", "app"]), 0);
    let lines: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect();
    assert_eq!(lines.len(), 50);
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["seq"], at + 1);
        assert_eq!(line["payload"]["n"], if at < 30 { at } else { at - 30 });
        assert_eq!(
            (&line["agent"], &line["stream"], &line["epoch"]),
            (&json!("edge-1"), &json!("app"), &first["epoch"])
        );
        assert!(
            line["collected_at"].as_str().is_some_and(|at| at.ends_with('Z')),
            "{line}"
        );
    }
    assert_eq!(said(&spool(&site, &["export"]), 0).lines().count(), 60);

    // 40 lies within the second block, which stays whole
    let args = ["drop", "--stream", "app", "--to", "40"];
    let asked = said(&spool(&site, &args), 1);
    assert!(asked.starts_with("would drop 30 events of app/"), "{asked}");
    assert!(
        said(&spool(&site, &["stat"]), 0).contains(": 60 events held"),
        "only asked"
    );
    let dropped = said(&spool(&site, &[&args[..], &["--yes"]].concat()), 0);
    assert!(dropped.starts_with("dropped 30 events of app/"), "{dropped}");
    assert!(said(&spool(&site, &["stat"]), 0).contains("dropped 1..30 (30): operator"));
    assert!(said(&spool(&site, &["fsck"]), 0).contains("nothing is wrong"));
    said(&spool(&site, &["drop", "--stream", "nobody", "--yes"]), 1);

    let (mut agent, intake) = site.agent();
    let (mut gateway, (mut aggregator, api)) = (site.gateway(), site.aggregator());
    let ledger = delivered(&api, &intake, "app");
    assert_eq!(sums(&ledger), (20, 30), "{ledger:?}");
    assert_eq!(ledger[0].dropped[0].reason, "operator");
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
}

#[test]
fn fsck_finds_a_damaged_block_and_export_gives_everything_else() {
    let site = Site::new();
    let (mut agent, intake) = site.agent();
    for _ in 0..5 {
        // each a block of many pages
        post(&intake, "app", 30);
    }
    agent.stop();
    let file = site.at("agent/spool/spool.db");
    let size = std::fs::metadata(&file).expect("the spool").len();
    garble(&file, size / 2 / 8_192 * 8_192 + 64, 512);
    let fsck = said(&spool(&site, &["fsck"]), 1);
    assert!(fsck.contains("120 whole events: 1 thing is wrong"), "{fsck}");
    assert!(fsck.contains("fails its checksum"), "{fsck}");
    assert_eq!(said(&spool(&site, &["export"]), 1).lines().count(), 120);

    let elsewhere = Command::new(program())
        .args(["spool", "stat", "--dir", "/nowhere"])
        .output();
    let why = String::from_utf8_lossy(&elsewhere.expect("it runs").stderr).into_owned();
    assert!(why.contains("there is no spool in /nowhere"), "{why}");
}
