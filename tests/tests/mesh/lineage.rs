//! Lineage both ways, over kills, retries, dead letters, replays and late data: events are followed to their windows, and
//! windows explained by their events, against a record that the test keeps for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use tributary_shared::time::{Millis, parse_rfc3339, to_rfc3339};
use tributary_tests::{LONG, Mesh, Posted, Poster, http, wait_until};

use crate::{injected, integer, mesh, program, temp_dir};

const TEST: &str = "events_are_followed_to_their_windows_and_windows_explained_by_their_events";
const STREAM: &str = "readings";
const START: Millis = 1_767_268_800_000; // 2026-01-01T12:00:00Z
const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
/// Events of one request.
const EVENTS: u64 = 100;
/// Requests that are accepted while processes are killed.
const REQUESTS: u64 = 120;
const KILLS: [(&str, u64); 4] = [
    ("gateway", 20),
    ("aggregator", 45),
    ("agent", 70),
    ("aggregator", 95),
];
const POSTERS: u64 = 2;
/// Requests with late events, and with events that come after the retention of one view.
const LATE: u64 = 10;
const TOO_LATE: u64 = 5;
const DEVICES: u64 = 6;
const FOLLOWED: usize = 10_000;
const EXPLAINED: usize = 100;
const FOLLOWERS: usize = 3;
const FIX: &str = "json_set(payload, '$.temperature', CAST(payload ->> '$.temperature' AS REAL))";

/// When events happened, by when they are posted.
const PHASES: [(Millis, u64); 3] = [
    (START, 0),
    (START - 5 * MINUTE, 1_000_000),
    (START - 3 * HOUR, 2_000_000),
];

const VIEWS: [(&str, &str, Option<&str>); 8] = [
    (
        "by_minute",
        "SELECT device, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY device",
        None,
    ),
    (
        "hopping",
        "SELECT device, count(*) AS n FROM HOP(readings, ts, INTERVAL '1 minute', INTERVAL '2 minutes')
                 GROUP BY device",
        None,
    ),
    (
        "runs",
        "SELECT device, count(*) AS n FROM SESSION(readings, ts, INTERVAL '20 seconds') GROUP BY device",
        None,
    ),
    (
        "running",
        "SELECT device, count(*) AS n FROM readings GROUP BY device",
        None,
    ),
    (
        "recent",
        "SELECT device, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '30 seconds') GROUP BY device",
        Some("1h"),
    ),
    (
        "warm",
        "SELECT device, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '1 minute') WHERE temperature >= 50
              GROUP BY device",
        None,
    ),
    (
        "five",
        "SELECT device, merge(n) AS n FROM TUMBLE(by_minute, window_start, INTERVAL '5 minutes') GROUP BY device",
        None,
    ),
    (
        "by_request",
        "SELECT request, count(*) AS n FROM readings GROUP BY request",
        None,
    ),
];
/// Made when some of it has happened.
const LATER: (&str, &str) = (
    "later",
    "SELECT device, count(*) AS n FROM TUMBLE(readings, ts, INTERVAL '30 seconds') GROUP BY device",
);

/// What the gateway makes of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quality {
    Good,
    /// Its temperature is a text: a dead letter, which is repaired and replayed.
    Repaired,
    /// A dead letter for good.
    Dead,
}

/// An event, as it follows from its place in a request of a number.
#[derive(Debug, Clone, Copy)]
struct Made {
    request: u64,
    at: Millis,
    device: u64,
    temperature: u64,
    quality: Quality,
    too_late: bool,
}

fn made(number: u64, place: u64) -> Made {
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut below = |limit: u64| {
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (random >> 31);
        (random >> 16) % limit
    };
    let phase = PHASES
        .iter()
        .rev()
        .find(|(_, from)| number >= *from)
        .expect("the first is 0");
    // the second half of each minute is silent: that is where sessions end
    let offset = below(10).cast_signed() * MINUTE + below(25_000).cast_signed();
    let quality = match below(20) {
        0 => Quality::Repaired,
        1 => Quality::Dead,
        _ => Quality::Good,
    };
    Made {
        request: number,
        at: phase.0 + offset,
        device: below(DEVICES),
        temperature: below(100),
        quality,
        too_late: phase.1 == PHASES[2].1,
    }
}

