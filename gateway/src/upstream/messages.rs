//! What the upstream actor is told, and what it tells the sessions.

use std::sync::Arc;

use actix::{Message, Recipient};
use tokio::sync::{Semaphore, watch};
use tributary_shared::ids::{AgentId, LaneKey, Seq};
use tributary_shared::wire::{Ack, LaneOpened, NodeReport, Refuse, SessionKey, ToAggregator};

/// Numbers the sessions of this process.
pub type SessionId = u64;

/// An open connection to the aggregator.
#[derive(Debug)]
pub struct UpstreamConnection {
    /// Numbers the connections of this process: what belongs to an older one is stale.
    pub serial: u64,
    pub quic: quinn::Connection,
    /// One permit for each batch that the aggregator lets this gateway have unanswered. Closed with the
    /// connection.
    pub credit: Semaphore,
}

/// The current connection; `None` while the aggregator is away.
pub type Link = watch::Receiver<Option<Arc<UpstreamConnection>>>;

/// A session began. An older session of the same agent is superseded.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Register {
    pub session: SessionId,
    pub agent: AgentId,
    pub events: Recipient<ToSession>,
}

/// A session ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CloseSession {
    pub session: SessionId,
}

/// Ask the aggregator for a lane.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct OpenLane {
    pub session: SessionId,
    pub lane: u32,
    pub key: LaneKey,
    pub next_seq: Seq,
}

/// A batch is about to be written to connection `serial`. False: that connection is gone, do not write.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct Sent {
    pub session: SessionId,
    pub lane: u32,
    pub last: Seq,
    pub serial: u64,
}

/// Tell the aggregator of an agent; `report` is `None` when it left.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ReportAgent {
    pub agent: AgentId,
    pub session: SessionKey,
    pub remote: String,
    pub software: String,
    /// In the first report of a session.
    pub configuration: Option<String>,
    pub report: Option<NodeReport>,
}

impl From<ReportAgent> for ToAggregator {
    fn from(report: ReportAgent) -> Self {
        let ReportAgent {
            agent,
            session,
            remote,
            software,
            configuration,
            report,
        } = report;
        Self::Agent {
            agent,
            session,
            remote,
            software,
            configuration,
            report,
        }
    }
}

/// What a session learns from upstream. Lanes are the session's own handles.
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "()")]
pub enum ToSession {
    LaneOpened(LaneOpened),
    Ack(Ack),
    Refuse(Refuse),
    /// The aggregator is away.
    Lost,
    /// The aggregator is back: ask for the lanes anew.
    Restored,
    /// A newer session of the same agent was opened here.
    Superseded,
    /// The agent has a newer session than this one at another gateway.
    SupersededElsewhere(SessionKey),
}
