//! Avro payloads. A row is read in one pass from the bytes that its writer's schema describes to the JSON text
//! that the stream's newest schema describes, which then goes the way of every other row into the columns.
//!
//! - `model` is what payloads need of a schema, as a table of types (`parse`).
//! - `resolve` lays writer and reader over each other, once for each pair: what the reader calls a field, what
//!   it widens, what it fills in, what it cannot take.
//! - `read` follows that plan through a row's bytes, within bounds of depth, size and time.
//! - `columns` says as JSON Schema what plain JSON objects of an Avro stream must be, and which column each
//!   field has. `logical` writes logical types.
//!
//! Written by hand instead of with a library's values: a foreign payload may declare an array of 2^60 nulls or
//! a list of a million levels, and must cost neither time nor stack; and what the programs weigh counts. The
//! `apache-avro` crate is the reference in the tests.

mod columns;
mod fit;
mod logical;
mod model;
mod parse;
mod read;
mod resolve;

pub(super) use columns::columns;
pub(super) use logical::write_base64;
pub(super) use model::AvroSchema;
pub(super) use read::{read, write_text};
pub(super) use resolve::Resolution;
