//! The aggregator's end of the gateway-aggregator hop: one gateway's session.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::told_head::ToldHead;
use super::{HEARTBEAT_EVERY, HELLO_TIMEOUT, STALL_TIMEOUT, Sequencer, Tick, negotiate};
use crate::ids::{AgentId, GatewayId, LaneKey, LaneNo, Seq, StreamName};
use crate::refusals::MAX_REFUSED_PEERS;
use crate::time::Millis;
use crate::wire::{
    Ack, Bye, ByeCode, CommitHeader, FromAggregator, Hello, LaneOpened, Limits, NodeReport, Reason, Refuse,
    RefuseCode, RefusedPeer, SchemaInfo, SessionKey, ToAggregator, Welcome,
};

/// A refusal gives all of a lane's credit back while some of its batches still travel, and a lane whose agent
/// left keeps its early batches until [`STALL_TIMEOUT`]: so up to twice the credit may wait. Beyond that a lane
/// is rewound instead of stored.
const STASH_FACTOR: usize = 2;

/// Counts the rewinds of a lane: an answer to a batch that was submitted before the last rewind is stale.
pub type Generation = u32;

/// How the commit answered a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Everything up to the batch's last seq, which is `mark`, is durable. Beyond that it may be events of another copy
    /// of the agent's spool.
    Committed { mark: Seq, writer: u64 },
    /// Nothing of it was taken; worth another try after `retry_after_ms`.
    Refused {
        expected: Seq,
        code: RefuseCode,
        message: String,
        retry_after_ms: u32,
    },
}

/// What the caller must do. `B` is a batch's body, in whatever form the caller holds it.
#[derive(Debug, PartialEq)]
pub enum AggregatorOutput<B> {
    Send(FromAggregator),
    /// Open the lane in the store and answer with [`AggregatorLink::lane_opened`].
    OpenLane {
        lane: u32,
        key: LaneKey,
        next_seq: Seq,
    },
    /// Tell this gateway the newest schema, now and on every change.
    Subscribe {
        stream: StreamName,
    },
    /// Say whether the stream's rows may be written with this schema: [`AggregatorLink::schema_by_id`].
    FindSchema {
        stream: StreamName,
        id: u32,
    },
    /// Commit the batch and answer with [`AggregatorLink::answered`].
    Commit {
        key: LaneKey,
        generation: Generation,
        header: CommitHeader,
        body: B,
    },
    GatewayUp {
        software: String,
        configuration: Option<String>,
    },
    /// Whom the gateway turned away.
    Refused {
        peers: Vec<RefusedPeer>,
    },
    Agent {
        agent: AgentId,
        session: SessionKey,
        remote: String,
        software: String,
        /// In the first of a session at least.
        configuration: Option<String>,
        report: Option<NodeReport>,
    },
    Close {
        bye: Option<Bye>,
    },
}

#[derive(Debug)]
struct Lane<B> {
    /// The gateway's newest handle for the lane.
    handle: u32,
    key: LaneKey,
    generation: Generation,
    /// The generation in which it was opened: what was submitted before belongs to another session of the agent, or to
    /// another process with its identity.
    opened_in: Generation,
    sequencer: Sequencer<(CommitHeader, B)>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    AwaitHello { until: Tick },
    Open,
    Closed,
}

/// One gateway's session. Its identity comes from the certificate.
#[derive(Debug)]
pub struct AggregatorLink<B> {
    gateway: GatewayId,
    aggregator: String,
    limits: Limits,
    state: State,
    lanes: BTreeMap<LaneNo, Lane<B>>,
    /// Keys of lanes that the store is opening, by handle.
    opening: BTreeMap<u32, LaneKey>,
    next_heartbeat: Tick,
    head: ToldHead,
    outputs: VecDeque<AggregatorOutput<B>>,
}

impl<B> AggregatorLink<B> {
    #[must_use]
    pub fn new(gateway: GatewayId, aggregator: String, limits: Limits, now: Tick) -> Self {
        Self {
            gateway,
            aggregator,
            limits,
            state: State::AwaitHello {
                until: now + HELLO_TIMEOUT,
            },
            lanes: BTreeMap::new(),
            opening: BTreeMap::new(),
            next_heartbeat: now + HEARTBEAT_EVERY,
            head: ToldHead::default(),
            outputs: VecDeque::new(),
        }
    }

    #[must_use]
    pub fn gateway(&self) -> &GatewayId {
        &self.gateway
    }

