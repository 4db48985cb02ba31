//! A row's place among all changes of its view, and the ids of live events that are made of it.
//!
//! Rows are told in the order of their last change: log position, then window, then key. An id says that everything
//! up to and including its stamp was told, so a reader who comes back with it gets exactly what is behind it. As text
//! an id begins with the log position, `4711`; within the rows of one position the last one told is named behind it,
//! `4711.W.K`; and the definition of the view stands at the end, `4711-9ab3f0e1`, because changes of another
//! definition are not comparable.

use std::fmt;

use tributary_shared::time::Millis;

use super::codec::put_scalar;
use super::messages::WindowRow;
use crate::commit::LogPos;
use crate::view::Scalar;

/// Where a row stands in the order of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    pub changed_at: LogPos,
    window_start: Millis,
    key: u64,
}

impl Stamp {
    pub(super) fn new(changed_at: LogPos, window_start: Millis, key: u64) -> Self {
        Self {
            changed_at,
            window_start,
            key,
        }
    }

    pub(super) fn of(row: &WindowRow) -> Self {
        Self::new(row.changed_at, row.window_start.unwrap_or_default(), row.key)
    }

    /// Behind everything that changed up to a position.
    #[must_use]
    pub fn through(position: LogPos) -> Self {
        Self::new(position, Millis::MAX, u64::MAX)
    }

    fn is_through(&self) -> bool {
        *self == Self::through(self.changed_at)
    }
}

/// The id of a live event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    pub stamp: Stamp,
    /// `None` where a person typed a log position.
    pub definition: Option<u32>,
}

impl EventId {
    /// `None` for a text that no event had as its id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stamp, definition) = match text.split_once('-') {
            Some((stamp, definition)) => (stamp, Some(u32::from_str_radix(definition, 16).ok()?)),
            None => (text, None),
        };
        let mut parts = stamp.split('.');
        let changed_at = LogPos(parts.next()?.parse().ok()?);
        let stamp = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => Stamp::through(changed_at),
            (Some(window), Some(key), None) => {
                let window = u64::from_str_radix(window, 16).ok()?.cast_signed();
                Stamp::new(changed_at, window, u64::from_str_radix(key, 16).ok()?)
            }
            _ => return None,
        };
        Some(Self { stamp, definition })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = &self.stamp;
        write!(f, "{}", stamp.changed_at.0)?;
        if !stamp.is_through() {
            write!(f, ".{:x}.{:x}", stamp.window_start.cast_unsigned(), stamp.key)?;
        }
        match self.definition {
            Some(definition) => write!(f, "-{definition:08x}"),
            None => Ok(()),
        }
    }
}

/// Rows in the order in which they are told, each with the stamp that its id bears. `complete` says that no row of the
/// last one's position is missing.
pub(super) fn in_order(mut rows: Vec<WindowRow>, complete: bool) -> Vec<(Stamp, WindowRow)> {
    rows.sort_unstable_by_key(Stamp::of);
    let next: Vec<Option<LogPos>> = rows
        .iter()
        .skip(1)
        .map(|row| Some(row.changed_at))
        .chain([None])
        .collect();
    let stamped = rows.into_iter().zip(next).map(|(row, next)| {
        let last = next.map_or(complete, |next| next != row.changed_at);
        let stamp = if last {
            Stamp::through(row.changed_at)
        } else {
            Stamp::of(&row)
        };
        (stamp, row)
    });
    stamped.collect()
}

/// What tells a row from others of its window, for the order of rows that one entry changed: the same in every
/// process (FNV-1a of the stored form of its keys).
pub(super) fn key_hash<'a>(keys: impl Iterator<Item = &'a Scalar>) -> u64 {
    let mut bytes = Vec::new();
    keys.for_each(|key| put_scalar(&mut bytes, key));
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_and_a_log_position_is_one() {
        for stamp in [
            Stamp::through(LogPos(4711)),
            Stamp::new(LogPos(7), -60_000, u64::MAX - 1),
            Stamp::new(LogPos(u64::MAX), Millis::MAX, 0),
        ] {
            for definition in [None, Some(0), Some(0xdead_beef)] {
                let id = EventId { stamp, definition };
                assert_eq!(EventId::parse(&id.to_string()), Some(id), "{id}");
            }
        }
        let id = EventId {
            stamp: Stamp::through(LogPos(4711)),
            definition: Some(0x9ab3),
        };
        assert_eq!(id.to_string(), "4711-00009ab3");
        for nonsense in ["", "x", "1.2", "1.2.3.4", "-1", "1-x", "1.g.1", " 1"] {
            assert_eq!(EventId::parse(nonsense), None, "{nonsense}");
        }
    }

    fn row(changed_at: u64, window_start: Millis) -> WindowRow {
        WindowRow {
            changed_at: LogPos(changed_at),
            window_start: Some(window_start),
            ..WindowRow::default()
        }
    }

    #[test]
    fn only_the_last_row_of_a_position_says_that_the_position_is_through() {
        let rows = || vec![row(8, 0), row(7, 60), row(7, 0)];
        let stamps: Vec<String> = in_order(rows(), true)
            .into_iter()
            .map(|(stamp, _)| {
                EventId {
                    stamp,
                    definition: None,
                }
                .to_string()
            })
            .collect();
        assert_eq!(stamps, ["7.0.0", "7", "8"]);
        let cut = in_order(rows(), false);
        assert!(!cut[2].0.is_through(), "more rows of position 8 may follow");
        assert!(cut.is_sorted_by_key(|(stamp, _)| *stamp));
    }
}
