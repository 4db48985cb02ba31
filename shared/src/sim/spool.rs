//! The spool of a simulated agent: the rules of the real one over the model of a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::disk::{Disk, Image};
use super::oracle::{EventNo, Oracle};
use crate::ids::{Epoch, Seq, SeqRange};
use crate::protocol::{FORGOTTEN, MAX_RETIRED_LANES, SpoolVerdict, judge};

pub(super) const DROPPED_OLDEST: &str = "drop_oldest";

/// What a run of seqs stands for.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Rows(Arc<[EventNo]>),
    /// The events are listed for the oracle; an agent that reports what the aggregator forgot knows none.
    Dropped(&'static str, Arc<[EventNo]>),
}

impl Content {
    pub fn events(&self) -> &[EventNo] {
        match self {
            Self::Rows(events) | Self::Dropped(_, events) => events,
        }
    }

    /// Without the first `count` events.
    pub fn without_first(&self, count: usize) -> Self {
        match self {
            Self::Rows(events) => Self::Rows(events[count..].into()),
            Self::Dropped(reason, events) => Self::Dropped(reason, events[count.min(events.len())..].into()),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Block {
    pub range: SeqRange,
    pub content: Content,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub stream: u32,
    pub epoch: Epoch,
    pub active: bool,
    pub next_seq: Seq,
    pub committed: Seq,
    pub unsent_from: Option<Seq>,
}

#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub row: Row,
    pub blocks: VecDeque<Block>,
}

/// What is left of a lane that was drained and let go of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retired {
    pub no: u64,
    pub stream: u32,
    pub epoch: Epoch,
    pub committed: Seq,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Lanes {
    pub by_id: BTreeMap<u32, Lane>,
    pub retired: VecDeque<Retired>,
    highest: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Write {
    Row(u32, Row),
    /// In the place of the block with the same first seq, if there is one.
    Block(u32, Block),
    /// Deletes the blocks that the mark covers.
    Forget(u32, Seq),
    Delete(u32),
    /// Stream, epoch, and up to where it was committed.
    Retire(u32, Epoch, Seq),
}

impl Image for Lanes {
    type Write = Write;

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Row(id, row) => {
                self.highest = self.highest.max(*id);
                let blocks = VecDeque::new();
                self.by_id
                    .entry(*id)
                    .and_modify(|lane| lane.row = *row)
                    .or_insert(Lane { row: *row, blocks });
            }
            Write::Block(id, block) => {
                if let Some(lane) = self.by_id.get_mut(id) {
                    let at = lane.blocks.partition_point(|b| b.range.first < block.range.first);
                    match lane.blocks.get_mut(at) {
                        Some(old) if old.range.first == block.range.first => *old = block.clone(),
                        _ => lane.blocks.insert(at, block.clone()),
                    }
                }
            }
            Write::Forget(id, mark) => {
                if let Some(lane) = self.by_id.get_mut(id) {
                    while lane.blocks.front().is_some_and(|block| block.range.last <= *mark) {
                        lane.blocks.pop_front();
                    }
                }
            }
            Write::Delete(id) => {
                self.by_id.remove(id);
            }
            Write::Retire(stream, epoch, committed) => {
                self.retired.push_back(Retired {
                    no: self.retired.back().map_or(1, |last| last.no + 1),
                    stream: *stream,
                    epoch: *epoch,
                    committed: *committed,
                });
                if self.retired.len() > MAX_RETIRED_LANES {
                    self.retired.pop_front();
                }
            }
        }
    }
}

/// What the aggregator's mark led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    Resume,
    Rewound,
    Forked,
    Unknown,
}

#[derive(Debug)]
pub(super) struct Spool {
    pub disk: Disk<Lanes>,
    /// Producers that wait for the sync of their events.
    waiting: Vec<EventNo>,
}

impl Spool {
    /// What a starting process does: seqs given out from now on were not sent before the aggregator is heard.
    pub fn open(image: Lanes) -> Self {
        let mut disk = Disk::holding(image);
        let rows = disk
            .visible()
            .by_id
            .iter()
            .filter(|(_, lane)| lane.row.unsent_from.is_none());
        let writes = rows
            .map(|(&id, lane)| {
                let unsent_from = Some(lane.row.next_seq);
                Write::Row(
                    id,
                    Row {
                        unsent_from,
                        ..lane.row
                    },
                )
            })
            .collect();
        disk.transaction(writes);
        disk.sync();
        Self {
            disk,
            waiting: Vec::new(),
        }
    }

    fn lane(&self, id: u32) -> Option<&Lane> {
        self.disk.visible().by_id.get(&id)
    }

    pub fn held_events(&self) -> usize {
        let lanes = self.disk.visible().by_id.values();
        lanes
            .map(|lane| (lane.row.next_seq - 1 - lane.row.committed) as usize)
            .sum()
    }

    /// The events get their identity in the transaction that first writes them.
    pub fn append(&mut self, stream: u32, epoch: Epoch, events: &[EventNo], of: usize, oracle: &mut Oracle) {
        let lanes = self.disk.visible();
        let active = lanes
            .by_id
            .iter()
            .find(|(_, lane)| lane.row.stream == stream && lane.row.active);
        let (id, row) = active.map_or((lanes.highest + 1, new_row(stream, epoch, true)), |(id, lane)| {
            (*id, lane.row)
        });
        let range = SeqRange::from_count(row.next_seq, events.len() as u32);
        let content = Content::Rows(events.into());
        oracle.identified(of, row, range.first, events);
        let row = Row {
            next_seq: range.last + 1,
            ..row
        };
        self.disk.transaction(vec![
            Write::Row(id, row),
            Write::Block(id, Block { range, content }),
        ]);
        self.waiting.extend_from_slice(events);
    }

