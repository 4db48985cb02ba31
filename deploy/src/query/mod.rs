//! `tributary query`: ad-hoc SQL over views and retained events, as a table or in a format that other programs read.

pub mod cli;
mod table;

use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tributary_shared::program::{EXIT_FAILED, EXIT_USAGE};
use ureq::Body;
use ureq::http::Response;

use crate::{http, out};
use cli::{Format, QueryArgs};
use table::table;

/// The longest query that is read from standard input: what the API takes.
const MAX_QUERY: u64 = 64 * 1024;
/// Bytes that are read from the answer at once.
const PIECE: usize = 64 * 1024;

/// Exit code 2 means that the query is wrong, 1 that there is no answer to it now.
///
/// # Errors
/// When the aggregator cannot be reached, or the answer breaks off or cannot be written.
pub fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let format = args.format();
    if format == Format::Parquet && args.output.is_none() && io::stdout().is_terminal() {
        out::error_line("error: Parquet is not for a terminal; write it with --output FILE, or into a pipe");
        return Ok(ExitCode::from(EXIT_USAGE));
    }
    let sql = query(&args.sql)?;
    let mut body = json!({ "query": sql });
    if let Some(limit) = args.limit {
        body["limit"] = limit.into();
    }
    let request = http::client().post(format!("{}/api/v1/sql", args.url));
    let mut response = request
        .header("accept", format.accept())
        .send_json(&body)
        .with_context(|| {
            let url = &args.url;
            format!("no aggregator can be reached at {url}: is it running, and is this its `http` address?")
        })?;
    if !response.status().is_success() {
        return refused(&sql, &mut response);
    }
    let truncated = match format {
        Format::Table | Format::Json => write_json(args, format, &mut response)?,
        Format::Csv | Format::Parquet => {
            let truncated = header(&response, "tributary-truncated").is_some_and(|value| value == "true");
            let rows = header(&response, "tributary-rows");
            copy(args.output.as_deref(), response.body_mut())?;
            truncated.then(|| rows.unwrap_or_default())
        }
    };
    if let Some(rows) = truncated {
        out::error_line(format_args!(
            "note: these are the first {rows} rows, and there are more; narrow the query, or page with LIMIT and OFFSET"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn query(given: &str) -> anyhow::Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let mut stdin = io::stdin().lock().take(MAX_QUERY + 1);
    stdin
        .read_to_string(&mut text)
        .context("reading standard input")?;
    Ok(text)
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// Returns how many rows there are, if there were more.
fn write_json(
    args: &QueryArgs,
    format: Format,
    response: &mut Response<Body>,
) -> anyhow::Result<Option<String>> {
    let text = http::text(response)?;
    let answer: Value = serde_json::from_str(&text).context("the answer is no JSON")?;
    let shown = match format {
        Format::Table => table(&answer, terminal_width(args)),
        _ => text,
    };
    match &args.output {
        Some(path) => whole(path, |file| Ok(file.write_all(shown.as_bytes())?))?,
        None => out::line(shown.trim_end())?,
    }
    let rows = answer["rows"].as_array().map_or(0, Vec::len);
    Ok((answer["truncated"] == true).then(|| rows.to_string()))
}

/// `None` when nobody looks at a terminal.
fn terminal_width(args: &QueryArgs) -> Option<usize> {
    if args.output.is_some() || !io::stdout().is_terminal() {
        return None;
    }
    let (width, _) = ratatui::crossterm::terminal::size().ok()?;
    Some(usize::from(width)).filter(|width| *width > 0)
}

fn copy(output: Option<&Path>, body: &mut Body) -> anyhow::Result<()> {
    match output {
        Some(path) => whole(path, |file| pour(body, file, &progress())),
        None => {
            let mut stdout = io::stdout().lock();
            pour(body, &mut stdout, &ProgressBar::hidden())?;
            Ok(stdout.flush()?)
        }
    }
}

fn pour(body: &mut Body, to: &mut dyn io::Write, progress: &ProgressBar) -> anyhow::Result<()> {
    let mut reader = body.as_reader();
    let mut piece = vec![0; PIECE];
    loop {
        let len = reader
            .read(&mut piece)
            .context("the answer broke off; what came so far is not all")?;
        if len == 0 {
            progress.finish_and_clear();
            return Ok(());
        }
        to.write_all(&piece[..len])?;
        progress.inc(len as u64);
    }
}

/// Draws on standard error, and only on a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {bytes} in {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Writes a file that is whole or not there.
fn whole(path: &Path, write: impl FnOnce(&mut fs::File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or_else(|| Path::new("."));
    let told = || format!("cannot write {} (--output)", path.display());
    let mut file = NamedTempFile::new_in(dir).with_context(told)?;
    write(file.as_file_mut())?;
    file.persist(path).with_context(told)?;
    Ok(())
}

/// Tells why there is no answer, with the place in the query where there is one.
fn refused(sql: &str, response: &mut Response<Body>) -> anyhow::Result<ExitCode> {
    let status = response.status();
    let text = http::text(response)?;
    let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let error = &json["error"];
    let message = error["message"].as_str().unwrap_or(&text);
    let offset = error["offset"]
        .as_u64()
        .and_then(|offset| usize::try_from(offset).ok());
    out::error_line(format_args!(
        "error: {message}{}",
        offset.map_or_else(String::new, |at| place(sql, at))
    ));
    let code = if status.is_client_error() {
        EXIT_USAGE
    } else {
        EXIT_FAILED
    };
    Ok(ExitCode::from(code))
}

/// The line of a byte of the query, with a mark below that byte.
fn place(sql: &str, offset: usize) -> String {
    let before = sql.get(..offset).unwrap_or(sql);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let (line, column) = (
        before.matches('\n').count() + 1,
        before[start..].chars().count() + 1,
    );
    let shown = sql[start..].lines().next().unwrap_or_default();
    let shown: String = shown
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!(
        " (line {line}, column {column})\n  {shown}\n  {}^",
        " ".repeat(column - 1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        assert_eq!(
            place("SELECT a,\n\tnöthing FROM t", 20),
            " (line 2, column 10)\n   nöthing FROM t\n           ^"
        );
        assert_eq!(place("SELECT", 99), " (line 1, column 7)\n  SELECT\n        ^");
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("answer.csv");
        let broken = whole(&path, |file| {
            file.write_all(b"half")?;
            anyhow::bail!("broke off")
        });
        assert!(broken.is_err() && !path.exists());
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 0);
        whole(&path, |file| Ok(file.write_all(b"n\r\n1\r\n")?)).expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"n\r\n1\r\n");
    }
}
