//! The aggregator's disk and its views: the commit rule over the model of a disk.

use super::disk::{Disk, Image};
use super::oracle::{Key, Oracle};
use super::spool::Content;
use crate::ids::{LaneKey, LaneNo, Seq, SeqRange};
use crate::protocol::{Claim, CommitOutcome, Decision, Generation, Presence, decide};
use crate::wire::{History, RefuseCode};

#[derive(Debug, Clone)]
pub(super) struct LaneRow {
    pub wire: LaneKey,
    pub key: Key,
    pub mark: Seq,
    pub valid: u64,
    pub dropped: u64,
    pub history: History,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub lane: LaneNo,
    pub range: SeqRange,
    pub content: Content,
}

/// Lanes and log. A lane's number is its place.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub lanes: Vec<LaneRow>,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub(super) enum LogWrite {
    Lane(LaneRow),
    Entry(Entry),
    Mark {
        lane: LaneNo,
        mark: Seq,
        valid: u64,
        dropped: u64,
        history: History,
    },
}

impl Image for Log {
    type Write = LogWrite;

    fn apply(&mut self, write: &LogWrite) {
        match write {
            LogWrite::Lane(row) => self.lanes.push(row.clone()),
            LogWrite::Entry(entry) => self.entries.push(entry.clone()),
            LogWrite::Mark {
                lane,
                mark,
                valid,
                dropped,
                history,
            } => {
                let row = &mut self.lanes[lane.0 as usize];
                row.mark = *mark;
                row.valid += valid;
                row.dropped += dropped;
                row.history = history.clone();
            }
        }
    }
}

/// A snapshot of the views: up to where the log is in it, how many events, and the sum of their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Views {
    pub position: usize,
    pub events: u64,
    pub sum: u64,
}

impl Image for Views {
    type Write = Views;

    fn apply(&mut self, write: &Views) {
        *self = *write;
    }
}

impl Views {
    fn fold(&mut self, entry: &Entry) {
        self.position += 1;
        if let Content::Rows(events) = &entry.content {
            self.events += events.len() as u64;
            self.sum += events.iter().map(|no| u64::from(*no)).sum::<u64>();
        }
    }
}

/// An answer that waits for the sync, on connection `serial` of a gateway.
#[derive(Debug)]
pub(super) enum Answer {
    Opened {
        handle: u32,
        key: LaneKey,
    },
    Batch {
        lane: LaneNo,
        generation: Generation,
        outcome: CommitOutcome,
    },
}

#[derive(Debug)]
pub(super) struct Center {
    pub disk: Disk<Log>,
    pub views: Disk<Views>,
    pub live: Views,
    pub answers: Vec<(usize, u64, Answer)>,
    pub backup: Option<Log>,
    pub presence: Presence,
    /// Log entries that the oracle has heard of.
    told: usize,
    pub trimmed: u64,
    /// Batches of events that another copy of the spool had numbered alike.
    pub clashes: u64,
}

impl Center {
    pub fn new() -> Self {
        Self {
            disk: Disk::new(),
            views: Disk::new(),
            live: Views::default(),
            answers: Vec::new(),
            backup: None,
            presence: Presence::default(),
            told: 0,
            trimmed: 0,
            clashes: 0,
        }
    }

    pub fn open_lane(&mut self, wire: &LaneKey, key: Key) {
        let lanes = &self.disk.visible().lanes;
        if !lanes.iter().any(|lane| lane.wire == *wire) {
            let row = LaneRow {
                wire: wire.clone(),
                key,
                mark: 0,
                valid: 0,
                dropped: 0,
                history: History::default(),
            };
            self.disk.transaction(vec![LogWrite::Lane(row)]);
        }
    }

    pub fn find(&self, wire: &LaneKey) -> Option<(LaneNo, Seq, History)> {
        let lanes = &self.disk.durable().lanes;
        let at = lanes.iter().position(|lane| lane.wire == *wire)?;
        Some((LaneNo(at as u32), lanes[at].mark, lanes[at].history.clone()))
    }

