//! End to end: real processes, real sockets, real disks. One program, so that the tests share what is
//! installed and run no more at a time than the machine has processors.

mod audit;
mod bad_peers;
mod bad_requests;
mod browser;
mod browser_record;
mod dead_letters;
mod disk_full;
mod evolution;
mod failing_disk;
mod failover;
mod flow;
mod grafana;
mod graph;
mod host;
mod kills;
mod kills_at_work;
mod kills_of_views;
mod lineage;
mod live;
mod namespaces;
mod offline;
mod openlineage;
mod page_modules;
mod raw_agent;
mod registry_clients;
mod replay;
mod restart;
mod restored;
mod returns;
mod site;
mod soak;
mod spool;
mod stopped;
mod surgery;
mod tail;
mod telemetry;
mod trace;
mod wire_format;

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tributary_faults::Layer;
use tributary_tests::{Mesh, Options};

/// `tributary`, as this package builds it.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tributary-under-test"))
}

/// Where tests keep what they install, over runs.
fn tools() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn temp_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("tributary-")
        .tempdir()
        .expect("a temporary directory")
}

/// A mesh without host metrics. It must end before its directory does: bind the directory first.
fn mesh(dir: &TempDir) -> Mesh {
    Mesh::start(program(), dir.path(), &Options::default())
}

/// Notes how many faults of a kind a test has injected.
fn injected(test: &str, kind: &str, times: u64) {
    tributary_faults::injected(Layer::Processes, test, [(kind, times)]);
}

/// The integer in a column of a row.
fn integer(row: &Value, column: &str) -> u64 {
    row[column]
        .as_u64()
        .unwrap_or_else(|| panic!("an integer {column} in {row}"))
}
