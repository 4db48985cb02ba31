//! What becomes of a chunk of letters: fixed, judged, and put into columns, a lane each. No disk, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tributary_schema::decode::{DecodeLimits, Decoder, StreamSchema, Writer, Writers};
use tributary_shared::ids::LaneNo;
use tributary_shared::wire::rows::push_row;
use tributary_shared::wire::{Codec, Reason, Segment, WireError};

use super::fix::{FixError, Fixer};
use super::messages::{MAX_SAMPLES, ReplayReport, Sample, StillInvalid, lineage};
use crate::commit::{Act, LetterState, LetterToReplay, ReplayRequest};

/// Payload bytes of one chunk once fixed; a single event more at most. Below the decoder's limit of a batch.
pub(super) const CHUNK_BYTES: usize = 4 << 20;
/// The rule of a reason that comes from a fix.
const FIX_RULE: &str = "fix";

/// The open letters of one lane, as the decoder takes them.
#[derive(Debug, Default)]
struct LaneRows {
    letters: Vec<LetterToReplay>,
    segments: Vec<Segment>,
    /// Each segment's bytes, one after the other.
    bytes: Vec<u8>,
    /// The schemas that letters in wire format name.
    writers: Writers,
}

/// What a letter is judged by.
#[derive(Debug)]
pub(super) struct JudgedBy {
    pub schema: Arc<StreamSchema>,
    /// What is known of the schema that its payload names, when it is in wire format.
    pub writer: Option<(u32, Writer)>,
}

impl LaneRows {
    fn push(&mut self, letter: LetterToReplay, payload: &[u8]) {
        let begin = self.bytes.len();
        push_row(&mut self.bytes, payload);
        // a payload is a megabyte at most
        let len = (self.bytes.len() - begin) as u32;
        self.segments.push(Segment {
            count: 1,
            collected_at: letter.collected_at,
            spooled_at: letter.collected_at,
            codec: Codec::None,
            len,
            raw_len: len,
            origin: None,
        });
        self.letters.push(letter);
    }
}

/// What one chunk gives.
#[derive(Debug)]
pub(super) struct Judged {
    /// Letters that are valid now, a lane each.
    pub requests: Vec<ReplayRequest>,
    /// How many of the letters were judged: the others did not fit, because their fixes made them large.
    pub taken: usize,
}

/// What judging needs, kept from chunk to chunk.
#[derive(Debug)]
pub(super) struct Judge {
    pub decoder: Decoder,
    pub fixer: Option<Fixer>,
    pub act: Act,
    pub dry_run: bool,
}

impl Judge {
    /// Judges letters in the order that they come, and counts in `report` those that do not become events.
    ///
    /// # Errors
    /// Those of `schema_of`, [`FixError::TooSlow`], or when columns cannot be made. A bad letter is no error.
    pub fn chunk<E: From<FixError> + From<WireError>>(
        &mut self,
        letters: Vec<LetterToReplay>,
        mut schema_of: impl FnMut(&LetterToReplay) -> Result<JudgedBy, E>,
        report: &mut ReplayReport,
    ) -> Result<Judged, E> {
        let mut lanes: BTreeMap<LaneNo, (Arc<StreamSchema>, LaneRows)> = BTreeMap::new();
        let (mut taken, mut bytes) = (0, 0);
        for letter in letters {
            if bytes >= CHUNK_BYTES {
                break;
            }
            taken += 1;
            report.matched += 1;
            match letter.state {
                LetterState::Open => {}
                LetterState::Replayed => {
                    report.already_replayed += 1;
                    continue;
                }
                LetterState::Discarded => {
                    report.discarded += 1;
                    continue;
                }
            }
            let JudgedBy { schema, writer } = schema_of(&letter)?;
            let fixed = match self.fixed(&letter)? {
                Ok(fixed) => fixed,
                Err(why) => {
                    let reasons = vec![why];
                    report.stays_dead(|| still_invalid(&letter, &schema, reasons));
                    continue;
                }
            };
            let payload = fixed.as_deref().unwrap_or(&letter.payload).to_vec();
            bytes += payload.len();
            let (_, rows) = lanes
                .entry(letter.lane_no)
                .or_insert_with(|| (schema, LaneRows::default()));
            if let Some((id, writer)) = writer {
                rows.writers.insert(id, writer);
            }
            rows.push(letter, &payload);
        }
        let mut requests = Vec::with_capacity(lanes.len());
        for (schema, rows) in lanes.into_values() {
            requests.extend(self.lane(&schema, rows, report)?);
        }
        Ok(Judged { requests, taken })
    }

