//! Whole batches: segments in, columns and dead letters out.

use std::collections::BTreeSet;

use tributary_shared::ids::Seq;
use tributary_shared::wire::rows::{Inflater, Rows};
use tributary_shared::wire::{DeadLetter, Reason, Segment, WireError};

use super::judge::{Judge, Sink};
use super::messages::{DecodeError, DecodeLimits, Decoded};
use super::schema::{Judged, StreamSchema};
use super::schemaless::SchemalessRows;
use super::translate::Translator;
use super::typed::TypedRows;
use super::writers::Writers;

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
    translator: Translator,
    inflater: Inflater,
    /// The inflated segments of the batch, one after the other.
    buffer: Vec<u8>,
}

impl Decoder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges the events of a batch and turns the valid ones into columns. Each segment comes with its bytes
    /// as they were sent ([`super::split_body`]); the first event has `first_seq`. Rows in wire format must be
    /// written with `schema` itself.
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
        self.decode_known(schema, &Writers::default(), first_seq, segments, limits)
    }

    /// The same, for rows in wire format that are written with `schema` or with any of `writers`. A row that
    /// names another schema is a dead letter.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_known(
        &mut self,
        schema: &StreamSchema,
        writers: &Writers,
        first_seq: Seq,
        segments: &[(&Segment, &[u8])],
        limits: &DecodeLimits,
    ) -> Result<Decoded, WireError> {
        let decoded = self.decode_all(schema, writers, first_seq, segments, limits);
        decoded.map(|(decoded, _)| decoded)
    }

    /// The same, for whoever can fetch what is missing.
    ///
    /// # Errors
    /// Also [`DecodeError::UnknownWriters`].
    pub fn decode_with(
        &mut self,
        schema: &StreamSchema,
        writers: &Writers,
        first_seq: Seq,
        segments: &[(&Segment, &[u8])],
        limits: &DecodeLimits,
    ) -> Result<Decoded, DecodeError> {
        let (decoded, unknown) = self.decode_all(schema, writers, first_seq, segments, limits)?;
        if unknown.is_empty() {
            Ok(decoded)
        } else {
            Err(DecodeError::UnknownWriters(unknown.into_iter().collect()))
        }
    }

    fn decode_all(
        &mut self,
        schema: &StreamSchema,
        writers: &Writers,
        first_seq: Seq,
        segments: &[(&Segment, &[u8])],
        limits: &DecodeLimits,
    ) -> Result<(Decoded, BTreeSet<u32>), WireError> {
        let inflated = declared_len(segments, limits)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.len() < inflated {
            buffer.resize(inflated, 0);
        }
        let result = self.inflate(segments, &mut buffer[..inflated]).and_then(|()| {
            let parts = Parts {
                segments,
                inflated: &buffer[..inflated],
                limit: limits.event_bytes,
            };
            let rows = self.decode_rows(schema, writers, first_seq, &parts);
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
        writers: &Writers,
        first_seq: Seq,
        parts: &Parts<'_>,
    ) -> Result<(Decoded, BTreeSet<u32>), WireError> {
        let Self { kept, translator, .. } = self;
        let sink = match &schema.judged {
            Some(judged) => Sink::Typed(judged, builders(kept, schema.unique, judged)),
            None => Sink::Schemaless(Box::new(SchemalessRows::new())),
        };
        let mut judge = Judge::new(schema, writers, translator, sink);
        let mut dead = Vec::new();
        let mut seq = first_seq;
        let mut rest = parts.inflated;
        for (segment, _) in parts.segments {
            let (bytes, tail) = rest.split_at(segment.raw_len as usize);
            rest = tail;
            let mut count = 0u32;
            for payload in Rows::new(bytes) {
                let payload = payload?;
                if let Err(reasons) = judge.row(payload, segment, parts.limit) {
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
        let (valid, finished, tally, unknown) = judge.finish()?;
        let dead = match finished.broken.is_empty() {
            true => dead,
            false => with_broken(dead, finished.broken, first_seq, parts),
        };
        let decoded = Decoded {
            columns: finished.columns,
            valid,
            dead,
            usage: tally.usage(),
            inflated: parts.inflated.len(),
        };
        Ok((decoded, unknown))
    }
}

/// A batch's segments, inflated.
struct Parts<'p> {
    segments: &'p [(&'p Segment, &'p [u8])],
    inflated: &'p [u8],
    /// Bytes of one event.
    limit: usize,
}

/// The dead letters, ascending, with those of the taken rows that break a rule.
#[cold]
fn with_broken(
    dead: Vec<DeadLetter>,
    broken: Vec<(usize, Vec<Reason>)>,
    first_seq: Seq,
    parts: &Parts<'_>,
) -> Vec<DeadLetter> {
    let (mut dead, mut broken) = (dead.into_iter().peekable(), broken.into_iter().peekable());
    let mut all = Vec::with_capacity(dead.len() + broken.len());
    let (mut seq, mut taken, mut rest) = (first_seq, 0, parts.inflated);
    for (segment, _) in parts.segments {
        let (bytes, tail) = rest.split_at(segment.raw_len as usize);
        rest = tail;
        for payload in Rows::new(bytes).flatten() {
            if let Some(letter) = dead.next_if(|letter| letter.seq == seq) {
                all.push(letter);
            } else {
                if let Some((_, reasons)) = broken.next_if(|(row, _)| *row == taken) {
                    all.push(DeadLetter {
                        seq,
                        reasons,
                        payload: payload.to_vec(),
                    });
                }
                taken += 1;
            }
            seq = seq.saturating_add(1);
        }
    }
    all
}

/// The builders for a schema, made when they are not at hand.
fn builders<'k>(kept: &'k mut Vec<(u64, TypedRows)>, unique: u64, judged: &Judged) -> &'k mut TypedRows {
    match kept.iter().position(|(kept, _)| *kept == unique) {
        Some(at) => kept[at..].rotate_left(1),
        None => {
            if kept.len() == MAX_KEPT {
                kept.remove(0);
            }
            kept.push((unique, TypedRows::new(&judged.plan)));
        }
    }
    let last = kept.len() - 1;
    &mut kept[last].1
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
