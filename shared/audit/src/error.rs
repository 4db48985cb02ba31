//! What can be wrong with a proof, a head or a tree, by name.

use crate::time_text;

/// What is wrong. The text says it in plain words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("malformed: {0}")]
    Malformed(String),
    #[error(
        "leaf {index} was tampered with: with this proof it does not give the root that the head of {size} leaves has signed"
    )]
    TamperedLeaf { index: u64, size: u64 },
    #[error("wrong index: the proof is for leaf {said}, the leaf itself says that it is leaf {found}")]
    WrongIndex { said: u64, found: u64 },
    #[error("the head of {size} leaves does not reach leaf {index}: ask for a proof against a later head")]
    NotCovered { index: u64, size: u64 },
    #[error("removed tail: a head of {kept} leaves was signed, the tree has {found}")]
    RemovedTail { kept: u64, found: u64 },
    #[error(
        "forked tree: the tree of {to} leaves does not continue the one of {from} leaves, and both heads are signed by \
         the same key"
    )]
    Forked { from: u64, to: u64 },
    #[error("wrong key: the head is signed by key {found}, trusted is {trusted}")]
    WrongKey { found: String, trusted: String },
    #[error(
        "bad signature: the head of {size} leaves was changed after it was signed, or never was signed by this key"
    )]
    BadSignature { size: u64 },
    #[error("another log: this is of {found}, expected was {expected}")]
    OtherLog { found: String, expected: String },
    #[error(
        "the proof is for a head of {proof} leaves, this head has {head}: ask for the proof with size={head}"
    )]
    OtherSize { proof: u64, head: u64 },
    #[error("no head: the proof carries none, and none was given")]
    NoHead,
    #[error("the log entry is not the one that was anchored at {}: its digest differs", time_text(*.at))]
    EntryDiffers { at: i64 },
    #[error("the anchored entries do not hold seq {seq} of lane {lane}")]
    EventNotThere { lane: u32, seq: u64 },
    #[error("lane {lane} was opened for {opened}, the receipt names {named}")]
    LaneDiffers {
        lane: u32,
        opened: String,
        named: String,
    },
}

impl AuditError {
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed(what.into())
    }
}
