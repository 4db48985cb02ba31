//! Rows in a segment: each payload behind its length as LEB128. Opaque bytes, so any format fits, and
//! segments are concatenated without touching them.

use super::batch::{Codec, Segment};
use super::frame::WireError;

/// Appends one payload.
pub fn push_row(out: &mut Vec<u8>, payload: &[u8]) {
    let mut len = payload.len();
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(payload);
}

/// Iterates over the payloads of an inflated segment. Ends after the first error.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<&'a [u8], WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut len = 0usize;
        // a length fits five bytes: more is damage, not a bigger row
        for (at, &byte) in self.rest.iter().take(5).enumerate() {
            len |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                let body = &self.rest[at + 1..];
                if body.len() < len {
                    break;
                }
                let (row, rest) = body.split_at(len);
                self.rest = rest;
                return Some(Ok(row));
            }
        }
        self.rest = &[];
        Some(Err(WireError::Inconsistent(
            "a row's length runs past its segment".to_owned(),
        )))
    }
}

/// Below this size compression costs more than it saves.
const MIN_COMPRESS: usize = 256;
/// zstd level 1: the best ratio for its time on both of the bench's workloads (see `docs/adr/`).
const ZSTD_LEVEL: i32 = 1;

/// Compresses a segment's rows where that pays.
///
/// # Errors
/// When zstd fails to allocate.
pub fn compress(raw: &[u8]) -> std::io::Result<(Codec, Vec<u8>)> {
    if raw.len() >= MIN_COMPRESS {
        let packed = zstd::bulk::compress(raw, ZSTD_LEVEL)?;
        if packed.len() < raw.len() {
            return Ok((Codec::Zstd, packed));
        }
    }
    Ok((Codec::None, raw.to_vec()))
}

/// Inflates a segment's bytes, never beyond its declared length. [`Inflater`] is quicker for many.
///
/// # Errors
/// [`WireError::TooLarge`] when the declared length exceeds `limit`, [`WireError::Inconsistent`] when the
/// bytes inflate to another length than declared.
pub fn inflate(segment: &Segment, bytes: &[u8], limit: usize) -> Result<Vec<u8>, WireError> {
    let raw_len = segment.raw_len as usize;
    if raw_len > limit {
        return Err(WireError::TooLarge {
            what: "inflated segment",
            len: raw_len,
            limit,
        });
    }
    let mut raw = vec![0; raw_len];
    Inflater::default().inflate(segment, bytes, &mut raw)?;
    Ok(raw)
}

/// Inflates segment after segment, and keeps what zstd needs for it.
#[derive(Default)]
pub struct Inflater {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

impl Inflater {
    /// Inflates into `out`, which has the segment's declared length.
    ///
    /// # Errors
    /// [`WireError::Inconsistent`] when the bytes inflate to another length.
    pub fn inflate(&mut self, segment: &Segment, bytes: &[u8], out: &mut [u8]) -> Result<(), WireError> {
        let declared = out.len();
        let damaged =
            |error: std::io::Error| WireError::Inconsistent(format!("segment does not inflate: {error}"));
        let len = match segment.codec {
            Codec::None => {
                let len = bytes.len().min(declared);
                out[..len].copy_from_slice(&bytes[..len]);
                bytes.len()
            }
            Codec::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    None => self
                        .zstd
                        .insert(zstd::bulk::Decompressor::new().map_err(damaged)?),
                };
                zstd.decompress_to_buffer(bytes, out).map_err(damaged)?
            }
        };
        if len != declared {
            let message = format!("segment says {declared} bytes and inflates to {len}");
            return Err(WireError::Inconsistent(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(codec: Codec, len: usize, raw_len: usize) -> Segment {
        let (len, raw_len) = (len as u32, raw_len as u32);
        Segment {
            count: 1,
            collected_at: 0,
            spooled_at: 0,
            codec,
            len,
            raw_len,
            origin: None,
        }
    }

    #[test]
    fn rows_round_trip_through_compression() {
        let payloads: Vec<Vec<u8>> = [0usize, 1, 127, 128, 16_383, 16_384, 70_000]
            .iter()
            .map(|n| vec![b'x'; *n])
            .collect();
        let mut raw = Vec::new();
        payloads.iter().for_each(|p| push_row(&mut raw, p));
        let (codec, packed) = compress(&raw).expect("compress");
        assert_eq!(codec, Codec::Zstd);
        let back = inflate(&segment(codec, packed.len(), raw.len()), &packed, 1 << 20).expect("inflate");
        let rows: Vec<Vec<u8>> = Rows::new(&back).map(|r| r.expect("row").to_vec()).collect();
        assert_eq!(rows, payloads);
    }

    #[test]
    fn a_bomb_is_refused_by_its_declared_and_by_its_real_size() {
        let raw = vec![0u8; 1 << 20];
        let (codec, packed) = compress(&raw).expect("compress");
        let honest = segment(codec, packed.len(), raw.len());
        assert!(matches!(
            inflate(&honest, &packed, 1 << 16),
            Err(WireError::TooLarge { .. })
        ));
        let lying = segment(codec, packed.len(), 100);
        assert!(matches!(
            inflate(&lying, &packed, 1 << 16),
            Err(WireError::Inconsistent(_))
        ));
    }

    #[test]
    fn damaged_lengths_end_the_iteration_with_an_error() {
        for bad in [&[0x05, b'a'][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01], &[0x80]] {
            let rows: Vec<_> = Rows::new(bad).collect();
            assert_eq!(rows.len(), 1);
            assert!(rows[0].is_err());
        }
    }
}
