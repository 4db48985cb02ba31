//! What Tributary's programs share: the contracts between processes (ids, wire, protocol, identity) and the
//! few mechanisms that every role needs (configuration, telemetry, actor edges).
//!
//! Something lives here when two programs use it, or when it is a contract between processes. Nothing here
//! depends on a role.

pub mod actors;
pub mod api_error;
pub mod config;
pub mod host_schema;
pub mod identity;
pub mod ids;
pub mod metrics;
pub mod program;
pub mod protocol;
pub mod ready;
pub mod refusals;
pub mod sim;
pub mod telemetry;
pub mod time;
pub mod transport;
pub mod wire;
