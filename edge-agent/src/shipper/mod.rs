//! Ships the spool's blocks to a gateway, and tells the spool what the aggregator has committed.
//!
//! [`Shipper`] is the actor: it owns the session's [`AgentLink`](tributary_shared::protocol::AgentLink), which
//! decides what goes next. Blocks are read from the spool one batch at a time and leave on a stream of their
//! own; nothing but what the transport's send window holds is in memory.

mod actor;
mod attempts;
mod config;
mod dial;
mod forks;
mod messages;
mod pack;
mod rival;
mod trace;

pub use actor::{Shipper, ShipperSetup};
pub use config::{BacklogRule, ShipConfig};
pub use messages::Stop;