    /// Commits a batch within the open group.
    pub fn commit(
        &mut self,
        wire: &LaneKey,
        batch: Entry,
        (writer, after_writer): (u64, u64),
        oracle: &mut Oracle,
    ) -> CommitOutcome {
        let row = self.disk.visible().lanes[batch.lane.0 as usize].clone();
        oracle.require(row.wire == *wire, "contiguous-lanes", || {
            format!("the number of {} stands for {wire}", row.wire)
        });
        let Entry { lane, range, content } = batch;
        let claim = Claim {
            range,
            writer,
            after_writer,
        };
        match decide(row.mark, &row.history, claim) {
            Decision::Gap { expected } => refused(expected, RefuseCode::Gap),
            Decision::OtherWriter { seq } => {
                self.clashes += 1;
                refused(seq, RefuseCode::OtherWriter)
            }
            Decision::Duplicate => {
                self.trimmed += range.count();
                CommitOutcome::Committed {
                    mark: range.last,
                    writer,
                }
            }
            Decision::Apply { trim } => {
                self.trimmed += trim;
                let range = SeqRange {
                    first: range.first + trim,
                    last: range.last,
                };
                oracle.require(range.first == row.mark + 1, "contiguous-lanes", || {
                    format!("{range:?} after {}", row.mark)
                });
                let content = content.without_first(trim as usize);
                let (valid, dropped) = match &content {
                    Content::Rows(_) => (range.count(), 0),
                    Content::Dropped(..) => (0, range.count()),
                };
                let mark = range.last;
                let history = row.history.extended(range.first, writer);
                let history = history.unwrap_or_else(|| row.history.clone());
                self.disk.transaction(vec![
                    LogWrite::Entry(Entry { lane, range, content }),
                    LogWrite::Mark {
                        lane,
                        mark,
                        valid,
                        dropped,
                        history,
                    },
                ]);
                CommitOutcome::Committed { mark, writer }
            }
        }
    }

    /// The group is durable: only now it counts.
    pub fn sync(&mut self, oracle: &mut Oracle) {
        self.disk.sync();
        self.tell(oracle);
    }

    /// Tells the oracle what the durable log has gained.
    fn tell(&mut self, oracle: &mut Oracle) {
        let log = self.disk.durable();
        for entry in &log.entries[self.told..] {
            let row = &log.lanes[entry.lane.0 as usize];
            oracle.committed(row.key, entry.range, &entry.content);
            oracle.require(row.mark == row.valid + row.dropped, "conservation", || {
                format!(
                    "{}: mark {} of {} valid, {} dropped",
                    row.wire, row.mark, row.valid, row.dropped
                )
            });
        }
        self.told = log.entries.len();
    }

    /// The process is gone; what its disk has kept by chance is committed all the same.
    pub fn recovered(&mut self, oracle: &mut Oracle) {
        self.answers.clear();
        self.presence = Presence::default();
        self.tell(oracle);
        self.live = *self.views.visible();
        oracle.require(self.live.position <= self.told, "state-is-f-of-log", || {
            "a snapshot is ahead of its log".to_owned()
        });
    }

    /// An older backup is put in the disk's place.
    pub fn restore(&mut self, backup: Log, oracle: &mut Oracle) {
        let log = self.disk.durable();
        let named = |entry: &Entry| {
            let key = log.lanes[entry.lane.0 as usize].key;
            (key, entry.range, entry.content.clone())
        };
        let newer: Vec<_> = log.entries[backup.entries.len()..].iter().map(named).collect();
        oracle.restored(newer.into_iter());
        self.disk = Disk::holding(backup);
        self.views = Disk::new();
        self.told = 0;
        self.recovered(oracle);
    }

    /// Folds the next entry; at the end of the log the views show exactly what it counts.
    pub fn apply(&mut self, oracle: &mut Oracle) {
        let log = self.disk.durable();
        if let Some(entry) = log.entries.get(self.live.position) {
            self.live.fold(entry);
        }
        if self.live.position == log.entries.len() {
            let (live, total) = (self.live, oracle.total);
            oracle.require((live.events, live.sum) == total, "state-is-f-of-log", || {
                format!("the views show {live:?}, the log {total:?}")
            });
        }
    }
}

pub(super) fn refused(expected: Seq, code: RefuseCode) -> CommitOutcome {
    CommitOutcome::Refused {
        expected,
        code,
        message: String::new(),
        retry_after_ms: 10,
    }
}
