//! Whole batches: segments in, columns and dead letters out.

use std::collections::BTreeSet;

use arrow_array::Int32Array;
use tributary_shared::ids::Seq;
use tributary_shared::time::Millis;
use tributary_shared::wire::rows::{Inflater, Rows};
use tributary_shared::wire::{Codec, DeadLetter, Reason, SchemaRef, Segment, WireError};

use super::framing::{foreign_magic, is_framed, split};
use super::messages::{DecodeError, DecodeLimits, Decoded};
use super::reasons::{judge, reason};
use super::rules::RuleBook;
use super::schema::{Judged, Language, StreamSchema, text_of};
use super::schemaless::SchemalessRows;
use super::tally::Tally;
use super::translate::Translator;
use super::typed::{Finished, TypedRows};
use super::writers::{Writer, Writers};

/// Schemas whose builders one decoder keeps: a thread serves few streams at a time, and a builder keeps
/// about as much memory as its last batch had columns.
const MAX_KEPT: usize = 8;
/// The largest buffer that is kept between batches, in bytes: usual batches fit, rare huge ones are let go.
const MAX_KEPT_BUFFER: usize = 2 << 20;
/// The largest inflated batch whatever the caller allows: offsets of text have 31 bits.
const MAX_INFLATED: usize = 1 << 30;

/// Ids of one batch that may be asked for. Nobody writes one batch with more schemas, unless to do harm.
const MAX_UNKNOWN: usize = 64;

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

    /// The columns; rows that break a rule are told apart.
    fn finish(self, ids: Option<Int32Array>, rules: &RuleBook<'_>) -> Result<(u32, Finished), WireError> {
        match self {
            Self::Typed(judged, rows) => {
                let count = rows.rows();
                let finished = rows.finish(&judged.plan, ids, rules)?;
                Ok(((count - finished.broken.len()) as u32, finished))
            }
            Self::Schemaless(rows) => {
                let count = rows.rows() as u32;
                let columns = rows.finish()?;
                let broken = Vec::new();
                Ok((count, Finished { columns, broken }))
            }
        }
    }
}

/// Judges the rows of a batch one by one.
struct Judge<'s, 'a> {
    schema: &'s StreamSchema,
    writers: &'s Writers,
    translator: &'s mut Translator,
    sink: Sink<'s, 'a>,
    tally: Tally,
    /// Ids that are neither the schema's own nor among the writers.
    unknown: BTreeSet<u32>,
}

impl<'s, 'a> Judge<'s, 'a> {
    fn new(
        schema: &'s StreamSchema,
        writers: &'s Writers,
        translator: &'s mut Translator,
        sink: Sink<'s, 'a>,
    ) -> Self {
        translator.start_batch();
        Self {
            schema,
            writers,
            translator,
            sink,
            tally: Tally::default(),
            unknown: BTreeSet::new(),
        }
    }

    /// # Errors
    /// Why the row is a dead letter. Never for a row whose writer is unknown: then the batch is decoded again.
    #[inline]
    fn row(&mut self, payload: &'a [u8], segment: &Segment, limit: usize) -> Result<(), Vec<Reason>> {
        let mut writer = self.schema.schema_ref();
        let taken = if is_framed(payload) && payload.len() <= limit {
            self.framed(payload, segment.collected_at, &mut writer)
        } else {
            let text = text_of(payload, limit).map_err(|reason| vec![reason]);
            let taken = text.and_then(|text| self.plain(text, segment.collected_at));
            taken.map_err(|reasons| foreign_magic(payload).map_or(reasons, |reason| vec![reason]))
        };
        self.tally.add(writer, taken.is_ok());
        taken
    }

    /// A JSON object as it is.
    #[inline]
    fn plain(&mut self, text: &'a str, collected_at: Millis) -> Result<(), Vec<Reason>> {
        if let (Language::Protobuf(schema), Sink::Typed(judged, rows)) =
            (&self.schema.language, &mut self.sink)
        {
            let text = self.translator.proto_json(schema, text)?;
            return rows.add_judged(judged, text, collected_at);
        }
        self.sink.add(text, collected_at)
    }

