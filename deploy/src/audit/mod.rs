//! `tributary audit`: the record of administrative acts and of what was received, and whether it is whole.

pub mod cli;
mod kept;
mod verify;

use std::io::Write as _;
use std::process::ExitCode;

use aggregator::audit;
use anyhow::Context as _;
use cli::{AuditCommand, ExportArgs, ListArgs, ProveArgs};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{http, out};

/// The most leaves of one answer.
const PAGE: u64 = 1_000;

/// Runs one of the commands.
///
/// # Errors
/// When the aggregator cannot be reached, or a file not be read or written.
pub fn run(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::List(args) => list(args).map(|()| ExitCode::SUCCESS),
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Prove(args) => prove(args).map(|()| ExitCode::SUCCESS),
        AuditCommand::Export(args) => export(args).map(|()| ExitCode::SUCCESS),
    }
}

/// The JSON of an answer.
fn get<T: serde::de::DeserializeOwned>(base: &str, path: &str) -> anyhow::Result<T> {
    let url = format!("{base}{path}");
    let mut response = http::client().get(&url).call().with_context(|| {
        format!("nothing can be reached at {base}: does it run, and is this its `http` address?")
    })?;
    http::json(&url, &mut response)
}

#[derive(Debug, Deserialize)]
struct Page {
    size: u64,
    leaves: Vec<ShownLeaf>,
    next_before: Option<u64>,
}

#[derive(Debug, Deserialize, serde::Serialize)]
struct ShownLeaf {
    leaf: u64,
    at: String,
    kind: String,
    detail: Map<String, Value>,
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let (mut before, mut left) = (args.before, args.limit);
    loop {
        let limit = left.clamp(1, PAGE);
        let from = before.map_or(String::new(), |before| format!("&before={before}"));
        let path = format!(
            "/api/v1/audit?order=newest&kind={}&limit={limit}{from}",
            args.kind
        );
        let page: Page = get(&args.http, &path)?;
        for leaf in &page.leaves {
            if args.json {
                out::line(serde_json::to_string(leaf)?)?;
            } else {
                out::line(format_args!(
                    "{:>8}  {}  {:13} {}",
                    leaf.leaf,
                    leaf.at,
                    leaf.kind,
                    words(&leaf.detail)
                ))?;
            }
        }
        left -= (page.leaves.len() as u64).min(left);
        before = page.next_before;
        if left == 0 || before.is_none() {
            if !args.json {
                out::line(format_args!("{} leaves in all", page.size))?;
            }
            return Ok(());
        }
    }
}

/// A detail on one line, cut where it is long.
fn words(detail: &Map<String, Value>) -> String {
    const LONG: usize = 100;
    let word = |(key, value): (&String, &Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut shown: String = text.chars().take(LONG).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        format!("{key}={shown}")
    };
    detail.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn prove(args: &ProveArgs) -> anyhow::Result<()> {
    let of_size = |name: &str| args.size.map_or(String::new(), |size| format!("&{name}={size}"));
    let path = match (&args.event, args.leaf, args.from) {
        (Some(event), ..) => format!("/api/v1/events/{event}/receipt"),
        (_, Some(leaf), _) => format!("/api/v1/audit/inclusion?leaf={leaf}{}", of_size("size")),
        (_, _, Some(from)) => format!("/api/v1/audit/consistency?from={from}{}", of_size("to")),
        // the command line demands one of them
        _ => anyhow::bail!("name what to prove: --event, --leaf or --from"),
    };
    let proof: Value = get(&args.http, &path)?;
    let text = serde_json::to_string_pretty(&proof)?;
    match &args.out {
        None => Ok(out::line(text)?),
        Some(path) => {
            std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
            Ok(out::line(format_args!(
                "{} written; check it with: tributary-audit-verify --key audit.pub {0}",
                path.display()
            ))?)
        }
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let wrong = || format!("cannot write {}", args.out.display());
    let mut file = std::io::BufWriter::new(std::fs::File::create(&args.out).with_context(wrong)?);
    match (&args.dir, &args.http) {
        (Some(dir), _) => {
            let (db, key) = (audit::open_read_only(dir)?, audit::read_public(dir)?);
            let bar = verify::bar()?;
            audit::export(&db, &key, &mut file, &mut |done, total| {
                verify::tell(&bar, done, total)
            })?;
            bar.finish_and_clear();
        }
        (None, Some(base)) => {
            std::io::copy(&mut verify::stream(base)?, &mut file).with_context(wrong)?;
        }
        // the command line demands one of them
        (None, None) => anyhow::bail!("name the aggregator: --http URL, or --dir DIR"),
    }
    file.flush()
        .and_then(|()| file.get_ref().sync_all())
        .with_context(wrong)?;
    Ok(out::line(format_args!("the audit is in {}", args.out.display()))?)
}