    /// The payload once fixed; `None` when nothing is to be fixed. The inner error is the letter's own.
    fn fixed(&mut self, letter: &LetterToReplay) -> Result<Result<Option<Vec<u8>>, Reason>, FixError> {
        let Some(fixer) = &mut self.fixer else {
            return Ok(Ok(None));
        };
        Ok(fixer.fix(&letter.payload)?.map(Some).map_err(|message| Reason {
            path: String::new(),
            rule: FIX_RULE.to_owned(),
            message,
        }))
    }

    fn lane(
        &mut self,
        schema: &Arc<StreamSchema>,
        rows: LaneRows,
        report: &mut ReplayReport,
    ) -> Result<Option<ReplayRequest>, WireError> {
        let LaneRows {
            letters,
            segments,
            bytes,
            writers,
        } = rows;
        let mut parts = Vec::with_capacity(segments.len());
        let mut rest = &bytes[..];
        for segment in &segments {
            let (part, tail) = rest.split_at(segment.len as usize);
            parts.push((segment, part));
            rest = tail;
        }
        // seqs of a lane's letters have holes, which the decoder does not know: it counts rows from 0
        let limits = DecodeLimits::default();
        let decoded = self.decoder.decode_known(schema, &writers, 0, &parts, &limits)?;
        let mut dead = decoded.dead.into_iter().peekable();
        let mut valid = Vec::with_capacity(decoded.valid as usize);
        let mut of_lane = None;
        for (row, letter) in letters.into_iter().enumerate() {
            if let Some(rejected) = dead.next_if(|dead| dead.seq == row as u64) {
                report.stays_dead(|| still_invalid(&letter, schema, rejected.reasons));
                continue;
            }
            self.sample(&letter, parts[row].1, report);
            valid.push((letter.id, letter.seq));
            of_lane = Some((letter.lane_no, letter.key));
        }
        let request = of_lane.map(|(lane, key)| ReplayRequest {
            lane,
            key,
            letters: valid,
            columns: Bytes::from(decoded.columns),
            schema: schema.schema_ref(),
            act: self.act.clone(),
        });
        Ok(request)
    }

    /// Shows what a fix made of a payload, before anybody lets it count.
    fn sample(&self, letter: &LetterToReplay, row: &[u8], report: &mut ReplayReport) {
        if !self.dry_run || self.fixer.is_none() || report.samples.len() >= MAX_SAMPLES {
            return;
        }
        let mut rows = tributary_shared::wire::rows::Rows::new(row);
        if let Some(Ok(payload)) = rows.next() {
            report.samples.push(Sample {
                id: letter.id,
                payload: String::from_utf8_lossy(payload).into_owned(),
            });
        }
    }
}

