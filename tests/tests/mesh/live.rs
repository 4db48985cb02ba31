//! Live rows for readers who come back, over real processes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use tributary_tests::{Event, LONG, Mesh, SOON, SseReader, wait_until};

use crate::{injected, mesh, temp_dir};

const STREAM: &str = "readings";
const VIEW: &str = "by_device";
const DEVICES: u64 = 20;

fn view_sql() -> String {
    format!(
        "SELECT window_start, window_end, device, count(*) AS n, max(at) AS newest \
         FROM TUMBLE({STREAM}, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, device"
    )
}

/// What tells a row: its window and its device.
type Key = (String, String);

/// What a reader has been told.
#[derive(Debug, Default)]
struct Told {
    /// The newest state of each row, and every revision of it.
    rows: BTreeMap<Key, Value>,
    revisions: BTreeMap<Key, Vec<u64>>,
    resets: usize,
    connections: usize,
}

fn key(row: &Value) -> Key {
    let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
    (text("window_start"), text("device"))
}

impl Told {
    fn hear(&mut self, event: &Event) {
        match event.kind.as_str() {
            "window" => {
                let revision = event.data["revision"].as_u64().expect("a revision");
                self.revisions.entry(key(&event.data)).or_default().push(revision);
                self.rows.insert(key(&event.data), event.data.clone());
            }
            "reset" => self.resets += 1,
            _ => {}
        }
    }
}

/// Follows the view until `over`, and comes back whenever the connection ends.
fn follow(url: String, told: &Mutex<Told>, over: &AtomicBool) {
    let mut reader = SseReader::new(url);
    while !over.load(Ordering::Acquire) {
        told.lock().expect("no panic").connections += 1;
        // an error is what this is about: the aggregator was killed
        let _ = reader.connect(|event| {
            told.lock().expect("no panic").hear(event);
            !over.load(Ordering::Acquire)
        });
        thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// One event of each device in the hour of that day.
fn hour(mesh: &Mesh, day: u64, hour: u64, round: u64) {
    let events: Vec<Value> = (0..DEVICES)
        .map(|device| {
            json!({ "ts": format!("2026-01-{day:02}T{hour:02}:30:00Z"), "device": format!("d-{device}"), "at": round })
        })
        .collect();
    mesh.post_events(STREAM, &events);
}

/// Rows as they are now, without what time alone changes.
fn states(rows: impl IntoIterator<Item = Value>) -> BTreeMap<Key, (Value, Value, Value)> {
    rows.into_iter()
        .map(|row| {
            (
                key(&row),
                (row["n"].clone(), row["newest"].clone(), row["revision"].clone()),
            )
        })
        .collect()
}

#[test]
fn a_reader_who_comes_back_hears_each_amended_row_once_per_revision_over_kills() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_view(VIEW, &view_sql());
    wait_until(SOON, "the view is live", || {
        let view = mesh.api(&format!("/api/v1/views/{VIEW}"))?;
        (view["live"] == true)
            .then_some(())
            .ok_or_else(|| view.to_string())
    });
    let url = format!("{}/api/v1/views/{VIEW}/live", mesh.ready().http);
    let (told, over) = (Mutex::new(Told::default()), AtomicBool::new(false));
    thread::scope(|scope| {
        let reader = scope.spawn(|| follow(url, &told, &over));
        wait_until(SOON, "the reader is connected", || {
            let connections = told.lock().expect("no panic").connections;
            (connections > 0)
                .then_some(())
                .ok_or_else(|| connections.to_string())
        });
        // today's windows, then a device that was away amends three days of them; the aggregator is killed in between
        for round in 0..4 {
            for day in [4, 1, 2, 3] {
                for of_day in [1, 12] {
                    hour(&mesh, day, of_day, round);
                }
            }
            if round == 1 || round == 2 {
                mesh.kill_and_await_restart("aggregator");
            }
        }
        mesh.wait_until_delivered(LONG);
        let same = wait_until(LONG, "the reader knows what the windows say", || {
            let now = states(mesh.windows(VIEW)?);
            let heard = states(told.lock().expect("no panic").rows.values().cloned());
            (now == heard)
                .then_some(now.len())
                .ok_or_else(|| format!("{} of {}", heard.len(), now.len()))
        });
        assert_eq!(same, usize::try_from(DEVICES * 8).expect("small"));
        over.store(true, Ordering::Release);
        // something to wake it with
        hour(&mesh, 4, 1, 9);
        reader.join().expect("the reader");
    });
    let told = told.into_inner().expect("no panic");
    assert!(told.connections >= 3, "it came back: {}", told.connections);
    assert_eq!(told.resets, 0, "nothing was forgotten");
    for (key, revisions) in &told.revisions {
        assert!(
            revisions.windows(2).all(|pair| pair[0] < pair[1]),
            "{key:?}: each revision once, in order: {revisions:?}"
        );
    }
    injected(
        "a_reader_who_comes_back_hears_each_amended_row_once_per_revision_over_kills",
        "kill -9 of the aggregator",
        2,
    );
}

#[test]
fn a_reader_whose_id_means_nothing_any_more_is_told_to_read_again() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_view(VIEW, &view_sql());
    hour(&mesh, 1, 1, 0);
    wait_until(SOON, "the rows", || {
        let rows = mesh.windows(VIEW)?.len();
        (rows == 20).then_some(()).ok_or_else(|| rows.to_string())
    });
    let url = format!("{}/api/v1/views/{VIEW}/live", mesh.ready().http);
    let first = |last_id: &str| {
        let mut reader = SseReader::new(url.clone());
        reader.last_id = Some(last_id.to_owned());
        let mut heard = None;
        let ended = reader.connect(|event| {
            // comments have no kind
            heard = Some(event.clone()).filter(|event| !event.kind.is_empty());
            heard.is_none()
        });
        ended.expect("an event");
        (heard.expect("an event"), reader.last_id.expect("an id"))
    };
    let (event, id) = first("999999999");
    assert_eq!(event.kind, "reset", "{event:?}");
    assert!(
        event.data["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("ahead")),
        "{event:?}"
    );
    // the id of the reset is one to go on with: what is changed afterwards is heard
    hour(&mesh, 1, 1, 1);
    let (event, _) = first(&id);
    assert_eq!(
        (event.kind.as_str(), &event.data["n"]),
        ("window", &json!(2)),
        "{event:?}"
    );

    // the old definition serves until the new one has caught up: rows may come before
    mesh.put_view(VIEW, &format!("{} -- another", view_sql()));
    let mut reader = SseReader::new(url.clone());
    reader.last_id = Some(id);
    let mut comments = 0;
    let ended = reader.connect(|event| {
        comments += u32::from(event.kind.is_empty());
        assert!(comments < 5, "a reset comes before half a minute of heartbeats");
        event.kind != "reset"
    });
    ended.expect("a reset");
}
