//! Signed heads of the aggregator's audit, as gateways tell them: kept in the spool's database, so that somebody else than
//! the aggregator can say what its audit was.
//!
//! The agent has no key and checks no signature. It compares what it is told with what it was told: a tree never becomes
//! smaller, and has one root at one size. What does not fit is an error in the log and a warning in `/v1/status`, and both
//! heads are kept: `tributary audit verify --agent` checks them against the aggregator's tree.

mod kept;
mod read;

pub use kept::{Heads, HeadsReport};
