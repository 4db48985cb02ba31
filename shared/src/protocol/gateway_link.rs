//! The gateway's end of the agent-gateway hop: one agent's session.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::told_head::ToldHead;
use super::{HEARTBEAT_EVERY, HELLO_TIMEOUT, Tick, negotiate};
use crate::ids::{AgentId, GatewayId, LaneKey, LaneNo, Seq, StreamName};
use crate::time::Millis;
use crate::wire::{
    Ack, BatchContent, BatchHeader, Bye, ByeCode, Drain, Hello, LaneOpened, Limits, MAX_PROMOTED, NodeReport,
    OpenLane, Refuse, RefuseCode, SCHEMAS_TO_AGENTS, SchemaInfo, SessionKey, ToAgent, ToGateway, Welcome,
};

/// A longer schema is not pushed to agents, which check nothing of its stream then: it is more than an agent should
/// have to keep.
pub const MAX_PUSHED_SCHEMA: usize = 1 << 20;

/// What the caller must do.
#[derive(Debug, Clone, PartialEq)]
pub enum GatewayOutput {
    Send(ToAgent),
    /// The agent is who it says: show it.
    AgentUp {
        software: String,
        configuration: Option<String>,
        session: SessionKey,
    },
    /// Pass on to the aggregator.
    Report(NodeReport),
    /// Ask the aggregator for this lane and answer with [`GatewayLink::lane_opened`].
    OpenUpstream {
        lane: u32,
        key: LaneKey,
        next_seq: Seq,
    },
    /// The agent is to know the newest schema of this stream, now and whenever it changes: tell it with
    /// [`GatewayLink::schema`].
    WantSchema {
        stream: StreamName,
    },
    /// Close the connection, after what was sent before.
    Close {
        bye: Option<Bye>,
    },
}

#[derive(Debug)]
struct Lane {
    key: LaneKey,
    next_seq: Seq,
    /// Known once the aggregator has opened the lane; gone while the aggregator is away.
    lane_no: Option<LaneNo>,
    announced: bool,
    /// After a refusal of our own: what comes before this seq is sent again is stale.
    skip_until: Option<Seq>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    AwaitHello { until: Tick },
    Open,
    Closed,
}

/// One agent's session. The identity comes from the certificate and is fixed before the first byte.
#[derive(Debug)]
pub struct GatewayLink {
    agent: AgentId,
    gateway: GatewayId,
    limits: Limits,
    state: State,
    /// Known from the hello on.
    session: Option<SessionKey>,
    /// The version that both ends speak; 0 before the hello.
    version: u16,
    /// The streams that the agent asked for or whose lanes it has opened, and the id of the schema that it knows for each.
    schemas: BTreeMap<StreamName, Option<u32>>,
    lanes: BTreeMap<u32, Lane>,
    next_heartbeat: Tick,
    head: ToldHead,
    /// Traces that the agent is to hear of with the next heartbeat.
    promoted: Vec<String>,
    outputs: VecDeque<GatewayOutput>,
}

