//! What actors are held together with: restarts ([`supervise`]), waiting times ([`Backoff`]), and threads for
//! blocking work ([`thread`]).
//!
//! Rules for an edge that carries data, from what actix 0.13.5 does: `do_send` ignores the mailbox bound and
//! `ResponseActFuture` defeats it (the mailbox is read on while earlier answers are unfinished). So data
//! travels by `try_send` or `send` to handlers that answer with `AtomicResponse`, or against a credit that
//! the receiver gives back.

mod backoff;
mod budget;
mod supervisor;
pub mod thread;

pub use backoff::Backoff;
pub use budget::Budget;
pub use supervisor::{Death, DeathWatch, Escalation, Policy, Supervised, supervise};