impl Made {
    fn text(&self) -> String {
        let temperature = match self.quality {
            Quality::Repaired => json!(self.temperature.to_string()),
            _ => json!(self.temperature),
        };
        let mut event =
            json!({"ts": to_rfc3339(self.at), "temperature": temperature, "request": self.request});
        if self.quality != Quality::Dead {
            event["device"] = json!(self.device());
        }
        event.to_string()
    }

    fn device(&self) -> String {
        format!("d-{}", self.device)
    }
}

/// Where an event is in its lane.
type Name = (u64, u64);
/// View, start and group of a row.
type Row = (String, Option<Millis>, String);

/// What the test knows, and how.
#[derive(Debug, Default)]
struct Record {
    /// Of answers of the intake.
    named: BTreeMap<Name, Made>,
    /// Taken, by requests whose answer was lost.
    unnamed: Vec<Made>,
    /// By device: first and last event of each session.
    sessions: BTreeMap<String, Vec<(Millis, Millis)>>,
}

impl Record {
    fn take(&mut self, offset: u64, posted: &Posted, taken: &BTreeSet<u64>) {
        for request in &posted.accepted {
            let range = request.range.expect("an accepted request");
            for place in 0..request.events {
                self.named.insert(
                    (range.epoch, range.first + place),
                    made(offset + request.number, place),
                );
            }
        }
        let lost = posted
            .unanswered
            .iter()
            .filter(|request| taken.contains(&(offset + request.number)));
        for request in lost {
            let events = (0..request.events).map(|place| made(offset + request.number, place));
            self.unnamed.extend(events);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Made> {
        self.named.values().chain(&self.unnamed)
    }

    fn find_sessions(&mut self) {
        let mut times: BTreeMap<String, Vec<Millis>> = BTreeMap::new();
        for event in self.all().filter(|event| event.quality != Quality::Dead) {
            times.entry(event.device()).or_default().push(event.at);
        }
        for (device, mut times) in times {
            times.sort_unstable();
            let runs = times.chunk_by(|a, b| b - a < 20 * SECOND);
            let sessions = runs.map(|run| (run[0], run[run.len() - 1])).collect();
            self.sessions.insert(device, sessions);
        }
    }

    /// The rows that count an event.
    fn rows(&self, event: &Made) -> BTreeSet<Row> {
        let mut rows = BTreeSet::new();
        if event.quality == Quality::Dead {
            return rows;
        }
        let floor = |size: Millis| event.at - event.at.rem_euclid(size);
        let mut add = |view: &str, start| rows.insert((view.to_owned(), start, event.device()));
        add("by_minute", Some(floor(MINUTE)));
        add("hopping", Some(floor(MINUTE)));
        add("hopping", Some(floor(MINUTE) - MINUTE));
        add("running", None);
        add("five", Some(floor(5 * MINUTE)));
        add("later", Some(floor(30 * SECOND)));
        if !event.too_late {
            add("recent", Some(floor(30 * SECOND)));
        }
        if event.temperature >= 50 {
            add("warm", Some(floor(MINUTE)));
        }
        let sessions = &self.sessions[&event.device()];
        let session = sessions
            .iter()
            .find(|(first, last)| (*first..=*last).contains(&event.at));
        add("runs", Some(session.expect("its own").0));
        rows.insert(("by_request".to_owned(), None, event.request.to_string()));
        rows
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ts": { "type": "string", "format": "date-time", "x-event-time": true },
            "device": { "type": "string" },
            "temperature": { "type": "number" },
            "request": { "type": "integer" }
        },
        "required": ["ts", "device", "temperature", "request"]
    })
}

