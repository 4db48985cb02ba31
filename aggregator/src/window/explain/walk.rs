//! The log's entries that an explanation has to look at, in log order.

use std::collections::VecDeque;

use tributary_shared::time::Millis;

use super::basis::Basis;
use crate::commit::{CommitError, LogEntry, LogPos, LogReader, TimeRange};

/// Positions that are read of the index at once. Each time all that lies in the range is looked at.
const POSITIONS: usize = 4_096;
/// Bytes of columns that are read at once where there is no index.
const READ_BYTES: usize = 4 << 20;

/// Goes through the log from a position on.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    log: &'a LogReader,
    basis: &'a Basis,
    /// Entries with events of these times; `None` for all of the stream.
    times: Option<Vec<TimeRange>>,
    /// Read up to here.
    after: LogPos,
    positions: VecDeque<LogPos>,
    entries: VecDeque<LogEntry>,
    ended: bool,
}

impl<'a> Walk<'a> {
    pub fn new(log: &'a LogReader, basis: &'a Basis, after: LogPos) -> Self {
        let range = |(from, to): (Millis, Millis)| TimeRange { from, to };
        let times = basis.by_event_time().then(|| {
            let deciding = basis.deciding_from().map(|from| (from, Millis::MAX));
            std::iter::once(basis.times())
                .chain(deciding)
                .map(range)
                .collect()
        });
        Self {
            log,
            basis,
            times,
            after,
            positions: VecDeque::new(),
            entries: VecDeque::new(),
            ended: false,
        }
    }

    /// The next entry; `None` when the rest of the log does not matter.
    pub fn next(&mut self) -> Result<Option<LogEntry>, CommitError> {
        loop {
            let found = match &self.times {
                Some(_) => self.next_by_time()?,
                None => self.next_of_stream()?,
            };
            let Some(entry) = found.filter(|entry| entry.pos <= self.basis.until) else {
                return Ok(None);
            };
            if entry.header.valid() > 0 {
                return Ok(Some(entry));
            }
        }
    }

    fn next_of_stream(&mut self) -> Result<Option<LogEntry>, CommitError> {
        if self.entries.is_empty() {
            let stream = self.basis.stream();
            self.entries = self.log.scan_stream(stream, self.after, READ_BYTES)?.into();
            self.after = self.entries.back().map_or(self.after, |last| last.pos);
        }
        Ok(self.entries.pop_front())
    }

    fn next_by_time(&mut self) -> Result<Option<LogEntry>, CommitError> {
        loop {
            if self.positions.is_empty() && !self.ended {
                self.read_positions()?;
            }
            let Some(pos) = self.positions.pop_front() else {
                return Ok(None);
            };
            if pos > self.basis.until {
                return Ok(None);
            }
            // retention may have deleted it meanwhile
            if let Some(entry) = self.log.entry(pos)? {
                return Ok(Some(entry));
            }
        }
    }

    /// Reads on in the index, in all ranges as far as the first of them goes.
    fn read_positions(&mut self) -> Result<(), CommitError> {
        let mut last = None;
        let mut found: Vec<LogPos> = Vec::new();
        for range in self.times.iter().flatten() {
            let stream = self.basis.stream();
            let entries = self.log.entries_between(stream, *range, self.after, POSITIONS)?;
            if entries.len() == POSITIONS {
                let end = entries.last().map(|entry| entry.pos);
                last = [last, end].into_iter().flatten().min();
            }
            found.extend(entries.iter().map(|entry| entry.pos));
        }
        found.retain(|pos| last.is_none_or(|last| *pos <= last));
        found.sort_unstable();
        found.dedup();
        self.ended = last.is_none();
        self.after = found.last().copied().unwrap_or(self.after);
        self.positions = found.into();
        Ok(())
    }
}
