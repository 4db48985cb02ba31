//! What share of a whole mesh's throughput lineage takes: `bench e2e` of this program, in the same run.

use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::BATCH;

/// The events that cost a mesh least: of their time lineage is the largest share.
const WORKLOAD: &str = "sensor";

/// The figures.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Mesh {
    pub events: u64,
    pub events_per_s: f64,
    /// What lineage costs a batch, of what a batch takes the mesh: the share of its throughput if all of that cost lay on
    /// the critical path. A mesh without lineage does not exist.
    pub share_pct: f64,
}

/// Runs a mesh; `lineage_us` is what lineage costs a batch.
///
/// # Errors
/// When the mesh fails, or its ledger is not exact.
pub fn measure(events: u64, lineage_us: f64) -> anyhow::Result<Mesh> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let run = Command::new(program)
        .args(["bench", "e2e", "--workload", WORKLOAD, "--json", "--events"])
        .arg(events.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run a mesh")?;
    anyhow::ensure!(run.status.success(), "bench e2e ended with {}", run.status);
    let report: Value = serde_json::from_slice(&run.stdout).context("bench e2e has no report")?;
    anyhow::ensure!(
        report["ledger_balanced"] == true,
        "the mesh's ledger is not exact: {report}"
    );
    let events_per_s = report["events_per_s"]
        .as_f64()
        .context("bench e2e names no speed")?;
    Ok(Mesh {
        events,
        events_per_s,
        share_pct: share(lineage_us, events_per_s),
    })
}

/// In percent.
fn share(lineage_us: f64, events_per_s: f64) -> f64 {
    let batch_us = BATCH as f64 / events_per_s * 1e6;
    lineage_us / batch_us * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_of_what_a_batch_takes_the_mesh() {
        // 1,000 events at a million a second take 1,000 us
        assert!((share(8.0, 1e6) - 0.8).abs() < 1e-9);
        assert!((share(8.0, 5e5) - 0.4).abs() < 1e-9);
    }
}
