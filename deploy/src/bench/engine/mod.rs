//! `tributary bench engine`: the window engine alone, on one thread. Columns go in, windows come out; what it costs to
//! receive, decode and commit them is in `bench e2e`.
//!
//! 1. `plain`: count, sum, min and max by device and minute.
//! 2. `sketches`: the same with a percentile and a number of distinct values.
//! 3. `groups`: the same as `plain` over ever more groups, with the memory of each.
//! 4. `query`: a day of minutes of one device, while batches are applied.

mod fold;
mod query;
mod report;
mod rows;

use crate::cli::EngineArgs;
use crate::out;
use fold::{Folded, fold, fold_many_groups};
use report::Report;

const PLAIN: &str = "count(*) AS n, sum(i) AS s, min(i) AS lo, max(i) AS hi";
const SKETCHES: &str = "count(*) AS n, sum(i) AS s, min(i) AS lo, max(i) AS hi, \
                        approx_percentile(f, 0.99) AS p99, approx_distinct(i) AS values";
/// Groups are measured at these numbers, as far as asked for.
const GROUPS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// # Errors
/// When a view does not compile or the process cannot read its own memory: both mean that the program is wrong.
pub fn run(args: &EngineArgs) -> anyhow::Result<()> {
    let plain: Folded = fold(PLAIN, args.rows)?;
    let sketches = fold(SKETCHES, args.rows / 4)?;
    let mut groups = Vec::new();
    for count in GROUPS.into_iter().filter(|count| *count <= args.max_groups) {
        groups.push(fold_many_groups(PLAIN, count)?);
    }
    let query = query::measure(PLAIN, args.queries)?;
    let report = Report::new(plain, sketches, groups, query);
    out::line(if args.json {
        serde_json::to_string(&report)?
    } else {
        report.table()
    })?;
    Ok(())
}
