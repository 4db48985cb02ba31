//! The agent's HTTP intake, on loopback by default.
//!
//! | call | answer |
//! |---|---|
//! | `POST /v1/streams/{stream}/events` | 200 after the commit that holds all of the request's events |
//! | `GET /v1/status` | connection, lanes, spool |
//! | `GET /healthz`, `/readyz`, `/metrics` | alive; the spool takes events; OpenMetrics |
//!
//! A request is one append: taken whole or not at all. Bodies are newline-delimited JSON, read as they
//! arrive, a JSON document, or binary events that name their schema. [`payload`] and [`binary`] check events
//! (pure), `refusal` has every way to say no.
//!
//! Bounds: 128 connections of 64 KiB buffers, 16 MiB for all bodies together, time for headers and bodies.
//! A full spool is a 429 with `Retry-After`, and nothing waits in memory for it.

pub mod binary;
mod body;
mod messages;
pub mod payload;
mod refusal;
mod routes;
mod server;
mod status;

#[cfg(test)]
mod tests;

pub use messages::{ConnectionState, ConnectionStatus, IntakeContext};
pub use server::serve;