impl GatewayLink {
    #[must_use]
    pub fn new(agent: AgentId, gateway: GatewayId, limits: Limits, now: Tick) -> Self {
        Self {
            agent,
            gateway,
            limits,
            state: State::AwaitHello {
                until: now + HELLO_TIMEOUT,
            },
            session: None,
            version: 0,
            schemas: BTreeMap::new(),
            lanes: BTreeMap::new(),
            next_heartbeat: now + HEARTBEAT_EVERY,
            head: ToldHead::default(),
            promoted: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// A message from the agent. `wall` is this host's clock, for the welcome.
    pub fn receive(&mut self, now: Tick, wall: Millis, message: ToGateway) {
        match (message, &self.state) {
            (_, State::Closed) => {}
            (ToGateway::Hello(hello), State::AwaitHello { .. }) => self.hello(now, wall, hello),
            (_, State::AwaitHello { .. }) => self.protocol_error("the first message must be a hello"),
            (ToGateway::Hello(_), State::Open) => self.protocol_error("a second hello"),
            (ToGateway::OpenLane(open), State::Open) => self.open_lane(open),
            (ToGateway::WantSchema { stream, schema_id }, State::Open) => {
                self.want_schema(&stream, schema_id)
            }
            (ToGateway::Report(mut report), State::Open) => {
                report.promoted.truncate(MAX_PROMOTED);
                self.outputs.push_back(GatewayOutput::Report(report));
            }
            (ToGateway::Goodbye, State::Open) => {
                self.state = State::Closed;
                self.outputs.push_back(GatewayOutput::Close { bye: None });
            }
        }
    }

    fn hello(&mut self, now: Tick, wall: Millis, hello: Hello) {
        if hello.node != self.agent.as_str() {
            let message = format!(
                "the certificate names agent {}, the hello {:?}: use one id",
                self.agent, hello.node
            );
            self.close(Bye::new(ByeCode::IdentityMismatch, message));
            return;
        }
        match negotiate(&hello) {
            Err(bye) => self.close(bye),
            Ok(version) => {
                self.state = State::Open;
                self.version = version;
                self.next_heartbeat = now + HEARTBEAT_EVERY;
                let welcome = Welcome {
                    version,
                    node: self.gateway.to_string(),
                    now: wall,
                    limits: self.limits,
                };
                self.outputs
                    .push_back(GatewayOutput::Send(ToAgent::Welcome(welcome)));
                let Hello {
                    software,
                    instance,
                    session,
                    configuration,
                    ..
                } = hello;
                let session = SessionKey { instance, session };
                self.session = Some(session);
                self.outputs.push_back(GatewayOutput::AgentUp {
                    software,
                    configuration,
                    session,
                });
            }
        }
    }

    fn want_schema(&mut self, stream: &StreamName, schema_id: Option<u32>) {
        let room = self.schemas.len() < self.limits.max_lanes as usize;
        if self.version >= SCHEMAS_TO_AGENTS && (room || self.schemas.contains_key(stream)) {
            let stream = stream.clone();
            let known = self.schemas.entry(stream.clone()).or_default();
            // a lane that the agent has given up names none
            *known = schema_id.or(*known);
            self.outputs.push_back(GatewayOutput::WantSchema { stream });
        }
    }

    fn open_lane(&mut self, open: OpenLane) {
        if self.lanes.len() >= self.limits.max_lanes as usize && !self.lanes.contains_key(&open.lane) {
            let message = format!("more than {} lanes in one session", self.limits.max_lanes);
            self.close(Bye::new(ByeCode::LimitExceeded, message));
            return;
        }
        self.want_schema(&open.stream, open.schema_id);
        let key = LaneKey {
            agent: self.agent.clone(),
            stream: open.stream,
            epoch: open.epoch,
        };
        let lane = Lane {
            key: key.clone(),
            next_seq: open.next_seq,
            lane_no: None,
            announced: false,
            skip_until: None,
        };
        self.lanes.insert(open.lane, lane);
        let next_seq = open.next_seq;
        self.outputs.push_back(GatewayOutput::OpenUpstream {
            lane: open.lane,
            key,
            next_seq,
        });
    }

    /// The aggregator opened the lane, for the first time or again after it was away. The second time the
    /// agent is rewound to the mark: what was in flight may be lost.
    pub fn lane_opened(&mut self, opened: LaneOpened) {
        let Some(lane) = self.lanes.get_mut(&opened.lane) else {
            return;
        };
        lane.lane_no = Some(opened.lane_no);
        lane.skip_until = None;
        if std::mem::replace(&mut lane.announced, true) {
            lane.skip_until = Some(opened.mark + 1);
            self.outputs
                .push_back(GatewayOutput::Send(ToAgent::Refuse(Refuse {
                    lane: opened.lane,
                    expected: opened.mark + 1,
                    code: RefuseCode::Unavailable,
                    message: "the aggregator was away: go on from its mark".to_owned(),
                    retry_after_ms: 0,
                })));
        }
        // the second time, too: it may be an older copy of itself that came back
        self.outputs
            .push_back(GatewayOutput::Send(ToAgent::LaneOpened(opened)));
    }

    /// The streams whose schemas the agent is to know.
    pub fn schema_streams(&self) -> impl Iterator<Item = &StreamName> {
        self.schemas.keys()
    }

    /// The newest schema of a stream, as the aggregator told it. The agent hears of it unless it knows it already
    /// or has nothing to do with the stream. Returns the bytes that this takes.
    pub fn schema(&mut self, stream: &StreamName, schema: Option<&SchemaInfo>) -> usize {
        let Some(known) = self.schemas.get_mut(stream).filter(|_| self.state == State::Open) else {
            return 0;
        };
        let schema = schema.filter(|schema| schema.bytes() <= MAX_PUSHED_SCHEMA);
        let id = schema.map(|schema| schema.id);
        if *known == id {
            return 0;
        }
        *known = id;
        let message = ToAgent::Schema {
            stream: stream.clone(),
            schema: schema.cloned(),
        };
        self.outputs.push_back(GatewayOutput::Send(message));
        schema.map_or(0, SchemaInfo::bytes)
    }

    /// The aggregator is away: nothing can be forwarded until the lanes are opened again.
    pub fn upstream_lost(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.lane_no = None);
    }

    /// The aggregator is back: every lane is asked for anew.
    pub fn upstream_restored(&mut self) {
        let asks = self
            .lanes
            .iter()
            .map(|(&lane, state)| GatewayOutput::OpenUpstream {
                lane,
                key: state.key.clone(),
                next_seq: state.next_seq,
            });
        self.outputs.extend(asks);
    }

    /// Checks a batch before its body is read. `None`: skip the body, the reason (if any) was sent. Sizes are
    /// checked here, before anything of the body is allocated.
    pub fn admit(&mut self, header: &BatchHeader) -> Option<(LaneNo, LaneKey)> {
        if self.state != State::Open {
            return None;
        }
        if let Err(message) = self.check_sizes(header) {
            self.close(Bye::new(ByeCode::LimitExceeded, message));
            return None;
        }
        let Some(lane) = self.lanes.get_mut(&header.lane) else {
            self.protocol_error("a batch of a lane that was not opened");
            return None;
        };
        if let Some(seq) = lane.skip_until {
            if header.first_seq > seq {
                return None;
            }
            lane.skip_until = None;
        }
        lane.next_seq = lane.next_seq.max(header.range().last + 1);
        lane.lane_no.map(|lane_no| (lane_no, lane.key.clone()))
    }

    fn check_sizes(&self, header: &BatchHeader) -> Result<(), String> {
        let limits = &self.limits;
        let rows = matches!(header.content, BatchContent::Rows | BatchContent::Columns);
        let range_fits =
            header.first_seq > 0 && header.first_seq.checked_add(u64::from(header.count)).is_some();
        if header.count == 0 || !range_fits {
            return Err(format!(
                "a batch of {} events from seq {}",
                header.count, header.first_seq
            ));
        }
        if rows && header.count > limits.max_batch_rows {
            return Err(format!(
                "a batch of {} events, the limit is {}",
                header.count, limits.max_batch_rows
            ));
        }
        if header.body_len > limits.max_batch_body {
            return Err(format!(
                "a body of {} bytes, the limit is {}",
                header.body_len, limits.max_batch_body
            ));
        }
        let inflated: u64 = header.segments.iter().map(|s| u64::from(s.raw_len)).sum();
        if inflated > u64::from(limits.max_inflated) {
            return Err(format!(
                "a body that inflates to {inflated} bytes, the limit is {}",
                limits.max_inflated
            ));
        }
        Ok(())
    }

    /// The gateway itself cannot take this batch; the agent goes on from its first seq.
    pub fn refuse(&mut self, header: &BatchHeader, code: RefuseCode, message: String, retry_after_ms: u32) {
        if let Some(lane) = self.lanes.get_mut(&header.lane) {
            lane.skip_until = Some(header.first_seq);
        }
        let refuse = Refuse {
            lane: header.lane,
            expected: header.first_seq,
            code,
            message,
            retry_after_ms,
        };
        self.outputs
            .push_back(GatewayOutput::Send(ToAgent::Refuse(refuse)));
    }

    /// The aggregator's answers pass through.
    pub fn ack(&mut self, ack: Ack) {
        self.outputs.push_back(GatewayOutput::Send(ToAgent::Ack(ack)));
    }

    /// The aggregator refused: the agent is rewound.
    pub fn upstream_refused(&mut self, refuse: Refuse) {
        if let Some(lane) = self.lanes.get_mut(&refuse.lane) {
            lane.skip_until = Some(refuse.expected);
        }
        self.outputs
            .push_back(GatewayOutput::Send(ToAgent::Refuse(refuse)));
    }

    /// The newest head of the aggregator's audit: the agent hears of it with a heartbeat.
    pub fn audit_head(&mut self, head: &Arc<str>) {
        self.head.set(head);
    }

    /// A trace that this gateway exports whatever the sampler said: the agent hears of it with a heartbeat.
    pub fn promoted(&mut self, trace: String) {
        if self.promoted.len() < MAX_PROMOTED {
            self.promoted.push(trace);
        }
    }

    /// Time passed.
    pub fn tick(&mut self, now: Tick, wall: Millis) {
        match self.state {
            State::Closed => {}
            State::AwaitHello { until } if now >= until => self.protocol_error("no hello in time"),
            State::AwaitHello { .. } => {}
            State::Open if now >= self.next_heartbeat => {
                self.next_heartbeat = now + HEARTBEAT_EVERY;
                let audit_head = self.head.take();
                self.outputs.push_back(GatewayOutput::Send(ToAgent::Heartbeat {
                    now: wall,
                    audit_head,
                    promoted: std::mem::take(&mut self.promoted),
                }));
            }
            State::Open => {}
        }
    }

    /// This gateway stops: the agent should go elsewhere.
    pub fn drain(&mut self, retry_after_ms: u32) {
        if self.state == State::Open {
            self.outputs
                .push_back(GatewayOutput::Send(ToAgent::Drain(Drain { retry_after_ms })));
        }
        self.state = State::Closed;
        self.outputs.push_back(GatewayOutput::Close { bye: None });
    }

    /// A newer session of the same agent took over.
    pub fn superseded(&mut self) {
        let message = format!("agent {} opened a newer session", self.agent);
        self.close(Bye::new(ByeCode::Superseded, message));
    }

    /// The aggregator saw a newer session of the agent at another gateway than `older`.
    pub fn superseded_elsewhere(&mut self, older: SessionKey) {
        if self.session == Some(older) {
            let message = format!("agent {} opened a newer session at another gateway", self.agent);
            self.close(Bye::new(ByeCode::Superseded, message));
        }
    }

    /// Something that a correct agent never does.
    pub fn protocol_error(&mut self, message: &str) {
        self.close(Bye::new(ByeCode::ProtocolError, message));
    }

    fn close(&mut self, bye: Bye) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.outputs.push_back(GatewayOutput::Close { bye: Some(bye) });
        }
    }

    /// What to do next, in order.
    pub fn output(&mut self) -> Option<GatewayOutput> {
        self.outputs.pop_front()
    }
}
