//! The edge agent.

pub mod config;
pub mod host;
pub mod tail;
pub mod spool;
