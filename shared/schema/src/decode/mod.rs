//! From inflated rows to validated columns and dead letters. Pure CPU work: no clock, no socket, no actor.
//!
//! ```text
//! segments ─ inflate ─ rows ─┬─ flat plan: one pass, checks and cells ─┬─ columns ─ Arrow IPC
//!                            │        └ unproven: cells cut off ┐      │
//!                            ├─ any other schema ───────────────┴ whole validator ─ dead letters
//!                            ├─ wire format: by its writer, to JSON ─┤
//!                            └─ no schema: note values ─ infer ──────┘
//! ```
//!
//! - [`StreamSchema`] is a registered schema, compiled once ([`schema`](self) · `plan` · `check` · `infer`).
//! - The decoder decodes batches with it and keeps what makes the next one quicker (`typed` · `schemaless` ·
//!   `column` · `text` · `lent` · `keys`).
//! - [`Checker`] gives the same verdicts without columns, for agents: what needs Arrow is behind the feature
//!   `columns`.
//! - Rows that name their schema (`framing` · `writers`) are judged by it and go into the columns of the stream's
//!   newest one (`judge` · `translate` · `avro` · `protobuf`); `tally` counts who wrote what.
//! - `fields` tells others what a schema asks of an event's fields.
//! - `rules` holds whole batches against the conditions that schemas bring.
//! - `traceparents` finds the applications' traces that events name.
//! - `scan` and `number` read JSON exactly as strictly as `serde_json`; `reasons` explains rejected rows.
//!
//! The quick checks prove validity only: whatever they do not prove, the whole validator judges. So the quick
//! and the slow way cannot disagree about a rejection, and a property test holds them to the same acceptances.
//!
//! Event time: the field that the schema marks, else `ts`; a marked field that is present but no time of the
//! years 1 to 9999 makes the row a dead letter (`event_time`), whereas an unusable `ts` that nobody marked
//! falls back, like a missing or null one, to the time at which the agent collected the event.

// without columns there are helpers that only columns need
#![cfg_attr(not(feature = "columns"), allow(dead_code))]

#[cfg(feature = "columns")]
mod avro;
mod check;
mod checker;
#[cfg(feature = "columns")]
mod column;
#[cfg(feature = "columns")]
mod decoder;
#[cfg(feature = "columns")]
mod extra;
mod fault;
mod fields;
mod framing;
mod infer;
#[cfg(feature = "columns")]
mod ipc;
#[cfg(feature = "columns")]
mod judge;
mod keys;
mod kind;
#[cfg(feature = "columns")]
mod lent;
mod messages;
mod number;
mod plan;
#[cfg(feature = "columns")]
mod protobuf;
mod reasons;
#[cfg(feature = "columns")]
mod rules;
mod scan;
mod schema;
#[cfg(feature = "columns")]
mod schemaless;
#[cfg(feature = "columns")]
mod tally;
#[cfg(all(test, feature = "columns"))]
mod tests;
#[cfg(feature = "columns")]
mod text;
mod time;
#[cfg(feature = "columns")]
mod traceparents;
#[cfg(feature = "columns")]
mod translate;
#[cfg(feature = "columns")]
mod typed;
mod walk;
#[cfg(feature = "columns")]
mod writers;

pub use checker::Checker;
#[cfg(feature = "columns")]
pub use decoder::Decoder;
#[cfg(feature = "columns")]
pub use fields::RuleText;
pub use fields::{FieldKind, SchemaField};
pub use framing::writer_id;
pub use messages::{DecodeError, DecodeLimits, Decoded, SchemaError, encode_dead, split_body};
pub use reasons::is_event;
#[cfg(feature = "columns")]
pub use rules::check_rules;
#[cfg(feature = "columns")]
pub(crate) use schema::{MAX_BACKTRACKS, options as validation_options};
pub use schema::{MAX_SCHEMA_TEXT, StreamSchema};
#[cfg(feature = "columns")]
pub use traceparents::each_traceparent;
#[cfg(feature = "columns")]
pub use writers::{Writer, Writers};
