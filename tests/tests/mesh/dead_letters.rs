//! What does not fit its schema.

use serde_json::{Value, json};
use tributary_tests::{Mesh, SOON, wait_until};

use crate::{integer, mesh, temp_dir};

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "ts": { "type": "string", "format": "date-time", "x-event-time": true },
            "device": { "type": "string" },
            "temperature": { "type": "number", "maximum": 150 },
            "status": { "enum": ["ok", "warn", "failed"] }
        },
        "required": ["ts", "device", "temperature"]
    })
}

fn reading(device: &str, temperature: Value) -> Value {
    json!({ "ts": "2026-01-01T12:00:00Z", "device": device, "temperature": temperature })
}

fn letters(mesh: &Mesh, stream: &str, expected: usize) -> Vec<Value> {
    wait_until(SOON, "the dead letters", || {
        let answer = mesh.api(&format!("/api/v1/dead-letters?stream={stream}"))?;
        let letters = answer["dead_letters"].as_array().cloned().unwrap_or_default();
        (letters.len() == expected)
            .then_some(letters)
            .ok_or_else(|| answer.to_string())
    })
}

#[test]
fn one_invalid_event_becomes_a_dead_letter_and_names_the_field() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_schema("readings", &schema());
    // no pause: an event that is taken after the registration is judged by it
    let valid: Vec<Value> = (0..20)
        .map(|n| reading("d-1", json!(20.0 + f64::from(n))))
        .collect();
    let mut events = valid.clone();
    events.insert(7, reading("d-2", json!("hot")));
    let answer = mesh.post_events("readings", &events);
    mesh.put_view(
        "per_device",
        "SELECT window_start, window_end, device, count(*) AS n, max(temperature) AS t_max \
         FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, device",
    );

    let [letter] = &letters(&mesh, "readings", 1)[..] else {
        panic!("one dead letter")
    };
    assert_eq!(letter["reasons"][0]["path"], "/temperature", "{letter}");
    assert_eq!(letter["reasons"][0]["rule"], "type", "{letter}");
    assert_eq!(
        letter["payload"],
        events[7].to_string(),
        "the original bytes: {letter}"
    );
    assert_eq!(letter["seq"], integer(&answer, "first_seq") + 7, "{letter}");
    let row = wait_until(SOON, "the valid ones are counted", || {
        let rows = mesh.windows("per_device")?;
        let [row] = &rows[..] else {
            return Err(format!("{rows:?}"));
        };
        (integer(row, "n") == 20)
            .then(|| row.clone())
            .ok_or_else(|| row.to_string())
    });
    assert_eq!(
        (row["device"].as_str(), row["t_max"].as_f64()),
        (Some("d-1"), Some(39.0)),
        "{row}"
    );
    let [lane] = &mesh.ledger("readings").expect("the ledger")[..] else {
        panic!("one lane")
    };
    assert!(lane.valid == 20 && lane.dead == 1 && lane.balances(), "{lane:?}");
    let id = letter["lineage_id"].as_str().expect("a lineage id");
    let path = mesh
        .api(&format!("/api/v1/events/{id}"))
        .expect("the event's path");
    assert_eq!(path["outcome"], "dead_letter", "{path}");
}

#[test]
fn each_wrong_type_and_range_is_named_and_unknown_fields_are_kept() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_schema("readings", &schema());
    let wrong = [
        (
            json!({ "ts": "2026-01-01T12:00:00Z", "device": 7, "temperature": 1 }),
            "/device",
        ),
        (
            json!({ "ts": "2026-01-01T12:00:00Z", "device": "d", "temperature": 151 }),
            "/temperature",
        ),
        (
            json!({ "ts": "yesterday", "device": "d", "temperature": 1 }),
            "/ts",
        ),
        (
            json!({ "ts": "2026-01-01T12:00:00Z", "device": "d", "temperature": 1, "status": "?" }),
            "/status",
        ),
        (
            json!({ "ts": "2026-01-01T12:00:00Z", "device": "d" }),
            "/temperature",
        ),
    ];
    let mut events: Vec<Value> = wrong.iter().map(|(event, _)| event.clone()).collect();
    let mut extra = reading("d-1", json!(1));
    extra["site"] = json!("north");
    extra["nested"] = json!({ "deep": [1, 2] });
    events.push(extra);
    mesh.put_view(
        "per_site",
        "SELECT window_start, window_end, site, count(*) AS n \
         FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, site",
    );
    mesh.post_events("readings", &events);

    let letters = letters(&mesh, "readings", wrong.len());
    for (event, path) in &wrong {
        let payload = event.to_string();
        let letter = letters.iter().find(|letter| letter["payload"] == payload);
        let letter = letter.unwrap_or_else(|| panic!("{payload} in {letters:?}"));
        assert_eq!(letter["reasons"][0]["path"], *path, "{letter}");
        assert!(
            letter["reasons"][0]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{letter}"
        );
    }
    // the schema does not know the site, yet views may
    let row = wait_until(SOON, "the unknown field is counted by", || {
        mesh.windows("per_site")?
            .into_iter()
            .next()
            .ok_or_else(|| "no row".to_owned())
    });
    assert_eq!(
        (row["site"].as_str(), integer(&row, "n")),
        (Some("north"), 1),
        "{row}"
    );
}
