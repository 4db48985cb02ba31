//! The picture of a path. Pure.

use std::fmt::Write as _;

use serde_json::Value;
use tributary_shared::time::{Millis, parse_rfc3339};

use crate::schema::words;

/// Draws an event's path as the API tells it: one line a hop, where it was and how long it took to get there.
pub(super) fn draw(path: &Value) -> String {
    let mut text = String::new();
    let name = format!(
        "{}/{}/{}/{}",
        words(&path["agent"]),
        words(&path["stream"]),
        path["epoch"],
        path["seq"]
    );
    let _ = writeln!(text, "{name}   {}", words(&path["outcome"]));
    let _ = writeln!(text, "lineage id  {}", words(&path["lineage_id"]));
    for (key, label) in [("trace_id", "trace"), ("trace_url", "")] {
        if let Some(value) = path[key].as_str() {
            let _ = writeln!(text, "{label:<10}  {value}");
        }
    }
    if let Some(trace) = path["application_trace"]["trace_id"].as_str() {
        let url = path["application_trace"]["trace_url"]
            .as_str()
            .unwrap_or_default();
        let _ = writeln!(text, "{:<10}  {trace} (of the application) {url}", "trace");
    }
    if let Some(message) = path["message"].as_str() {
        let _ = writeln!(text, "{message}");
    }
    text.push('\n');
    hops(path, &mut text);
    windows(path, &mut text);
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn hops(path: &Value, text: &mut String) {
    let mut before: Option<Millis> = None;
    for hop in list(&path["hops"]) {
        let at = hop["at"].as_str().and_then(parse_rfc3339);
        if let (Some(before), Some(at)) = (before, at) {
            let _ = writeln!(text, "  │ {}", gap(at - before));
        }
        before = at.or(before);
        let name = words(&hop["hop"]);
        let time = hop["at"].as_str().unwrap_or("");
        let _ = writeln!(
            text,
            "  ● {name:<11}  {time:<24}  {:<10}  {}",
            place(&name),
            said(path, hop)
        );
    }
}

/// Who a hop happened at.
fn place(hop: &str) -> &'static str {
    match hop {
        "collected" | "spooled" | "sent" | "attempt" => "agent",
        "received" | "admitted" => "gateway",
        _ => "aggregator",
    }
}

/// What there is to say of a hop, in words.
fn said(path: &Value, hop: &Value) -> String {
    let number = |key: &str| hop[key].as_u64().unwrap_or(0);
    match hop["hop"].as_str().unwrap_or_default() {
        "collected" => {
            let from = match (hop["file"].as_str(), &hop["offset"]) {
                (Some(file), Value::Number(offset)) => format!("from {file} at byte {offset}"),
                (Some(file), _) => format!("from {file}"),
                (None, _) => format!("by {}", words(&hop["input"])),
            };
            let together = &hop["together"];
            format!(
                "{} {from}, with seqs {} to {}",
                words(&path["agent"]),
                together["from"],
                together["to"]
            )
        }
        "sent" => match (hop["attempt"].as_u64(), hop["outcome"].as_str()) {
            (Some(attempt), Some(outcome)) => format!(
                "attempt {attempt} to {}: {outcome}, {}",
                words(&hop["address"]),
                words(&hop["reason"])
            ),
            (Some(attempt), None) if attempt > 1 => format!("attempt {attempt}, which came through"),
            _ => String::new(),
        },
        "received" => words(&hop["gateway"]),
        "admitted" => format!(
            "{}, {}: {} valid, {} dead in its batch",
            words(&hop["gateway"]),
            schema(&hop["schema"]),
            number("valid"),
            number("dead")
        ),
        "committed" => format!(
            "position {}, with seqs {} to {}",
            hop["position"], hop["from"], hop["to"]
        ),
        "dead_letter" => format!("letter {}, {}", hop["id"], schema(&hop["schema"])),
        "discarded" => format!("by {}: {}", words(&hop["by"]), words(&hop["reason"])),
        "replayed" => format!(
            "by {}, {}, position {}",
            words(&hop["by"]),
            schema(&hop["schema"]),
            hop["position"]
        ),
        "applied" if hop["applied"] == true => "all views have it".to_owned(),
        "applied" => format!("not yet: the views have the log up to {}", hop["position"]),
        _ => String::new(),
    }
}

fn schema(schema: &Value) -> String {
    match (&schema["id"], &schema["version"]) {
        (Value::Number(id), Value::Number(version)) => format!("schema {id} version {version}"),
        _ => "no schema".to_owned(),
    }
}

