//! Messages of the control streams.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::Epoch;
use crate::ids::{AgentId, LaneKey, LaneNo, Seq, StreamName};
use crate::time::Millis;
use crate::wire::history::History;

use super::batch::Reason;

/// First message of whoever dialled. The identity that counts is the certificate's; `node` must agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub min_version: u16,
    pub max_version: u16,
    pub node: String,
    /// Program and version, for people.
    pub software: String,
    /// Random, new for each start of the process: two live processes of one identity are told apart by it.
    pub instance: u64,
    /// Counts the sessions of that process, upwards: of two, the higher is the newer.
    #[serde(default)]
    pub session: u64,
    /// How the node is set up: a JSON object of settings by their keys, as text, of at most
    /// [`super::MAX_CONFIGURATION`] bytes. Earlier versions leave it out, and leave it unread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
}

/// First answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub version: u16,
    pub node: String,
    /// The answerer's clock, for measuring skew.
    pub now: Millis,
    pub limits: Limits,
}

/// What the answerer takes. The dialler keeps to it; exceeding it ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub max_in_flight: u32,
    pub max_batch_rows: u32,
    pub max_batch_body: u32,
    pub max_inflated: u32,
    pub max_lanes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: super::DEFAULT_MAX_IN_FLIGHT,
            max_batch_rows: super::MAX_BATCH_ROWS,
            max_batch_body: u32::try_from(super::MAX_BATCH_BODY).unwrap_or(u32::MAX),
            max_inflated: u32::try_from(super::MAX_INFLATED_BATCH).unwrap_or(u32::MAX),
            max_lanes: super::MAX_SESSION_LANES,
        }
    }
}

/// Agent to gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToGateway {
    Hello(Hello),
    OpenLane(OpenLane),
    Report(NodeReport),
    /// The schema of a stream that the agent checks, whether or not it has a lane yet; `schema_id` is the one that it
    /// keeps. Since protocol version [`super::SCHEMAS_TO_AGENTS`].
    WantSchema {
        stream: StreamName,
        #[serde(default)]
        schema_id: Option<u32>,
    },
    /// The agent is stopping; what is in flight may still be acknowledged.
    Goodbye,
}

/// Gateway to agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    Welcome(Welcome),
    LaneOpened(LaneOpened),
    Ack(Ack),
    Refuse(Refuse),
    /// The newest schema of a stream whose lane the agent has opened or that it asked for; `None` when it has none, or none that an
    /// agent could keep. Sent when it differs from what the agent said that it keeps, and on every change. Since
    /// protocol version [`super::SCHEMAS_TO_AGENTS`].
    Schema {
        stream: StreamName,
        schema: Option<SchemaInfo>,
    },
    Drain(Drain),
    Heartbeat {
        now: Millis,
        /// The newest signed head of the aggregator's audit, when it is another one than the last that was told. Earlier
        /// versions leave it out, and leave it unread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audit_head: Option<String>,
        /// Traces that are exported whatever the sampler said, by their ids: at most [`super::MAX_PROMOTED`]. Earlier
        /// versions leave it out, and leave it unread.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        promoted: Vec<String>,
    },
    Bye(Bye),
}

/// Gateway to aggregator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToAggregator {
    Hello(Hello),
    /// A lane of an agent whose certificate the gateway has checked. `lane` is the gateway's handle for the answer.
    OpenLane {
        lane: u32,
        key: LaneKey,
        next_seq: Seq,
    },
    /// The newest schema of a stream is wanted; answered by [`FromAggregator::Schema`].
    GetSchema {
        stream: StreamName,
    },
    /// A row of the stream names the schema that it was written with; answered by
    /// [`FromAggregator::SchemaById`]. Since protocol version 2.
    GetSchemaById {
        stream: StreamName,
        id: u32,
    },
    /// An agent connected, reported, or (`report` is `None`) left.
    Agent {
        agent: AgentId,
        /// Which session of the agent this is about, as its hello said.
        #[serde(default)]
        session: SessionKey,
        remote: String,
        software: String,
        /// As the agent's hello said it; in the first message about a session at least.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        configuration: Option<String>,
        report: Option<NodeReport>,
    },
    Heartbeat {
        now: Millis,
        /// Who was turned away since the last one. Earlier versions leave it out, and leave it unread.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refused: Vec<RefusedPeer>,
    },
    Goodbye,
}

/// Aggregator to gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromAggregator {
    Welcome(Welcome),
    LaneOpened(LaneOpened),
    Ack(Ack),
    Refuse(Refuse),
    /// The newest schema of a stream (`None`: it has none). Sent on request and on every change.
    Schema {
        stream: StreamName,
        schema: Option<SchemaInfo>,
    },
    /// A schema that a row names by its id, or why rows of this stream may not be written with it.
    SchemaById {
        stream: StreamName,
        id: u32,
        #[serde(default)]
        schema: Option<SchemaInfo>,
        #[serde(default)]
        refused: Option<Reason>,
    },
    /// The agent has a newer session elsewhere: close this one.
    Superseded {
        agent: AgentId,
        session: SessionKey,
    },
    Drain(Drain),
    Heartbeat {
        now: Millis,
        /// The newest signed head of the aggregator's audit, when it is another one than the last that was told. Earlier
        /// versions leave it out, and leave it unread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        audit_head: Option<String>,
    },
    Bye(Bye),
}

