//! The audit of an aggregator, as anybody can check it: an append-only Merkle tree (RFC 6962) whose leaves are
//! administrative acts, security events and the digests of committed groups, and heads of it that are signed.
//!
//! ```text
//! event ─► log entry ─digest─► leaf of its commit group ─inclusion─► signed head ─consistency─► later signed head
//! ```
//!
//! Pure: bytes in, verdicts out. Nothing here reads a file, a clock or a network (the program
//! `tributary-audit-verify` beside it reads files). Hashing of trees and checking of proofs are `ct-merkle`'s; this crate
//! says what the leaves are, which nodes are kept, how a head is written and signed, and what is wrong when something is.

mod error;
mod export;
mod hash;
mod head;
mod key;
mod kind;
mod leaf;
mod proof;
mod receipt;
mod tree;
mod walk;

pub use error::AuditError;
pub use export::{Export, ExportLine};
pub use hash::{BodyDigest, EntryDigest, Hash, leaf_hash};
pub use head::{Head, SignedHead};
pub use key::{PublicKey, SigningKey, origin_of};
pub use kind::Kind;
pub use leaf::{Content, EntryRecord, Leaf, MAX_LEAF};
pub use proof::{ConsistencyProof, InclusionProof};
pub use receipt::{EntryShown, EventName, Receipt};
pub use tree::{BLOCK_LEVEL, Node, NodeSource, Tree, consistency, inclusion, root_at};
pub use walk::{Finding, Outcome, Walk};

/// RFC 3339 text of Unix milliseconds, for messages.
#[must_use]
pub fn time_text(at: i64) -> String {
    chrono::DateTime::from_timestamp_millis(at).map_or_else(
        || format!("{at} ms"),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    )
}
