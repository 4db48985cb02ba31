//! Length-prefixed MessagePack frames. Sizes are checked before anything is allocated.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// A frame that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("{what} of {len} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        what: &'static str,
        len: usize,
        limit: usize,
    },
    #[error("cannot decode {what}: {reason}")]
    Decode { what: &'static str, reason: String },
    #[error("cannot encode {what}: {reason}")]
    Encode { what: &'static str, reason: String },
    #[error("the batch's checksum does not match: header says {expected:08x}, body has {actual:08x}")]
    Checksum { expected: u32, actual: u32 },
    #[error("the batch does not add up: {0}")]
    Inconsistent(String),
}

/// Bytes of the length prefix.
pub const PREFIX: usize = 4;

/// Encodes one message as a frame.
///
/// # Errors
/// [`WireError::TooLarge`] beyond `limit`; [`WireError::Encode`] when MessagePack refuses the value.
pub fn encode<T: Serialize>(what: &'static str, message: &T, limit: usize) -> Result<Bytes, WireError> {
    let mut out = BytesMut::zeroed(PREFIX).writer();
    rmp_serde::encode::write_named(&mut out, message).map_err(|error| WireError::Encode {
        what,
        reason: error.to_string(),
    })?;
    let mut frame = out.into_inner();
    let len = frame.len() - PREFIX;
    if len > limit {
        return Err(WireError::TooLarge { what, len, limit });
    }
    let prefix = u32::try_from(len).map_err(|_| WireError::TooLarge { what, len, limit })?;
    (&mut frame[..PREFIX]).put_u32(prefix);
    Ok(frame.freeze())
}

/// Decodes a frame's payload (without the prefix).
///
/// # Errors
/// [`WireError::Decode`] when the bytes are not the message.
pub fn decode<T: DeserializeOwned>(what: &'static str, payload: &[u8]) -> Result<T, WireError> {
    rmp_serde::from_slice(payload).map_err(|error| WireError::Decode {
        what,
        reason: error.to_string(),
    })
}

/// Takes frames out of a growing buffer: the reading half of a control stream.
#[derive(Debug)]
pub struct FrameReader {
    buffer: BytesMut,
    limit: usize,
}

impl FrameReader {
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
        }
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole payload, or `None` until more bytes came.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] as soon as the prefix announces more than the limit.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, WireError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > self.limit {
            return Err(WireError::TooLarge {
                what: "frame",
                len,
                limit: self.limit,
            });
        }
        if self.buffer.len() < PREFIX + len {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}

/// CRC-32 (IEEE), as headers carry it.
#[must_use]
pub fn checksum(body: &[u8]) -> u32 {
    crc32fast::hash(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Ack, ToAgent};

    #[test]
    fn frames_survive_any_split_of_the_bytes() {
        let messages: Vec<ToAgent> = (0..5)
            .map(|n| {
                ToAgent::Ack(Ack {
                    lane: n,
                    mark: u64::from(n) << 33,
                    writer: 0,
                })
            })
            .collect();
        let bytes: Vec<u8> = messages
            .iter()
            .flat_map(|m| encode("ack", m, 100).expect("small").to_vec())
            .collect();
        for step in 1..bytes.len() {
            let mut reader = FrameReader::new(100);
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                reader.extend(chunk);
                while let Some(frame) = reader.next_frame().expect("valid") {
                    seen.push(decode::<ToAgent>("ack", &frame).expect("valid"));
                }
            }
            assert_eq!(seen, messages);
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_any_allocation() {
        let mut reader = FrameReader::new(1024);
        reader.extend(&u32::MAX.to_be_bytes());
        assert!(matches!(reader.next_frame(), Err(WireError::TooLarge { .. })));
    }

    #[test]
    fn garbage_is_an_error_not_a_panic() {
        assert!(decode::<ToAgent>("message", &[0xc1, 0xff, 0x00]).is_err());
        assert!(decode::<ToAgent>("message", &[]).is_err());
    }
}
