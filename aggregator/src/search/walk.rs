//! The walk over the log and its dead letters.

use super::field::{Fields, payload_matches};
use super::messages::{EventSearch, FoundEvent, Outcome, SearchPlace, SearchResult};
use crate::commit::{
    CommitError, DeadLetterFilter, LogEntry, LogPos, LogReader, Settlement, StoredDeadLetter,
};

/// Entries that are listed at once.
const LISTED: usize = 256;
/// Letters that are read at once.
const LETTERS: u32 = 256;
/// Above every letter's id.
const NEWEST: i64 = i64::MAX;

/// Looks for events until `limit` are found, `is_over` says so (asked after each entry), or nothing is left.
///
/// # Errors
/// Those of the log.
pub fn search(
    log: &LogReader,
    wanted: &EventSearch,
    is_over: impl Fn() -> bool,
) -> Result<SearchResult, CommitError> {
    let mut walk = Walk {
        log,
        wanted,
        is_over: &is_over,
        found: Vec::new(),
        scanned: 0,
        moved: false,
    };
    let mut place = Some(wanted.place);
    while let Some(at) = place {
        if walk.must_stop() {
            break;
        }
        place = match at {
            SearchPlace::Entry { pos, row } => Some(walk.entries(pos, row)?),
            SearchPlace::Letters { before } => walk.letters(before)?,
        };
    }
    Ok(SearchResult {
        events: walk.found,
        scanned_entries: walk.scanned,
        next: place,
    })
}

struct Walk<'a> {
    log: &'a LogReader,
    wanted: &'a EventSearch,
    is_over: &'a dyn Fn() -> bool,
    found: Vec<FoundEvent>,
    scanned: u64,
    /// Something was looked through: a search that is asked for again gets on, however short its time is.
    moved: bool,
}

impl Walk<'_> {
    fn is_full(&self) -> bool {
        self.found.len() >= self.wanted.limit
    }

    fn must_stop(&self) -> bool {
        self.is_full() || (self.moved && (self.is_over)())
    }

    /// Looks through the next entries; returns where to go on.
    fn entries(&mut self, from: LogPos, row: usize) -> Result<SearchPlace, CommitError> {
        let EventSearch { stream, range, .. } = self.wanted;
        let before = LogPos(from.0.saturating_sub(1));
        let listed = self.log.entries_between(stream, *range, before, LISTED)?;
        let last = listed.last().map(|entry| entry.pos);
        let is_end = listed.len() < LISTED;
        for at in listed {
            let row = if at.pos == from { row } else { 0 };
            if self.must_stop() {
                return Ok(SearchPlace::Entry { pos: at.pos, row });
            }
            self.scanned += 1;
            self.moved = true;
            // retention may have deleted it meanwhile
            let Some(entry) = self.log.entry(at.pos)? else {
                continue;
            };
            if let Some(row) = self.rows(entry, row)? {
                return Ok(SearchPlace::Entry { pos: at.pos, row });
            }
        }
        Ok(match last {
            Some(last) if !is_end => SearchPlace::Entry {
                pos: last.next(),
                row: 0,
            },
            _ => SearchPlace::Letters { before: NEWEST },
        })
    }

    /// Looks through the rows of an entry; returns the first one that was not looked at.
    fn rows(&mut self, entry: LogEntry, from: usize) -> Result<Option<usize>, CommitError> {
        let entry = entry.decode()?;
        let Some(records) = &entry.records else {
            return Ok(None);
        };
        let fields = Fields::of(records, &self.wanted.fields);
        let range = self.wanted.range;
        for (row, seq) in entry.header.valid_seqs().into_iter().enumerate().skip(from) {
            if self.is_full() {
                return Ok(Some(row));
            }
            if let Some(event_time) = fields.matches(row).filter(|at| range.contains(*at)) {
                self.found.push(FoundEvent {
                    lane: entry.header.lane(),
                    key: entry.key.clone(),
                    seq,
                    event_time,
                    outcome: Outcome::Valid,
                });
            }
        }
        Ok(None)
    }

    /// Looks through the next dead letters, newest first; returns where to go on, if anything is left.
    fn letters(&mut self, before: i64) -> Result<Option<SearchPlace>, CommitError> {
        let page = self.log.dead_letters(&DeadLetterFilter {
            stream: Some(self.wanted.stream.clone()),
            before: Some(before),
            limit: LETTERS,
            ..DeadLetterFilter::default()
        })?;
        self.moved = true;
        let mut done = None;
        for letter in &page {
            if self.is_full() {
                break;
            }
            done = Some(letter.id);
            if let Some(found) = self.letter(letter)? {
                self.found.push(found);
            }
        }
        Ok(done.map(|before| SearchPlace::Letters { before }))
    }

    fn letter(&self, letter: &StoredDeadLetter) -> Result<Option<FoundEvent>, CommitError> {
        let outcome = match &letter.settled {
            None => Outcome::DeadLetter,
            Some(Settlement::Discarded { .. }) => Outcome::Discarded,
            // found as a row, while its entry is kept
            Some(Settlement::Replayed { pos, .. }) if *pos > self.log.floor()? => return Ok(None),
            Some(Settlement::Replayed { .. }) => Outcome::Valid,
        };
        let Some(time) = payload_matches(&letter.payload, &self.wanted.fields) else {
            return Ok(None);
        };
        let event_time = time.unwrap_or(letter.at);
        if !self.wanted.range.contains(event_time) {
            return Ok(None);
        }
        // a letter's lane is there for ever
        let lane = self.log.lane(letter.lane_no)?;
        Ok(lane.map(|lane| FoundEvent {
            lane: lane.lane_no,
            key: lane.key,
            seq: letter.seq,
            event_time,
            outcome,
        }))
    }
}
