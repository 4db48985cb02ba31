//! Prints what checking events against a schema costs at the intake:
//! `cargo run --release -p edge-agent --example check_bench`.
//!
//! In microseconds an event, on one thread: a request's body is read to events, as the intake does, without and with a
//! check; spooling is left out. The best of several rounds, which leaves out most of what else the machine does.
#![allow(clippy::print_stdout)] // a program that prints figures

use std::time::{Duration, Instant};

use edge_agent::check::{CheckPolicy, Checks, json_schemas};
use edge_agent::intake::payload::LineBody;
use edge_agent::spool::{self, SpoolConfig};
use tributary_shared::time::to_rfc3339;
use tributary_shared::wire::{MAX_EVENT_BYTES, SchemaInfo};

const EVENTS: usize = 20_000;
const ROUNDS: usize = 15;
const START: i64 = 1_795_260_000_000;
const SENSOR: &str = r#"{"type":"object","required":["ts","device","temperature"],"properties":{
    "ts":{"type":"string","format":"date-time","x-event-time":true},"device":{"type":"string"},"site":{"type":"string"},
    "status":{"enum":["ok","warn","fault"]},"temperature":{"type":"number","minimum":-60,"maximum":120},
    "humidity":{"type":"number"},"battery":{"type":"integer","minimum":0,"maximum":100}}}"#;
const TEXT: &str = r#"{"type":"object","required":["ts","message"],"properties":{
    "ts":{"type":"string","format":"date-time","x-event-time":true},"device":{"type":"string"},
    "level":{"enum":["debug","info","warn","error"]},"message":{"type":"string","maxLength":4096}}}"#;

fn sensor(n: usize) -> String {
    let ts = to_rfc3339(START + n as i64 * 7);
    let (device, site, status) = (n % 1_000, n % 8, ["ok", "ok", "warn"][n % 3]);
    let (temperature, humidity, battery) = (
        15.0 + (n % 2_000) as f64 / 100.0,
        20.0 + (n % 600) as f64 / 10.0,
        n % 101,
    );
    format!(
        r#"{{"ts":"{ts}","device":"dev-{device:04}","site":"plant-{site}","status":"{status}","temperature":{temperature:.2},"humidity":{humidity:.1},"battery":{battery}}}"#
    )
}

fn text(n: usize) -> String {
    let (ts, device) = (to_rfc3339(START + n as i64 * 7), n % 1_000);
    let message = "connection from upstream closed after retry ".repeat(4);
    format!(r#"{{"ts":"{ts}","device":"dev-{device:04}","level":"info","message":"{message}{n}"}}"#)
}

/// The whole schema has to judge: a keyword at its root that is about several fields.
fn whole(schema: &str) -> String {
    schema.replacen('{', r#"{"minProperties":1,"#, 1)
}

fn cost(checks: &Checks, stream: &str, body: &[u8]) -> f64 {
    let stream = stream.parse().expect("a name");
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let check = checks.begin(&stream);
        let begun = Instant::now();
        let mut lines = LineBody::new(MAX_EVENT_BYTES, body.len(), check);
        for chunk in body.chunks(64 << 10) {
            lines.feed(chunk).expect("good events");
        }
        let events = lines.finish().expect("good events");
        best = best.min(begun.elapsed());
        assert_eq!((events.count as usize, events.tally.invalid), (EVENTS, 0));
    }
    best.as_secs_f64() * 1e6 / EVENTS as f64
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = spool::open(SpoolConfig::new(dir.path()), "bench".parse().expect("an id")).expect("a spool");
    let policy = |name: &str| (name.parse().expect("a name"), CheckPolicy::Reject);
    let policies = ["sensor", "sensor-whole", "text", "text-whole"].map(policy);
    let checks = Checks::new(policies.into(), spool.clone(), Some(json_schemas));
    println!("microseconds an event       off    reject   reject, schema that is judged whole");
    for (id, (name, schema, row)) in [
        ("sensor", SENSOR, sensor as fn(usize) -> String),
        ("text", TEXT, text),
    ]
    .into_iter()
    .enumerate()
    {
        let whole_name = format!("{name}-whole");
        for (stream, text) in [(name, schema.to_owned()), (&whole_name, whole(schema))] {
            let info = SchemaInfo {
                id: id as u32 + 1,
                version: 1,
                format: "JSON".to_owned(),
                text,
                references: Vec::new(),
            };
            checks.learn(stream.parse().expect("a name"), Some(info)).await;
        }
        let body: String = (0..EVENTS).map(|n| row(n) + "\n").collect();
        let [off, flat, whole] =
            ["unchecked", name, &whole_name].map(|stream| cost(&checks, stream, body.as_bytes()));
        println!(
            "{name:<7} ({:>3} bytes)      {off:6.3}   {flat:6.3}   {whole:6.3}",
            body.len() / EVENTS
        );
    }
    spool.shutdown().await.expect("closes");
}