    /// The columns of the rows that were taken, and what is known of their writers.
    fn finish(self) -> Result<(u32, Finished, Tally, BTreeSet<u32>), WireError> {
        let Self {
            schema,
            writers,
            sink,
            mut tally,
            unknown,
            ..
        } = self;
        let mut rules = RuleBook::default();
        for (writer, rows) in tally.runs() {
            let of_other = writer
                .filter(|writer| Some(*writer) != schema.schema_ref())
                .and_then(|writer| match writers.get(writer.id) {
                    Some(Writer::Known(writer)) => Some(writer.rules.as_slice()),
                    _ => None,
                });
            rules.push(of_other.unwrap_or(&schema.rules), *rows as usize);
        }
        let (valid, finished) = sink.finish(tally.ids(), &rules)?;
        tally.reject(finished.broken.iter().map(|(row, _)| *row));
        Ok((valid, finished, tally, unknown))
    }

    /// A row in wire format.
    fn framed(
        &mut self,
        payload: &[u8],
        collected_at: Millis,
        writer: &mut Option<SchemaRef>,
    ) -> Result<(), Vec<Reason>> {
        let (id, body) = split(payload).map_err(|reason| vec![reason])?;
        let own = self.schema.schema_ref().is_some_and(|own| own.id == id);
        let schema: &StreamSchema = match self.writers.get(id) {
            _ if own => self.schema,
            Some(Writer::Known(schema)) => schema,
            Some(Writer::Refused(reason)) => {
                *writer = None;
                return Err(vec![reason.clone()]);
            }
            None => {
                if self.unknown.len() < MAX_UNKNOWN {
                    self.unknown.insert(id);
                }
                let message = format!(
                    "the schema {id} is not at hand; more than {MAX_UNKNOWN} schemas are not asked for"
                );
                return Err(vec![reason(String::new(), "unknown_schema", message)]);
            }
        };
        *writer = schema.schema_ref();
        let Sink::Typed(judged, rows) = &mut self.sink else {
            let message =
                format!("the stream has no schema, so none of its rows can be written with schema {id}");
            return Err(vec![reason(String::new(), "unknown_schema", message)]);
        };
        match &schema.language {
            Language::Json => {
                let text = text_of(body, body.len()).map_err(|reason| vec![reason])?;
                match &schema.judged {
                    Some(writer) if !own => {
                        judge(Some(&writer.validator), text)?;
                        rows.add_judged(judged, text, collected_at)
                    }
                    _ => rows.add(judged, text, collected_at),
                }
            }
            Language::Avro(avro, _) => {
                let text = self.translator.avro((schema, avro), self.schema, body);
                rows.add_judged(judged, text.map_err(|reason| vec![reason])?, collected_at)
            }
            Language::Protobuf(writer) => {
                let text = self.translator.protobuf(writer, self.schema, body);
                rows.add_judged(judged, text.map_err(|reason| vec![reason])?, collected_at)
            }
        }
    }
}

/// Judges one payload.
///
/// # Errors
/// The reasons why it would become a dead letter.
pub(super) fn check(schema: &StreamSchema, payload: &[u8], writers: &Writers) -> Result<(), Vec<Reason>> {
    let mut translator = Translator::default();
    let mut built;
    let sink = match &schema.judged {
        Some(judged) => {
            built = TypedRows::new(&judged.plan);
            Sink::Typed(judged, &mut built)
        }
        None => Sink::Schemaless(Box::new(SchemalessRows::new())),
    };
    let segment = Segment {
        count: 1,
        collected_at: 0,
        spooled_at: 0,
        codec: Codec::None,
        len: 0,
        raw_len: 0,
        origin: None,
    };
    let limit = DecodeLimits::default().event_bytes;
    let mut judge = Judge::new(schema, writers, &mut translator, sink);
    judge.row(payload, &segment, limit)?;
    // one row that the columns hold: only its rules are left
    let broken = judge.finish().map(|(_, finished, ..)| finished.broken);
    match broken.unwrap_or_default().into_iter().next() {
        Some((_, reasons)) => Err(reasons),
        None => Ok(()),
    }
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
