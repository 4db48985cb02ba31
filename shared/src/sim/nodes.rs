//! The processes of the simulated mesh, and what travels between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::spool::{Content, Lanes, Spool};
use crate::ids::{AgentId, LaneKey, LaneNo};
use crate::protocol::{
    AgentLink, AggregatorLink, GatewayLink, Generation, Ramp, Shipment, Tick, UpstreamLink,
};
use crate::time::Millis;
use crate::wire::{BatchHeader, CommitHeader, FromAggregator, SessionKey, ToAgent, ToAggregator, ToGateway};

/// One process of an agent, or none at the moment, and its disk.
#[derive(Debug)]
pub(super) struct Agent {
    /// Whose identity it has; twins have one.
    pub of: usize,
    pub id: AgentId,
    pub spool: Spool,
    /// Different for each start of the process.
    pub instance: u64,
    pub sessions: u64,
    pub link: Option<AgentLink>,
    /// What is being read from the spool, to be sent next.
    pub reading: Option<Shipment>,
    /// The gateway and its session, while connected.
    pub peer: Option<(usize, usize)>,
    pub dial_at: Tick,
    pub rota: usize,
    /// How far its clock is off.
    pub skew: Millis,
    /// Lanes that this process began after it had met a twin: nobody has a copy of them.
    pub own: BTreeSet<u32>,
    /// What the disk held some time ago.
    pub image: Option<Lanes>,
    pub cut_off_until: Tick,
    /// All lanes that it has let go of are known to the aggregator, or their gaps are told; until that is restored.
    pub told: bool,
}

/// A batch on its way to a gateway.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub header: BatchHeader,
    pub content: Content,
}

/// One agent-gateway connection as the gateway sees it.
#[derive(Debug)]
pub(super) struct Session {
    pub agent: usize,
    pub key: SessionKey,
    pub link: GatewayLink,
    pub to_gateway: VecDeque<ToGateway>,
    pub to_agent: VecDeque<ToAgent>,
    /// Each on a stream of its own: delivered in any order.
    pub batches: Vec<Parcel>,
}

/// A gateway's connection to the aggregator, both ends.
#[derive(Debug)]
pub(super) struct Upstream {
    pub serial: u64,
    pub link: UpstreamLink,
    pub server: AggregatorLink<Content>,
    pub to_aggregator: VecDeque<ToAggregator>,
    pub to_gateway: VecDeque<FromAggregator>,
    pub batches: Vec<(CommitHeader, Content)>,
    /// In lane order, not yet committed.
    pub submitted: VecDeque<(LaneKey, Generation, CommitHeader, Content)>,
    /// How many more batches it may send; below zero when it has sent more than it may.
    pub credit: isize,
    /// Upstream handle to (session, its lane).
    pub handles: BTreeMap<u32, (usize, u32)>,
    pub next_handle: u32,
}

#[derive(Debug)]
pub(super) struct Gateway {
    pub sessions: BTreeMap<usize, Session>,
    pub upstream: Option<Upstream>,
    /// Decoded and waiting for credit: lost with a crash.
    pub waiting: VecDeque<(usize, Parcel, LaneNo)>,
    pub ramp: Ramp,
    pub stopped_until: Tick,
    /// Until then it keeps what it has; see `World::overdraw`.
    pub hoards_until: Tick,
    pub cut_off_until: Tick,
}

impl Gateway {
    pub fn new(now: Tick) -> Self {
        Self {
            sessions: BTreeMap::new(),
            upstream: None,
            waiting: VecDeque::new(),
            ramp: Ramp::new(2, 3, now),
            stopped_until: 0,
            hoards_until: 0,
            cut_off_until: 0,
        }
    }
}