    /// A message from the gateway.
    pub fn receive(&mut self, now: Tick, wall: Millis, message: ToAggregator) {
        match (message, &self.state) {
            (_, State::Closed) => {}
            (ToAggregator::Hello(hello), State::AwaitHello { .. }) => self.hello(now, wall, hello),
            (_, State::AwaitHello { .. }) => self.protocol_error("the first message must be a hello"),
            (ToAggregator::Hello(_), State::Open) => self.protocol_error("a second hello"),
            (ToAggregator::OpenLane { lane, key, next_seq }, State::Open) => {
                self.opening.insert(lane, key.clone());
                self.outputs
                    .push_back(AggregatorOutput::OpenLane { lane, key, next_seq });
            }
            (ToAggregator::GetSchema { stream }, State::Open) => {
                self.outputs.push_back(AggregatorOutput::Subscribe { stream });
            }
            (ToAggregator::GetSchemaById { stream, id }, State::Open) => {
                self.outputs
                    .push_back(AggregatorOutput::FindSchema { stream, id });
            }
            (
                ToAggregator::Agent {
                    agent,
                    session,
                    remote,
                    software,
                    configuration,
                    report,
                },
                State::Open,
            ) => {
                self.outputs.push_back(AggregatorOutput::Agent {
                    agent,
                    session,
                    remote,
                    software,
                    configuration,
                    report,
                });
            }
            (ToAggregator::Heartbeat { mut refused, .. }, State::Open) => {
                refused.truncate(MAX_REFUSED_PEERS);
                if !refused.is_empty() {
                    self.outputs
                        .push_back(AggregatorOutput::Refused { peers: refused });
                }
            }
            (ToAggregator::Goodbye, State::Open) => {
                self.state = State::Closed;
                self.outputs.push_back(AggregatorOutput::Close { bye: None });
            }
        }
    }

    fn hello(&mut self, now: Tick, wall: Millis, hello: Hello) {
        if hello.node != self.gateway.as_str() {
            let message = format!(
                "the certificate names gateway {}, the hello {:?}: use one id",
                self.gateway, hello.node
            );
            self.close(Bye::new(ByeCode::IdentityMismatch, message));
            return;
        }
        match negotiate(&hello) {
            Err(bye) => self.close(bye),
            Ok(version) => {
                self.state = State::Open;
                self.next_heartbeat = now + HEARTBEAT_EVERY;
                let welcome = Welcome {
                    version,
                    node: self.aggregator.clone(),
                    now: wall,
                    limits: self.limits,
                };
                self.outputs
                    .push_back(AggregatorOutput::Send(FromAggregator::Welcome(welcome)));
                self.outputs.push_back(AggregatorOutput::GatewayUp {
                    software: hello.software,
                    configuration: hello.configuration,
                });
            }
        }
    }

    /// The store opened a lane. An older handle for the same lane is forgotten: its agent came back.
    pub fn lane_opened(&mut self, opened: LaneOpened) {
        let Some(key) = self.opening.remove(&opened.lane) else {
            return;
        };
        let generation = self
            .lanes
            .get(&opened.lane_no)
            .map_or(0, |lane| lane.generation + 1);
        let sequencer = Sequencer::new(opened.mark + 1);
        let lane = Lane {
            handle: opened.lane,
            key,
            generation,
            opened_in: generation,
            sequencer,
        };
        self.lanes.insert(opened.lane_no, lane);
        self.outputs
            .push_back(AggregatorOutput::Send(FromAggregator::LaneOpened(opened)));
    }

    /// A whole batch arrived, in any order.
    pub fn batch(&mut self, now: Tick, header: CommitHeader, body: B) {
        if self.state != State::Open {
            return;
        }
        if header.count == 0 || header.first_seq == 0 {
            self.protocol_error("a batch without events");
            return;
        }
        let Some(lane) = self.lanes.get_mut(&header.lane) else {
            self.protocol_error("a batch of a lane that was not opened");
            return;
        };
        let expected = lane.sequencer.expected();
        if header.first_seq > expected && self.waiting() >= STASH_FACTOR * self.limits.max_in_flight as usize
        {
            let (code, message) = (
                RefuseCode::Gap,
                "too many batches wait for their predecessors".to_owned(),
            );
            self.rewind(
                header.lane,
                Refuse {
                    lane: 0,
                    expected,
                    code,
                    message,
                    retry_after_ms: 0,
                },
            );
            return;
        }
        let Some(lane) = self.lanes.get_mut(&header.lane) else {
            return;
        };
        lane.sequencer.push(header.range(), (header, body));
        while let Some((_, (header, body))) = lane.sequencer.pop(now) {
            let (key, generation) = (lane.key.clone(), lane.generation);
            self.outputs.push_back(AggregatorOutput::Commit {
                key,
                generation,
                header,
                body,
            });
        }
    }

