//! The gateway's end of the gateway-aggregator hop. Many agents' lanes share it.

use std::collections::{BTreeMap, VecDeque};

use super::told_head::MAX_AUDIT_HEAD;
use super::{HEARTBEAT_EVERY, HELLO_TIMEOUT, Tick};
use crate::ids::{AgentId, GatewayId, LaneKey, Seq, StreamName};
use crate::time::Millis;
use crate::wire::{
    Ack, FromAggregator, Hello, LaneOpened, Limits, MIN_VERSION, Reason, Refuse, SchemaInfo, SessionKey,
    ToAggregator, VERSION,
};

/// What the caller must do.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamOutput {
    Send(ToAggregator),
    /// Welcomed: lanes may be opened.
    Connected {
        aggregator: String,
        limits: Limits,
        /// The protocol that both ends speak.
        version: u16,
    },
    LaneOpened(LaneOpened),
    /// `credit` batches were answered and may be replaced by others.
    Ack {
        ack: Ack,
        credit: usize,
    },
    Refuse {
        refuse: Refuse,
        credit: usize,
    },
    Schema {
        stream: StreamName,
        schema: Option<SchemaInfo>,
    },
    /// The answer to [`ToAggregator::GetSchemaById`].
    SchemaById {
        stream: StreamName,
        id: u32,
        schema: Option<SchemaInfo>,
        refused: Option<Reason>,
    },
    /// This session of the agent is over: it has a newer one elsewhere.
    Superseded {
        agent: AgentId,
        session: SessionKey,
    },
    /// A head of the aggregator's audit: agents are told.
    AuditHead(String),
    Close {
        reason: String,
    },
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    AwaitWelcome { until: Tick },
    Open,
    Closed,
}

/// One connection to the aggregator, from connect to close.
#[derive(Debug)]
pub struct UpstreamLink {
    state: State,
    /// Last seqs of the batches in flight, by lane handle.
    in_flight: BTreeMap<u32, VecDeque<Seq>>,
    next_heartbeat: Tick,
    outputs: VecDeque<UpstreamOutput>,
}

impl UpstreamLink {
    #[must_use]
    pub fn new(gateway: &GatewayId, software: &str, instance: u64, now: Tick) -> Self {
        let hello = Hello {
            min_version: MIN_VERSION,
            max_version: VERSION,
            node: gateway.to_string(),
            software: software.to_owned(),
            instance,
            session: 0,
            configuration: None,
        };
        Self {
            state: State::AwaitWelcome {
                until: now + HELLO_TIMEOUT,
            },
            in_flight: BTreeMap::new(),
            next_heartbeat: now + HEARTBEAT_EVERY,
            outputs: VecDeque::from([UpstreamOutput::Send(ToAggregator::Hello(hello))]),
        }
    }

    /// What the aggregator is told, with the hello, of how this gateway is set up. To be called before the first output
    /// is taken.
    pub fn configured(&mut self, configuration: Option<String>) {
        if let Some(UpstreamOutput::Send(ToAggregator::Hello(hello))) = self.outputs.front_mut() {
            hello.configuration = configuration;
        }
    }

