//! An aggregator that is restored from a backup knows less than its agents: the gap is counted, never silent.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;
use tributary_tests::{SOON, wait_until};

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
