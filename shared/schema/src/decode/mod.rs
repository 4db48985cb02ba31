//! From inflated rows to validated columns and dead letters. Pure CPU work: no clock, no socket, no actor.
//!
//! ```text
//! segments ─ inflate ─ rows ─┬─ flat plan: one pass, checks and cells ─┬─ columns ─ Arrow IPC
//!                            │        └ unproven: cells cut off ┐      │
//!                            ├─ any other schema ───────────────┴ whole validator ─ dead letters
//!                            └─ no schema: note values ─ infer ────────┘
//! ```
//!
//! - [`StreamSchema`] is a registered schema, compiled once ([`schema`](self) · `plan` · `check` · `infer`).
//! - [`Decoder`] decodes batches with it and keeps what makes the next one quicker (`typed` · `schemaless` ·
//!   `column` · `text` · `lent` · `keys`).
//! - `scan` and `number` read JSON exactly as strictly as `serde_json`; `reasons` explains rejected rows.
//!
//! The quick checks prove validity only: whatever they do not prove, the whole validator judges. So the quick
//! and the slow way cannot disagree about a rejection, and a property test holds them to the same acceptances.
//!
//! Event time: the field that the schema marks, else `ts`; a marked field that is present but no time of the
//! years 1 to 9999 makes the row a dead letter (`event_time`), whereas an unusable `ts` that nobody marked
//! falls back, like a missing or null one, to the time at which the agent collected the event.

mod avro;
mod check;
mod column;
mod decoder;
mod extra;
mod framing;
mod infer;
mod ipc;
mod keys;
mod lent;
mod messages;
mod number;
mod plan;
mod reasons;
mod scan;
mod schema;
mod schemaless;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod translate;
mod typed;
mod writers;

pub use decoder::Decoder;
pub use messages::{DecodeError, DecodeLimits, Decoded, SchemaError, encode_dead, split_body};
pub use schema::{MAX_SCHEMA_TEXT, StreamSchema};
pub use writers::{Writer, Writers};
