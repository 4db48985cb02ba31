//! Dead letters as text for people. Pure.

use std::fmt::Write as _;

use serde_json::Value;

/// Characters of a message in a list.
const MAX_MESSAGE: usize = 90;

/// The letters, then what there is in all.
pub(super) fn list(listed: &Value, counts: &Value, limit: u64) -> String {
    let letters = listed["dead_letters"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    for letter in letters {
        let reason = &letter["reasons"][0];
        let path = words(&reason["path"]);
        let message: String = words(&reason["message"]).chars().take(MAX_MESSAGE).collect();
        let _ = writeln!(
            text,
            "{:>8}  {}  {:<9}  {}  {}  {} {message}",
            letter["id"].to_string(),
            words(&letter["at"]),
            words(&letter["state"]),
            words(&letter["stream"]),
            words(&letter["agent"]),
            if path.is_empty() { "(whole event)" } else { path },
        );
    }
    if letters.is_empty() {
        text.push_str("No dead letter matches.\n");
    }
    if letters.len() as u64 == limit
        && let Some(last) = letters.last()
    {
        let _ = writeln!(text, "older ones: --before {}", last["id"]);
    }
    text.push('\n');
    text.push_str(&summary(counts));
    text
}

/// All letters by stream and state, with their reasons.
fn summary(counts: &Value) -> String {
    let rows = counts["counts"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return "There are no dead letters.".to_owned();
    }
    let lines = rows.iter().map(|row| {
        let reasons = row["reasons"].as_object().into_iter().flatten();
        let reasons: Vec<String> = reasons.map(|(rule, count)| format!("{rule} {count}")).collect();
        let (stream, state) = (words(&row["stream"]), words(&row["state"]));
        format!("{stream}: {} {state} ({})", row["count"], reasons.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A whole record.
pub(super) fn letter(letter: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    line("id", letter["id"].to_string());
    line("event", words(&letter["lineage_id"]).to_owned());
    line("stream", words(&letter["stream"]).to_owned());
    line("agent", words(&letter["agent"]).to_owned());
    line("committed", words(&letter["at"]).to_owned());
    let schema = match letter["schema"]["version"].as_u64() {
        Some(version) => format!("version {version} (id {})", letter["schema"]["id"]),
        None => "none".to_owned(),
    };
    line("schema", schema);
    line("state", words(&letter["state"]).to_owned());
    for replay in letter["replays"].as_array().into_iter().flatten() {
        let mut told = format!("{} by {}", words(&replay["at"]), words(&replay["by"]));
        if !replay["fix"].is_null() {
            let _ = write!(told, ", fixed with {}", replay["fix"]);
        }
        line("replayed", told);
    }
    let discarded = &letter["discarded"];
    if !discarded.is_null() {
        let told = [&discarded["at"], &discarded["by"], &discarded["reason"]].map(words);
        line("discarded", format!("{} by {}: {}", told[0], told[1], told[2]));
    }
    for reason in letter["reasons"].as_array().into_iter().flatten() {
        let path = words(&reason["path"]);
        let path = if path.is_empty() { "(whole event)" } else { path };
        line(
            "reason",
            format!(
                "{path}: {} [{}]",
                words(&reason["message"]),
                words(&reason["rule"])
            ),
        );
    }
    match letter["payload_base64"].as_str() {
        Some(bytes) => line("payload", format!("(not text, in base64) {bytes}")),
        None => line("payload", words(&letter["payload"]).to_owned()),
    }
    text.trim_end().to_owned()
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_letter_is_shown_with_every_reason_and_what_became_of_it() {
        let record = json!({
            "id": 3, "lineage_id": "x", "stream": "s", "agent": "a", "at": "t", "state": "replayed",
            "schema": { "id": 1, "version": 2 }, "payload": "{}",
            "reasons": [{ "path": "/t", "rule": "type", "message": "no" }, { "path": "", "rule": "anyOf", "message": "none" }],
            "replays": [{ "at": "u", "by": "ann", "fix": { "sql": "payload" } }], "discarded": null,
        });
        let text = letter(&record);
        for part in [
            "version 2 (id 1)",
            "/t: no [type]",
            "(whole event): none",
            "u by ann, fixed with {\"sql\"",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let listed = json!({ "dead_letters": [record] });
        let counts = json!({ "counts": [{ "stream": "s", "state": "replayed", "count": 1, "reasons": { "type": 1 } }] });
        let text = list(&listed, &counts, 1);
        assert!(
            text.contains("older ones: --before 3") && text.ends_with("s: 1 replayed (type 1)"),
            "{text}"
        );
    }
}
