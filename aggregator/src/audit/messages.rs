//! What goes in and out of the audit.

use serde_json::{Map, Value};
use tributary_audit::{Kind, Leaf};

use crate::commit::CommitError;

/// An act or event that is to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    pub kind: Kind,
    pub detail: Map<String, Value>,
}

impl Act {
    /// `detail` is a JSON object.
    #[must_use]
    pub fn new(kind: Kind, detail: Value) -> Self {
        let detail = act_detail(detail);
        Self { kind, detail }
    }
}

/// The object that a JSON value is.
#[must_use]
pub fn act_detail(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        // every caller builds an object
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

/// Which kinds of leaves to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kinds {
    #[default]
    All,
    /// All but commit groups.
    Acts,
    One(Kind),
}

/// Which leaves to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditQuery {
    pub kinds: Kinds,
    /// Leaves from this one on; with `newest_first`, those before it.
    pub from: Option<u64>,
    pub newest_first: bool,
    pub limit: usize,
}

/// Leaves, and how many there are in all.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    pub size: u64,
    pub leaves: Vec<Leaf>,
}

/// Why something cannot be proved.
#[derive(Debug, thiserror::Error)]
pub enum NotProved {
    #[error("there is no leaf {index}: the tree has {size}")]
    NoLeaf { index: u64, size: u64 },
    #[error("no head of {size} leaves was signed; signed were {below:?} below it and {above:?} above it")]
    NoHead {
        size: u64,
        below: Option<u64>,
        above: Option<u64>,
    },
    #[error("a head of {from} leaves is not earlier than one of {to}")]
    Backwards { from: u64, to: u64 },
    #[error("the event is not committed: its lane stands at {mark}")]
    NotCommitted { mark: u64 },
    #[error("the event was committed at log position {pos}, before the audit began: there is no leaf of it")]
    BeforeAudit { pos: u64 },
    #[error(
        "the event was committed, and retention had deleted its log entry before the audit began: there is no leaf of it"
    )]
    Forgotten,
    #[error("no such lane")]
    UnknownLane,
    #[error(transparent)]
    Log(#[from] CommitError),
}

impl From<rusqlite::Error> for NotProved {
    fn from(error: rusqlite::Error) -> Self {
        Self::Log(error.into())
    }
}
