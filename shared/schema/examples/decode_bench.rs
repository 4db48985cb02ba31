//! Prints what decoding costs: `cargo run --release -p tributary-schema --example decode_bench [-- ROWS_PER_BATCH [WORKLOAD]]`.
//!
//! Each figure is in microseconds a row, on one thread. A batch counts with the best of several rounds, which
//! leaves out most of what else the machine does.
#![allow(clippy::print_stdout)] // a program that prints figures

use std::time::{Duration, Instant};

use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use serde_json::{Value, json};
use tributary_schema::decode::{DecodeLimits, Decoder, StreamSchema, is_event};
use tributary_shared::time::{parse_rfc3339, to_rfc3339};
use tributary_shared::wire::rows::{Inflater, compress, push_row};
use tributary_shared::wire::{SchemaInfo, Segment};

const BATCHES: usize = 20;
const ROUNDS: usize = 7;
const DEVICES: u64 = 1_000;
const START: i64 = 1_795_260_000_000;

/// A small generator, so that the bench's rows are the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Workload {
    name: &'static str,
    schema: Value,
    /// The same fields as an Avro record.
    avro: Value,
    row: fn(&mut Random, i64) -> String,
    bad: fn(String) -> String,
}

fn sensor_row(random: &mut Random, at: i64) -> String {
    let status = ["ok", "ok", "ok", "ok", "warn", "fault"][random.below(6) as usize];
    format!(
        r#"{{"ts":"{}","device":"dev-{:04}","site":"plant-{}","status":"{status}","temperature":{:.2},"humidity":{:.1},"pressure":{:.1},"battery":{}}}"#,
        to_rfc3339(at),
        random.below(DEVICES),
        random.below(8),
        15.0 + random.below(2000) as f64 / 100.0,
        20.0 + random.below(600) as f64 / 10.0,
        990.0 + random.below(400) as f64 / 10.0,
        random.below(101),
    )
}

fn text_row(random: &mut Random, at: i64) -> String {
    const WORDS: [&str; 24] = [
        "connection",
        "from",
        "upstream",
        "closed",
        "after",
        "retry",
        "the",
        "pump",
        "controller",
        "reported",
        "pressure",
        "below",
        "threshold",
        "valve",
        "opened",
        "by",
        "operator",
        "request",
        "took",
        "longer",
        "than",
        "expected",
        "queue",
        "drained",
    ];
    let mut message = String::new();
    while message.len() < 165 {
        message.push_str(WORDS[random.below(WORDS.len() as u64) as usize]);
        message.push(' ');
    }
    message.truncate(165);
    let level = ["debug", "info", "info", "warn"][random.below(4) as usize];
    format!(
        r#"{{"ts":"{}","device":"dev-{:04}","level":"{level}","message":"{message}"}}"#,
        to_rfc3339(at),
        random.below(DEVICES),
    )
}

