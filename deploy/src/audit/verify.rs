//! `tributary audit verify`.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

use aggregator::audit;
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tributary_audit::{Export, Outcome, PublicKey, SignedHead};
use tributary_shared::program::EXIT_FAILED;

use super::cli::VerifyArgs;
use super::kept;
use crate::{http, out};

/// Between two moves of the bar.
const TELL_EVERY: u64 = 4_096;

pub(super) fn bar() -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} leaves  {eta} left")?;
    Ok(ProgressBar::new(0).with_style(style))
}

pub(super) fn tell(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}

/// Checks the audit of an aggregator, or an exported one. The exit code is 1 when something is wrong.
///
/// # Errors
/// When something cannot be read.
pub fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let keys = args
        .key
        .iter()
        .map(|path| read(path, PublicKey::parse))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut heads = args
        .head
        .iter()
        .map(|path| read(path, SignedHead::parse))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut sound = true;
    for agent in &args.agent {
        let kept = kept::of_agent(agent)?;
        for warning in &kept.warnings {
            sound = false;
            out::line(format_args!("WRONG: {agent}: {warning}"))?;
        }
        out::line(format_args!("{agent} keeps {} heads", kept.heads.len()))?;
        heads.extend(kept.heads);
    }
    let bar = bar()?;
    let (outcome, key) = match (&args.dir, &args.file, &args.http) {
        (Some(dir), ..) => {
            let (db, own) = (audit::open_read_only(dir)?, audit::read_public(dir)?);
            let trusted = if keys.is_empty() {
                vec![own.clone()]
            } else {
                keys.clone()
            };
            let outcome = audit::walk(&db, trusted, &heads, &mut |done, total| tell(&bar, done, total))?;
            (outcome, own)
        }
        (_, Some(path), _) => {
            let file =
                std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            lines(file, keys.clone(), heads, &bar)?
        }
        (_, _, Some(base)) => lines(stream(base)?, keys.clone(), heads, &bar)?,
        // the command line demands one of them
        _ => anyhow::bail!("name the audit: --http URL, --dir DIR or --file FILE"),
    };
    bar.finish_and_clear();
    report(&outcome, &key, keys.is_empty())?;
    sound &= outcome.is_sound();
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

fn report(outcome: &Outcome, key: &PublicKey, own_key: bool) -> anyhow::Result<()> {
    out::line(outcome)?;
    if own_key {
        out::line(format_args!(
            "Checked by the key {} that lies beside the audit: whoever could write there could replace both. Keep a copy \
             of audit.pub elsewhere, and name it with --key.",
            key.id()
        ))?;
    }
    Ok(())
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, tributary_audit::AuditError>) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// The export of a running aggregator.
pub(super) fn stream(base: &str) -> anyhow::Result<impl Read + use<>> {
    let url = format!("{base}/api/v1/audit/export");
    let mut response = http::streaming_client()
        .get(&url)
        .call()
        .with_context(|| format!("no aggregator can be reached at {base}: is it running?"))?;
    if !response.status().is_success() {
        let text = http::text(&mut response)?;
        anyhow::bail!("{url}: the answer is {}: {text}", response.status());
    }
    Ok(response.into_body().into_reader())
}

fn lines(
    from: impl Read,
    keys: Vec<PublicKey>,
    heads: Vec<SignedHead>,
    bar: &ProgressBar,
) -> anyhow::Result<(Outcome, PublicKey)> {
    let mut export = Export::new(keys, heads);
    for line in BufReader::new(from).lines() {
        export.line(&line?)?;
        let done = export.leaves();
        if done.is_multiple_of(TELL_EVERY) {
            // how many there are, the last line says
            tell(bar, done, done);
        }
    }
    Ok(export.finish()?)
}
