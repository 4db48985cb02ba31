//! `tributary graph` and `tributary impact`: how things hang together, and what would break.

pub mod cli;
mod draw;

use std::process::ExitCode;

use serde_json::Value;
use tributary_shared::program::EXIT_FAILED;

use crate::out;
use crate::schema::{api, path, usage};
use cli::{GraphArgs, ImpactArgs};

/// # Errors
/// When the aggregator cannot be reached, or does not answer.
pub fn graph(args: &GraphArgs) -> anyhow::Result<ExitCode> {
    let shown = match (&args.kind, &args.name) {
        (Some(kind), Some(name)) => {
            let asked = format!("/api/v1/graph/{kind}/{}", path(name));
            api::get(&args.api, &asked, &[]).and_then(|answer| show(args.api.json, &answer, draw::around))
        }
        _ => api::get(&args.api, "/api/v1/graph", &[])
            .and_then(|answer| show(args.api.json, &answer, draw::whole)),
    };
    usage(shown.map(|()| ExitCode::SUCCESS))
}

/// Exit code 1 means that something would break.
///
/// # Errors
/// When the aggregator cannot be reached, or does not answer.
pub fn impact(args: &ImpactArgs) -> anyhow::Result<ExitCode> {
    let mut query = vec![("stream", args.stream.to_string())];
    query.extend(args.field.clone().map(|field| ("field", field)));
    let answered = api::get(&args.api, "/api/v1/impact", &query).and_then(|answer| {
        show(args.api.json, &answer, draw::impact)?;
        // a whole stream is only looked at
        let breaks = args.field.is_some() && answer["breaks"] == Value::Bool(true);
        Ok(if breaks {
            ExitCode::from(EXIT_FAILED)
        } else {
            ExitCode::SUCCESS
        })
    });
    usage(answered)
}

fn show(as_json: bool, answer: &Value, text: fn(&Value) -> String) -> anyhow::Result<()> {
    if as_json {
        return Ok(out::line(answer)?);
    }
    Ok(out::line(text(answer).trim_end())?)
}
