//! What the end-to-end tests in `tests/` stand on: real processes on free ports in temporary directories,
//! and clients for what users call.
//!
//! Every harness ends its own processes when it is dropped, and shows the end of their logs when the test is
//! failing by then. Nothing here waits for time to pass: [`wait_until`] asks until an answer is right.

mod failing_disk;
mod faults;
pub mod fuzz;
pub mod http;
mod log;
mod mesh;
mod metrics;
mod net;
mod openlineage;
mod packages;
mod pki;
mod poster;
mod process;
mod registry_clients;
mod role;
mod rotel;
mod sse;
mod tools;
mod wait;

pub use failing_disk::{DiskFault, FailingDisk};
pub use faults::Tmpfs;
pub use log::loudly;
pub use mesh::{Dropped, LedgerLane, Mesh, Options, Paused, Ready};
pub use metrics::Metrics;
pub use net::{free_tcp_port, free_udp_port};
pub use openlineage::{Receiver, openlineage_schemas};
pub use packages::npm_package;
pub use pki::{Pki, past};
pub use poster::{Posted, Poster, Range, Request};
pub use process::Process;
pub use registry_clients::{confluent_kafka, kafkajs};
pub use role::RoleProcess;
pub use rotel::{Rotel, Span};
pub use sse::{Event, SseReader};
pub use tools::{Tool, impossible, is_root, missing, run};
pub use wait::wait_until;

use std::time::Duration;

/// What a debug build on a busy machine of two cores needs at most for one step of a mesh: a start, a restart
/// with back-off, the way of a batch.
pub const SOON: Duration = Duration::from_secs(30);
/// The same for many events.
pub const LONG: Duration = Duration::from_secs(120);
