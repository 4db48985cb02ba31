//! What is passed to and from a search.

use tributary_shared::ids::{LaneKey, LaneNo, Seq, StreamName};
use tributary_shared::time::Millis;

use crate::commit::{LogPos, TimeRange};

/// A field, and the text that its value must be equal to, as a text or as an equal number. `order.id` is the field `id` of
/// the object `order`, unless a field has that very name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldIs {
    pub field: String,
    pub value: String,
}

/// What is looked for: all of `fields` must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSearch {
    pub stream: StreamName,
    pub fields: Vec<FieldIs>,
    pub range: TimeRange,
    /// The most events in one answer; at least 1.
    pub limit: usize,
    pub place: SearchPlace,
}

/// Where a search goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchPlace {
    /// At this row of this entry.
    Entry { pos: LogPos, row: usize },
    /// At the dead letters with smaller ids than this one.
    Letters { before: i64 },
}

impl SearchPlace {
    pub const START: Self = Self::Entry {
        pos: LogPos(1),
        row: 0,
    };

    /// The text that [`Self::parse`] reads, fit for a query string.
    #[must_use]
    pub fn to_text(self) -> String {
        match self {
            Self::Entry { pos, row } => format!("e{pos}.{row}"),
            Self::Letters { before } => format!("d{before}"),
        }
    }

    /// `None` for a text that no search gave.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(place) = text.strip_prefix('e') {
            let (pos, row) = place.split_once('.')?;
            let pos = pos
                .parse()
                .ok()
                .filter(|pos| (1..=i64::MAX as u64).contains(pos))?;
            let row = row.parse().ok()?;
            return Some(Self::Entry {
                pos: LogPos(pos),
                row,
            });
        }
        let before = text.strip_prefix('d')?.parse().ok().filter(|id| *id >= 0)?;
        Some(Self::Letters { before })
    }
}

/// What became of a found event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Valid,
    /// Its schema rejected it, and it waits for a replay.
    DeadLetter,
    Discarded,
}

impl Outcome {
    /// As the path of an event says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::DeadLetter => "dead_letter",
            Self::Discarded => crate::commit::LETTER_DISCARDED,
        }
    }
}

/// An event that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundEvent {
    pub lane: LaneNo,
    pub key: LaneKey,
    pub seq: Seq,
    /// Of a dead letter: its `ts`, or when it was committed.
    pub event_time: Millis,
    pub outcome: Outcome,
}

/// What a search found before it stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    pub events: Vec<FoundEvent>,
    pub scanned_entries: u64,
    /// Where to go on; `None` when all was looked through.
    pub next: Option<SearchPlace>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_text_and_nonsense_is_none() {
        let entry = SearchPlace::Entry {
            pos: LogPos(17),
            row: 3,
        };
        for place in [entry, SearchPlace::START, SearchPlace::Letters { before: 9 }] {
            assert_eq!(SearchPlace::parse(&place.to_text()), Some(place));
        }
        for nonsense in [
            "",
            "e",
            "e0.0",
            "e1",
            "e1.x",
            "e-1.0",
            "d",
            "d-1",
            "x1",
            "e99999999999999999999.0",
        ] {
            assert_eq!(SearchPlace::parse(nonsense), None, "{nonsense:?}");
        }
    }
}
