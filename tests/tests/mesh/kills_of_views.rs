//! `kill -9` of the aggregator while windows are stored, amended from disk, and counted anew: no final number changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tributary_tests::{LONG, RoleProcess, SOON, http, wait_until};

use crate::site::{Site, delivered};
use crate::{injected, integer};

const STREAM: &str = "readings";
const VIEW: &str = "by_device";
/// Far more groups than the aggregator below keeps in memory.
const WINDOWS: u64 = 30;
const DEVICES: u64 = 500;
/// Events of one request: one for each group of two windows.
const WINDOWS_A_REQUEST: u64 = 2;
const ROUNDS: u64 = 4;
const START: i64 = 1_767_268_800_000; // 2026-01-01T12:00:00Z
const MINUTE: i64 = 60_000;

const SQL: &str = "SELECT window_start, device, count(*) AS n, sum(v) AS total, max(v) AS most \
                   FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY device";
const OTHER_SQL: &str = "SELECT window_start, device, count(*) AS n, sum(v) AS total, max(v) AS most \
                         FROM TUMBLE(readings, ts, INTERVAL '2 minutes') GROUP BY device";

/// What each group must hold: events, their sum, the greatest. By the start of its window, and the device.
type Expected = BTreeMap<(i64, u64), (u64, u64, u64)>;

fn start(site: &Site) -> (RoleProcess, String) {
    site.aggregator_that(|config| format!("{config}\n[views]\nhot_bytes = \"1MiB\"\n"))
}

/// One event for each group, in all windows, and a note of it.
fn post_round(intake: &str, round: u64, expected: &mut Expected) {
    for first in (0..WINDOWS).step_by(usize::try_from(WINDOWS_A_REQUEST).expect("small")) {
        let mut body = String::new();
        for window in first..first + WINDOWS_A_REQUEST {
            for device in 0..DEVICES {
                let value = round * 1_000 + window * 7 + device % 11;
                let at = START + MINUTE * i64::try_from(window).expect("small");
                let line = json!({"ts": at + 1, "device": format!("d-{device}"), "v": value});
                body += &format!("{line}\n");
                let group = expected.entry((at, device)).or_default();
                *group = (group.0 + 1, group.1 + value, group.2.max(value));
            }
        }
        let url = format!("{intake}/v1/streams/{STREAM}/events");
        let answer =
            http::post(&url, "application/x-ndjson", body.as_bytes()).expect("an answer of the intake");
        answer.success().expect("the intake takes good events");
    }
}

fn put(api: &str, view: &str, sql: &str) {
    let url = format!("{api}/api/v1/views/{view}");
    let answer = http::put(&url, &json!({ "sql": sql })).expect("an answer of the API");
    answer.success().expect("a good view");
}

fn info(api: &str, view: &str) -> Result<Value, String> {
    http::get_json(&format!("{api}/api/v1/views/{view}"))
}

/// The groups of a view in one window.
fn groups_of(api: &str, view: &str, from: i64, to: i64) -> Result<Expected, String> {
    let url = format!("{api}/api/v1/views/{view}/windows?from={from}&to={to}&limit=10000");
    let answer = http::get_json(&url)?;
    let rows = answer["rows"].as_array().ok_or_else(|| answer.to_string())?;
    let group = |row: &Value| {
        let device = row["device"].as_str().and_then(|text| text.strip_prefix("d-"));
        let device = device
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| row.to_string())?;
        Ok((
            (from, device),
            (integer(row, "n"), integer(row, "total"), integer(row, "most")),
        ))
    };
    rows.iter().map(group).collect()
}

