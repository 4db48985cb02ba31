//! A device that returns after three days: its windows and their roll-ups are amended, and who follows them hears of
//! each amended row once for each revision.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tributary_shared::time::{Millis, now_millis, to_rfc3339};
use tributary_tests::{LONG, wait_until};

use crate::{integer, mesh, temp_dir};

const HOUR: Millis = 3_600_000;
const HOURS: i64 = 72;

const BY_HOUR: &str = "SELECT window_start, window_end, site, count(*) AS n, avg(t) AS mean \
                       FROM TUMBLE(readings, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, site";
const BY_DAY: &str = "SELECT window_start, window_end, site, merge(n) AS n, merge(mean) AS mean, count(*) AS hours \
                      FROM TUMBLE(by_hour, window_start, INTERVAL '1 day') GROUP BY window_start, window_end, site";

/// Rows as a subscriber hears them, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Value>>>);

impl Heard {
    fn of(http: &str, view: &str) -> Self {
        let address = http.strip_prefix("http://").expect("a URL");
        let mut stream = TcpStream::connect(address).expect("the API listens");
        let request = format!("GET /api/v1/views/{view}/live HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next().expect("an answer").expect("text");
        assert!(status.contains("200"), "{status}");
        // the head of the answer is sent when the subscription stands
        assert!(lines.by_ref().any(|line| line.is_ok_and(|line| line.is_empty())));
        let heard = Self::default();
        let rows = heard.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(row) = line
                    .strip_prefix("data:")
                    .and_then(|row| serde_json::from_str(row).ok())
                {
                    rows.0.lock().expect("no reader panicked").push(row);
                }
            }
        });
        heard
    }

    /// By start: each revision with the row that was told. Twice the same revision of a row is a failure.
    fn by_row(&self) -> BTreeMap<String, BTreeMap<u64, Value>> {
        let mut rows: BTreeMap<String, BTreeMap<u64, Value>> = BTreeMap::new();
        for row in self.0.lock().expect("no reader panicked").iter() {
            let start = row["window_start"].as_str().unwrap_or_default().to_owned();
            let revision = integer(row, "revision");
            let known = rows.entry(start).or_default().insert(revision, row.clone());
            assert!(known.is_none(), "told twice: {row}");
        }
        rows
    }
}

fn backlog(newest: Millis, t: f64) -> Vec<Value> {
    (0..HOURS)
        .map(|hours| json!({ "ts": to_rfc3339(newest - hours * HOUR), "site": "north", "t": t }))
        .collect()
}

/// The sums of a view's rows, when there are as many as that.
fn counted(rows: &[Value], events: i64) -> Result<(), String> {
    let n: u64 = rows.iter().map(|row| integer(row, "n")).sum();
    (n == events.cast_unsigned())
        .then_some(())
        .ok_or_else(|| format!("{n} of {events} events"))
}

#[test]
fn a_device_that_returns_after_three_days_amends_its_windows_and_their_roll_ups() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_view("by_hour", BY_HOUR);
    mesh.put_view("by_day", BY_DAY);
    // an hour ago, so that no window is still being filled by the clock's progress
    let newest = now_millis() - HOUR;
    mesh.post_events("readings", &backlog(newest, 10.0));
    wait_until(LONG, "the others' three days are counted", || {
        counted(&mesh.windows("by_day")?, HOURS)
    });
    let before = mesh.windows("by_hour").expect("answers");
    assert_eq!(before.len() as i64, HOURS);

    let http = mesh.ready().http.clone();
    let (hours, days) = (Heard::of(&http, "by_hour"), Heard::of(&http, "by_day"));
    {
        // it was away: what it measured waits in its spool
        let _away = mesh.pause("gateway");
        mesh.post_events("readings", &backlog(newest, 30.0));
    }
    wait_until(LONG, "its three days are counted", || {
        counted(&mesh.windows("by_hour")?, 2 * HOURS)?;
        counted(&mesh.windows("by_day")?, 2 * HOURS)
    });
    for (view, heard, least) in [("by_hour", &hours, HOURS as usize), ("by_day", &days, 3)] {
        let now: BTreeMap<String, Value> = mesh
            .windows(view)
            .expect("answers")
            .into_iter()
            .map(|row| (row["window_start"].as_str().unwrap_or_default().to_owned(), row))
            .collect();
        assert!(now.len() >= least, "{view} has {} rows", now.len());
        for row in now.values() {
            assert_eq!(
                row["mean"],
                json!(20.0),
                "the mean of the events, not of means: {row}"
            );
        }
        wait_until(LONG, "every amended row is told", || {
            let told = heard.by_row();
            let newest = |row: &BTreeMap<u64, Value>| row.last_key_value().map(|(_, row)| row.clone());
            let behind = now.iter().find(|(start, row)| {
                let told = told.get(*start).and_then(newest);
                told.is_none_or(|told| (&told["n"], &told["revision"]) != (&row["n"], &row["revision"]))
            });
            behind.map_or(Ok(()), |(start, _)| {
                Err(format!("{view}: {start} is not told as it is"))
            })
        });
        assert_eq!(heard.by_row().len(), now.len(), "no other row is told");
    }
    assert_eq!(mesh.terminate().code(), Some(0));
}
