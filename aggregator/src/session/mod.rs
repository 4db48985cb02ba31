//! One gateway's session: the actor that owns its protocol state, and the tasks that carry its streams.
//!
//! A batch is received, checked and decoded in a task of its own; the actor puts the lane's batches back in
//! order and hands them to one submission task, which queues them for the commit in that order.

mod actor;
mod listener;
mod messages;
mod receive;
mod sightings;
mod submit;

pub use actor::{Session, SessionSetup};
pub use listener::{Shared, listen};
pub use messages::{SchemaChanged, Stop};
pub use sightings::{Sightings, Supersede};

/// Batches that one gateway may have sent and not yet seen answered. Enough to keep the commit busy while
/// acknowledgements travel; at the usual batch size some tens of MiB.
pub const MAX_IN_FLIGHT: u32 = 64;