fn windows(path: &Value, text: &mut String) {
    for reason in list(&path["dead_letter"]["reasons"]) {
        let _ = writeln!(
            text,
            "      {} at {}: {}",
            words(&reason["rule"]),
            words(&reason["path"]),
            words(&reason["message"])
        );
    }
    for window in list(&path["windows"]) {
        let when = match (window["window_start"].as_str(), window["window_end"].as_str()) {
            (Some(start), Some(end)) => format!("{start} to {end}"),
            _ => "without windows".to_owned(),
        };
        let group: Vec<String> = window["group"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(column, value)| format!("{column}={}", words(value)))
            .collect();
        let aside = aside(window);
        let _ = writeln!(
            text,
            "      └ {}  {when}  {}{aside}",
            words(&window["view"]),
            group.join(" ")
        );
    }
    for view in list(&path["not_counted"]) {
        let (name, why) = (words(&view["view"]), words(&view["message"]));
        let _ = writeln!(text, "      ╳ {name}  does not count it: {why}");
    }
}

/// What is to be known of a window beside which one it is.
fn aside(window: &Value) -> String {
    let mut aside = String::new();
    for (holds, what) in [
        (window["overflow"] == true, "in the overflow group of the window"),
        (window["expired"] == true, "the view has deleted the window since"),
        (
            window.get("counted").is_some_and(Value::is_null),
            "whether it was counted cannot be told any more",
        ),
    ] {
        if holds {
            let _ = write!(aside, "  ({what})");
        }
    }
    aside
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// How long it took; the clocks of two hosts may differ by more.
fn gap(millis: Millis) -> String {
    match millis {
        ..0 => format!("{} ms (the clocks of the two differ)", millis),
        0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.1} s", millis as f64 / 1e3),
        60_000..3_600_000 => format!("{:.1} min", millis as f64 / 6e4),
        _ => format!("{:.1} h", millis as f64 / 3.6e6),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_is_drawn_hop_by_hop() {
        let path = json!({
            "agent": "edge-1", "stream": "orders", "epoch": 3, "seq": 77, "lineage_id": "L", "outcome": "valid",
            "trace_id": "abc", "trace_url": "http://v/abc", "application_trace": null,
            "hops": [
                { "hop": "collected", "at": "2026-01-31T12:00:00.000Z", "input": "file", "file": "/l", "offset": 9,
                  "together": { "from": 70, "to": 80 } },
                { "hop": "spooled", "at": "2026-01-31T12:00:00.012Z" },
                { "hop": "sent", "at": "2026-01-31T12:00:02.012Z" },
                { "hop": "received", "at": "2026-01-31T12:00:02.000Z", "gateway": "gw-1" },
                { "hop": "admitted", "at": "2026-01-31T12:00:02.001Z", "gateway": "gw-1", "valid": 9, "dead": 1,
                  "schema": { "id": 4, "version": 2 } },
                { "hop": "committed", "at": "2026-01-31T12:10:02.001Z", "position": 5, "from": 70, "to": 80 },
                { "hop": "applied", "applied": true, "position": 9 },
            ],
            "windows": [{ "view": "by_site", "window_start": "2026-01-31T12:00:00.000Z",
                          "window_end": "2026-01-31T12:01:00.000Z", "group": { "site": "a" }, "counted": true },
                        { "view": "by_day", "window_start": null, "window_end": null, "group": {}, "counted": null,
                          "overflow": true, "expired": true }],
            "not_counted": [{ "view": "hot", "why": "too_late", "message": "it was too old when it came" }],
        });
        let drawn = draw(&path);
        for line in [
            "edge-1/orders/3/77   valid",
            "trace       abc",
            "  ● collected    2026-01-31T12:00:00.000Z  agent       edge-1 from /l at byte 9, with seqs 70 to 80",
            "  │ 12 ms",
            "  │ 2.0 s",
            "  │ -12 ms (the clocks of the two differ)",
            "  ● admitted     2026-01-31T12:00:02.001Z  gateway     gw-1, schema 4 version 2: 9 valid, 1 dead in its batch",
            "  │ 10.0 min",
            "  ● committed    2026-01-31T12:10:02.001Z  aggregator  position 5, with seqs 70 to 80",
            "      └ by_site  2026-01-31T12:00:00.000Z to 2026-01-31T12:01:00.000Z  site=a",
            "      └ by_day  without windows    (in the overflow group of the window)  (the view has deleted the window \
             since)  (whether it was counted cannot be told any more)",
            "      ╳ hot  does not count it: it was too old when it came",
        ] {
            assert!(
                drawn.lines().any(|drawn| drawn == line),
                "{line:?} is not in\n{drawn}"
            );
        }
    }

    #[test]
    fn a_dead_letter_says_why_and_an_expired_event_what_is_gone() {
        let drawn = draw(&json!({
            "agent": "a", "stream": "s", "epoch": 1, "seq": 2, "lineage_id": "L", "outcome": "dead_letter",
            "message": "the event's hops are kept longer",
            "hops": [{ "hop": "dead_letter", "at": "2026-01-31T12:00:00.000Z", "id": 8, "schema": null }],
            "dead_letter": { "reasons": [{ "rule": "type", "path": "/t", "message": "no number" }] },
        }));
        assert!(drawn.contains("letter 8, no schema"), "{drawn}");
        assert!(drawn.contains("type at /t: no number"), "{drawn}");
        assert!(drawn.contains("kept longer"), "{drawn}");
    }
}
