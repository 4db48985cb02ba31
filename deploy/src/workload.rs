//! Events to load a mesh with. Pure: the same workload and seed give the same events in every version of the
//! program, so that two runs can be compared; only the event times are the caller's.
//!
//! - `sensor`: about 150 bytes, eight numeric and categorical fields, no free text.
//! - `text`: about 255 bytes, most of them a message of English words, which zstd level 1 packs about 6:1.

use std::io::Write as _;

use tributary_shared::time::Millis;

/// How many devices a workload's events come from.
pub const DEVICES: u64 = 1_000;

/// The JSON Schema of `sensor` events.
pub const SENSOR_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "sensor",
  "type": "object",
  "properties": {
    "ts": {"type": "integer", "x-event-time": true, "description": "Unix milliseconds"},
    "device": {"type": "string"},
    "site": {"type": "string"},
    "status": {"type": "string"},
    "temperature": {"type": "number", "minimum": -80, "maximum": 200},
    "humidity": {"type": "number", "minimum": 0, "maximum": 100},
    "pressure": {"type": "number", "minimum": 300, "maximum": 1200},
    "battery": {"type": "integer", "minimum": 0, "maximum": 100},
    "rssi": {"type": "integer"}
  },
  "required": ["ts", "device", "site", "status", "temperature", "humidity", "pressure", "battery", "rssi"],
  "additionalProperties": false
}"#;

/// The JSON Schema of `text` events.
pub const TEXT_SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "text",
  "type": "object",
  "properties": {
    "ts": {"type": "integer", "x-event-time": true, "description": "Unix milliseconds"},
    "device": {"type": "string"},
    "level": {"type": "string"},
    "service": {"type": "string"},
    "duration_ms": {"type": "number", "minimum": 0},
    "message": {"type": "string", "minLength": 1, "maxLength": 1024}
  },
  "required": ["ts", "device", "level", "service", "duration_ms", "message"],
  "additionalProperties": false
}"#;

/// Clauses of a `text` message: with the pools below, what brings an event to 255 bytes and 6:1.
const CLAUSES: usize = 4;
const SITES: [&str; 8] = ["lyon", "oslo", "bern", "turin", "ghent", "porto", "graz", "york"];
const STATUSES: [&str; 4] = ["ok", "ok", "ok", "warm"];
const LEVELS: [&str; 4] = ["info", "info", "info", "warn"];
const SERVICES: [&str; 8] = [
    "intake", "billing", "search", "gateway", "catalog", "session", "storage", "mailer",
];
const SUBJECTS: [&str; 24] = [
    "the pump",
    "the north valve",
    "the fan",
    "the press",
    "the boiler",
    "the mixer",
    "the scanner",
    "the relay",
    "the heater",
    "the robot arm",
    "the door",
    "the sensor",
    "the lift",
    "the scale",
    "the main filter",
    "the belt",
    "the tank",
    "the drill",
    "the cooler",
    "the old meter",
    "the packer",
    "the crane",
    "the motor",
    "the furnace",
];
const VERBS: [&str; 24] = [
    "slowed after",
    "stopped during",
    "recovered from",
    "failed before",
    "waited for",
    "finished with",
    "drifted in",
    "passed",
    "restarted after",
    "missed",
    "answered",
    "warmed up for",
    "reported",
    "kept up with",
    "skipped",
    "held through",
    "ended",
    "cooled down after",
    "entered",
    "left",
    "confirmed",
    "delayed",
    "shortened",
    "survived",
];
const OBJECTS: [&str; 24] = [
    "the night shift",
    "a power dip",
    "the test",
    "cleaning",
    "its update",
    "a traffic burst",
    "calibration",
    "the alarm",
    "a late delivery",
    "inspection",
    "a loose cable",
    "the transfer",
    "a pressure drop",
    "the batch",
    "a manual stop",
    "warm weather",
    "the audit",
    "a short pause",
    "maintenance",
    "the order",
    "full load",
    "a cold start",
    "the handover",
    "idle time",
];

/// What the events look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// About 150 bytes: eight numeric and categorical fields, no free text
    Sensor,
    /// About 255 bytes: a message of English words and a few fields
    Text,
}

impl Workload {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::Text => "text",
        }
    }

    /// The JSON Schema that every event of this workload fits.
    #[must_use]
    pub fn schema(self) -> &'static str {
        match self {
            Self::Sensor => SENSOR_SCHEMA,
            Self::Text => TEXT_SCHEMA,
        }
    }

    /// The field that a view over this workload sums.
    #[must_use]
    pub fn measure(self) -> &'static str {
        match self {
            Self::Sensor => "temperature",
            Self::Text => "duration_ms",
        }
    }

    /// The categorical field whose value `marker` sets an event apart (see [`Generator::marker`]).
    #[must_use]
    pub fn marker_field(self) -> &'static str {
        match self {
            Self::Sensor => "status",
            Self::Text => "level",
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014): small, and
/// fixed for ever, unlike the generators of a library.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64(pub(crate) u64);

