//! What an event must be, and how it becomes columns: schemas of three languages, whether a new version may
//! follow an old one, and the decoder that judges events by them.
//!
//! Used by gateways, which judge every event, and by the aggregator, which judges schemas and replays. A crate
//! of its own, because an agent needs nothing of it.

pub mod compat;
pub mod decode;
pub mod infer;
pub mod language;
