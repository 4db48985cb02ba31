//! What the shipper is told.

use actix::Message;
use tributary_shared::wire::ToAgent;

/// The agent stops: say goodbye.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;

/// A control message of the gateway, on connection `serial`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Received {
    pub serial: u64,
    pub message: ToAgent,
}

/// Connection `serial` is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Lost {
    pub serial: u64,
    pub reason: String,
}

/// The spool committed something.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct SpoolChanged;
