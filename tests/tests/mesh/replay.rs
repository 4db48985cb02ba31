//! Dead letters that come back: fixed, replayed many times over, from several sides, and over a kill.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};
use tributary_tests::{LONG, Mesh, SOON, http, wait_until};

use crate::{injected, integer, mesh, program, temp_dir};

const TEST: &str = "a_thousand_letters_are_fixed_and_replayed_and_each_counts_once_over_a_kill";
const STREAM: &str = "readings";
const VIEW: &str = "SELECT window_start, window_end, device, count(*) AS n, sum(temperature) AS t_sum \
                    FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, device";
const DEVICES: u64 = 4;
/// Every second event carries its temperature as text.
const EVENTS: u64 = 2_000;
const DEAD: u64 = EVENTS / 2;
const FIX: &str = "json_set(payload, '$.temperature', CAST(payload ->> '$.temperature' AS REAL))";
/// Letters that one request replays, so that a kill comes between two of them.
const CHUNK: u64 = 40;
/// Letters that are replayed when the aggregator is killed.
const KILL_AFTER: u64 = 5 * CHUNK;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ts": { "type": "string", "format": "date-time", "x-event-time": true },
            "device": { "type": "string" },
            "temperature": { "type": "number" }
        },
        "required": ["ts", "device", "temperature"]
    })
}

fn event(n: u64) -> Value {
    let temperature = if n.is_multiple_of(2) {
        json!(n)
    } else {
        json!(n.to_string())
    };
    let (minute, device) = (n % 7, n % DEVICES);
    json!({ "ts": format!("2026-01-01T12:0{minute}:00Z"), "device": format!("d-{device}"), "temperature": temperature })
}

/// Count and sum of all windows.
fn sums(mesh: &Mesh) -> Result<(u64, f64, usize), String> {
    let rows = mesh.windows("per_device")?;
    let n = rows.iter().map(|row| integer(row, "n")).sum();
    let t_sum = rows.iter().filter_map(|row| row["t_sum"].as_f64()).sum();
    Ok((n, t_sum, rows.len()))
}

fn wait_for_sums(mesh: &Mesh, expected: (u64, u64)) {
    wait_until(LONG, "the windows", || {
        let (n, t_sum, _) = sums(mesh)?;
        // sums of whole numbers are exact
        ((n, t_sum) == (expected.0, expected.1 as f64))
            .then_some(())
            .ok_or_else(|| format!("{n} {t_sum}"))
    });
}

fn replay_chunk(base: &str, after: i64) -> Result<Value, String> {
    let order = json!({ "stream": STREAM, "reason": "/temperature", "fix": { "sql": FIX }, "after": after, "limit": CHUNK });
    let url = format!("{base}/api/v1/dead-letters/replay");
    let answer = http::post(&url, "application/json", order.to_string().as_bytes());
    answer.map_err(|error| error.to_string())?.success()
}

/// Replays all, chunk by chunk, however often that fails. Returns how many were replayed by the answers that came.
fn replay_all(base: &str, seen: &AtomicU64) -> u64 {
    let (mut after, mut replayed) = (0, 0);
    loop {
        let answer = wait_until(LONG, "a chunk is replayed", || replay_chunk(base, after));
        replayed += integer(&answer, "replayed");
        seen.fetch_add(integer(&answer, "replayed"), Ordering::Release);
        match answer["next"].as_i64() {
            Some(next) => after = next,
            None => return replayed,
        }
    }
}

