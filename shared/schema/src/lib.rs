//! What an event must be, and how it becomes columns: schemas of three languages, whether a new version may
//! follow an old one, and the decoder that judges events by them.
//!
//! Used by gateways, which judge every event, and by the aggregator, which judges schemas and replays. An agent
//! that checks events itself needs the judging part only: all else is behind the feature `columns`.

#[cfg(feature = "columns")]
pub mod compat;
pub mod decode;
#[cfg(feature = "columns")]
pub mod infer;
#[cfg(feature = "columns")]
pub mod language;
