//! SIGTERM, and another start in the same directory.

use serde_json::json;
use tributary_tests::{SOON, wait_until};

use crate::{integer, mesh, temp_dir};

const VIEW: &str = "SELECT window_start, window_end, count(*) AS n, sum(value) AS total \
                    FROM TUMBLE(app, ts, INTERVAL '1 hour') GROUP BY window_start, window_end";

#[test]
fn sigterm_drains_and_the_same_directory_resumes_the_same_lanes() {
    let dir = temp_dir();
    let events: Vec<_> = (0..100)
        .map(|value| json!({ "ts": "2026-01-01T12:00:00Z", "value": value }))
        .collect();
    let first = mesh(&dir);
    first.put_view("totals", VIEW);
    let before = first.post_events("app", &events);
    let (agent_id, http) = (first.ready().agent_id.clone(), first.ready().http.clone());
    // at once: what was accepted a moment ago must not be lost
    let status = first.terminate();
    assert_eq!(status.code(), Some(0), "SIGTERM drains and exits 0");
    assert!(!dir.path().join("ready.json").exists(), "nothing serves now");

    let second = mesh(&dir);
    assert_eq!(second.ready().agent_id, agent_id);
    assert_eq!(second.ready().http, http, "a picked port is kept");
    let after = second.post_events("app", &events);
    assert_eq!(after["epoch"], before["epoch"], "the same lane");
    assert_eq!(
        integer(&after, "first_seq"),
        integer(&before, "last_seq") + 1,
        "goes on where it stopped"
    );
    let row = wait_until(SOON, "both runs are counted", || {
        let rows = second.windows("totals")?;
        let [row] = &rows[..] else {
            return Err(format!("{rows:?}"));
        };
        (integer(row, "n") == 200)
            .then(|| row.clone())
            .ok_or_else(|| row.to_string())
    });
    assert_eq!(integer(&row, "total"), 2 * 4950, "{row}");
    let [lane] = &second.ledger("app").expect("the ledger")[..] else {
        panic!("one lane")
    };
    assert!(
        lane.mark == 200 && lane.valid == 200 && lane.balances(),
        "{lane:?}"
    );
    assert_eq!(second.terminate().code(), Some(0));
}