impl SplitMix64 {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Even enough for a load: the bias is below 2^-50 for the small bounds used here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, const N: usize>(&mut self, from: &[&'a str; N]) -> &'a str {
        from[self.below(N as u64) as usize]
    }
}

/// Writes a workload's events, one after the other.
#[derive(Debug, Clone)]
pub struct Generator {
    workload: Workload,
    random: SplitMix64,
}

impl Generator {
    #[must_use]
    pub fn new(workload: Workload, seed: u64) -> Self {
        Self {
            workload,
            random: SplitMix64(seed),
        }
    }

    /// Appends one event as a line of NDJSON.
    pub fn line(&mut self, out: &mut Vec<u8>, ts: Millis) {
        let device = self.random.below(DEVICES);
        match self.workload {
            Workload::Sensor => {
                let status = self.random.pick(&STATUSES);
                self.sensor(out, ts, format_args!("device-{device:04}"), status);
            }
            Workload::Text => {
                let level = self.random.pick(&LEVELS);
                self.text(out, ts, format_args!("device-{device:04}"), level);
            }
        }
    }

    /// Appends one event that a view can tell from all others: its device is `marker-N`, and its
    /// [`Workload::marker_field`] reads `marker`.
    pub fn marker(&mut self, out: &mut Vec<u8>, ts: Millis, n: u64) {
        match self.workload {
            Workload::Sensor => self.sensor(out, ts, format_args!("marker-{n}"), "marker"),
            Workload::Text => self.text(out, ts, format_args!("marker-{n}"), "marker"),
        }
    }

    fn sensor(&mut self, out: &mut Vec<u8>, ts: Millis, device: std::fmt::Arguments<'_>, status: &str) {
        let site = self.random.pick(&SITES);
        let temperature = 12.0 + self.random.below(2_000) as f64 / 100.0;
        let humidity = 20.0 + self.random.below(600) as f64 / 10.0;
        let pressure = 980.0 + self.random.below(600) as f64 / 10.0;
        let battery = 20 + self.random.below(80);
        let rssi = 40 + self.random.below(50);
        // writing into a Vec cannot fail
        let _ = writeln!(
            out,
            r#"{{"ts":{ts},"device":"{device}","site":"{site}","status":"{status}","temperature":{temperature:.2},"humidity":{humidity:.1},"pressure":{pressure:.1},"battery":{battery},"rssi":-{rssi}}}"#,
        );
    }

    fn text(&mut self, out: &mut Vec<u8>, ts: Millis, device: std::fmt::Arguments<'_>, level: &str) {
        let service = self.random.pick(&SERVICES);
        let duration = self.random.below(90_000) as f64 / 100.0;
        let _ = write!(
            out,
            r#"{{"ts":{ts},"device":"{device}","level":"{level}","service":"{service}","duration_ms":{duration:.2},"message":""#,
        );
        for clause in 0..CLAUSES {
            let (subject, verb, object) = (
                self.random.pick(&SUBJECTS),
                self.random.pick(&VERBS),
                self.random.pick(&OBJECTS),
            );
            let comma = if clause == 0 { "" } else { ", " };
            let _ = write!(out, "{comma}{subject} {verb} {object}");
        }
        let _ = writeln!(out, ", {} s\"}}", 100 + self.random.below(900));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 2_000;

    fn block(workload: Workload, seed: u64) -> Vec<u8> {
        let mut generator = Generator::new(workload, seed);
        let mut out = Vec::new();
        (0..BLOCK).for_each(|n| generator.line(&mut out, 1_790_000_000_000 + (n as i64) / 20));
        out
    }

    #[test]
    fn events_have_the_size_that_they_promise() {
        for (workload, size) in [(Workload::Sensor, 150), (Workload::Text, 255)] {
            let mean = block(workload, 1).len() / BLOCK;
            assert!(mean.abs_diff(size) <= 4, "{workload:?}: {mean} bytes an event");
        }
    }

    #[test]
    fn text_compresses_about_six_to_one() {
        let raw = block(Workload::Text, 1);
        let packed = zstd::bulk::compress(&raw, 1).expect("compress");
        let ratio = raw.len() as f64 / packed.len() as f64;
        assert!((5.5..6.5).contains(&ratio), "ratio {ratio:.2}");
    }

    #[test]
    fn a_seed_repeats_its_events_and_another_does_not() {
        for workload in [Workload::Sensor, Workload::Text] {
            assert_eq!(block(workload, 7), block(workload, 7));
            assert_ne!(block(workload, 7), block(workload, 8));
        }
    }

    #[test]
    fn every_line_is_an_object_with_the_schema_s_fields() {
        for workload in [Workload::Sensor, Workload::Text] {
            let schema: serde_json::Value = serde_json::from_str(workload.schema()).expect("schema");
            let required = schema["required"].as_array().expect("required");
            let mut lines = block(workload, 3);
            Generator::new(workload, 3).marker(&mut lines, 1, 5);
            for line in lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                let event: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_slice(line).expect("json");
                assert_eq!(event.len(), required.len());
                assert!(
                    required
                        .iter()
                        .all(|key| event.contains_key(key.as_str().expect("text")))
                );
            }
        }
    }
}
