//! From arrays to the bytes that travel: one Arrow IPC stream with one record batch.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int32Array, RecordBatch, TimestampMillisecondArray};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use tributary_shared::wire::WireError;
use tributary_shared::wire::batch::{EVENT_TIME_COLUMN, EXTRA_COLUMN, JSON_TEXT_METADATA, SCHEMA_ID_COLUMN};

use super::text::TextColumn;

/// Whether the stream's buffers are LZ4-compressed. See `docs/adr/` for the measurement.
pub(super) const COMPRESSION: Option<CompressionType> = Some(CompressionType::LZ4_FRAME);

/// The columns of a batch, in order.
#[derive(Debug)]
pub(super) struct Columns {
    rows: usize,
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    /// Starts with the event times ([`tributary_shared::time::Millis`]), one a row.
    pub(super) fn new(event_times: Buffer) -> Self {
        let array =
            TimestampMillisecondArray::new(ScalarBuffer::from(event_times), None).with_timezone("UTC");
        let kind = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        Self {
            rows: array.len(),
            fields: vec![Field::new(EVENT_TIME_COLUMN, kind, false)],
            arrays: vec![Arc::new(array)],
        }
    }

    pub(super) fn push(&mut self, name: &str, array: ArrayRef, json_text: bool) {
        let mut field = Field::new(name, array.data_type().clone(), true);
        if json_text {
            field.set_metadata(HashMap::from([(
                JSON_TEXT_METADATA.to_owned(),
                "true".to_owned(),
            )]));
        }
        self.fields.push(field);
        self.arrays.push(array);
    }

    /// Adds the ids of the schemas that wrote the rows.
    pub(super) fn push_schema_ids(&mut self, ids: Int32Array) {
        self.push(SCHEMA_ID_COLUMN, Arc::new(ids), false);
    }

    /// Ends with `_extra`.
    ///
    /// # Errors
    /// [`WireError::Encode`] when arrow refuses the columns, which none of ours makes it do.
    pub(super) fn finish(
        mut self,
        extra: &mut TextColumn,
        metadata: HashMap<String, String>,
    ) -> Result<RecordBatch, WireError> {
        let extra = extra.finish(self.rows).map_err(encode_error)?;
        self.push(EXTRA_COLUMN, extra, true);
        let schema = Arc::new(Schema::new_with_metadata(self.fields, metadata));
        RecordBatch::try_new(schema, self.arrays).map_err(encode_error)
    }
}

/// Writes the stream, which will have about `capacity` bytes.
///
/// # Errors
/// [`WireError::Encode`] when arrow refuses the columns, which none of ours makes it do.
pub(super) fn write(batch: &RecordBatch, capacity: usize) -> Result<Vec<u8>, WireError> {
    let write = || -> Result<Vec<u8>, ArrowError> {
        let options = IpcWriteOptions::default().try_with_compression(COMPRESSION)?;
        let room = Vec::with_capacity(capacity);
        let mut writer = StreamWriter::try_new_with_options(room, batch.schema_ref(), options)?;
        writer.write(batch)?;
        writer.into_inner()
    };
    write().map_err(encode_error)
}

pub(super) fn encode_error(error: ArrowError) -> WireError {
    WireError::Encode {
        what: "columns",
        reason: error.to_string(),
    }
}
