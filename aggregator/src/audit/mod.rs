//! The audit's place in the aggregator: an append-only Merkle tree in tables of log.db.
//!
//! What the commit thread writes is anchored in the transaction that writes it: the digest of every committed group,
//! lanes, drops, replays, discards, what retention deleted. Administrative acts are recorded before they are done
//! ([`Act`], through [`crate::commit::CommitHandle::record`]), and a second leaf says so when one was not done. Heads are
//! signed with each act, and once a minute while the tree grows. What leaves, heads and proofs are is
//! [`tributary_audit`]'s; see `docs/audit.md`.
//!
//! Nothing of the tree is ever deleted: retention deletes what a leaf is about, never the leaf.

mod anchor;
mod configuration;
mod keeper;
mod key;
mod messages;
mod read;
mod receipt;
mod refusals;
mod stored;
mod whole;

#[cfg(test)]
mod tests;

pub use anchor::Anchor;
pub(crate) use anchor::PENDING;
pub use configuration::{node_configuration, shown as shown_configuration};
pub use keeper::{KnownGateways, keep, record_configuration, record_refusals};
pub use key::{KEY_FILE, PUBLIC_KEY_FILE, read_public};
pub use messages::{Act, AuditPage, AuditQuery, Kinds, NotProved, act_detail};
pub use read::{consistency, head_at, heads, inclusion, newest_head, newest_of, page, size};
pub use receipt::{ReceiptAnswer, leaf_of, receipt};
pub use whole::{export, open_read_only, walk};

/// Leaves, kept nodes, heads, and where the entries were that retention has deleted.
pub(crate) const SCHEMA: &str = include_str!("schema.sql");