/// A peer that was turned away so often, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPeer {
    /// An address without its port, or the name in a certificate.
    pub who: String,
    pub why: String,
    pub count: u64,
}

/// Names one session of an agent; see [`Hello`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionKey {
    pub instance: u64,
    pub session: u64,
}

/// A lane that the agent wants to ship. `next_seq` is the seq that it will give its next event: at or below
/// the committed mark, the spool is behind its own past (a restored image) and must start a new epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLane {
    /// The agent's handle for the lane in this session.
    pub lane: u32,
    pub stream: StreamName,
    pub epoch: Epoch,
    pub next_seq: Seq,
    /// The schema that the agent keeps for the stream: it need not be told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_id: Option<u32>,
}

/// Where a lane stands. `lane` is the handle of whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneOpened {
    pub lane: u32,
    pub lane_no: LaneNo,
    /// Highest committed seq; 0 when none.
    pub mark: Seq,
    /// Who numbered what is committed; `None` from an aggregator that does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
}

/// Everything of the lane up to `mark` is committed, as far as the sender's history says the same of who numbered that
/// seq: a batch of another process with the agent's identity may have been under way when the lane was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub lane: u32,
    pub mark: Seq,
    /// Who numbered `mark`; 0 when that is not known.
    #[serde(default)]
    pub writer: u64,
}

/// A batch was not taken. The sender goes on from `expected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    pub lane: u32,
    pub expected: Seq,
    pub code: RefuseCode,
    pub message: String,
    /// Wait this long before the next try.
    #[serde(default)]
    pub retry_after_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefuseCode {
    /// The batch starts after mark+1.
    Gap,
    /// The batch was judged by a schema that is not the newest.
    SchemaChanged,
    /// The receiver cannot store just now (disk full, upstream away).
    Unavailable,
    /// The sender exceeds its rate.
    Throttled,
    /// Another copy of the sender's spool has numbered other events alike, and those are committed: the lane must be
    /// opened again, to see where the two part.
    OtherWriter,
    /// The batch itself is broken (checksum, sizes); sending it again unchanged will not help unless the
    /// wire damaged it.
    Malformed,
}

impl RefuseCode {
    /// As records and labels write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::SchemaChanged => "schema_changed",
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::OtherWriter => "other_writer",
            Self::Malformed => "malformed",
        }
    }
}

/// The receiver is about to stop: finish, and come back after `retry_after_ms` (with full jitter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    pub retry_after_ms: u32,
}

/// Last message before the sender closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    pub code: ByeCode,
    pub message: String,
    /// Come back after this time at the earliest.
    #[serde(default)]
    pub retry_after_ms: u32,
}

impl Bye {
    /// A last word without a wish for when to come back.
    #[must_use]
    pub fn new(code: ByeCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ByeCode {
    VersionMismatch,
    IdentityMismatch,
    /// The same identity opened a newer session.
    Superseded,
    ProtocolError,
    LimitExceeded,
    ShuttingDown,
    UpstreamLost,
    /// Too many sessions at once: come back when it says.
    Busy,
}

/// What an agent says of itself with every heartbeat, so that the centre shows lag and held events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub now: Millis,
    pub spool_bytes: u64,
    pub spool_limit: u64,
    pub lanes: Vec<LaneReport>,
    /// Of the streams whose events the agent checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckReport>,
    /// The agent's clock minus the gateway's when the report came in. The gateway writes it, whatever the agent says;
    /// older gateways do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    /// Traces that are exported whatever the sampler said, by their ids: at most [`super::MAX_PROMOTED`], since the last
    /// report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promoted: Vec<String>,
}

/// What an agent's own check of a stream has found since the agent started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    pub stream: StreamName,
    /// `tag` or `reject`.
    pub policy: String,
    /// The schema that it checks by; `None` while it knows of none.
    pub schema_id: Option<u32>,
    /// Events that were judged, invalid ones included.
    pub checked: u64,
    pub invalid: u64,
    /// Requests that were refused for an invalid event. Their events are counted nowhere else.
    pub refused_requests: u64,
    /// Invalid events by the rule that they break first.
    pub by_rule: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneReport {
    pub stream: StreamName,
    pub epoch: Epoch,
    pub next_seq: Seq,
    pub committed_seq: Seq,
    pub held_events: u64,
    pub held_bytes: u64,
}

/// A registered schema, as it is pushed to gateways and agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaInfo {
    pub id: u32,
    pub version: u32,
    /// `JSON`, `AVRO` or `PROTOBUF`.
    pub format: String,
    pub text: String,
    /// What the schema refers to, transitive references included, each after those that it needs itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<NamedText>,
}

impl SchemaInfo {
    /// Bytes of its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let references = self
            .references
            .iter()
            .map(|named| named.name.len() + named.text.len());
        self.text.len() + references.sum::<usize>()
    }
}

/// A schema that another one refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedText {
    /// The name by which it is imported: the `$ref` URI of a JSON Schema, an Avro full name, a `.proto` path.
    pub name: String,
    pub text: String,
}