    /// Batches that came too early, all lanes together.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lanes.values().map(|lane| lane.sequencer.waiting()).sum()
    }

    /// The commit answered a batch that was submitted in `generation`.
    pub fn answered(&mut self, lane_no: LaneNo, generation: Generation, outcome: CommitOutcome) {
        let Some(lane) = self.lanes.get_mut(&lane_no) else {
            return;
        };
        match outcome {
            // an acknowledgement deletes: it is for whoever sent the batch
            CommitOutcome::Committed { .. } if generation < lane.opened_in => {}
            CommitOutcome::Committed { mark, writer } => {
                let ack = Ack {
                    lane: lane.handle,
                    mark,
                    writer,
                };
                self.outputs
                    .push_back(AggregatorOutput::Send(FromAggregator::Ack(ack)));
            }
            // batches submitted behind a refused one are refused as well: one rewind answers them all
            CommitOutcome::Refused { .. } if generation != lane.generation => {}
            CommitOutcome::Refused {
                expected,
                code,
                message,
                retry_after_ms,
            } => {
                self.rewind(
                    lane_no,
                    Refuse {
                        lane: 0,
                        expected,
                        code,
                        message,
                        retry_after_ms,
                    },
                );
            }
        }
    }

    /// The stream of a lane that was opened in this session.
    #[must_use]
    pub fn key(&self, lane_no: LaneNo) -> Option<&LaneKey> {
        self.lanes.get(&lane_no).map(|lane| &lane.key)
    }

    /// A batch of the lane arrived damaged: the lane goes on from where it stands.
    pub fn malformed(&mut self, lane_no: LaneNo, message: String) {
        let Some(expected) = self.lanes.get(&lane_no).map(|lane| lane.sequencer.expected()) else {
            return;
        };
        let code = RefuseCode::Malformed;
        self.rewind(
            lane_no,
            Refuse {
                lane: 0,
                expected,
                code,
                message,
                retry_after_ms: 0,
            },
        );
    }

    fn rewind(&mut self, lane_no: LaneNo, refuse: Refuse) {
        let Some(lane) = self.lanes.get_mut(&lane_no) else {
            return;
        };
        lane.generation += 1;
        lane.sequencer.rewind(refuse.expected);
        let refuse = Refuse {
            lane: lane.handle,
            ..refuse
        };
        self.outputs
            .push_back(AggregatorOutput::Send(FromAggregator::Refuse(refuse)));
    }

    /// The newest schema of a stream, asked for or changed.
    pub fn schema(&mut self, stream: StreamName, schema: Option<SchemaInfo>) {
        if self.state == State::Open {
            self.outputs
                .push_back(AggregatorOutput::Send(FromAggregator::Schema { stream, schema }));
        }
    }

    /// The answer to [`AggregatorOutput::FindSchema`]: the schema, or why rows may not be written with it.
    pub fn schema_by_id(&mut self, stream: StreamName, id: u32, found: Result<SchemaInfo, Reason>) {
        if self.state == State::Open {
            let (schema, refused) = match found {
                Ok(schema) => (Some(schema), None),
                Err(refused) => (None, Some(refused)),
            };
            let answer = FromAggregator::SchemaById {
                stream,
                id,
                schema,
                refused,
            };
            self.outputs.push_back(AggregatorOutput::Send(answer));
        }
    }

    /// A session of an agent behind this gateway is older than one elsewhere.
    pub fn supersede(&mut self, agent: AgentId, session: SessionKey) {
        if self.state == State::Open {
            self.outputs
                .push_back(AggregatorOutput::Send(FromAggregator::Superseded {
                    agent,
                    session,
                }));
        }
    }

    /// The newest head of this aggregator's audit: the gateway hears of it with a heartbeat.
    pub fn audit_head(&mut self, head: &Arc<str>) {
        self.head.set(head);
    }

    /// Time passed: heartbeats, and lanes whose hole did not close are rewound.
    pub fn tick(&mut self, now: Tick, wall: Millis) {
        match self.state {
            State::Closed => return,
            State::AwaitHello { until } => {
                if now >= until {
                    self.protocol_error("no hello in time");
                }
                return;
            }
            State::Open => {}
        }
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + HEARTBEAT_EVERY;
            let audit_head = self.head.take();
            let heartbeat = FromAggregator::Heartbeat {
                now: wall,
                audit_head,
            };
            self.outputs.push_back(AggregatorOutput::Send(heartbeat));
        }
        let stalled = |lane: &Lane<B>| {
            lane.sequencer
                .stalled_since()
                .is_some_and(|at| now >= at + STALL_TIMEOUT)
        };
        let lanes: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| stalled(lane))
            .map(|(no, _)| *no)
            .collect();
        for lane_no in lanes {
            let expected = self.lanes[&lane_no].sequencer.expected();
            let message = format!("seq {expected} did not come while later ones did");
            let code = RefuseCode::Gap;
            self.rewind(
                lane_no,
                Refuse {
                    lane: 0,
                    expected,
                    code,
                    message,
                    retry_after_ms: 0,
                },
            );
        }
    }

    /// The aggregator stops.
    pub fn drain(&mut self) {
        let message = "the aggregator is stopping".to_owned();
        self.close(Bye::new(ByeCode::ShuttingDown, message));
    }

    /// Something that a correct gateway never does.
    pub fn protocol_error(&mut self, message: &str) {
        self.close(Bye::new(ByeCode::ProtocolError, message));
    }

    fn close(&mut self, bye: Bye) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.outputs.push_back(AggregatorOutput::Close { bye: Some(bye) });
        }
    }

    /// What to do next, in order.
    pub fn output(&mut self) -> Option<AggregatorOutput<B>> {
        self.outputs.pop_front()
    }
}
