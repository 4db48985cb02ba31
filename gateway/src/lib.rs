//! The gateway: admits agents, validates their events against the stream's schema, turns them into columns and
//! forwards them to the aggregator. It keeps nothing on disk that matters (`stateless-gateway`): kill it, add
//! another, nothing is lost.

pub mod config;
mod http;
mod listener;
mod news;
mod pool;
mod rate;
mod run;
mod schemas;
mod session;
mod upstream;
mod writers;

pub use run::run;