    /// A message from the aggregator.
    pub fn receive(&mut self, message: FromAggregator) {
        match (message, &self.state) {
            (_, State::Closed) => {}
            (FromAggregator::Bye(bye), _) => {
                self.close(format!(
                    "the aggregator closed the session ({:?}): {}",
                    bye.code, bye.message
                ));
            }
            (FromAggregator::Welcome(welcome), State::AwaitWelcome { .. }) => {
                if (MIN_VERSION..=VERSION).contains(&welcome.version) {
                    self.state = State::Open;
                    self.outputs.push_back(UpstreamOutput::Connected {
                        aggregator: welcome.node,
                        limits: welcome.limits,
                        version: welcome.version,
                    });
                } else {
                    self.close(format!(
                        "the aggregator chose protocol {}, which was not offered",
                        welcome.version
                    ));
                }
            }
            (_, State::AwaitWelcome { .. }) => {
                self.close("the aggregator did not begin with a welcome".to_owned());
            }
            (FromAggregator::Welcome(_), State::Open) => {
                self.close("the aggregator welcomed twice".to_owned())
            }
            (FromAggregator::LaneOpened(opened), State::Open) => {
                self.outputs.push_back(UpstreamOutput::LaneOpened(opened));
            }
            (FromAggregator::Ack(ack), State::Open) => self.acked(ack),
            (FromAggregator::Refuse(refuse), State::Open) => self.refused(refuse),
            (FromAggregator::Schema { stream, schema }, State::Open) => {
                self.outputs.push_back(UpstreamOutput::Schema { stream, schema });
            }
            (
                FromAggregator::SchemaById {
                    stream,
                    id,
                    schema,
                    refused,
                },
                State::Open,
            ) => self.outputs.push_back(UpstreamOutput::SchemaById {
                stream,
                id,
                schema,
                refused,
            }),
            (FromAggregator::Superseded { agent, session }, State::Open) => {
                self.outputs
                    .push_back(UpstreamOutput::Superseded { agent, session });
            }
            (FromAggregator::Drain(_), State::Open) => self.close("the aggregator is stopping".to_owned()),
            (FromAggregator::Heartbeat { audit_head, .. }, State::Open) => {
                let head = audit_head.filter(|head| head.len() <= MAX_AUDIT_HEAD);
                self.outputs.extend(head.map(UpstreamOutput::AuditHead));
            }
        }
    }

    fn acked(&mut self, ack: Ack) {
        let mut credit = 0;
        if let Some(sent) = self.in_flight.get_mut(&ack.lane) {
            let before = sent.len();
            // not a prefix: batches of one lane are decoded, and so sent, out of order
            sent.retain(|last| *last > ack.mark);
            credit = before - sent.len();
        }
        self.outputs.push_back(UpstreamOutput::Ack { ack, credit });
    }

    fn refused(&mut self, refuse: Refuse) {
        let credit = self
            .in_flight
            .get_mut(&refuse.lane)
            .map_or(0, |sent| std::mem::take(sent).len());
        self.outputs.push_back(UpstreamOutput::Refuse { refuse, credit });
    }

    /// Asks for a lane; `lane` is a handle that the caller chose.
    pub fn open_lane(&mut self, lane: u32, key: LaneKey, next_seq: Seq) {
        self.in_flight.insert(lane, VecDeque::new());
        self.send(ToAggregator::OpenLane { lane, key, next_seq });
    }

    /// A lane's session ended. Returns the credit that its unanswered batches held.
    pub fn close_lane(&mut self, lane: u32) -> usize {
        self.in_flight.remove(&lane).map_or(0, |sent| sent.len())
    }

    /// A batch of the lane that ends at `last` was handed to the transport.
    pub fn sent(&mut self, lane: u32, last: Seq) {
        self.in_flight.entry(lane).or_default().push_back(last);
    }

    /// Sends once the session is open; before that the message is lost, which is right for all that is asked
    /// again on connect.
    pub fn send(&mut self, message: ToAggregator) {
        if self.state == State::Open {
            self.outputs.push_back(UpstreamOutput::Send(message));
        }
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Time passed.
    pub fn tick(&mut self, now: Tick, wall: Millis) {
        match self.state {
            State::AwaitWelcome { until } if now >= until => {
                self.close("the aggregator did not answer the hello in time".to_owned());
            }
            State::Open if now >= self.next_heartbeat => {
                self.next_heartbeat = now + HEARTBEAT_EVERY;
                self.send(ToAggregator::Heartbeat {
                    now: wall,
                    // the actor that sends it knows
                    refused: Vec::new(),
                });
            }
            State::AwaitWelcome { .. } | State::Open | State::Closed => {}
        }
    }

    fn close(&mut self, reason: String) {
        self.state = State::Closed;
        self.outputs.push_back(UpstreamOutput::Close { reason });
    }

    /// What to do next, in order.
    pub fn output(&mut self) -> Option<UpstreamOutput> {
        self.outputs.pop_front()
    }
}
