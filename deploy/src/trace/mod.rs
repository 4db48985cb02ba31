//! `tributary trace`: the path of one event, drawn in the terminal.

pub mod cli;
mod draw;

use std::process::ExitCode;

use serde_json::{Value, json};
use tributary_shared::program::EXIT_FAILED;

use crate::out;
use crate::schema::{aligned, api, path, usage, words};
use cli::TraceArgs;
use draw::draw;

/// Exit code 1 means that nothing was found or something failed, 2 that what was asked for is wrong.
///
/// # Errors
/// When the aggregator cannot be reached, or does not answer.
pub fn run(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    usage(match &args.event {
        Some(event) => one(args, event).map(|()| ExitCode::SUCCESS),
        None => search(args),
    })
}

fn one(args: &TraceArgs, event: &str) -> anyhow::Result<()> {
    let parts: Vec<String> = event.split('/').map(path).collect();
    let answer = api::get(&args.api, &format!("/api/v1/events/{}", parts.join("/")), &[])?;
    if args.api.json {
        return Ok(out::line(answer)?);
    }
    Ok(out::line(draw(&answer).trim_end())?)
}

/// Asks until all is looked through, or enough is found.
fn search(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    let stream = args.stream.as_ref().map(ToString::to_string).unwrap_or_default();
    let limit = usize::try_from(args.limit)?;
    let (mut events, mut next) = (Vec::new(), None::<String>);
    let complete = loop {
        let query = query(args, &stream, limit - events.len(), next);
        let query: Vec<(&str, String)> = query
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        let page = api::get(&args.api, "/api/v1/events", &query)?;
        events.extend(page["events"].as_array().cloned().unwrap_or_default());
        next = page["next"].as_str().map(str::to_owned);
        if next.is_none() || events.len() >= limit {
            break next.is_none();
        }
    };
    if args.api.json {
        out::line(json!({ "events": events, "complete": complete, "next": next }))?;
    } else if let [event] = events.as_slice()
        && complete
    {
        one(args, &words(&event["lineage_id"]))?;
    } else if events.is_empty() {
        out::error_line("no such event is in the log or among the dead letters");
    } else {
        out::line(list(&events).trim_end())?;
        let more = if complete {
            ""
        } else {
            "There may be more: narrow the time, or raise --limit. "
        };
        out::error_line(format_args!(
            "{more}Draw one of them with: tributary trace LINEAGE-ID"
        ));
    }
    Ok(if events.is_empty() {
        ExitCode::from(EXIT_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// A field goes with its prefix: it may have the name of a parameter.
fn query(args: &TraceArgs, stream: &str, limit: usize, next: Option<String>) -> Vec<(String, String)> {
    let mut query = vec![
        ("stream".to_owned(), stream.to_owned()),
        ("limit".to_owned(), limit.to_string()),
    ];
    let given = [
        ("from", args.from.clone()),
        ("to", args.to.clone()),
        ("next", next),
    ];
    let given = given
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    query.extend(given);
    let fields = args.fields.iter();
    query.extend(fields.map(|(field, value)| (format!("field.{field}"), value.clone())));
    query
}

fn list(events: &[Value]) -> String {
    let line = |event: &Value| {
        let name = format!(
            "{}/{}/{}/{}",
            words(&event["agent"]),
            words(&event["stream"]),
            event["epoch"],
            event["seq"]
        );
        vec![
            words(&event["lineage_id"]),
            words(&event["event_time"]),
            words(&event["outcome"]),
            name,
        ]
    };
    let lines: Vec<Vec<String>> = events.iter().map(line).collect();
    aligned(&["LINEAGE-ID", "EVENT TIME", "OUTCOME", "EVENT"], &lines)
}
