//! The way to the aggregator: one actor that keeps one connection open, and shares it among all sessions.

mod actor;
mod dial;
mod messages;
mod reports;

#[cfg(test)]
mod tests;

pub use actor::{Upstream, UpstreamSetup, WantSchema};
pub use messages::{CloseSession, Link, OpenLane, Register, ReportAgent, Sent, SessionId, ToSession};
