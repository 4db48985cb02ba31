//! Which message of its file a row is: a list of positions, from the file's messages inwards, as zigzag
//! variable-length integers behind their count; one zero stands for the first message.

use prost_reflect::{FileDescriptor, MessageDescriptor};
use tributary_shared::wire::Reason;

use crate::decode::framing::WIRE_FORMAT;
use crate::decode::reasons::reason;

/// Messages within messages; no file nests them deeper.
const MAX_DEPTH: i64 = 64;

fn refuse<T>(message: impl Into<String>) -> Result<T, Reason> {
    Err(reason(String::new(), WIRE_FORMAT, message))
}

/// The message's descriptor, and the bytes behind the indexes.
///
/// # Errors
/// When the indexes are cut off, or lead nowhere.
pub(super) fn message<'b>(
    file: &FileDescriptor,
    body: &'b [u8],
) -> Result<(MessageDescriptor, &'b [u8]), Reason> {
    let (count, mut rest) = number(body)?;
    if count == 0 {
        return Ok((find(file.messages(), 0)?, rest));
    }
    if !(1..=MAX_DEPTH).contains(&count) {
        return refuse(format!("{count} message indexes; a message has 1 to {MAX_DEPTH}"));
    }
    let mut found: Option<MessageDescriptor> = None;
    for _ in 0..count {
        let (index, behind) = number(rest)?;
        rest = behind;
        found = Some(match found {
            None => find(file.messages(), index)?,
            Some(outer) => find(outer.child_messages(), index)?,
        });
    }
    match found {
        Some(found) => Ok((found, rest)),
        None => refuse("no message index"),
    }
}

fn find(
    mut messages: impl Iterator<Item = MessageDescriptor>,
    index: i64,
) -> Result<MessageDescriptor, Reason> {
    let found = usize::try_from(index).ok().and_then(|index| messages.nth(index));
    found.map_or_else(
        || refuse(format!("the schema has no message at index {index}")),
        Ok,
    )
}

fn number(bytes: &[u8]) -> Result<(i64, &[u8]), Reason> {
    let mut value = 0u64;
    // an index fits five bytes
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(((value >> 1) as i64 ^ -((value & 1) as i64), &bytes[at + 1..]));
        }
    }
    refuse("the payload ends within its message indexes, or they are no numbers")
}
