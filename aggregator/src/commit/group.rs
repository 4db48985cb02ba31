//! What one group commit will write, decided in memory before the transaction begins. Pure.

use tributary_shared::ids::{LaneKey, LaneNo, SeqRange};
use tributary_shared::time::Millis;
use tributary_shared::wire::{BatchContent, History, RefuseCode, SchemaRef};

use super::lane::{Claim, Decision, Lane, LaneBook, LaneCounts, decide};
use super::letters::{Discard, Replay, Settling};
use super::messages::{CommitAnswer, LogPos, Prepared};
use super::prepare::trim;
use crate::audit::Act;

/// How long a sender waits when its stream needs a schema that nobody has registered: a person must act.
const NO_SCHEMA_RETRY_MS: u32 = 5_000;

/// What settling a letter writes beside an entry: its row, with the payload, and its place in an index.
const LETTER_BYTES: usize = 1 << 10;

/// One entry that the group appends.
#[derive(Debug)]
pub struct GroupEntry {
    pub pos: LogPos,
    pub batch: Box<Prepared>,
}

/// Everything that goes into one transaction.
#[derive(Debug, Default)]
pub struct Group {
    pub opened: Vec<Lane>,
    pub entries: Vec<GroupEntry>,
    /// Dead letters that become valid, each replay an entry of its own.
    pub replays: Vec<Replay>,
    pub discards: Vec<Discard>,
    /// The letters that the two settle.
    pub settling: Settling,
    /// The lanes that changed, with their new counts.
    pub lanes: Vec<(LaneNo, LaneCounts)>,
    /// The lanes that another writer goes on with, with all their tenures.
    pub histories: Vec<(LaneNo, History)>,
    pub committed_at: Millis,
    /// What the audit is to say beside what the group does.
    pub acts: Vec<Act>,
    /// A head of the audit is asked for.
    pub sign: bool,
}

impl Group {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty()
            && self.entries.is_empty()
            && self.replays.is_empty()
            && self.discards.is_empty()
            && self.acts.is_empty()
            && !self.sign
    }

    /// Position of its newest entry.
    #[must_use]
    pub fn newest(&self) -> Option<LogPos> {
        let batch = self.entries.last().map(|entry| entry.pos);
        let replay = self.replays.last().map(|replay| replay.pos);
        batch.max(replay)
    }

    /// Bytes that it stores, about.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        let batches = self.entries.iter().map(|entry| entry.batch.stored_bytes());
        let replays = self.replays.iter().map(|replay| replay.batch.columns.len());
        let replayed: usize = self.replays.iter().map(|replay| replay.batch.ids.len()).sum();
        let discarded: usize = self.discards.iter().map(|discard| discard.letters.len()).sum();
        batches.chain(replays).sum::<usize>() + (replayed + discarded) * LETTER_BYTES
    }

    /// Takes the group's changes out of the book, when all batches are judged.
    pub fn close(&mut self, book: &LaneBook, now: Millis) {
        self.lanes = book.changed().collect();
        self.histories = book.changed_histories().collect();
        self.committed_at = now;
    }

    /// The lane's number, given now if it has none. `None` when all numbers are taken.
    #[must_use]
    pub fn open_lane(&mut self, book: &mut LaneBook, key: &LaneKey) -> Option<LaneNo> {
        if let Some(no) = book.number(key) {
            return Some(no);
        }
        let no = book.open(key)?;
        self.opened.push(Lane {
            no,
            key: key.clone(),
            counts: LaneCounts::default(),
            history: History::default(),
        });
        Some(no)
    }
}

/// Which schema a stream's batches must have been judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaRule {
    /// `None`: the stream has no schema.
    pub latest: Option<SchemaRef>,
    /// A schema of the batch's rows that the registry does not have.
    pub unknown: Option<u32>,
    /// Refuse streams without one.
    pub required: bool,
}

/// The verdict on one batch within the open group.
#[derive(Debug)]
pub enum Judged {
    /// It goes into the log; `trimmed` events were duplicates.
    Apply { batch: Box<Prepared>, trimmed: u64 },
    /// Nothing of it goes into the log.
    Answer(CommitAnswer),
}

