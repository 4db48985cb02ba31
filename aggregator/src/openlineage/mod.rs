//! Lineage of views for others: OpenLineage events, posted to an endpoint that the configuration names.
//!
//! A view is a job, and the life of one definition of it is a run: START when it is made, and again whenever the
//! aggregator starts; RUNNING every few minutes, with what it has counted; COMPLETE when it is replaced or deleted; FAIL
//! when it does not work any more. Streams and views are datasets, told with their fields when those change. What an event
//! says is [`events`], pure; when there is one to post, [`watch`] finds out; [`poster`] posts it, on a thread of its
//! own, and nothing else ever waits for that.

mod config;
mod events;
mod poster;
mod watch;

pub use config::OpenLineageConfig;
pub use poster::Poster;
pub use watch::{Sources, watch};
