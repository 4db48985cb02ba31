//! What was seen of a stream, and the schema for it.

use serde_json::{Map, Value, json};

use super::field::Field;

/// Events that are looked at; more say little more.
pub const MAX_EVENTS: u64 = 100_000;

/// Names that an event's own time has, the likeliest first.
const TIME_NAMES: [&str; 8] = [
    "ts",
    "time",
    "timestamp",
    "event_time",
    "eventTime",
    "@timestamp",
    "datetime",
    "created_at",
];
/// Unix milliseconds of 2001 and 2100: an integer of a name as above that lies between is a time.
const TIMES: (f64, f64) = (978_307_200_000.0, 4_102_444_800_000.0);
/// What names of keys are, or end with.
const KEY_NAMES: [&str; 6] = ["id", "device", "host", "sensor", "machine", "key"];

/// Gathers events of one stream.
#[derive(Debug, Clone, Default)]
pub struct Observer {
    root: Field,
}

impl Observer {
    /// Looks at one event. What is no object counts for nothing; so does what comes after [`MAX_EVENTS`].
    pub fn see(&mut self, event: &Value) {
        if event.is_object() && self.root.seen < MAX_EVENTS {
            self.root.see(event, 0);
        }
    }

    /// How many events it has looked at.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.root.seen
    }

    /// A JSON Schema (2020-12) that accepts every event so far; `None` before the first. With `ranges`, numbers
    /// must stay within what was seen; else that is only noted (`x-observed`).
    #[must_use]
    pub fn propose(&self, title: &str, ranges: bool) -> Option<Value> {
        if self.root.seen == 0 {
            return None;
        }
        let mut body = self.root.propose(ranges);
        self.mark(&mut body);
        let mut schema = Map::new();
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!(title));
        let comment = format!(
            "proposed from {} events; check required, format, enum and the x- marks",
            self.root.seen
        );
        schema.insert("$comment".to_owned(), json!(comment));
        schema.append(&mut body);
        Some(Value::Object(schema))
    }

    /// Marks the event time and the keys.
    fn mark(&self, schema: &mut Map<String, Value>) {
        let Some(Value::Object(properties)) = schema.get_mut("properties") else {
            return;
        };
        let mut set = |name: &str, mark: &str| {
            if let Some(Value::Object(property)) = properties.get_mut(name) {
                property.insert(mark.to_owned(), json!(true));
            }
        };
        if let Some(name) = self.time() {
            set(name, "x-event-time");
        }
        for (name, _) in self
            .root
            .fields
            .iter()
            .filter(|(name, field)| is_key(name, field))
        {
            set(name, "x-key");
        }
    }

    fn time(&self) -> Option<&'static str> {
        TIME_NAMES.into_iter().find(|name| {
            self.root.fields.get(*name).is_some_and(|field| {
                let millis = || {
                    let (least, most) = TIMES;
                    field.only_integers()
                        && field
                            .range()
                            .is_some_and(|(first, last)| first >= least && last <= most)
                };
                (field.only_texts() && field.format() == Some("date-time")) || millis()
            })
        })
    }
}

/// A key names a thing that events come from: by its name, in every event, and with values that come again
/// (or with too many to tell).
fn is_key(name: &str, field: &Field) -> bool {
    let lower = name.to_ascii_lowercase();
    let named = KEY_NAMES
        .iter()
        .any(|key| lower == *key || lower.ends_with(&format!("_{key}")));
    let again = match field.distinct() {
        Some(distinct) => (distinct as u64) < field.texts.max(2),
        None => true,
    };
    named && (field.only_texts() && again || field.only_integers())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(events: &[Value], ranges: bool) -> Value {
        let mut observer = Observer::default();
        events.iter().for_each(|event| observer.see(event));
        let schema = observer.propose("readings", ranges).expect("events were seen");
        let validator = crate::language::validation_options()
            .build(&schema)
            .expect("a schema");
        for event in events.iter().filter(|event| event.is_object()) {
            assert!(validator.is_valid(event), "{event} does not fit {schema}");
        }
        schema
    }

    fn readings() -> Vec<Value> {
        (0..100)
            .map(|n| {
                json!({
                    "ts": format!("2026-01-31T12:00:{:02}Z", n % 60),
                    "device": format!("press-{}", n % 3),
                    "celsius": f64::from(n) / 2.0,
                    "count": n,
                    "state": (["idle", "busy"][n as usize % 2]),
                    "note": if n % 2 == 0 { Value::Null } else { json!(format!("note {n}")) },
                    "place": { "hall": "north", "row": n },
                    "tags": ["a", n],
                })
            })
            .collect()
    }

    #[test]
    fn types_formats_enums_and_marks_are_found() {
        let mut events = readings();
        events.push(json!({ "ts": "2026-01-31T12:01:00+01:00", "device": "press-0" }));
        let schema = proposed(&events, false);
        let property = |name: &str| schema["properties"][name].clone();
        assert_eq!(
            property("ts"),
            json!({ "type": "string", "format": "date-time", "x-event-time": true })
        );
        assert_eq!(property("device"), {
            json!({ "type": "string", "enum": ["press-0", "press-1", "press-2"], "x-key": true })
        });
        assert_eq!(
            property("state"),
            json!({ "type": "string", "enum": ["busy", "idle"] })
        );
        assert_eq!(
            property("celsius"),
            json!({ "type": "number", "x-observed": { "minimum": 0.0, "maximum": 49.5 } })
        );
        assert_eq!(property("count")["type"], "integer");
        assert_eq!(property("note")["type"], json!(["string", "null"]));
        assert_eq!(property("place")["required"], json!(["hall", "row"]));
        assert_eq!(property("tags")["items"]["type"], json!(["integer", "string"]));
        assert_eq!(
            schema["required"],
            json!(["device", "ts"]),
            "what the last event lacks is optional"
        );
    }

    #[test]
    fn ranges_are_rules_only_when_asked_for() {
        let schema = proposed(&readings(), true);
        assert_eq!(schema["properties"]["count"]["maximum"], 99);
        assert_eq!(schema["properties"]["celsius"]["minimum"], 0.0);
    }

    #[test]
    fn a_time_in_milliseconds_and_mixed_values_are_taken_for_what_they_are() {
        let events = [
            json!({ "time": 1_769_860_800_000_i64, "v": 1, "big": 1e300, "e": [] }),
            json!({ "time": 1_769_860_800_500_i64, "v": "one", "big": 2, "e": [] }),
            json!("not an object"),
        ];
        let schema = proposed(&events, false);
        assert_eq!(schema["properties"]["time"]["x-event-time"], true);
        assert_eq!(schema["properties"]["v"]["type"], json!(["integer", "string"]));
        assert_eq!(schema["properties"]["e"], json!({ "type": "array" }));
        assert!(schema["$comment"].as_str().expect("text").contains("2 events"));
    }

    #[test]
    fn deep_and_crowded_events_stay_bounded() {
        let mut deep = json!(1);
        for _ in 0..60 {
            deep = json!({ "a": deep, "l": [[1]] });
        }
        let crowd: Map<String, Value> = (0..2_000).map(|n| (format!("f{n}"), json!(n))).collect();
        let events = [json!({ "deep": deep }), Value::Object(crowd)];
        let schema = proposed(&events, false);
        assert!(schema.to_string().len() < 200_000);
        assert!(schema["$comment"].is_string());
        assert!(Observer::default().propose("none", false).is_none());
    }
}
