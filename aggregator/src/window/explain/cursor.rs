//! Where a page of an explanation ended, as an opaque text for whoever reads on.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tributary_shared::time::Millis;

use super::super::codec::{Reader, put_u64};
use crate::commit::LogPos;

const FORMAT: u8 = 1;

/// A place in the log, and what was said up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Which state of the view it is about.
    pub(super) generation: u64,
    /// The rows as they were with the log up to here.
    pub(super) position: LogPos,
    /// What they counted.
    pub(super) events: u64,
    /// The last entry that was read.
    pub(super) after: LogPos,
    pub(super) explained: u64,
    /// Events that could not be told to be theirs.
    pub(super) unsure: u64,
    /// The newest event so far, where that matters.
    pub(super) newest: Option<Millis>,
}

impl Cursor {
    /// The text that [`Self::parse`] reads, fit for a query string.
    #[must_use]
    pub fn to_text(self) -> String {
        let mut bytes = vec![FORMAT];
        let newest = self.newest.unwrap_or(Millis::MIN);
        for number in [
            self.generation,
            self.position.0,
            self.events,
            self.after.0,
            self.explained,
            self.unsure,
            newest.cast_unsigned(),
        ] {
            put_u64(&mut bytes, number);
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for a text that no page gave.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (mut reader, _) = Reader::new(&bytes, &[FORMAT]).ok()?;
        let mut next = || reader.u64().ok();
        let cursor = Self {
            generation: next()?,
            position: LogPos(next()?),
            events: next()?,
            after: LogPos(next()?),
            explained: next()?,
            unsure: next()?,
            newest: Some(next()?.cast_signed()).filter(|newest| *newest != Millis::MIN),
        };
        reader.end().ok()?;
        Some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_and_nonsense_is_none() {
        let mut cursor = Cursor {
            generation: 3,
            position: LogPos(4711),
            events: 99,
            after: LogPos(17),
            explained: 12,
            unsure: 0,
            newest: Some(-60_000),
        };
        assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
        cursor.newest = None;
        assert_eq!(Cursor::parse(&cursor.to_text()), Some(cursor));
        for nonsense in ["", "AA", "?", &format!("{}AA", cursor.to_text())] {
            assert_eq!(Cursor::parse(nonsense), None, "{nonsense}");
        }
    }
}
