//! What is worked out of an entry's body before it enters a transaction, so that the commit thread need not look at it.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use tributary_audit::BodyDigest;
use tributary_shared::time::Millis;

/// Event times of the valid rows of an entry, Unix ms, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimes {
    pub min: Millis,
    pub max: Millis,
}

impl EventTimes {
    /// `None` without rows. The first column is the event time: decoding has checked that.
    #[must_use]
    pub fn of(records: &RecordBatch) -> Option<Self> {
        let times = records
            .columns()
            .first()?
            .as_primitive_opt::<TimestampMillisecondType>()?
            .values();
        let min = times.iter().copied().min()?;
        let max = times.iter().copied().max()?;
        Some(Self { min, max })
    }
}

/// The times of an entry's events, and its body's part of the digest that anchors it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyFacts {
    /// `None` without valid rows.
    pub times: Option<EventTimes>,
    pub digest: BodyDigest,
}

impl BodyFacts {
    /// Of a body as the log stores it. Costs about 0.05 µs an event: most of it is the hash.
    pub fn of<'a>(
        records: Option<&RecordBatch>,
        columns: &[u8],
        letters: impl IntoIterator<Item = &'a [u8]>,
    ) -> Self {
        Self {
            times: records.and_then(EventTimes::of),
            digest: BodyDigest::of(columns, letters),
        }
    }
}
