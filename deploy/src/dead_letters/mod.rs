//! `tributary dead-letters`: what schemas rejected, and how it comes back.

pub mod cli;
mod order;
mod report;
mod table;

use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tributary_shared::program::{EXIT_FAILED, EXIT_USAGE};

use crate::{http, out};
use cli::{ApiArgs, DeadLettersCommand, DiscardArgs, ListArgs, ReplayArgs, ShowArgs};
use report::Report;

/// Letters that one request looks at: some tenths of a second, so that progress is seen and a failure repeats little.
const CHUNK: u64 = 5_000;
/// Ids in one request.
const CHUNK_IDS: usize = 1_000;

/// An answer that was no success.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Refused {
    message: String,
    /// What was asked for is wrong, as opposed to: it failed.
    usage: bool,
}

/// Exit code 1 means that letters stay dead or something failed, 2 that what was asked for is wrong.
///
/// # Errors
/// When the aggregator cannot be reached, or does not do it.
pub fn run(command: &DeadLettersCommand) -> anyhow::Result<ExitCode> {
    let done = match command {
        DeadLettersCommand::List(args) => list(args),
        DeadLettersCommand::Show(args) => show(args),
        DeadLettersCommand::Replay(args) => replay(args),
        DeadLettersCommand::Discard(args) => discard(args),
    };
    match done {
        Err(error)
            if error
                .downcast_ref::<Refused>()
                .is_some_and(|refused| refused.usage) =>
        {
            out::error_line(format_args!("error: {error:#}"));
            Ok(ExitCode::from(EXIT_USAGE))
        }
        other => other,
    }
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let mut query = order::query(&args.filter);
    query.push(("limit", args.limit.to_string()));
    query.extend(args.before.map(|id| ("before", id.to_string())));
    let listed = get(&args.api, "/api/v1/dead-letters", &query)?;
    let counts = get(&args.api, "/api/v1/dead-letters/counts", &[])?;
    if args.api.json {
        let mut both = listed;
        both["counts"] = counts["counts"].clone();
        both["totals"] = counts["totals"].clone();
        out::line(both)?;
    } else {
        out::line(table::list(&listed, &counts, args.limit))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let letter = get(&args.api, &format!("/api/v1/dead-letters/{}", args.id), &[])?;
    if args.api.json {
        out::line(letter)?;
    } else {
        out::line(table::letter(&letter))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let fix = order::fix(args)?;
    let mut body = order::selection(&args.select);
    body["schema"] = args.schema.into();
    body["fix"] = fix;
    let report = in_chunks(&args.api, "/api/v1/dead-letters/replay", &args.select.ids, body)?;
    if args.api.json {
        out::line(report.to_json())?;
    } else {
        out::line(report.replay_text(args.select.dry_run))?;
    }
    Ok(verdict(report.stays_dead()))
}

fn discard(args: &DiscardArgs) -> anyhow::Result<ExitCode> {
    let mut body = order::selection(&args.select);
    body["reason"] = args.because.as_str().into();
    let report = in_chunks(&args.api, "/api/v1/dead-letters/discard", &args.select.ids, body)?;
    if args.api.json {
        out::line(report.to_json())?;
    } else {
        out::line(report.discard_text(args.select.dry_run))?;
    }
    Ok(verdict(report.unknown() > 0))
}

fn verdict(failed: bool) -> ExitCode {
    if failed {
        ExitCode::from(EXIT_FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

/// Asks chunk by chunk until nothing is left, and adds up the answers.
fn in_chunks(api: &ApiArgs, path: &str, ids: &[i64], mut body: Value) -> anyhow::Result<Report> {
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} dead letters in {elapsed}") {
        bar.set_style(style);
    }
    let mut report = Report::default();
    let parts: Vec<Option<&[i64]>> = if ids.is_empty() {
        vec![None]
    } else {
        ids.chunks(CHUNK_IDS).map(Some).collect()
    };
    for part in parts {
        match part {
            Some(ids) => body["ids"] = ids.into(),
            None => body["limit"] = CHUNK.into(),
        }
        loop {
            let answer = post(api, path, &body)
                .with_context(|| format!("after {} dead letters", report.matched()))
                .map_err(|error| {
                    if report.matched() == 0 {
                        error.root()
                    } else {
                        error
                    }
                })?;
            let next = answer["next"].as_i64();
            report.add(answer);
            bar.set_position(report.matched());
            let Some(next) = next else { break };
            body["after"] = next.into();
        }
    }
    bar.finish_and_clear();
    Ok(report)
}

/// The context of a failure says nothing when it came at once.
trait Root {
    fn root(self) -> Self;
}

impl Root for anyhow::Error {
    fn root(self) -> Self {
        match self.downcast::<Refused>() {
            Ok(refused) => refused.into(),
            Err(error) => error,
        }
    }
}

fn get(api: &ApiArgs, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
    let mut request = http::client().get(format!("{}{path}", api.http));
    for (name, value) in query {
        request = request.query(name, value);
    }
    answer(&mut request.call().with_context(|| unreachable(api))?)
}

fn post(api: &ApiArgs, path: &str, body: &Value) -> anyhow::Result<Value> {
    let request = http::client().post(format!("{}{path}", api.http));
    answer(&mut request.send_json(body).with_context(|| unreachable(api))?)
}

fn unreachable(api: &ApiArgs) -> String {
    format!(
        "no aggregator can be reached at {}: is it running, and is this its `http` address?",
        api.http
    )
}

fn answer(response: &mut ureq::http::Response<ureq::Body>) -> anyhow::Result<Value> {
    let text = http::text(response)?;
    let status = response.status();
    let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() && !json.is_null() {
        return Ok(json);
    }
    let told = json["error"]["message"].as_str().unwrap_or(&text);
    let message = format!("{told} (status {status})");
    let usage = status.is_client_error();
    Err(Refused { message, usage }.into())
}
