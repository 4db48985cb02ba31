//! `tributary views`: the live views of an aggregator.

pub mod cli;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::out;
use crate::schema::cli::ApiArgs;
use crate::schema::{aligned, api, path, usage, words};
use cli::{NameArgs, PutArgs, ViewsCommand};

/// The longest file with a SELECT: what the API takes.
const MAX_SQL: u64 = 1 << 20;

/// Exit code 1 means that something failed, 2 that what was asked for is wrong.
///
/// # Errors
/// When the aggregator cannot be reached, or does not do it.
pub fn run(command: &ViewsCommand) -> anyhow::Result<ExitCode> {
    let done = match command {
        ViewsCommand::List(args) => api::get(args, "/api/v1/views", &[])
            .and_then(|listed| show(args, &listed, |listed| list(&listed["views"]))),
        ViewsCommand::Show(args) => {
            api::get(&args.api, &url(args), &[]).and_then(|view| show(&args.api, &view, one))
        }
        ViewsCommand::Put(args) => put(args),
        ViewsCommand::Delete(args) => {
            api::delete(&args.api, &url(args)).and_then(|_| Ok(out::line(format!("{}: deleted", args.name))?))
        }
    };
    usage(done.map(|()| ExitCode::SUCCESS))
}

fn url(args: &NameArgs) -> String {
    format!("/api/v1/views/{}", path(&args.name))
}

fn show(api: &ApiArgs, answer: &Value, text: fn(&Value) -> String) -> anyhow::Result<()> {
    if api.json {
        return Ok(out::line(answer)?);
    }
    Ok(out::line(text(answer).trim_end())?)
}

fn put(args: &PutArgs) -> anyhow::Result<()> {
    let mut body = json!({ "sql": sql(args)? });
    let given = [
        ("allowed_lateness", args.allowed_lateness.as_deref()),
        ("retention", args.retention.as_deref()),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            body[name] = value.into();
        }
    }
    if let Some(groups) = args.max_groups {
        body["max_groups"] = groups.into();
    }
    let view = api::put(&args.api, &format!("/api/v1/views/{}", path(&args.name)), &body)?;
    show(&args.api, &view, one)
}

fn sql(args: &PutArgs) -> anyhow::Result<String> {
    let Some(file) = &args.file else {
        return Ok(args.sql.clone().unwrap_or_default());
    };
    let mut text = String::new();
    if file.as_os_str() == "-" {
        let mut stdin = std::io::stdin().lock().take(MAX_SQL);
        stdin
            .read_to_string(&mut text)
            .context("reading standard input")?;
    } else {
        let opened = std::fs::File::open(file);
        let opened = opened.with_context(|| format!("cannot read {} (--file)", file.display()))?;
        opened.take(MAX_SQL).read_to_string(&mut text)?;
    }
    Ok(text)
}

fn list(views: &Value) -> String {
    let views = views.as_array().map_or(&[][..], Vec::as_slice);
    if views.is_empty() {
        return "There are no views; make one with `tributary views put`.".to_owned();
    }
    let lines: Vec<Vec<String>> = views
        .iter()
        .map(|view| {
            let state = if view["live"] == true {
                "live"
            } else {
                "back-filling"
            };
            let mut line = vec![words(&view["name"]), state.to_owned()];
            line.extend(["stream", "windows", "groups", "applied"].map(|field| words(&view[field])));
            line
        })
        .collect();
    aligned(&["VIEW", "STATE", "READS", "WINDOWS", "GROUPS", "EVENTS"], &lines)
}

fn one(view: &Value) -> String {
    let mut text = format!("{}\n", words(&view["name"]));
    let fields = view.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !["name", "sql", "columns"].contains(&name.as_str())) {
        let value = match value {
            Value::Array(values) => values.iter().map(words).collect::<Vec<_>>().join(", "),
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("{name} {}", words(value)));
                fields.collect::<Vec<_>>().join(", ")
            }
            other => words(other),
        };
        text.push_str(&format!("  {name:<18}{value}\n"));
    }
    let columns = view["columns"].as_array().map_or(&[][..], Vec::as_slice);
    let columns: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", words(&column["name"]), words(&column["type"])))
        .collect();
    text.push_str(&format!(
        "  {:<18}{}\n\n{}\n",
        "columns",
        columns.join(", "),
        words(&view["sql"])
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_listed_and_shown() {
        let view = json!({
            "name": "by_site", "sql": "SELECT 1", "stream": "readings", "live": false,
            "columns": [{ "name": "n", "type": "integer" }], "keys": ["site"],
            "options": { "retention": "90d" }, "windows": 3, "groups": 12, "applied": 99,
        });
        let listed = list(&json!([view]));
        assert_eq!(
            listed,
            "VIEW     STATE         READS     WINDOWS  GROUPS  EVENTS\n\
             by_site  back-filling  readings  3        12      99\n"
        );
        let shown = one(&view);
        assert!(
            shown.contains("retention 90d") && shown.contains("n integer") && shown.ends_with("SELECT 1\n"),
            "{shown}"
        );
    }
}
