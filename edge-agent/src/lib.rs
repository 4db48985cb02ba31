//! The edge agent.

pub mod tail;
pub mod spool;