/// Judges a batch against its lane and its schema, and moves the lane's mark within the open group.
#[must_use]
pub fn judge(book: &mut LaneBook, mut batch: Box<Prepared>, rule: SchemaRule) -> Judged {
    let no = batch.lane();
    if book.lane(no).is_none_or(|lane| lane.key != batch.key) {
        let message = format!(
            "lane number {no} is not that of {}; open the lane first",
            batch.key
        );
        let expected = book.number(&batch.key).map_or(0, |no| book.counts(no).mark) + 1;
        return refuse(expected, RefuseCode::Malformed, message);
    }
    let counts = book.counts(no);
    let history = book.history(no);
    let claim = Claim {
        range: batch.range(),
        writer: batch.header.writer,
        after_writer: batch.header.after_writer,
    };
    let trimmed = match decide(counts.mark, &history, claim) {
        Decision::Duplicate => {
            return Judged::Answer(CommitAnswer::Committed {
                // what lies behind it may be another copy's
                mark: claim.range.last,
                pos: None,
                applied: None,
            });
        }
        Decision::Gap { expected } => {
            let message = format!(
                "the batch starts at seq {}, expected {expected}",
                batch.range().first
            );
            return refuse(expected, RefuseCode::Gap, message);
        }
        Decision::OtherWriter { seq } => {
            let message = format!("seq {seq} is committed, and another copy of the spool has numbered it");
            return refuse(seq, RefuseCode::OtherWriter, message);
        }
        Decision::Apply { trim } => trim,
    };
    if let Some(refused) = check_schema(&batch, rule, counts.mark + 1) {
        return Judged::Answer(refused);
    }
    if let Err(error) = trim(&mut batch, trimmed) {
        return refuse(counts.mark + 1, RefuseCode::Malformed, error.to_string());
    }
    if let Some(history) = history.extended(batch.range().first, batch.header.writer) {
        book.set_history(no, history);
    }
    let (valid, dead, dropped) = verdicts(&batch);
    book.set(no, counts.plus(valid, dead, dropped));
    Judged::Apply { batch, trimmed }
}

fn refuse(expected: u64, code: RefuseCode, message: String) -> Judged {
    Judged::Answer(CommitAnswer::Refused {
        expected,
        code,
        message,
        retry_after_ms: 0,
    })
}

fn check_schema(batch: &Prepared, rule: SchemaRule, expected: u64) -> Option<CommitAnswer> {
    if matches!(batch.header.content, BatchContent::Dropped { .. }) {
        return None;
    }
    let stream = &batch.key.stream;
    if batch.header.schema != rule.latest {
        let name = |schema: Option<SchemaRef>| match schema {
            Some(schema) => format!("version {}", schema.version),
            None => "no schema".to_owned(),
        };
        let message = format!(
            "the batch was judged by {} of {stream}-value, the newest is {}",
            name(batch.header.schema),
            name(rule.latest)
        );
        let code = RefuseCode::SchemaChanged;
        return Some(CommitAnswer::Refused {
            expected,
            code,
            message,
            retry_after_ms: 0,
        });
    }
    if let Some(id) = rule.unknown {
        // the gateway knows it from a registry that has since been restored: its rows are judged again
        let message = format!("rows of the batch name schema {id}, which this registry does not have");
        return Some(CommitAnswer::Refused {
            expected,
            code: RefuseCode::SchemaChanged,
            message,
            retry_after_ms: 0,
        });
    }
    if rule.required && rule.latest.is_none() {
        let message = format!("this aggregator requires a schema: register one for subject {stream}-value");
        let retry_after_ms = NO_SCHEMA_RETRY_MS;
        return Some(CommitAnswer::Refused {
            expected,
            code: RefuseCode::Unavailable,
            message,
            retry_after_ms,
        });
    }
    None
}

/// How many of a batch's events are valid, dead and dropped.
#[must_use]
pub fn verdicts(batch: &Prepared) -> (u64, u64, u64) {
    let range: SeqRange = batch.range();
    match batch.header.content {
        BatchContent::Dropped { .. } => (0, 0, range.count()),
        BatchContent::Rows | BatchContent::Columns => {
            let dead = batch.dead.len() as u64;
            (range.count() - dead, dead, 0)
        }
    }
}