/// A view holds what was posted, group by group, in windows of so many minutes.
fn check(api: &str, view: &str, expected: &Expected, minutes: i64) {
    let size = minutes * MINUTE;
    let mut merged = Expected::new();
    for ((start, device), (n, total, most)) in expected {
        let group = merged
            .entry((start - start.rem_euclid(size), *device))
            .or_default();
        *group = (group.0 + n, group.1 + total, group.2.max(*most));
    }
    let events: u64 = merged.values().map(|group| group.0).sum();
    wait_until(LONG, "the view has applied everything", || {
        let info = info(api, view)?;
        (info["applied"] == events && info["live"] == true && info.get("backfill").is_none())
            .then_some(())
            .ok_or_else(|| format!("{events} expected: {info}"))
    });
    let starts: std::collections::BTreeSet<i64> = merged.keys().map(|(start, _)| *start).collect();
    let mut found = Expected::new();
    for start in starts {
        found.extend(groups_of(api, view, start, start + size).expect("rows"));
    }
    assert_eq!(found.len(), merged.len());
    for (group, holds) in &merged {
        assert_eq!(found.get(group), Some(holds), "{view}: {group:?}");
    }
    let info = info(api, view).expect("the view");
    assert_eq!(info["groups"].as_u64(), Some(merged.len() as u64), "{info}");
}

/// Kills the aggregator while it writes a snapshot: the log of views.db has grown since.
fn kill_while_storing(dir: &Path, aggregator: &mut RoleProcess) {
    let wal = dir.join("views.db-wal");
    let written = || std::fs::metadata(&wal).and_then(|file| file.modified()).ok();
    let (before, end) = (written(), Instant::now() + LONG);
    while written() == before {
        assert!(Instant::now() < end, "no snapshot is written");
        assert!(aggregator.process.ended().is_none(), "the aggregator lives");
        // a snapshot takes some milliseconds: no time to sleep
        std::thread::yield_now();
    }
    aggregator.process.kill();
}

#[test]
fn no_final_number_changes_when_the_aggregator_is_killed_during_snapshot_back_fill_and_amendment_on_disk() {
    let site = Site::new();
    let dir = site.at("aggregator");
    let (mut aggregator, mut api) = start(&site);
    let (mut gateway, (mut agent, intake)) = (site.gateway(), site.agent());
    put(&api, VIEW, SQL);
    let mut expected = Expected::new();
    post_round(&intake, 0, &mut expected);
    delivered(&api, &intake, STREAM);
    check(&api, VIEW, &expected, 1);
    // every round amends every window, of which memory holds some; each is cut short by a kill
    for round in 1..=ROUNDS {
        post_round(&intake, round, &mut expected);
        kill_while_storing(&dir, &mut aggregator);
        (aggregator, api) = start(&site);
    }
    delivered(&api, &intake, STREAM);
    check(&api, VIEW, &expected, 1);
    let metrics = tributary_tests::Metrics::scrape(&api).expect("metrics");
    let bytes = metrics.sum("tributary_window_bytes", &[]);
    assert!(
        bytes > 0.0 && bytes < f64::from(2 << 20),
        "{bytes} bytes of windows are in memory"
    );

    // a new view, and one that replaces the first: killed while they are back-filled
    put(&api, "later", SQL);
    put(&api, VIEW, OTHER_SQL);
    let put = info(&api, VIEW).expect("the view");
    assert!(
        put["sql"] == OTHER_SQL && (put["live"] == true || put["serves"]["sql"] == SQL),
        "{put}"
    );
    aggregator.process.kill();
    (aggregator, api) = start(&site);
    wait_until(SOON, "the view serves what replaced it", || {
        let info = info(&api, VIEW)?;
        let serves = info["sql"] == OTHER_SQL && info["live"] == true && info.get("serves").is_none();
        serves.then_some(()).ok_or_else(|| info.to_string())
    });
    post_round(&intake, ROUNDS + 1, &mut expected);
    kill_while_storing(&dir, &mut aggregator);
    (aggregator, api) = start(&site);
    delivered(&api, &intake, STREAM);
    check(&api, "later", &expected, 1);
    check(&api, VIEW, &expected, 2);
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
    let test = "no_final_number_changes_when_the_aggregator_is_killed_during_snapshot_back_fill_and_amendment_on_disk";
    injected(
        test,
        "kill -9 of the aggregator while windows are stored, amended or counted anew",
        ROUNDS + 2,
    );
}
