//! The wire format of Confluent's serializers: a magic byte, the schema's id, and the body.
//!
//! ```text
//! ┌──────┬─────────────────┬───────────────────────────────────┬──────┐
//! │ 0x00 │ schema id u32 BE│ message indexes (PROTOBUF only)   │ body │
//! └──────┴─────────────────┴───────────────────────────────────┴──────┘
//! ```
//!
//! No JSON object begins with 0x00, so both may share a stream.

use tributary_shared::wire::Reason;

use super::reasons::reason;

/// What a payload in wire format begins with.
const MAGIC: u8 = 0;
/// The rule of a payload whose frame is broken.
pub(super) const WIRE_FORMAT: &str = "wire_format";

/// Whether the payload says that it is in wire format.
#[inline]
pub(super) fn is_framed(payload: &[u8]) -> bool {
    payload.first() == Some(&MAGIC)
}

/// The id of the schema that a payload in wire format names.
#[must_use]
pub fn writer_id(payload: &[u8]) -> Option<u32> {
    if is_framed(payload) {
        split(payload).ok().map(|(id, _)| id)
    } else {
        None
    }
}

/// The id of the writer's schema, and what follows it.
///
/// # Errors
/// When the frame is cut off.
pub(super) fn split(payload: &[u8]) -> Result<(u32, &[u8]), Reason> {
    match payload.split_first_chunk::<5>() {
        Some(([_, id @ ..], body)) => Ok((u32::from_be_bytes(*id), body)),
        None => {
            let message = format!(
                "the payload has {} bytes; a magic byte and a schema id have five",
                payload.len()
            );
            Err(reason(String::new(), WIRE_FORMAT, message))
        }
    }
}

/// The reason for a payload that begins like no JSON text, and with another magic byte than ours.
pub(super) fn foreign_magic(payload: &[u8]) -> Option<Reason> {
    let first = *payload.first()?;
    let foreign = first < 0x20 && !matches!(first, b'\t' | b'\n' | b'\r');
    foreign.then(|| {
        let message =
            format!("the payload begins with 0x{first:02x}: send a JSON object, or 0x00 and a schema id");
        reason(String::new(), WIRE_FORMAT, message)
    })
}
