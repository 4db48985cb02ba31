//! The rows of a batch, judged one by one, each by the schema that wrote it.

use std::collections::BTreeSet;

use arrow_array::Int32Array;
use tributary_shared::time::Millis;
use tributary_shared::wire::{Codec, Reason, SchemaRef, Segment, WireError};

use super::framing::{foreign_magic, is_framed, split};
use super::messages::DecodeLimits;
use super::reasons::{judge, reason};
use super::rules::RuleBook;
use super::schema::{Judged, Language, StreamSchema, text_of};
use super::schemaless::SchemalessRows;
use super::tally::Tally;
use super::translate::Translator;
use super::typed::{Finished, TypedRows};
use super::writers::{Writer, Writers};

/// Ids of one batch that may be asked for. Nobody writes one batch with more schemas, unless to do harm.
const MAX_UNKNOWN: usize = 64;

/// Where the rows of a batch go.
#[derive(Debug)]
pub(super) enum Sink<'s, 'a> {
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
pub(super) struct Judge<'s, 'a> {
    schema: &'s StreamSchema,
    writers: &'s Writers,
    translator: &'s mut Translator,
    sink: Sink<'s, 'a>,
    tally: Tally,
    /// Ids that are neither the schema's own nor among the writers.
    unknown: BTreeSet<u32>,
}

impl<'s, 'a> Judge<'s, 'a> {
    pub(super) fn new(
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
    pub(super) fn row(
        &mut self,
        payload: &'a [u8],
        segment: &Segment,
        limit: usize,
    ) -> Result<(), Vec<Reason>> {
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
    pub(super) fn finish(self) -> Result<(u32, Finished, Tally, BTreeSet<u32>), WireError> {
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
