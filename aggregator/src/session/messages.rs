//! What a session actor is told.

use actix::Message;
use tributary_shared::ids::{LaneKey, LaneNo, StreamName};
use tributary_shared::protocol::{CommitOutcome, Generation};
use tributary_shared::wire::{CommitHeader, LaneOpened, Reason, SchemaInfo, ToAggregator, WireError};

use crate::commit::Prepared;

/// A control message of the gateway.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct FromGateway(pub ToAggregator);

/// Whose lane is this? `None`: not opened in this session.
#[derive(Debug, Message)]
#[rtype(result = "Option<LaneKey>")]
pub(super) struct KeyOf(pub LaneNo);

/// A batch arrived whole and was checked, or is damaged.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Arrived {
    pub header: CommitHeader,
    pub batch: Result<Box<Prepared>, WireError>,
}

/// The store opened a lane, or could not (`None`: the gateway asks again when it reconnects).
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Opened(pub Option<LaneOpened>);

/// The registry looked a schema up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Found {
    pub stream: StreamName,
    pub id: u32,
    pub schema: Result<SchemaInfo, Reason>,
}

/// The commit answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Answered {
    pub lane_no: LaneNo,
    pub generation: Generation,
    pub outcome: CommitOutcome,
}

/// A stream has a new schema.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct SchemaChanged(pub StreamName);

/// The connection is gone, or the gateway broke the protocol.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Ended {
    pub reason: String,
    pub protocol_error: bool,
}

/// The aggregator stops.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stop;
