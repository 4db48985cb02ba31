//! The figures of one run, as JSON for scripts and as a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::cost::Cost;
use super::lookup::Lookups;
use super::mesh::Mesh;
use super::record::Record;

/// What `bench lineage --json` prints.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Report {
    pub events: u64,
    pub entries: u64,
    /// Of checking and committing them, on one core, while the engine folds them on another.
    pub events_per_s: f64,
    pub log_bytes: u64,
    /// As `GET /api/v1/lineage` says it.
    pub bytes_per_event: f64,
    pub lookup: Lookups,
    pub cost: Cost,
    pub mesh: Mesh,
}

impl Report {
    pub fn new(record: &Record, lookup: Lookups, cost: Cost, mesh: Mesh) -> Self {
        let part = record.stats.in_log;
        Self {
            events: part.events,
            entries: part.entries,
            events_per_s: part.events as f64 / record.seconds,
            log_bytes: record.bytes,
            bytes_per_event: part.bytes as f64 / part.events as f64,
            lookup,
            cost,
            mesh,
        }
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        let millions = self.events as f64 / 1e6;
        let gib = self.log_bytes as f64 / f64::from(1 << 30);
        // writing to a String cannot fail
        let _ = writeln!(
            text,
            "record    {millions:.1} M events in {} entries, log.db {gib:.1} GiB, {:.0} events/s",
            self.entries, self.events_per_s
        );
        let Lookups {
            lookups,
            p50_ms,
            p99_ms,
            max_ms,
            searches,
            search_p50_ms,
            search_p99_ms,
        } = self.lookup;
        let _ = writeln!(
            text,
            "lookup    {lookups} events over HTTP: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, slowest {max_ms:.2} ms"
        );
        let _ = writeln!(
            text,
            "search    {searches} orders by id within a minute: p50 {search_p50_ms:.2} ms, p99 {search_p99_ms:.2} ms"
        );
        let cost = self.cost;
        let _ = writeln!(
            text,
            "cost      {:.1} us a batch, {:.2} % of the commit path (p10 {:.2}, p90 {:.2}): {:.0} us with, {:.0} us without, times {:.1} us",
            cost.lineage_us,
            cost.share_pct,
            cost.share_pct_p10,
            cost.share_pct_p90,
            cost.with_us,
            cost.without_us,
            cost.times_us
        );
        let _ = writeln!(
            text,
            "mesh      {:.0} events/s: lineage is {:.2} % of what a batch takes it",
            self.mesh.events_per_s, self.mesh.share_pct
        );
        let _ = write!(
            text,
            "size      {:.2} bytes an event in the file, {:.2} as the API estimates it",
            cost.bytes_per_event, self.bytes_per_event
        );
        text
    }
}
