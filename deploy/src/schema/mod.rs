//! `tributary schema`: subjects, versions and their lives, for people and for CI jobs.

mod call;
mod check;
pub mod cli;
mod file;
mod table;

use std::process::ExitCode;

use serde_json::{Value, json};
use tributary_shared::program::EXIT_USAGE;

use crate::out;
use call::{Refused, registry};
pub(crate) use call::{api, path};
use cli::{
    ChangesArgs, DiffArgs, GovernArgs, InferArgs, RegisterArgs, SchemaCommand, ShowArgs, SignArgs, StepArgs,
    SubjectArgs,
};
pub(crate) use table::{aligned, words};

/// Exit code 1 means that something is not so or failed, 2 that what was asked for is wrong.
///
/// # Errors
/// When a server cannot be reached, or does not do it.
pub fn run(command: &SchemaCommand) -> anyhow::Result<ExitCode> {
    let done = match command {
        SchemaCommand::Check(args) => return usage(check::run(args)),
        SchemaCommand::List(args) => api::get(args, "/api/v1/schemas", &[])
            .and_then(|listed| show_text(args.json, &listed, table::subjects)),
        SchemaCommand::Show(args) => show(args),
        SchemaCommand::Register(args) => register(args),
        SchemaCommand::Deprecate(args) => step("deprecate", args, false),
        SchemaCommand::Retire(args) => step("retire", &args.step, args.force),
        SchemaCommand::Approve(args) => step("approve", args, false),
        SchemaCommand::Reject(args) => step("reject", args, false),
        SchemaCommand::Activate(args) => step("activate", args, false),
        SchemaCommand::Govern(args) => govern(args),
        SchemaCommand::Usage(args) => usage_of(args),
        SchemaCommand::Changes(args) => changes(args),
        SchemaCommand::Diff(args) => diff(args),
        SchemaCommand::Infer(args) => infer(args),
    };
    usage(done.map(|()| ExitCode::SUCCESS))
}

/// What was wrong to ask for is told, with an exit code of its own.
pub(crate) fn usage(done: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
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

fn show_text(as_json: bool, answer: &Value, table: fn(&Value) -> String) -> anyhow::Result<()> {
    if as_json {
        return Ok(out::line(answer)?);
    }
    Ok(out::line(table(answer).trim_end())?)
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let subject = path(&args.subject);
    let Some(version) = &args.version else {
        let shown = api::get(&args.api, &format!("/api/v1/schemas/{subject}"), &[])?;
        return show_text(args.api.json, &shown, table::subject);
    };
    let url = format!("/subjects/{subject}/versions/{version}?deleted=true");
    let found = registry::get(&args.registry, &url)?;
    if args.api.json {
        return Ok(out::line(found)?);
    }
    Ok(out::line(file::pretty(&found))?)
}

fn register(args: &RegisterArgs) -> anyhow::Result<()> {
    let body = file::body(&args.file)?;
    let url = format!("/subjects/{}/versions", path(&args.subject));
    let done = registry::post(&args.registry, &url, &body)?;
    if args.json {
        return Ok(out::line(done)?);
    }
    let (version, id) = (&done["version"], &done["id"]);
    Ok(out::line(format!(
        "{}: version {version}, id {id}",
        args.subject
    ))?)
}

/// The body of a change: who asks, in which role, and why.
fn signed(sign: &SignArgs) -> Value {
    let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME"));
    let by = sign.by.clone().or_else(|| user().ok());
    json!({
        "by": by.unwrap_or_else(|| "tributary schema".to_owned()),
        "role": sign.role,
        "why": sign.why,
    })
}

fn step(name: &str, args: &StepArgs, force: bool) -> anyhow::Result<()> {
    let mut body = signed(&args.sign);
    body["force"] = force.into();
    let url = format!(
        "/api/v1/schemas/{}/versions/{}/{name}",
        path(&args.subject),
        args.version
    );
    let done = api::post(&args.api, &url, &body)?;
    if args.api.json {
        return Ok(out::line(done)?);
    }
    let state = done["state"].as_str().unwrap_or_default();
    Ok(out::line(format!(
        "{} version {}: {state}",
        args.subject, args.version
    ))?)
}

/// What is not said stays as it is.
fn govern(args: &GovernArgs) -> anyhow::Result<()> {
    let url = format!("/api/v1/schemas/{}/governance", path(&args.subject));
    let mut body = signed(&args.sign);
    let given = [
        ("owner", &args.owner),
        ("contact", &args.contact),
        ("description", &args.description),
        ("approver_role", &args.approver),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    let done = api::patch(&args.api, &url, &body)?;
    show_text(args.api.json, &done, table::governance)
}

fn usage_of(args: &SubjectArgs) -> anyhow::Result<()> {
    let url = format!("/api/v1/schemas/{}/usage", path(&args.subject));
    show_text(args.api.json, &api::get(&args.api, &url, &[])?, table::usage)
}

fn changes(args: &ChangesArgs) -> anyhow::Result<()> {
    let url = match &args.subject {
        Some(subject) => format!("/api/v1/schemas/{}/changes", path(subject)),
        None => "/api/v1/schema-changes".to_owned(),
    };
    let limit = [("limit", args.limit.to_string())];
    show_text(args.api.json, &api::get(&args.api, &url, &limit)?, table::changes)
}

fn diff(args: &DiffArgs) -> anyhow::Result<()> {
    let url = format!("/api/v1/schemas/{}/diff", path(&args.subject));
    let query = [("from", args.from.to_string()), ("to", args.to.to_string())];
    show_text(args.api.json, &api::get(&args.api, &url, &query)?, table::diff)
}

fn infer(args: &InferArgs) -> anyhow::Result<()> {
    let url = format!("/api/v1/streams/{}/proposed-schema", path(args.stream.as_str()));
    let query = [
        ("events", args.events.to_string()),
        ("ranges", args.ranges.to_string()),
    ];
    let proposed = api::get(&args.api, &url, &query)?;
    if args.api.json {
        return Ok(out::line(proposed)?);
    }
    Ok(out::line(serde_json::to_string_pretty(&proposed["schema"])?)?)
}