/// Posts so many requests, from several sides, while the processes are killed.
fn post(mesh: &Mesh, offset: u64, requests: u64, kills: &[(&str, u64)]) -> Posted {
    let poster = Poster::new(&mesh.ready().intake, STREAM);
    let (begun, accepted) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        let mut posted = Posted::default();
        while begun.fetch_add(1, Ordering::Relaxed) < requests {
            poster.post(
                EVENTS,
                |number, place| made(offset + number, place).text(),
                &mut posted,
            );
            accepted.fetch_add(1, Ordering::Release);
        }
        posted
    };
    thread::scope(|scope| {
        let posters: Vec<_> = (0..POSTERS).map(|_| scope.spawn(work)).collect();
        for (role, after) in kills {
            wait_until(LONG, "enough is accepted", || {
                let accepted = accepted.load(Ordering::Acquire);
                (accepted >= *after)
                    .then_some(())
                    .ok_or_else(|| format!("{accepted}"))
            });
            mesh.kill_and_await_restart(role);
            injected(TEST, &format!("kill -9 of the {role}"), 1);
        }
        let mut all = Posted::default();
        for poster in posters {
            all.merge(poster.join().expect("a poster"));
        }
        all
    })
}

/// Waits until all that was posted is counted in the views.
fn settled(mesh: &Mesh) {
    mesh.wait_until_delivered(LONG);
    wait_until(LONG, "the views have everything", || {
        let ledger = mesh.ledger(STREAM)?;
        let valid: u64 = ledger.iter().map(|lane| lane.valid).sum();
        let view = mesh.api("/api/v1/views/running")?;
        (view["applied"] == json!(valid))
            .then_some(())
            .ok_or_else(|| format!("{valid}: {view}"))
    });
}

/// The requests of which anything was counted.
fn taken(mesh: &Mesh) -> BTreeSet<u64> {
    let rows = mesh.windows("by_request").expect("rows");
    rows.iter().map(|row| integer(row, "request")).collect()
}

fn replay_all(mesh: &Mesh) -> u64 {
    let (mut after, mut replayed) = (0, 0);
    loop {
        let order =
            json!({ "stream": STREAM, "reason": "/temperature", "fix": { "sql": FIX }, "after": after });
        let url = format!("{}/api/v1/dead-letters/replay", mesh.ready().http);
        let answer = http::post(&url, "application/json", order.to_string().as_bytes()).expect("an answer");
        let answer = answer.success().expect("a replay");
        replayed += integer(&answer, "replayed");
        match answer["next"].as_i64() {
            Some(next) => after = next,
            None => return replayed,
        }
    }
}

/// A column of a row, as the record has it.
fn group(of: &Value) -> String {
    match (&of["device"], &of["request"]) {
        (Value::String(device), _) => device.clone(),
        (_, request) => request.to_string(),
    }
}

fn start(of: &Value) -> Option<Millis> {
    of["window_start"]
        .as_str()
        .map(|text| parse_rfc3339(text).expect("a time"))
}

