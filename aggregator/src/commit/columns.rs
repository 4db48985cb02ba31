//! The Arrow IPC stream of one batch: decoding with every check that a foreign body needs, and cutting off
//! rows that are committed already.

use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use bytes::Bytes;
use tributary_shared::wire::WireError;
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;

use super::inflated::check_inflated_size;

fn broken(message: impl Into<String>) -> WireError {
    WireError::Inconsistent(message.into())
}

fn arrow(error: &ArrowError) -> WireError {
    WireError::Decode {
        what: "columns",
        reason: error.to_string(),
    }
}

/// Decodes the columns of a batch with `valid` valid rows; `None` when there are none.
///
/// # Errors
/// [`WireError`] unless the bytes are one Arrow IPC stream of one record batch of exactly `valid` rows whose
/// first column is the event time.
pub fn decode_valid(columns: &Bytes, valid: u32) -> Result<Option<RecordBatch>, WireError> {
    if columns.is_empty() {
        return if valid == 0 {
            Ok(None)
        } else {
            Err(broken(format!("{valid} valid rows, but no columns")))
        };
    }
    check_inflated_size(columns)?;
    // Arrow's own validation panics on some bytes, instead of refusing them: buffers of a length that is no multiple
    // of their type's. Nothing outlives the call that a panic could leave half done.
    let records = std::panic::catch_unwind(|| decode_stream(columns))
        .unwrap_or_else(|_| Err(broken("the columns broke the decoder")))?;
    if records.num_rows() != valid as usize {
        let rows = records.num_rows();
        return Err(broken(format!(
            "the header counts {valid} valid rows, the columns hold {rows}"
        )));
    }
    check_event_time(&records)?;
    Ok((valid > 0).then_some(records))
}

fn decode_stream(columns: &Bytes) -> Result<RecordBatch, WireError> {
    let mut decoder = StreamDecoder::new();
    // shares the body's memory: what is not compressed is not copied
    let mut rest = Buffer::from(columns.clone());
    let mut found = None;
    while !rest.is_empty() {
        if let Some(records) = decoder.decode(&mut rest).map_err(|e| arrow(&e))?
            && found.replace(records).is_some()
        {
            return Err(broken("more than one record batch in the columns"));
        }
    }
    decoder.finish().map_err(|e| arrow(&e))?;
    found.ok_or_else(|| broken("no record batch in the columns"))
}

fn check_event_time(records: &RecordBatch) -> Result<(), WireError> {
    let schema = records.schema_ref();
    let expected = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    match schema.fields().first() {
        Some(field) if field.name() == EVENT_TIME_COLUMN && *field.data_type() == expected => {}
        _ => {
            return Err(broken(format!(
                "the first column is not {EVENT_TIME_COLUMN} in milliseconds UTC"
            )));
        }
    }
    match records.column(0).null_count() {
        0 => Ok(()),
        n => Err(broken(format!("{n} rows have no event time"))),
    }
}

/// Encodes a record batch as the gateway does: one stream, LZ4 buffers.
///
/// # Errors
/// [`WireError::Encode`] when Arrow refuses.
pub fn encode(records: &RecordBatch) -> Result<Bytes, WireError> {
    let failed = |error: ArrowError| WireError::Encode {
        what: "columns",
        reason: error.to_string(),
    };
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .map_err(failed)?;
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), records.schema_ref(), options).map_err(failed)?;
    writer.write(records).map_err(failed)?;
    writer.into_inner().map(Bytes::from).map_err(failed)
}
