//! What goes into a [`super::Decoder`] and what comes out of it.

use tributary_shared::ids::Seq;
use tributary_shared::wire::{
    BatchHeader, DeadLetter, MAX_BATCH_ROWS, MAX_EVENT_BYTES, MAX_INFLATED_BATCH, SchemaUse, Segment,
    WireError,
};

/// What one batch may cost. Checked against the declared sizes before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes of all segments together, once inflated.
    pub inflated: usize,
    /// Events of all segments together.
    pub rows: u32,
    /// Bytes of one event. A longer one becomes a dead letter (`too_large`), its batch goes on.
    pub event_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            inflated: MAX_INFLATED_BATCH,
            rows: MAX_BATCH_ROWS,
            event_bytes: MAX_EVENT_BYTES,
        }
    }
}

/// A batch after the gateway has judged every event of it. `valid + dead.len()` is the batch's count.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// One Arrow IPC stream with the valid rows in seq order; empty when there are none.
    pub columns: Vec<u8>,
    /// Rows in `columns`.
    pub valid: u32,
    /// The other rows, ascending by seq.
    pub dead: Vec<DeadLetter>,
    /// By the schema that wrote the rows; those that name none count for the stream's newest. Empty without one.
    pub usage: Vec<SchemaUse>,
    /// Bytes of the batch once inflated.
    pub inflated: usize,
}

impl Decoded {
    /// The seqs of the dead letters, ascending, as the commit header lists them.
    #[must_use]
    pub fn dead_seqs(&self) -> Vec<Seq> {
        self.dead.iter().map(|letter| letter.seq).collect()
    }
}

/// Why a batch was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Rows name schemas by these ids, which are not among the writers: fetch them, and decode again.
    #[error("rows name schemas that are not at hand: {0:?}")]
    UnknownWriters(Vec<u32>),
}

/// Why a registered schema cannot judge events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("the schema's format is {0}; AVRO, JSON and PROTOBUF are known here")]
    Format(String),
    #[error("the schema has {len} bytes; the limit is {limit}")]
    TooLarge { len: usize, limit: usize },
    #[error("the schema is not JSON: {0}")]
    NotJson(String),
    #[error("the schema is not valid at {path:?}: {message}")]
    Invalid { path: String, message: String },
    #[error("the rule at {path:?}: {message}")]
    Rule { path: String, message: String },
    #[error("the schema names {count} properties; the limit is {limit}")]
    TooManyProperties { count: usize, limit: usize },
    #[error("the schema marks both {0:?} and {1:?} with x-event-time; mark one")]
    TwoEventTimes(String, String),
}

/// Cuts a batch's body into its segments' bytes.
///
/// # Errors
/// [`WireError::Inconsistent`] when the segments' lengths or counts do not add up to the header's.
pub fn split_body<'a>(
    header: &'a BatchHeader,
    body: &'a [u8],
) -> Result<Vec<(&'a Segment, &'a [u8])>, WireError> {
    let count: u64 = header
        .segments
        .iter()
        .map(|segment| u64::from(segment.count))
        .sum();
    if count != u64::from(header.count) {
        let message = format!(
            "the segments hold {count} events and the header says {}",
            header.count
        );
        return Err(WireError::Inconsistent(message));
    }
    let mut rest = body;
    let mut parts = Vec::with_capacity(header.segments.len());
    for segment in &header.segments {
        let Some((bytes, tail)) = rest.split_at_checked(segment.len as usize) else {
            return Err(WireError::Inconsistent(
                "the segments are longer than the body".to_owned(),
            ));
        };
        parts.push((segment, bytes));
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(WireError::Inconsistent(format!(
            "{} bytes follow the last segment",
            rest.len()
        )));
    }
    Ok(parts)
}

/// The dead letters as they travel behind the columns: a MessagePack array; no bytes for no letters.
///
/// # Errors
/// [`WireError::Encode`] when MessagePack refuses a letter, which none of ours makes it do.
pub fn encode_dead(dead: &[DeadLetter]) -> Result<Vec<u8>, WireError> {
    if dead.is_empty() {
        return Ok(Vec::new());
    }
    rmp_serde::to_vec_named(dead).map_err(|error| WireError::Encode {
        what: "dead letters",
        reason: error.to_string(),
    })
}