fn still_invalid(letter: &LetterToReplay, schema: &StreamSchema, reasons: Vec<Reason>) -> StillInvalid {
    StillInvalid {
        id: letter.id,
        lineage_id: lineage(letter),
        stream: letter.key.stream.clone(),
        agent: letter.key.agent.clone(),
        schema: schema.schema_ref(),
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use tributary_shared::ids::{AgentId, Epoch, LaneKey, StreamName};
    use tributary_shared::wire::SchemaInfo;

    use super::super::fix::Fix;
    use super::super::messages::ReplayError;
    use super::*;

    fn letter(id: i64, lane: u32, state: LetterState, payload: &str) -> LetterToReplay {
        LetterToReplay {
            id,
            lane_no: LaneNo(lane),
            key: LaneKey {
                agent: AgentId::new("edge-1").expect("valid"),
                stream: StreamName::new("readings").expect("valid"),
                epoch: Epoch(u64::from(lane)),
            },
            seq: id.unsigned_abs() * 3,
            state,
            collected_at: 7,
            payload: payload.as_bytes().to_vec(),
        }
    }

    fn schema() -> Arc<StreamSchema> {
        let text = r#"{"type":"object","properties":{"t":{"type":"number"}},"required":["t"]}"#;
        let info = SchemaInfo {
            id: 4,
            version: 2,
            format: "JSON".to_owned(),
            text: text.to_owned(),
            references: Vec::new(),
        };
        Arc::new(StreamSchema::compile(&info).expect("compiles"))
    }

    fn judged(letters: Vec<LetterToReplay>, fix: Option<&str>) -> (Judged, ReplayReport) {
        let fix = fix.map(|text| Fix::parse(serde_json::from_str(text).expect("JSON")).expect("a fix"));
        let mut judge = Judge {
            decoder: Decoder::new(),
            fixer: fix.map(|fix| fix.fixer().expect("starts")),
            act: Act {
                by: "me".to_owned(),
                fix: None,
            },
            dry_run: true,
        };
        let (schema, mut report) = (schema(), ReplayReport::default());
        let judged = judge.chunk(
            letters,
            |_| {
                let (schema, writer) = (Arc::clone(&schema), None);
                Ok::<_, ReplayError>(JudgedBy { schema, writer })
            },
            &mut report,
        );
        (judged.expect("judged"), report)
    }

    #[test]
    fn letters_are_judged_by_lane_and_keep_their_seqs() {
        let open = LetterState::Open;
        let letters = vec![
            letter(1, 5, open, r#"{"t":1}"#),
            letter(2, 6, open, r#"{"t":2}"#),
            letter(3, 5, open, r#"{"t":"x"}"#),
            letter(4, 5, open, r#"{"t":4}"#),
            letter(5, 5, LetterState::Replayed, ""),
            letter(6, 5, LetterState::Discarded, ""),
            letter(7, 6, open, "{"),
        ];
        let (Judged { requests, taken }, report) = judged(letters, None);
        let found: Vec<_> = requests
            .iter()
            .map(|request| (request.lane.0, request.letters.clone()))
            .collect();
        assert_eq!(found, [(5, vec![(1, 3), (4, 12)]), (6, vec![(2, 6)])]);
        assert_eq!((taken, report.matched), (7, 7));
        assert_eq!(
            (report.already_replayed, report.discarded, report.still_invalid),
            (1, 1, 2)
        );
        let told: Vec<_> = report
            .invalid
            .iter()
            .map(|one| (one.id, one.reasons[0].rule.as_str()))
            .collect();
        assert_eq!(told, [(3, "type"), (7, "malformed")]);
    }

    #[test]
    fn a_fix_that_fails_leaves_its_letter_dead_and_says_why() {
        let open = LetterState::Open;
        let letters = vec![
            letter(1, 5, open, r#"{"temp":"21.5"}"#),
            letter(2, 5, open, r#"{"other":1}"#),
            letter(3, 5, open, "no json"),
        ];
        let patch = r#"{"json_patch":[{"op":"move","from":"/temp","path":"/t"},{"op":"replace","path":"/t","value":21.5}]}"#;
        let (judged, report) = judged(letters, Some(patch));
        assert_eq!(judged.requests[0].letters, [(1, 3)]);
        assert_eq!(report.samples[0].payload, r#"{"t":21.5}"#);
        assert!(
            report.invalid.iter().all(|one| one.reasons[0].rule == "fix"),
            "{report:?}"
        );
        assert_eq!(report.still_invalid, 2);
    }

    #[test]
    fn what_does_not_fit_a_chunk_waits_for_the_next() {
        let large = format!(r#"{{"t":1,"note":"{}"}}"#, "x".repeat(1 << 20));
        let letters = (1..9)
            .map(|id| letter(id, 5, LetterState::Open, &large))
            .collect();
        let (judged, report) = judged(letters, None);
        assert_eq!((judged.taken, report.matched), (4, 4));
    }
}
