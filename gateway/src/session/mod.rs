//! One agent's session: the actor that owns its protocol state, and the tasks that carry its streams.
//!
//! Control messages pass through the actor. Batches do not: each runs in a task of its own (read, check,
//! decode, forward) and asks the actor only whether it is admitted, so that a slow decode holds up nobody
//! else's acknowledgement.

mod actor;
mod batch;
mod links;
mod messages;

pub use actor::{Session, SessionSetup};
pub use batch::{BatchContext, accept_batches};
pub use messages::{Ended, FromAgent, Stop};
