//! What a session actor is told.

use actix::Message;
use tributary_shared::ids::{LaneKey, LaneNo};
use tributary_shared::wire::{BatchHeader, RefuseCode, ToGateway};

/// A control message of the agent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FromAgent(pub ToGateway);

/// May this batch come in? Asked with the header, before the body is read.
#[derive(Debug, Message)]
#[rtype(result = "Option<Admission>")]
pub struct Admit(pub BatchHeader);

/// Yes, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    pub lane_no: LaneNo,
    pub key: LaneKey,
}

/// A batch that was admitted turned out to be unusable here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RefuseBatch {
    pub header: BatchHeader,
    pub code: RefuseCode,
    pub message: String,
    pub retry_after_ms: u32,
}

/// A trace of this agent is exported whatever the sampler said: the agent holds parts of it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Promoted(pub String);

/// The connection is gone, or the agent broke the protocol on a batch stream.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ended {
    pub reason: String,
    pub protocol_error: bool,
}

/// This gateway stops: tell the agent to go elsewhere.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop {
    pub retry_after_ms: u32,
}
