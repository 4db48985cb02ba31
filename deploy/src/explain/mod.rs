//! `tributary explain`: from a window back to the events that built it.

pub mod cli;
mod table;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::out;
use crate::schema::{api, path, usage};
use cli::ExplainArgs;

/// Parts of an explanation that add up over its pages, each with what tells its lines apart.
const PARTS: [(&str, &[&str]); 4] = [
    ("lanes", &["lane"]),
    ("agents", &["agent"]),
    ("gateways", &["gateway"]),
    ("schemas", &["id", "version"]),
];

/// Exit code 1 means that something failed, 2 that what was asked for is wrong.
///
/// # Errors
/// When the aggregator cannot be reached, or does not do it.
pub fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    usage(explain(args).map(|()| ExitCode::SUCCESS))
}

fn explain(args: &ExplainArgs) -> anyhow::Result<()> {
    let url = format!("/api/v1/views/{}/explain", path(&args.view));
    let query = query(args);
    let mut whole = api::get(&args.api, &url, &named(&query))?;
    while let Some(next) = whole["next"].as_str().map(ToOwned::to_owned) {
        let mut query = query.clone();
        query.push(("next".to_owned(), next));
        let page = api::get(&args.api, &url, &named(&query))?;
        append(&mut whole, page);
    }
    if args.api.json {
        return Ok(out::line(&whole)?);
    }
    Ok(out::line(table::text(&whole, args.ranges).trim_end())?)
}

fn named(query: &[(String, String)]) -> Vec<(&str, String)> {
    query
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect()
}

/// What has no `=` is the window's start.
fn query(args: &ExplainArgs) -> Vec<(String, String)> {
    let pair = |word: &String| match word.split_once('=') {
        Some((column, value)) => (column.to_owned(), value.to_owned()),
        None => ("window_start".to_owned(), word.clone()),
    };
    let mut query: Vec<(String, String)> = args.row.iter().map(pair).collect();
    if args.overflow {
        query.push(("overflow".to_owned(), "true".to_owned()));
    }
    query
}

/// Adds the next page to those before it.
fn append(whole: &mut Value, mut page: Value) {
    for (part, names) in PARTS {
        let Value::Array(lines) = page[part].take() else {
            continue;
        };
        let Value::Array(known) = &mut whole[part] else {
            continue;
        };
        for line in lines {
            let is_it = |known: &&mut Value| names.iter().all(|name| known[*name] == line[*name]);
            match known.iter_mut().find(is_it) {
                Some(known) => add(known, line),
                None => known.push(line),
            }
        }
    }
    whole["explained"] = json!(number(&whole["explained"]) + number(&page["explained"]));
    for name in ["not_kept", "complete", "next"] {
        whole[name] = page[name].take();
    }
}

fn add(known: &mut Value, mut line: Value) {
    known["events"] = json!(number(&known["events"]) + number(&line["events"]));
    // seqs do not rise with the log where letters were replayed
    for (name, better) in [
        ("first_seq", u64::min as fn(u64, u64) -> u64),
        ("last_seq", u64::max),
    ] {
        if known.get(name).is_some() {
            known[name] = json!(better(number(&known[name]), number(&line[name])));
        }
    }
    if let (Value::Array(ranges), Value::Array(more)) = (&mut known["ranges"], line["ranges"].take()) {
        ranges.extend(more);
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(explained: u64, position: u64, next: Value) -> Value {
        json!({
            "view": "by_site", "window_start": "2026-01-31T12:00:00.000Z", "window_end": "2026-01-31T12:01:00.000Z",
            "groups": 1, "group": {"site": "a"}, "events": 12, "position": 99,
            "explained": explained, "explained_before": 0,
            "lanes": [{"lane": 1, "agent": "edge-1", "stream": "readings", "epoch": 3, "first_seq": position, "last_seq": position + 9,
                       "events": explained, "ranges": [{"first_seq": position, "last_seq": position + 9, "events": explained,
                       "position": position, "gateway": "gw-1", "schema": {"id": 4, "version": 2}, "trace_id": null,
                       "committed_at": "2026-01-31T12:00:01.000Z", "replayed": false}]}],
            "agents": [{"agent": "edge-1", "events": explained}],
            "gateways": [{"gateway": "gw-1", "events": explained}],
            "schemas": [{"id": 4, "version": 2, "events": explained}],
            "not_kept": null, "complete": next.is_null(), "next": next,
        })
    }

    #[test]
    fn pages_add_up_and_are_shown() {
        let mut whole = page(5, 20, json!("AAAA"));
        let mut last = page(4, 10, Value::Null);
        last["not_kept"] = json!({"events": 3, "up_to_position": 7, "why": "retention has deleted it"});
        append(&mut whole, last);
        assert_eq!(
            (number(&whole["explained"]), &whole["complete"]),
            (9, &json!(true))
        );
        let lane = &whole["lanes"][0];
        assert_eq!((number(&lane["first_seq"]), number(&lane["last_seq"])), (10, 29));
        assert_eq!(
            (number(&lane["events"]), lane["ranges"].as_array().map(Vec::len)),
            (9, Some(2))
        );
        let text = table::text(&whole, 1);
        for expected in [
            "12 events in 1 row of by_site (site a)",
            "9 are shown, 3 are not kept: retention has deleted it",
            "edge-1/readings/3",
            "version 2",
            "1 more run of events",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }
}
