//! Whole batches: segments in, columns and dead letters out.

use tributary_shared::ids::Seq;
use tributary_shared::time::Millis;
use tributary_shared::wire::rows::{Inflater, Rows};
use tributary_shared::wire::{DeadLetter, Reason, Segment, WireError};

use super::messages::{DecodeLimits, Decoded};
use super::schema::{Judged, StreamSchema, text_of};
use super::schemaless::SchemalessRows;
use super::typed::TypedRows;

/// Schemas whose builders one decoder keeps: a thread serves few streams at a time, and a builder keeps
/// about as much memory as its last batch had columns.
const MAX_KEPT: usize = 8;
/// The largest buffer that is kept between batches, in bytes: usual batches fit, rare huge ones are let go.
const MAX_KEPT_BUFFER: usize = 2 << 20;
/// The largest inflated batch whatever the caller allows: offsets of text have 31 bits.
const MAX_INFLATED: usize = 1 << 30;

/// Decodes one batch after the other. It only remembers what makes the next batch quicker (the order of keys,
/// which columns repeat their values), so any decoder may decode any batch; one a thread is best.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Builders by [`StreamSchema::unique`], the most recently used last.
    kept: Vec<(u64, TypedRows)>,
    inflater: Inflater,
    /// The inflated segments of the batch, one after the other.
    buffer: Vec<u8>,
}

/// Where the rows of a batch go.
#[derive(Debug)]
enum Sink<'s, 'a> {
    Typed(&'s Judged, &'s mut TypedRows),
    Schemaless(Box<SchemalessRows<'a>>),
}

impl<'a> Sink<'_, 'a> {
    #[inline]
    fn add(&mut self, text: &'a str, collected_at: Millis) -> Result<(), Vec<Reason>> {
        match self {
            Self::Typed(judged, rows) => rows.add(judged, text, collected_at),
            Self::Schemaless(rows) => rows.add(text, collected_at),
        }
    }

    fn finish(self) -> Result<(u32, Vec<u8>), WireError> {
        match self {
            Self::Typed(judged, rows) => Ok((rows.rows() as u32, rows.finish(&judged.plan)?)),
            Self::Schemaless(rows) => Ok((rows.rows() as u32, rows.finish()?)),
        }
    }
}

impl Decoder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges the events of a batch and turns the valid ones into columns. Each segment comes with its bytes
    /// as they were sent ([`super::split_body`]); the first event has `first_seq`.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] when the batch exceeds `limits`, [`WireError::Inconsistent`] when it is empty, or
    /// a segment does not hold what it declares. A bad event is never an error: it is a dead letter.
    pub fn decode(
        &mut self,
        schema: &StreamSchema,
        first_seq: Seq,
        segments: &[(&Segment, &[u8])],
        limits: &DecodeLimits,
    ) -> Result<Decoded, WireError> {
        let inflated = declared_len(segments, limits)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.len() < inflated {
            buffer.resize(inflated, 0);
        }
        let result = self.inflate(segments, &mut buffer[..inflated]).and_then(|()| {
            let rows = self.decode_rows(schema, first_seq, segments, &buffer[..inflated], limits);
            if rows.is_err() {
                // builders that were left in the middle of a batch hold cells of it
                self.kept.retain(|(unique, _)| *unique != schema.unique);
            }
            rows
        });
        if buffer.len() <= MAX_KEPT_BUFFER {
            self.buffer = buffer;
        }
        result
    }

    /// Inflates the segments into `out`, which has their length.
    fn inflate(&mut self, segments: &[(&Segment, &[u8])], out: &mut [u8]) -> Result<(), WireError> {
        let mut rest = out;
        for (segment, bytes) in segments {
            let (part, tail) = rest.split_at_mut(segment.raw_len as usize);
            self.inflater.inflate(segment, bytes, part)?;
            rest = tail;
        }
        Ok(())
    }

    fn decode_rows(
        &mut self,
        schema: &StreamSchema,
        first_seq: Seq,
        segments: &[(&Segment, &[u8])],
        inflated: &[u8],
        limits: &DecodeLimits,
    ) -> Result<Decoded, WireError> {
        let mut sink = match &schema.judged {
            Some(judged) => Sink::Typed(judged, self.builders(schema.unique, judged)),
            None => Sink::Schemaless(Box::new(SchemalessRows::new())),
        };
        let mut dead = Vec::new();
        let mut seq = first_seq;
        let mut rest = inflated;
        for (segment, _) in segments {
            let (bytes, tail) = rest.split_at(segment.raw_len as usize);
            rest = tail;
            let mut count = 0u32;
            for payload in Rows::new(bytes) {
                let payload = payload?;
                let taken = text_of(payload, limits.event_bytes)
                    .map_err(|reason| vec![reason])
                    .and_then(|text| sink.add(text, segment.collected_at));
                if let Err(reasons) = taken {
                    dead.push(DeadLetter {
                        seq,
                        reasons,
                        payload: payload.to_vec(),
                    });
                }
                count = count.saturating_add(1);
                seq = seq.saturating_add(1);
                if count > segment.count {
                    break;
                }
            }
            if count != segment.count {
                let message = format!(
                    "a segment declares {} events and holds {}",
                    segment.count,
                    counted(count, segment)
                );
                return Err(WireError::Inconsistent(message));
            }
        }
        let (valid, columns) = sink.finish()?;
        Ok(Decoded {
            columns,
            valid,
            dead,
            inflated: inflated.len(),
        })
    }

    /// The builders for a schema, made when they are not at hand.
    fn builders(&mut self, unique: u64, judged: &Judged) -> &mut TypedRows {
        match self.kept.iter().position(|(kept, _)| *kept == unique) {
            Some(at) => self.kept[at..].rotate_left(1),
            None => {
                if self.kept.len() == MAX_KEPT {
                    self.kept.remove(0);
                }
                self.kept.push((unique, TypedRows::new(&judged.plan)));
            }
        }
        let last = self.kept.len() - 1;
        &mut self.kept[last].1
    }
}

fn counted(count: u32, segment: &Segment) -> String {
    if count > segment.count {
        "more".to_owned()
    } else {
        count.to_string()
    }
}

/// Checks the declared sizes of a batch; returns its length once inflated.
fn declared_len(segments: &[(&Segment, &[u8])], limits: &DecodeLimits) -> Result<usize, WireError> {
    let limit = limits.inflated.min(MAX_INFLATED);
    let (mut len, mut rows) = (0usize, 0u64);
    for (segment, bytes) in segments {
        if segment.len as usize != bytes.len() {
            let message = format!("a segment declares {} bytes and has {}", segment.len, bytes.len());
            return Err(WireError::Inconsistent(message));
        }
        if segment.count == 0 {
            return Err(WireError::Inconsistent("a segment without events".to_owned()));
        }
        len = len.saturating_add(segment.raw_len as usize);
        rows += u64::from(segment.count);
    }
    if len > limit {
        return Err(WireError::TooLarge {
            what: "inflated batch",
            len,
            limit,
        });
    }
    if rows > u64::from(limits.rows) {
        let (len, limit) = (usize::try_from(rows).unwrap_or(usize::MAX), limits.rows as usize);
        return Err(WireError::TooLarge {
            what: "batch's events",
            len,
            limit,
        });
    }
    if rows == 0 {
        return Err(WireError::Inconsistent("a batch without events".to_owned()));
    }
    Ok(len)
}