/// Follows one event by the API; what is wrong with its path.
fn follow(mesh: &Mesh, record: &Record, (epoch, seq): Name) -> Result<(), String> {
    let event = &record.named[&(epoch, seq)];
    let path = mesh.api(&format!(
        "/api/v1/events/{}/{STREAM}/{epoch}/{seq}",
        mesh.ready().agent_id
    ))?;
    let wrong = |what: &str| Err(format!("{what} of {event:?}: {path}"));
    let outcome = if event.quality == Quality::Dead {
        "dead_letter"
    } else {
        "valid"
    };
    if path["outcome"] != outcome {
        return wrong("the outcome");
    }
    let list = |name: &str| path[name].as_array().cloned().unwrap_or_default();
    let hops: Vec<String> = list("hops")
        .iter()
        .filter_map(|hop| Some(hop["hop"].as_str()?.to_owned()))
        .collect();
    let mut expected = vec![
        "collected",
        "spooled",
        "sent",
        "received",
        "admitted",
        "committed",
    ];
    match event.quality {
        Quality::Good => expected.push("applied"),
        Quality::Repaired => expected.extend(["dead_letter", "replayed", "applied"]),
        Quality::Dead => expected.push("dead_letter"),
    }
    let mut known = hops.iter();
    if !expected.iter().all(|hop| known.any(|known| known == hop)) {
        return wrong("the hops");
    }
    let row = |hit: &Value| {
        (
            hit["view"].as_str().unwrap_or("").to_owned(),
            start(hit),
            group(&hit["group"]),
        )
    };
    let found = list("windows");
    if found.iter().any(|hit| hit["counted"] != true) {
        return wrong("a window that does not count it, but is listed,");
    }
    let rows: BTreeSet<Row> = found.iter().map(row).collect();
    if rows.len() != found.len() || rows != record.rows(event) {
        return wrong(&format!("the windows, which are {:?},", record.rows(event)));
    }
    let of = |refused: &Value| {
        (
            refused["view"].as_str().map(str::to_owned),
            refused["why"].as_str().map(str::to_owned),
        )
    };
    let not: BTreeSet<_> = list("not_counted").iter().map(of).collect();
    let mut expected = BTreeSet::new();
    if event.quality != Quality::Dead {
        let mut add = |view: &str, why: &str| expected.insert((Some(view.to_owned()), Some(why.to_owned())));
        if event.too_late {
            add("recent", "too_late");
        }
        if event.temperature < 50 {
            add("warm", "filtered");
        }
    }
    if not == expected {
        Ok(())
    } else {
        wrong("what does not count it")
    }
}

/// Explains one row; what is wrong with the explanation.
fn explain(mesh: &Mesh, record: &Record, (view, row): &(String, Value)) -> Result<(), String> {
    let name: Row = (view.clone(), start(row), group(row));
    let key = if view == "by_request" { "request" } else { "device" };
    let mut url = format!("/api/v1/views/{view}/explain?{key}={}", name.2);
    if let Some(start) = name.1 {
        url += &format!("&window_start={start}");
    }
    let told = mesh.api(&url)?;
    let wrong = |what: &str| Err(format!("{what} of {name:?}: {told}"));
    let is_in = |event: &&Made| record.rows(event).contains(&name);
    let (named, unnamed) = (
        record
            .named
            .iter()
            .filter(|(_, event)| is_in(event))
            .collect::<Vec<_>>(),
        record.unnamed.iter().filter(is_in).count() as u64,
    );
    let count = named.len() as u64 + unnamed;
    if integer(row, "n") != count || integer(&told, "events") != count {
        return wrong(&format!("the count, which is {count},"));
    }
    let complete = told["complete"] == true && told["not_kept"].is_null() && told["next"].is_null();
    if integer(&told, "explained") != count || !complete {
        return wrong("the sum");
    }
    for part in ["lanes", "agents", "gateways", "schemas"] {
        let lines = told[part].as_array().ok_or_else(|| told.to_string())?;
        let sum: u64 = lines.iter().map(|line| integer(line, "events")).sum();
        if sum != count {
            return wrong(part);
        }
    }
    let (mut known, mut others) = (0, 0);
    for lane in told["lanes"].as_array().into_iter().flatten() {
        let mut in_lane = 0;
        for range in lane["ranges"].as_array().into_iter().flatten() {
            let seqs = integer(range, "first_seq")..=integer(range, "last_seq");
            let replayed = range["replayed"] == true;
            let is_there = |(of, event): &&(&Name, &Made)| {
                of.0 == integer(lane, "epoch")
                    && seqs.contains(&of.1)
                    && (event.quality == Quality::Repaired) == replayed
            };
            let here = named.iter().filter(is_there).count() as u64;
            let Some(rest) = integer(range, "events").checked_sub(here) else {
                return wrong(&format!("{here} events lie in a range"));
            };
            if range["gateway"].is_null() != replayed {
                return wrong("the gateway of a range");
            }
            (known, others) = (known + here, others + rest);
            in_lane += integer(range, "events");
        }
        if in_lane != integer(lane, "events") {
            return wrong("the ranges of a lane");
        }
    }
    if (known, others) == (named.len() as u64, unnamed) {
        Ok(())
    } else {
        wrong(&format!("{known} events and {others} others"))
    }
}

