//! What an event must be, and how it becomes columns: registered schemas and the decoder that judges by them.
//!
//! Used by gateways, which judge every event, and by the aggregator, which judges schemas and replays. A crate
//! of its own, because an agent needs nothing of it.

pub mod decode;