fn workloads() -> [Workload; 2] {
    let text = json!({"type": "string"});
    let number = json!({"type": "number"});
    let time = json!({"type": "string", "format": "date-time", "x-event-time": true});
    let field = |name: &str, ty: Value| json!({"name": name, "type": ty});
    let avro = |fields: &[Value]| json!({"type": "record", "name": "Event", "fields": fields});
    let avro_time = json!({
        "name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}, "x-event-time": true});
    [
        Workload {
            name: "sensor",
            schema: json!({
                "type": "object", "required": ["ts", "device", "temperature"], "properties": {
                    "ts": time, "device": text, "site": text, "status": {"enum": ["ok", "warn", "fault"]},
                    "temperature": {"type": "number", "minimum": -60, "maximum": 120}, "humidity": number,
                    "pressure": number, "battery": {"type": "integer", "minimum": 0, "maximum": 100}}}),
            avro: avro(&[
                avro_time.clone(),
                field("device", json!("string")),
                field("site", json!("string")),
                field("status", json!("string")),
                field("temperature", json!("double")),
                field("humidity", json!("double")),
                field("pressure", json!("double")),
                field("battery", json!("int")),
            ]),
            row: sensor_row,
            bad: |row| row.replace("\"temperature\":", "\"temperature\":\"hot\",\"was\":"),
        },
        Workload {
            name: "text",
            schema: json!({
                "type": "object", "required": ["ts", "message"], "properties": {
                    "ts": time, "device": text, "level": {"enum": ["debug", "info", "warn", "error"]},
                    "message": {"type": "string", "maxLength": 4096}}}),
            avro: avro(&[
                avro_time,
                field("device", json!("string")),
                field("level", json!("string")),
                field("message", json!("string")),
            ]),
            row: text_row,
            bad: |row| row.replace("\"message\":", "\"massage\":"),
        },
    ]
}

/// Every batch's best of several rounds together, in microseconds a row.
fn best<T>(rows: usize, mut batch: impl FnMut(usize) -> T) -> f64 {
    let mut best = [Duration::MAX; BATCHES];
    for _ in 0..ROUNDS {
        for (number, best) in best.iter_mut().enumerate() {
            let start = Instant::now();
            std::hint::black_box(batch(number));
            *best = start.elapsed().min(*best);
        }
    }
    best.iter().sum::<Duration>().as_secs_f64() * 1e6 / rows as f64
}

/// A row of the workload as an Avro serializer writes it, with the schema's id 1 before it.
fn avro_row(row: &str, schema: &Value) -> Vec<u8> {
    let row: Value = serde_json::from_str(row).expect("JSON");
    let mut out = vec![0, 0, 0, 0, 1];
    let long = |out: &mut Vec<u8>, value: i64| {
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    };
    for field in schema["fields"].as_array().expect("fields") {
        let value = &row[field["name"].as_str().expect("a name")];
        match field["type"].as_str() {
            Some("double") => out.extend(value.as_f64().expect("a number").to_le_bytes()),
            Some("int") => long(&mut out, value.as_i64().expect("an integer")),
            Some(_) => {
                let text = value.as_str().expect("a text");
                long(&mut out, text.len() as i64);
                out.extend(text.as_bytes());
            }
            None => {
                let time = parse_rfc3339(value.as_str().expect("a text")).expect("a time");
                long(&mut out, time);
            }
        }
    }
    out
}

fn segment_of(rows: &[impl AsRef<[u8]>]) -> (Segment, Vec<u8>) {
    let mut raw = Vec::new();
    rows.iter().for_each(|row| push_row(&mut raw, row.as_ref()));
    let (codec, bytes) = compress(&raw).expect("memory for zstd");
    let (count, len, raw_len) = (rows.len() as u32, bytes.len() as u32, raw.len() as u32);
    (
        Segment {
            count,
            collected_at: START,
            spooled_at: START,
            codec,
            len,
            raw_len,
            origin: None,
        },
        bytes,
    )
}

fn decode_all(schema: &StreamSchema, segments: &[(Segment, Vec<u8>)], rows: usize) -> (f64, usize, u32) {
    let mut decoder = Decoder::new();
    let limits = DecodeLimits::default();
    let (mut bytes, mut valid) = (0, 0);
    let cost = best(rows, |number| {
        let (segment, body) = &segments[number];
        let decoded = decoder
            .decode(schema, 1, &[(segment, body)], &limits)
            .expect("a sound batch");
        bytes += decoded.columns.len();
        valid += decoded.valid;
        decoded
    });
    (cost, bytes / ROUNDS, valid / ROUNDS as u32)
}

/// Reads the columns back and writes them again with and without compression.
fn ipc_costs(schema: &StreamSchema, segments: &[(Segment, Vec<u8>)], rows: usize) {
    let mut decoder = Decoder::new();
    let batches: Vec<_> = segments
        .iter()
        .map(|(segment, body)| {
            let decoded = decoder
                .decode(schema, 1, &[(segment, body)], &DecodeLimits::default())
                .expect("sound");
            let mut reader = StreamReader::try_new(decoded.columns.as_slice(), None).expect("a stream");
            reader.next().expect("a batch").expect("readable")
        })
        .collect();
    for (name, compression) in [("none", None), ("lz4", Some(CompressionType::LZ4_FRAME))] {
        let mut bytes = 0;
        let write = best(rows, |number| {
            let options = IpcWriteOptions::default()
                .try_with_compression(compression)
                .expect("known");
            let mut writer =
                StreamWriter::try_new_with_options(Vec::new(), &batches[number].schema(), options)
                    .expect("a writer");
            writer.write(&batches[number]).expect("written");
            bytes += writer.into_inner().expect("finished").len();
        });
        let bytes = bytes as f64 / (rows * ROUNDS) as f64;
        println!("  ipc write, {name:<4}            {write:6.3}   {bytes:6.1} bytes/row");
    }
}

fn run(workload: &Workload, rows_per_batch: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut at = START;
    let mut make = |bad_every: usize| -> Vec<Vec<String>> {
        let mut row = |n: usize| {
            at += 7;
            let row = (workload.row)(&mut random, at);
            if bad_every > 0 && n.is_multiple_of(bad_every) {
                (workload.bad)(row)
            } else {
                row
            }
        };
        (0..BATCHES)
            .map(|_| (0..rows_per_batch).map(&mut row).collect())
            .collect()
    };
    let (good, bad) = (make(0), make(100));
    let rows = BATCHES * rows_per_batch;
    let bytes: usize = good.iter().flatten().map(String::len).sum();
    println!(
        "{} rows, {} bytes each, batches of {rows_per_batch}",
        workload.name,
        bytes / rows
    );

    let info = SchemaInfo {
        id: 1,
        version: 1,
        format: "JSON".to_owned(),
        text: workload.schema.to_string(),
        references: Vec::new(),
    };
    let schema = StreamSchema::compile(&info).expect("a schema");
    let segments: Vec<_> = good.iter().map(|batch| segment_of(batch)).collect();
    let (mut inflater, mut buffer) = (Inflater::default(), Vec::new());
    let inflating = best(rows, |number| {
        let (segment, body) = &segments[number];
        buffer.resize(segment.raw_len as usize, 0);
        inflater.inflate(segment, body, &mut buffer).expect("sound");
    });
    let packed: usize = segments.iter().map(|(_, body)| body.len()).sum();
    println!(
        "  inflate                    {inflating:6.3}   {:6.1} bytes/row",
        packed as f64 / rows as f64
    );
    let (cost, bytes, _) = decode_all(&schema, &segments, rows);
    println!(
        "  decode, valid              {cost:6.3}   {:6.1} bytes/row",
        bytes as f64 / rows as f64
    );
    let mixed: Vec<_> = bad.iter().map(|batch| segment_of(batch)).collect();
    let (cost, _, valid) = decode_all(&schema, &mixed, rows);
    println!(
        "  decode, 1% invalid         {cost:6.3}   {} dead",
        rows - valid as usize
    );
    let (cost, _, _) = decode_all(&StreamSchema::schemaless(), &segments, rows);
    println!("  decode, no schema          {cost:6.3}");
    ipc_costs(&schema, &segments, rows);

    let avro_info = SchemaInfo {
        format: "AVRO".to_owned(),
        text: workload.avro.to_string(),
        ..info
    };
    let avro = StreamSchema::compile(&avro_info).expect("an Avro schema");
    let in_avro = |batch: &Vec<String>| {
        let rows: Vec<Vec<u8>> = batch.iter().map(|row| avro_row(row, &workload.avro)).collect();
        segment_of(&rows)
    };
    let framed: Vec<_> = good.iter().map(in_avro).collect();
    let (cost, _, valid) = decode_all(&avro, &framed, rows);
    println!("  decode, Avro               {cost:6.3}   {valid} valid");

    let scanning = best(rows, |number| {
        good[number].iter().filter(|row| is_event(row)).count()
    });
    println!("  our scan alone             {scanning:6.3}");
    let parse = |row: &String| serde_json::from_str::<Value>(row).expect("JSON");
    let parsing = best(rows, |number| {
        good[number]
            .iter()
            .for_each(|row| drop(std::hint::black_box(parse(row))))
    });
    println!("  serde_json alone           {parsing:6.3}");
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&workload.schema)
        .expect("a schema");
    let judging = best(rows, |number| {
        good[number]
            .iter()
            .filter(|row| validator.is_valid(&parse(row)))
            .count()
    });
    println!("  serde_json + jsonschema    {judging:6.3}");
}

fn main() {
    let rows_per_batch = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(2_000);
    let only = std::env::args().nth(2);
    println!("microseconds a row");
    for workload in workloads()
        .iter()
        .filter(|workload| only.as_deref().is_none_or(|name| name == workload.name))
    {
        run(workload, rows_per_batch);
    }
}