/// Does something with each of these, from several sides; panics with the first that went wrong.
fn each<T: Sync>(of: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..FOLLOWERS {
            scope.spawn(|| {
                while let Some(one) = of.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(wrong) = check(one) {
                        next.store(of.len(), Ordering::Relaxed);
                        panic!("{wrong}");
                    }
                }
            });
        }
    });
}

/// So many of these, at random.
fn some<T>(mut of: Vec<T>, most: usize) -> Vec<T> {
    let mut seed = 7_u64;
    for at in (1..of.len()).rev() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        of.swap(at, (seed >> 33) as usize % (at + 1));
    }
    of.truncate(most);
    of
}

fn tributary(mesh: &Mesh, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program());
    let output = command
        .arg("explain")
        .args(arguments)
        .args(["--http", &mesh.ready().http])
        .output();
    let output = output.expect("runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[test]
fn events_are_followed_to_their_windows_and_windows_explained_by_their_events() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_schema(STREAM, &schema());
    for (view, sql, retention) in VIEWS {
        let mut body = json!({ "sql": sql });
        if let Some(retention) = retention {
            body["retention"] = json!(retention);
            body["allowed_lateness"] = json!(retention);
        }
        let url = format!("{}/api/v1/views/{view}", mesh.ready().http);
        http::put(&url, &body)
            .expect("an answer")
            .success()
            .expect("a view");
    }
    let mut posted = vec![(PHASES[0].1, post(&mesh, PHASES[0].1, REQUESTS, &KILLS))];
    settled(&mesh);
    mesh.put_view(LATER.0, LATER.1);
    // each of these must find what came before it counted
    for (requests, (_, offset)) in [LATE, TOO_LATE].into_iter().zip(&PHASES[1..]) {
        posted.push((*offset, post(&mesh, *offset, requests, &[])));
        settled(&mesh);
    }
    let replayed = replay_all(&mesh);
    settled(&mesh);
    let taken = taken(&mesh);
    let mut record = Record::default();
    for (offset, posted) in &posted {
        record.take(*offset, posted, &taken);
    }
    record.find_sessions();
    let repaired = record
        .all()
        .filter(|event| event.quality == Quality::Repaired)
        .count() as u64;
    assert_eq!(replayed, repaired, "each letter with a text for its temperature");
    wait_until(LONG, "the later view has caught up", || {
        let view = mesh.api("/api/v1/views/later")?;
        (view["live"] == true)
            .then_some(())
            .ok_or_else(|| view.to_string())
    });

    let events = some(record.named.keys().copied().collect(), FOLLOWED);
    assert_eq!(events.len(), FOLLOWED);
    each(&events, |name| follow(&mesh, &record, *name));

    let views = VIEWS.iter().map(|view| view.0).chain([LATER.0]);
    let of_view = |view: &'static str| {
        let rows = mesh.windows(view).expect("rows");
        // of views without windows there are few rows
        some(rows, 30).into_iter().map(move |row| (view.to_owned(), row))
    };
    let rows = some(views.flat_map(of_view).collect(), EXPLAINED);
    assert_eq!(rows.len(), EXPLAINED);
    each(&rows, |row| explain(&mesh, &record, row));

    let (code, text) = tributary(&mesh, &["by_minute", &to_rfc3339(START), "device=d-1"]);
    assert!(
        code == Some(0) && text.contains("(device d-1)") && text.contains("all of them"),
        "{text}"
    );
    for wrong in [
        &["by_minute", "device=d-1"][..],
        &["by_minute", "0", "device=d-1"],
        &["by_minute", "0", "n=1"],
    ] {
        let (code, text) = tributary(&mesh, wrong);
        assert!(
            code == Some(2) && text.starts_with("error: "),
            "{wrong:?}: {text}"
        );
    }
}