    /// Answers the producers whose events are durable now.
    pub fn sync(&mut self, oracle: &mut Oracle) {
        self.disk.sync();
        oracle.accepted(self.waiting.drain(..));
    }

    /// The producers never hear: their events may be there or not.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    pub fn commit_mark(&mut self, id: u32, mark: Seq) {
        let Some(lane) = self.lane(id) else { return };
        let row = lane.row;
        if mark > row.committed && mark < row.next_seq {
            let row = Row {
                committed: mark,
                ..row
            };
            let writes = self.put(id, row, vec![Write::Forget(id, mark)]);
            self.disk.transaction(writes);
        }
    }

    /// A drained lane that takes no new events goes.
    fn put(&self, id: u32, row: Row, mut writes: Vec<Write>) -> Vec<Write> {
        let gone = !row.active && row.committed + 1 == row.next_seq;
        if gone {
            writes.push(Write::Delete(id));
            writes.extend(retire(row, row.committed));
        } else {
            writes.push(Write::Row(id, row));
        }
        writes
    }

    /// Judges the mark. The caller syncs before it goes on.
    pub fn lane_opened(
        &mut self,
        id: u32,
        mark: Seq,
        epoch: Epoch,
        of: usize,
        oracle: &mut Oracle,
    ) -> Opened {
        let Some(lane) = self.lane(id) else {
            return Opened::Unknown;
        };
        let row = lane.row;
        match judge(row.unsent_from, row.committed, row.next_seq, mark) {
            SpoolVerdict::Resume => {
                oracle.require(mark < row.next_seq, "identity-first", || {
                    format!(
                        "lane {id} goes on behind {mark}, and has given out seqs below {} only",
                        row.next_seq
                    )
                });
                let mark = mark.min(row.next_seq - 1);
                let row = Row {
                    unsent_from: None,
                    committed: mark,
                    ..row
                };
                let writes = self.put(id, row, vec![Write::Forget(id, mark)]);
                self.disk.transaction(writes);
                Opened::Resume
            }
            SpoolVerdict::Rewound { lost } => {
                let held = lane
                    .blocks
                    .front()
                    .map_or(row.next_seq, |block| block.range.first);
                let row = Row {
                    unsent_from: None,
                    committed: lost.first - 1,
                    ..row
                };
                let mut writes = Vec::new();
                if held > lost.first {
                    let last = lost.last.min(held - 1);
                    let range = SeqRange {
                        first: lost.first,
                        last,
                    };
                    let content = Content::Dropped(FORGOTTEN, Arc::new([]));
                    writes.push(Write::Block(id, Block { range, content }));
                }
                writes.push(Write::Row(id, row));
                self.disk.transaction(writes);
                Opened::Rewound
            }
            SpoolVerdict::BehindPast { keep_below } => {
                self.fork(id, keep_below, mark, epoch, of, oracle);
                Opened::Forked
            }
        }
    }

    /// Gives the lane's seqs from `keep_below` on to a new epoch, where they begin with 1.
    fn fork(&mut self, id: u32, keep_below: Seq, mark: Seq, epoch: Epoch, of: usize, oracle: &mut Oracle) {
        let lanes = self.disk.visible();
        let (to, lane) = (lanes.highest + 1, &lanes.by_id[&id]);
        let shift = keep_below.max(lane.row.committed + 1) - 1;
        let row = Row {
            next_seq: lane.row.next_seq - shift,
            ..new_row(lane.row.stream, epoch, lane.row.active)
        };
        let mut writes = vec![Write::Delete(id), Write::Row(to, row)];
        writes.extend(retire(lane.row, mark.max(shift)));
        for block in lane.blocks.iter().filter(|block| block.range.last > shift) {
            let cut = (shift + 1).saturating_sub(block.range.first) as usize;
            let content = block.content.without_first(cut);
            let first = block.range.first.max(shift + 1) - shift;
            let last = block.range.last - shift;
            oracle.identified(of, row, first, content.events());
            let range = SeqRange { first, last };
            writes.push(Write::Block(to, Block { range, content }));
        }
        self.disk.transaction(writes);
    }

    /// Live data moves to a new epoch, away from a backlog that keeps its identity.
    pub fn fork_backlog(&mut self, id: u32, epoch: Epoch) {
        let lanes = self.disk.visible();
        let Some(lane) = lanes.by_id.get(&id) else { return };
        let (to, row) = (lanes.highest + 1, lane.row);
        let fresh = new_row(row.stream, epoch, row.active);
        let writes = self.put(id, Row { active: false, ..row }, Vec::new());
        let writes = [writes, vec![Write::Row(to, fresh)]].concat();
        self.disk.transaction(writes);
    }

    /// Drops the oldest block above `spare`, which is what was sent. Returns how many events went.
    pub fn drop_oldest(&mut self, id: u32, spare: Seq) -> usize {
        let Some(lane) = self.lane(id) else { return 0 };
        let above = |block: &&Block| block.range.first > spare.max(lane.row.committed);
        let Some(block) = lane.blocks.iter().find(above) else {
            return 0;
        };
        let Content::Rows(events) = &block.content else {
            return 0;
        };
        let (range, count) = (block.range, events.len());
        let content = Content::Dropped(DROPPED_OLDEST, Arc::clone(events));
        self.disk
            .transaction(vec![Write::Block(id, Block { range, content })]);
        count
    }
}

/// A lane that never had an event leaves nothing.
fn retire(row: Row, committed: Seq) -> Option<Write> {
    (committed > 0).then_some(Write::Retire(row.stream, row.epoch, committed))
}

pub(super) fn new_row(stream: u32, epoch: Epoch, active: bool) -> Row {
    Row {
        stream,
        epoch,
        active,
        next_seq: 1,
        committed: 0,
        unsent_from: None,
    }
}