fn tributary(arguments: &[&str]) -> Output {
    Command::new(program())
        .arg("dead-letters")
        .args(arguments)
        .output()
        .expect("runs")
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_thousand_letters_are_fixed_and_replayed_and_each_counts_once_over_a_kill() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_schema(STREAM, &schema());
    mesh.put_view("per_device", VIEW);
    let events: Vec<Value> = (1..=EVENTS).map(event).collect();
    for part in events.chunks(250) {
        mesh.post_events(STREAM, part);
    }
    let base = mesh.ready().http.clone();
    wait_until(LONG, "the dead letters", || {
        let counts = mesh.api("/api/v1/dead-letters/counts")?;
        (counts["totals"]["open"] == json!(DEAD))
            .then_some(())
            .ok_or_else(|| counts.to_string())
    });
    let even: u64 = (1..=EVENTS).filter(|n| n.is_multiple_of(2)).sum();
    wait_for_sums(&mesh, (EVENTS - DEAD, even));

    // a dry run changes nothing, through the command that people use
    let select = ["--http", &base, "--stream", STREAM, "--json"];
    let fixed = ["--fix-sql", FIX];
    let dry = tributary(&[&["replay"], &select[..], &fixed, &["--dry-run"]].concat());
    assert_eq!(
        (dry.status.code(), integer(&told(&dry), "replayed")),
        (Some(0), DEAD),
        "{dry:?}"
    );
    let unfixed = tributary(&[&["replay"], &select[..]].concat());
    assert_eq!(
        (unfixed.status.code(), integer(&told(&unfixed), "still_invalid")),
        (Some(1), DEAD)
    );

    // the first time: from three sides at once, and the aggregator is killed in the middle
    let seen = AtomicU64::new(0);
    let by_answers = thread::scope(|scope| {
        let sides: Vec<_> = (0..3).map(|_| scope.spawn(|| replay_all(&base, &seen))).collect();
        wait_until(LONG, "some letters are replayed", || {
            let seen = seen.load(Ordering::Acquire);
            (seen >= KILL_AFTER)
                .then_some(())
                .ok_or_else(|| format!("{seen}"))
        });
        mesh.kill_and_await_restart("aggregator");
        sides
            .into_iter()
            .map(|side| side.join().expect("a side"))
            .sum::<u64>()
    });
    injected(TEST, "kill -9 of the aggregator", 1);
    assert!(by_answers <= DEAD, "no letter is replayed twice: {by_answers}");

    // the second time: nothing is left to do
    let again = tributary(&[&["replay"], &select[..], &fixed].concat());
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let again = told(&again);
    assert_eq!(
        (integer(&again, "replayed"), integer(&again, "already_replayed")),
        (0, DEAD),
        "{again}"
    );

    wait_for_sums(&mesh, (EVENTS, EVENTS * (EVENTS + 1) / 2));
    let lanes = mesh.ledger(STREAM).expect("the ledger");
    let (valid, dead): (u64, u64) = lanes
        .iter()
        .fold((0, 0), |sum, lane| (sum.0 + lane.valid, sum.1 + lane.dead));
    assert!(
        (valid, dead) == (EVENTS, 0) && lanes.iter().all(|lane| lane.balances()),
        "{lanes:?}"
    );
    let ledger = Command::new(program())
        .args(["ledger", "--http", &base])
        .output()
        .expect("runs");
    assert_eq!(ledger.status.code(), Some(0), "{ledger:?}");
    // replayed from empty, the log gives the same
    mesh.put_view("from_empty", &VIEW.replace("FROM TUMBLE", "FROM  TUMBLE"));
    wait_until(SOON, "the back-filled view", || {
        let rows = mesh.windows("from_empty")?;
        let n: u64 = rows.iter().map(|row| integer(row, "n")).sum();
        (n == EVENTS).then_some(()).ok_or_else(|| format!("{n}"))
    });
}

#[test]
fn letters_are_listed_shown_discarded_and_wrong_usage_is_told() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_schema(STREAM, &schema());
    mesh.post_events(STREAM, &[event(1), event(3), json!({ "device": 7 })]);
    let base = mesh.ready().http.clone();
    wait_until(SOON, "the dead letters", || {
        let counts = mesh.api("/api/v1/dead-letters/counts")?;
        (counts["totals"]["open"] == json!(3))
            .then_some(())
            .ok_or_else(|| counts.to_string())
    });
    let at = ["--http", base.as_str()];
    let listed = tributary(&[&["list", "--reason", "/temperature"], &at[..], &["--json"]].concat());
    let listed = told(&listed);
    assert_eq!(
        listed["dead_letters"].as_array().map(Vec::len),
        Some(3),
        "{listed}"
    );
    let id = listed["dead_letters"][2]["id"].to_string();
    let shown = tributary(&[&["show", &id], &at[..]].concat());
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(
        text.contains("/temperature: ") && text.contains(r#""temperature":"1""#),
        "{text}"
    );
    let patch = dir.path().join("patch.json");
    std::fs::write(&patch, r#"[{"op":"add","path":"/temperature","value":4}]"#).expect("writes");
    let patch = patch.display().to_string();
    let replayed = tributary(&[&["replay", &id, "--fix-patch", &patch], &at[..]].concat());
    assert_eq!(
        String::from_utf8_lossy(&replayed.stdout),
        "1 replayed\n",
        "{replayed:?}"
    );
    let discarded = tributary(&[&["discard", "--stream", STREAM, "--because", "a test"], &at[..]].concat());
    assert_eq!(
        String::from_utf8_lossy(&discarded.stdout),
        "2 discarded, 1 replayed before\n",
        "{discarded:?}"
    );
    std::fs::write(dir.path().join("broken.json"), "{").expect("writes");
    let broken = dir.path().join("broken.json").display().to_string();
    for usage in [
        vec!["replay"],
        vec!["replay", "--all", "--fix-sql", "nonsense"],
        vec!["replay", "--all", "--fix-patch", &broken],
        vec!["replay", "--stream", STREAM, "--schema", "9"],
        vec!["show", "9999"],
    ] {
        let refused = tributary(&[&usage[..], &at].concat());
        assert_eq!(refused.status.code(), Some(2), "{usage:?}: {refused:?}");
        assert!(
            String::from_utf8_lossy(&refused.stderr).starts_with("error: "),
            "{refused:?}"
        );
    }
    let nowhere = tributary(&["list", "--http", "http://127.0.0.1:1"]);
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
    let [lane] = &mesh.ledger(STREAM).expect("the ledger")[..] else {
        panic!("one lane")
    };
    assert!((lane.valid, lane.dead) == (1, 2) && lane.balances(), "{lane:?}");
}
