//! The figures of one run, as JSON for scripts and as a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::fold::{Costs, Folded};
use super::query::Queries;

/// What `bench engine --json` prints. All figures are of one thread.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    plain: Folded,
    sketches: Folded,
    groups: Vec<Costs>,
    query: Queries,
}

impl Report {
    pub fn new(plain: Folded, sketches: Folded, groups: Vec<Costs>, query: Queries) -> Self {
        Self {
            plain,
            sketches,
            groups,
            query,
        }
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, folded) in [("plain", self.plain), ("with sketches", self.sketches)] {
            let millions = folded.rows_per_s / 1e6;
            // writing to a String cannot fail
            let _ = writeln!(
                text,
                "{name:<14} {millions:>8.1} M rows/s  {:>10} groups",
                folded.groups
            );
        }
        let _ = writeln!(
            text,
            "\n{:>10}  {:>22}  {:>22}",
            "groups", "as keys of one window", "in windows of 1,000"
        );
        for costs in &self.groups {
            let bytes = |bytes: Option<f64>| bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0} B"));
            let _ = writeln!(
                text,
                "{:>10}  {:>9.0} ns/row {:>6}  {:>9.0} ns/row {:>6}",
                costs.groups,
                costs.ns_per_row,
                bytes(costs.bytes_per_group),
                costs.ns_per_row_by_minute,
                bytes(costs.bytes_per_group_by_minute),
            );
        }
        let query = self.query;
        let _ = write!(
            text,
            "\na day of minutes of one device ({} rows) among {} groups, behind a batch: p50 {:.2} ms, p99 {:.2} ms \
             (alone: p50 {:.2} ms)",
            query.rows, query.groups, query.p50_ms, query.p99_ms, query.alone_p50_ms
        );
        text
    }
}
