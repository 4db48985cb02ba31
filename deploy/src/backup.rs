//! `tributary backup` and `tributary restore`.

use std::path::PathBuf;

use aggregator::backup::{self, Manifest, Progress};
use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use tributary_shared::config::format_size;
use tributary_shared::time::to_rfc3339;

use crate::cli::{BackupArgs, RestoreArgs};
use crate::{http, out};

/// `/api/v1/aggregator`, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Aggregator {
    dir: PathBuf,
    log_id: String,
}

/// Backs up a running aggregator (`--http`) or any directory of one (`--dir`).
///
/// # Errors
/// When the source cannot be read, or the copy cannot be written.
pub fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    let dir = match (&args.http, &args.dir) {
        (Some(base), _) => dir_of(base)?,
        (None, Some(dir)) => dir.clone(),
        // the command line demands one of them
        (None, None) => anyhow::bail!("name the aggregator: --http URL, or --dir DIR"),
    };
    let manifest = with_progress(|tell| backup::save(&dir, &args.out, args.force, tell))?;
    out::line(format_args!(
        "backup of {} in {}",
        dir.display(),
        args.out.display()
    ))?;
    Ok(out::line(describe(&manifest))?)
}

/// The directory of a running aggregator, if it is of this host.
fn dir_of(base: &str) -> anyhow::Result<PathBuf> {
    let url = format!("{base}/api/v1/aggregator");
    let mut response = http::client().get(&url).call().with_context(|| {
        format!(
            "no aggregator can be reached at {base}: is it running? A stopped one is backed up with --dir"
        )
    })?;
    let told: Aggregator = http::json(&url, &mut response)?;
    let elsewhere = || {
        format!(
            "the aggregator at {base} keeps its log in {}, which is not on this host: run `tributary backup` there",
            told.dir.display()
        )
    };
    let found = backup::inspect_source(&told.dir).with_context(elsewhere)?;
    anyhow::ensure!(found.log_id == told.log_id, elsewhere());
    Ok(told.dir)
}

/// Puts a backup into an aggregator's directory.
///
/// # Errors
/// When the backup is damaged, or the directory may not be written.
pub fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let restored = with_progress(|tell| backup::restore(&args.from, &args.dir, args.force, tell))?;
    out::line(format_args!(
        "restored {} into {}",
        args.from.display(),
        args.dir.display()
    ))?;
    out::line(describe(&restored.manifest))?;
    if let Some(aside) = &restored.moved_to {
        out::line(format_args!("what was there before is in {}", aside.display()))?;
    }
    Ok(out::line(
        "Agents that deleted what this copy does not have report it as dropped, reason forgotten_by_aggregator, \
         when they connect: see `tributary ledger`.",
    )?)
}

fn describe(manifest: &Manifest) -> String {
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    format!(
        "made {}: {} events of {} lanes, log entries {} to {}, views at {}, {} in {} files",
        to_rfc3339(manifest.created_at),
        manifest.produced,
        manifest.lanes,
        manifest.log_floor.saturating_add(1).min(manifest.log_position),
        manifest.log_position,
        manifest.views_position,
        format_size(bytes),
        manifest.files.len()
    )
}

/// Runs a long step, showing how far it is; on a terminal only.
fn with_progress<T>(
    run: impl FnOnce(&mut dyn FnMut(Progress<'_>)) -> Result<T, backup::BackupError>,
) -> anyhow::Result<T> {
    let known = ProgressStyle::with_template("{msg:28} {bar:30} {bytes}/{total_bytes}  {eta} left")?;
    let unknown = ProgressStyle::with_template("{msg:28} {spinner} {elapsed}")?;
    let bar = ProgressBar::new(0);
    let result = run(&mut |progress| {
        let message = format!("{} {}", progress.step, progress.file);
        if bar.message() != message {
            bar.set_message(message);
            bar.set_style(if progress.total == 0 {
                unknown.clone()
            } else {
                known.clone()
            });
            bar.reset();
        }
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    Ok(result?)
}
