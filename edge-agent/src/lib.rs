//! The edge agent: takes events in, keeps them in SQLite until the aggregator has committed them, and ships
//! them to a gateway over QUIC. It works with no gateway in sight, for as long as its disk allows.
//!
//! The way of an event: [`intake`], [`tail`] or [`host`] → [`spool`] (identity, then disk) → [`shipper`].

pub mod check;
pub mod config;
pub mod heads;
pub mod host;
pub mod intake;
mod run;
pub mod shipper;
mod shown;
pub mod spool;
pub mod stop;
pub mod tail;

pub use run::run;
