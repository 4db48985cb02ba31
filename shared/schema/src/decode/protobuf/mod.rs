//! Protobuf payloads. A row is decoded by its writer's descriptors and written as JSON text by the field names
//! of the stream's newest schema, found by their numbers; that text goes the way of every other row.
//!
//! - `columns` says which column each field of the newest schema's first message has, and which are marked.
//! - `indexes` reads which message of the writer's file a row is.
//! - `write` turns a decoded message into JSON text, well-known types into what they mean.
//! - `json` reads plain JSON objects by the proto3 JSON mapping.

mod columns;
mod indexes;
mod json;
mod write;

use prost_reflect::{DynamicMessage, FileDescriptor, MessageDescriptor};
use tributary_shared::wire::Reason;

use super::framing::WIRE_FORMAT;
use super::kind::Kind;
use super::reasons::reason;

pub(super) use columns::{ColumnPlan, columns};
pub(super) use json::read_json;
use write::Writer;

/// A `.proto` file whose first message is what a stream's rows become columns by.
#[derive(Debug)]
pub(super) struct ProtobufSchema {
    file: FileDescriptor,
    root: MessageDescriptor,
    /// The column of each field of `root`.
    kinds: Vec<(String, Kind)>,
}

impl ProtobufSchema {
    /// `None` for a file without messages.
    pub(super) fn new(file: FileDescriptor) -> Option<(Self, ColumnPlan)> {
        let root = file.messages().next()?;
        let plan = columns(&root);
        let schema = Self {
            root,
            kinds: plan.kinds.clone(),
            file,
        };
        Some((schema, plan))
    }
}

/// Appends the JSON text of a row in wire format to `out`; `reader` is the stream's newest schema, when it is a
/// Protobuf one.
///
/// # Errors
/// Why the bytes are no such row.
pub(super) fn read(
    writer: &ProtobufSchema,
    reader: Option<&ProtobufSchema>,
    body: &[u8],
    out: &mut String,
) -> Result<(), Reason> {
    let (descriptor, body) = indexes::message(&writer.file, body)?;
    let message = DynamicMessage::decode(descriptor, body).map_err(|error| {
        let message = format!("the bytes are no such message: {error}");
        reason(String::new(), WIRE_FORMAT, message)
    })?;
    write_row(&message, reader, out)
}

/// Writes a message by the names and kinds of the reader's columns.
fn write_row(
    message: &DynamicMessage,
    reader: Option<&ProtobufSchema>,
    out: &mut String,
) -> Result<(), Reason> {
    Writer::new(out)
        .row(
            message,
            reader.map(|reader| (&reader.root, reader.kinds.as_slice())),
        )
        .map_err(|bad| bad.into_reason())
}
