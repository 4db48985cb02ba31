//! The agent's own check: events are judged by the newest schema that it has heard of, with or without a gateway in
//! sight.
//!
//! ```text
//! shipper ── a schema is pushed ──▶ Checks ──▶ spool.db (`schema/STREAM`), for the next start
//!                                     │
//! intake, tail, host ── Check ◀───────┘   one a request or block; its Tally counts once the events are taken
//! ```
//!
//! - `[streams.NAME] check` is `off` (the default), `tag` (invalid events are taken and counted, the gateway makes dead
//!   letters of them) or `reject` (the intake refuses a request that holds one, whole). Only a request has somebody to
//!   answer: for tailed files and host metrics `reject` is `tag`, which loses nothing.
//! - The verdict is the gateway's ([`tributary_schema::decode::Checker`]), by the same version. An agent that is offline may
//!   know an older one: `tag` is for streams whose producers may be ahead of it.
//! - Schemas are compiled when the first event of a checked stream comes, and not at all where nothing is checked.
//! - What only a gateway can judge passes: streams without a schema, schemas in Avro and Protobuf, rules over several
//!   fields, and payloads in wire format (first byte 0) unless they name the very JSON Schema that the agent has. Of
//!   those only the frame is checked: an id that the agent does not know may be an older version's, or a newer one's.
//!
//! Bounds: [`MAX_KEPT_SCHEMAS`] streams and [`MAX_KEPT_BYTES`] of texts on disk; in memory the texts of checked streams.

mod compile;
mod judge;
mod keep;
mod known;
mod messages;
#[cfg(test)]
mod tests;

pub use compile::{Compiled, Compiler, json_schemas};
pub use judge::Check;
pub use keep::{MAX_KEPT_BYTES, MAX_KEPT_SCHEMAS};
pub use known::Checks;
pub use messages::{CheckPolicies, CheckPolicy, Tally};
