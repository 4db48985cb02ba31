//! What is asked of a replay, and what it answers.

use serde::Serialize;
use tributary_schema::decode::SchemaError;
use tributary_shared::ids::{AgentId, LineageId, StreamName};
use tributary_shared::wire::{Reason, SchemaRef, WireError};

use super::fix::{Fix, FixError};
use crate::commit::{CommitError, DeadLetterFilter, SettleAnswer};
use crate::registry::RegistryError;

/// The most ids in one request; more letters than that are named by a filter.
pub const MAX_IDS: usize = 10_000;
/// Letters that an answer names one by one.
pub(super) const MAX_TOLD: usize = 100;
/// Fixed payloads that a dry run shows.
pub(super) const MAX_SAMPLES: usize = 5;

/// Which letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    Ids(Vec<i64>),
    Matching(Box<DeadLetterFilter>),
}

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct ReplayOrder {
    pub selection: Selection,
    /// The version to judge by; the current one of each letter's stream if `None`.
    pub schema: Option<u32>,
    pub fix: Option<Fix>,
    /// Only tell what would happen.
    pub dry_run: bool,
    pub by: String,
    /// Begin behind this id.
    pub after: i64,
    /// Look at no more letters than that, and tell where to go on.
    pub limit: Option<u64>,
}

/// What to give up.
#[derive(Debug, Clone)]
pub struct DiscardOrder {
    pub selection: Selection,
    pub by: String,
    pub reason: String,
    pub dry_run: bool,
    pub after: i64,
    pub limit: Option<u64>,
}

/// What a replay did, or would do.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ReplayReport {
    pub dry_run: bool,
    /// Letters that were looked at.
    pub matched: u64,
    /// Became events, or would.
    pub replayed: u64,
    pub still_invalid: u64,
    pub already_replayed: u64,
    pub discarded: u64,
    /// Ids that no letter has (any more).
    pub unknown: u64,
    pub unknown_ids: Vec<i64>,
    /// The first of those that are still invalid, with the reasons.
    pub invalid: Vec<StillInvalid>,
    /// For dry runs with a fix: the first payloads that would be valid.
    pub samples: Vec<Sample>,
    /// There are more letters: go on with this as `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// A letter that stays dead.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StillInvalid {
    pub id: i64,
    pub lineage_id: String,
    pub stream: StreamName,
    pub agent: AgentId,
    /// What it was judged by.
    pub schema: Option<SchemaRef>,
    pub reasons: Vec<Reason>,
}

/// A payload as a fix leaves it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    pub id: i64,
    pub payload: String,
}

/// What a discard did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DiscardReport {
    pub dry_run: bool,
    pub matched: u64,
    pub discarded: u64,
    pub already_discarded: u64,
    pub already_replayed: u64,
    pub unknown: u64,
    pub unknown_ids: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

impl ReplayReport {
    pub(super) fn settled(&mut self, answer: SettleAnswer) {
        self.replayed += answer.settled;
        self.already_replayed += answer.replayed;
        self.discarded += answer.discarded;
        self.unknown += answer.unknown;
    }

    pub(super) fn stays_dead(&mut self, letter: impl FnOnce() -> StillInvalid) {
        self.still_invalid += 1;
        if self.invalid.len() < MAX_TOLD {
            self.invalid.push(letter());
        }
    }
}

impl DiscardReport {
    pub(super) fn settled(&mut self, answer: SettleAnswer) {
        self.discarded += answer.settled;
        self.already_replayed += answer.replayed;
        self.already_discarded += answer.discarded;
        self.unknown += answer.unknown;
    }
}

/// Notes ids that are not there, the first of them by name.
pub(super) fn note_unknown(count: &mut u64, named: &mut Vec<i64>, ids: impl IntoIterator<Item = i64>) {
    for id in ids {
        *count += 1;
        if named.len() < MAX_TOLD {
            named.push(id);
        }
    }
}

pub(super) fn lineage(letter: &crate::commit::LetterToReplay) -> String {
    LineageId::new(letter.lane_no, letter.seq).to_string()
}

/// Why a replay or a discard did not go through to its end. What was done before stays done.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Fix(#[from] FixError),
    #[error("stream {stream} has no version {version} of its schema: {error}")]
    UnknownVersion {
        stream: StreamName,
        version: u32,
        error: RegistryError,
    },
    #[error(
        "version {version} of the schema of stream {stream} is {state}: events are judged by active and deprecated ones"
    )]
    NotAccepted {
        stream: StreamName,
        version: u32,
        state: &'static str,
    },
    #[error("the schema of stream {stream} cannot judge events: {error}")]
    Schema { stream: StreamName, error: SchemaError },
    #[error(
        "letters of several streams ({streams}) cannot be judged by one version; replay one stream at a time"
    )]
    SeveralStreams { streams: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Log(#[from] CommitError),
    #[error("the letters cannot become columns: {0}")]
    Columns(#[from] WireError),
    #[error("the aggregator is stopping; try again in a moment")]
    Stopping,
}
