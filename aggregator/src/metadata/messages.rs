//! What is passed to and from the metadata store.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use tributary_shared::ids::{AgentId, GatewayId, StreamName};
use tributary_shared::time::Millis;

use super::fields::SchemaFacts;
use crate::agents::AgentRow;
use crate::commit::{LaneRow, StreamRow};
use crate::registry::VersionRow;
use crate::view::ViewPlan;
use crate::window::ViewInfo;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("metadata.db has format {found}, this program reads up to {known}; use a newer program")]
    FormatTooNew { found: i64, known: i64 },
    #[error("metadata.db: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// What a node of the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    Agent,
    Gateway,
    Schema,
    Stream,
    View,
}

impl NodeKind {
    pub const ALL: [Self; 5] = [Self::Agent, Self::Gateway, Self::Schema, Self::Stream, Self::View];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Gateway => "gateway",
            Self::Schema => "schema",
            Self::Stream => "stream",
            Self::View => "view",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The name of a node in edges.
    #[must_use]
    pub fn id(self, name: &str) -> String {
        format!("{}:{name}", self.as_str())
    }
}

/// What an edge says. Edges lead the way that events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// From an agent to a stream of its own.
    Produces,
    /// From an agent to a gateway that took its events in, and from there to their stream.
    PassesThrough,
    /// From a schema to the stream that it judges.
    Validates,
    /// From a stream, or a view, to the view that is made of it.
    Reads,
    /// From a schema to one that refers to it.
    RefersTo,
}

/// One thing in the mesh.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub id: String,
    pub kind: NodeKind,
    pub name: String,
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

/// How two things hang together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edge {
    pub from: String,
    pub to: String,
    pub kind: EdgeKind,
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

/// Nodes by id; edges by both ends.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
}

/// What is kept of an agent or a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRecord {
    pub kind: NodeKind,
    pub name: String,
    pub software: String,
    /// As the node said it; `None` from programs that do not.
    pub configuration: Option<Arc<Map<String, Value>>>,
    /// SHA-256 of the configuration's text, in hex.
    pub digest: Option<String>,
    pub first_seen: Millis,
    pub last_seen: Millis,
    /// Since when program and configuration are these.
    pub changed_at: Millis,
}

/// What a node says of itself when it connects.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'a> {
    pub kind: NodeKind,
    pub name: &'a str,
    pub software: &'a str,
    /// A JSON object, as text.
    pub configuration: Option<&'a str>,
}

/// A node came with another program or configuration than before.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigurationChange {
    pub record: NodeRecord,
    /// Keys of settings; `software` for the program.
    pub changed: Vec<String>,
}

/// The way that a stream of an agent came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub agent: AgentId,
    pub stream: StreamName,
    pub gateway: GatewayId,
    pub first_seen: Millis,
    pub last_seen: Millis,
    /// Committed, as far as this process and those before it counted.
    pub events: u64,
}

/// A subject of the registry.
#[derive(Debug, Clone)]
pub struct Subject {
    pub subject: String,
    pub stream: Option<StreamName>,
    pub versions: Vec<VersionRow>,
    /// Of the newest version that is active or deprecated; `None` when there is none.
    pub current: Option<Arc<SchemaFacts>>,
}

/// A view, and its plan when it compiles over the others.
#[derive(Debug, Clone)]
pub struct ViewFacts {
    pub info: ViewInfo,
    pub plan: Option<Arc<ViewPlan>>,
}

/// Everything that a graph is drawn from.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub streams: Vec<StreamRow>,
    pub lanes: Vec<LaneRow>,
    pub agents: Vec<AgentRow>,
    pub subjects: Vec<Subject>,
    pub views: Vec<ViewFacts>,
    pub nodes: Vec<NodeRecord>,
    pub routes: Vec<Route>,
    /// Gateways that have a session.
    pub gateways_here: BTreeSet<String>,
}
