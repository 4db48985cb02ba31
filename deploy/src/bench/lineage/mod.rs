//! `tributary bench lineage`: how long it takes to look up an event's path in a large record, and what the record costs
//! the commits that make it.
//!
//! 1. `record`: batches of 1,000 events go through check, commit thread and window engine, as in an aggregator.
//! 2. `lookup`: random events by lineage id and by name over HTTP, each with row, hops and windows; and one event by the
//!    value of a field within a minute.
//! 3. `cost`: the same batches go into two logs by turns, one of which is kept without lineage. Both are synced.
//! 4. `mesh`: a whole mesh takes events, for what share of its throughput that cost is.

mod batches;
mod cost;
mod lookup;
mod mesh;
mod record;
mod report;

use std::path::PathBuf;

use anyhow::Context as _;

use super::Progress;
use crate::cli::LineageArgs;
use crate::out;
use report::Report;

/// Events of one batch.
const BATCH: u64 = 1_000;

/// # Errors
/// When the disk is too small or fails.
pub fn run(args: &LineageArgs) -> anyhow::Result<()> {
    let system = actix::System::new();
    let report = system.block_on(measure(args))?;
    out::line(if args.json {
        serde_json::to_string(&report)?
    } else {
        report.table()
    })?;
    Ok(())
}

async fn measure(args: &LineageArgs) -> anyhow::Result<Report> {
    let progress = Progress::new()?;
    progress.say("comparing commits with and without lineage");
    let cost = cost::measure(&temporary(args.dir.clone())?, args.cost_batches).await?;
    progress.say("running a mesh");
    let mesh = mesh::measure(args.mesh_events, cost.lineage_us)?;
    progress.say("making the record, events:");
    let dir = temporary(args.dir.clone())?;
    let record = record::make(dir.path(), args.events, &progress).await?;
    progress.say("looking events up");
    let lookup = lookup::measure(record.url.clone(), args.events, args.lookups).await?;
    let report = Report::new(&record, lookup, cost, mesh);
    record.close().await?;
    progress.bar.finish_and_clear();
    Ok(report)
}

fn temporary(dir: Option<PathBuf>) -> anyhow::Result<tempfile::TempDir> {
    let dir = dir.unwrap_or_else(std::env::temp_dir);
    tempfile::TempDir::with_prefix_in("tributary-bench-", &dir)
        .with_context(|| format!("cannot make a directory in {} (--dir)", dir.display()))
}

/// The value below which this share of the sorted values lies.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len => values[((len - 1) as f64 * share) as usize],
    }
}
