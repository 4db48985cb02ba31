//! Bounds what decompressing an Arrow IPC stream may allocate: every compressed buffer declares its inflated
//! size, and Arrow allocates that much before it looks further.

use arrow_ipc::{MessageHeader, RecordBatch as IpcRecordBatch, root_as_message};
use tributary_shared::wire::{MAX_INFLATED_BATCH, WireError};

/// Offsets, validity and typed values can take a little more room than the rows they were made of.
const LIMIT: usize = 4 * MAX_INFLATED_BATCH;
/// Marks the start of an encapsulated message (Arrow columnar format, "IPC streaming format").
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Instead of an inflated size: the buffer is stored as it is.
const STORED: i64 = -1;

fn broken(message: &str) -> WireError {
    WireError::Inconsistent(format!("columns: {message}"))
}

/// Adds up the declared sizes of all buffers of a stream.
///
/// # Errors
/// [`WireError::TooLarge`] when they exceed the limit, [`WireError::Inconsistent`] when the framing is
/// broken.
pub fn check_inflated_size(stream: &[u8]) -> Result<(), WireError> {
    let mut rest = stream;
    let mut total = 0usize;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(&CONTINUATION) {
            rest = after;
        }
        let (len, after) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| broken("cut off in a length"))?;
        let len = u32::from_le_bytes(*len) as usize;
        if len == 0 {
            break;
        }
        let (message, after) = after
            .split_at_checked(len)
            .ok_or_else(|| broken("cut off in a message"))?;
        let message = root_as_message(message).map_err(|error| broken(&error.to_string()))?;
        let body_len = usize::try_from(message.bodyLength()).map_err(|_| broken("negative body length"))?;
        let (body, after) = after
            .split_at_checked(body_len)
            .ok_or_else(|| broken("cut off in a body"))?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|d| d.data()),
            _ => None,
        };
        if let Some(batch) = batch {
            total = total.saturating_add(inflated_size(&batch, body)?);
        }
        if total > LIMIT {
            return Err(WireError::TooLarge {
                what: "inflated columns",
                len: total,
                limit: LIMIT,
            });
        }
        rest = after;
    }
    Ok(())
}

fn inflated_size(batch: &IpcRecordBatch<'_>, body: &[u8]) -> Result<usize, WireError> {
    let compressed = batch.compression().is_some();
    let mut total = 0usize;
    for buffer in batch.buffers().iter().flatten() {
        let span = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok());
        let bytes = span
            .and_then(|(offset, len)| body.get(offset..offset.checked_add(len)?))
            .ok_or_else(|| broken("a buffer lies outside its body"))?;
        let size = match bytes.first_chunk::<8>() {
            Some(declared) if compressed => match i64::from_le_bytes(*declared) {
                STORED => bytes.len(),
                declared => usize::try_from(declared).map_err(|_| broken("negative buffer size"))?,
            },
            _ => bytes.len(),
        };
        total = total.saturating_add(size);
    }
    Ok(total)
}
