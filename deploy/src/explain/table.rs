//! An explanation for people. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::number;
use crate::schema::{aligned, words};

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// What a window was built from, with at most so many of its runs of events.
pub fn text(whole: &Value, ranges: usize) -> String {
    let mut text = head(whole);
    for (part, line) in [
        ("agents", "AGENT"),
        ("gateways", "GATEWAY"),
        ("schemas", "SCHEMA"),
    ] {
        let lines: Vec<Vec<String>> = list(&whole[part])
            .iter()
            .map(|of| vec![name(part, of), words(&of["events"])])
            .collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n{}", aligned(&[line, "EVENTS"], &lines));
        }
    }
    let lines: Vec<Vec<String>> = list(&whole["lanes"])
        .iter()
        .map(|lane| {
            let runs = list(&lane["ranges"]).len().to_string();
            vec![lane_name(lane), seqs(lane), words(&lane["events"]), runs]
        })
        .collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n{}", aligned(&["LANE", "SEQS", "EVENTS", "RUNS"], &lines));
    }
    text + &runs(whole, ranges)
}

fn head(whole: &Value) -> String {
    let rows = number(&whole["groups"]);
    let group = match &whole["group"] {
        _ if whole["overflow"] == true => " (the overflow)".to_owned(),
        Value::Object(keys) if !keys.is_empty() => {
            let keys: Vec<String> = keys
                .iter()
                .map(|(column, value)| format!("{column} {}", words(value)))
                .collect();
            format!(" ({})", keys.join(", "))
        }
        _ => String::new(),
    };
    let window = match whole["window_start"].as_str() {
        Some(start) => format!(", window {start} to {}", words(&whole["window_end"])),
        None => String::new(),
    };
    let rows = if rows == 1 {
        "1 row".to_owned()
    } else {
        format!("{rows} rows")
    };
    let mut text = format!(
        "{} events in {rows} of {}{group}{window}\n",
        words(&whole["events"]),
        words(&whole["view"])
    );
    let _ = match &whole["not_kept"] {
        Value::Null => writeln!(text, "{} are shown: all of them", words(&whole["explained"])),
        lost => writeln!(
            text,
            "{} are shown, {} are not kept: {}",
            words(&whole["explained"]),
            words(&lost["events"]),
            words(&lost["why"])
        ),
    };
    text
}

fn name(part: &str, of: &Value) -> String {
    match part {
        "agents" => words(&of["agent"]),
        "gateways" => of["gateway"].as_str().unwrap_or("(replayed)").to_owned(),
        _ => schema(of),
    }
}

fn schema(of: &Value) -> String {
    of["version"]
        .as_u64()
        .map_or_else(|| "none".to_owned(), |version| format!("version {version}"))
}

fn lane_name(lane: &Value) -> String {
    let [agent, stream, epoch] = ["agent", "stream", "epoch"].map(|part| words(&lane[part]));
    format!("{agent}/{stream}/{epoch}")
}

fn seqs(of: &Value) -> String {
    match (number(&of["first_seq"]), number(&of["last_seq"])) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first} to {last}"),
    }
}

/// One line for each log entry that events came with.
fn runs(whole: &Value, most: usize) -> String {
    let lanes = list(&whole["lanes"]).iter();
    let all: Vec<(&Value, &Value)> = lanes
        .flat_map(|lane| list(&lane["ranges"]).iter().map(move |range| (lane, range)))
        .collect();
    let line = |(lane, range): &(&Value, &Value)| {
        vec![
            words(&range["position"]),
            words(&range["committed_at"]),
            lane_name(lane),
            seqs(range),
            words(&range["events"]),
            range["gateway"].as_str().unwrap_or("(replayed)").to_owned(),
            schema(&range["schema"]),
            words(&range["trace_id"]),
        ]
    };
    let lines: Vec<Vec<String>> = all.iter().take(most).map(line).collect();
    let mut text = String::new();
    if !lines.is_empty() {
        let columns = [
            "POSITION",
            "COMMITTED",
            "LANE",
            "SEQS",
            "EVENTS",
            "GATEWAY",
            "SCHEMA",
            "TRACE",
        ];
        let _ = write!(text, "\n{}", aligned(&columns, &lines));
    }
    let _ = match all.len().saturating_sub(lines.len()) {
        0 => Ok(()),
        1 => writeln!(text, "1 more run of events; --ranges shows more"),
        more => writeln!(text, "{more} more runs of events; --ranges shows more"),
    };
    text
}
