//! The spool of a simulated agent: the rules of the real one over the model of a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::disk::{Disk, Image};
use super::oracle::{EventNo, Oracle};
use crate::ids::{Epoch, Seq, SeqRange};
use crate::protocol::{FORGOTTEN, MAX_RETIRED_LANES, SpoolLane, SpoolVerdict, judge, known_writer};
use crate::wire::History;

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

    /// The first `count` events alone.
    pub fn first(&self, count: usize) -> Self {
        match self {
            Self::Rows(events) => Self::Rows(events[..count].into()),
            Self::Dropped(reason, events) => Self::Dropped(reason, events[..count.min(events.len())].into()),
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

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub stream: u32,
    pub epoch: Epoch,
    pub active: bool,
    pub next_seq: Seq,
    pub committed: Seq,
    pub unsent_from: Option<Seq>,
    pub history: History,
}

#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub row: Row,
    pub blocks: VecDeque<Block>,
}

/// What is left of a lane that was drained and let go of.
#[derive(Debug, Clone)]
pub(super) struct Retired {
    pub no: u64,
    pub stream: u32,
    pub epoch: Epoch,
    pub committed: Seq,
    pub history: History,
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
    /// Its number does not count yet.
    Retire(Retired),
    /// The retired lane of this number is known up to this seq only.
    Shorten(u64, Seq),
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
                    .and_modify(|lane| lane.row = row.clone())
                    .or_insert(Lane {
                        row: row.clone(),
                        blocks,
                    });
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
            Write::Shorten(no, committed) => {
                let lanes = self.retired.iter_mut().filter(|lane| lane.no == *no);
                lanes.for_each(|lane| lane.committed = *committed);
            }
            Write::Retire(lane) => {
                let no = self.retired.back().map_or(1, |last| last.no + 1);
                self.retired.push_back(Retired { no, ..lane.clone() });
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
    /// This process, as the one that numbers seqs.
    writer: u64,
}

impl Spool {
    /// What a starting process does: seqs given out from now on were not sent before the aggregator is heard.
    pub fn open(image: Lanes, writer: u64) -> Self {
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
                        ..lane.row.clone()
                    },
                )
            })
            .collect();
        disk.transaction(writes);
        disk.sync();
        Self {
            disk,
            waiting: Vec::new(),
            writer,
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
            (*id, lane.row.clone())
        });
        let row = self.numbered(row);
        let range = SeqRange::from_count(row.next_seq, events.len() as u32);
        let content = Content::Rows(events.into());
        oracle.identified(of, &row, range.first, events);
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

    /// This process numbers what comes next in the lane.
    fn numbered(&self, row: Row) -> Row {
        let history = row.history.extended(row.next_seq, self.writer);
        let history = history.unwrap_or_else(|| row.history.clone());
        Row { history, ..row }
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
        let row = lane.row.clone();
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
            writes.extend(retire(&row, row.committed, &row.history));
        } else {
            writes.push(Write::Row(id, row));
        }
        writes
    }

    /// Judges the mark. The caller syncs before it goes on.
    pub fn lane_opened(
        &mut self,
        id: u32,
        (mark, theirs): (Seq, Option<&History>),
        epoch: Epoch,
        of: usize,
        oracle: &mut Oracle,
    ) -> Opened {
        let Some(lane) = self.lane(id) else {
            return Opened::Unknown;
        };
        let row = lane.row.clone();
        let view = SpoolLane {
            unsent_from: row.unsent_from,
            committed_seq: row.committed,
            next_seq: row.next_seq,
            history: &row.history,
        };
        match judge(view, mark, theirs) {
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
                self.fork(id, keep_below, (mark, theirs), epoch, of, oracle);
                Opened::Forked
            }
        }
    }

    /// Gives the lane's seqs from `keep_below` on to a new epoch, where they begin with 1.
    fn fork(
        &mut self,
        id: u32,
        keep_below: Seq,
        (mark, theirs): (Seq, Option<&History>),
        epoch: Epoch,
        of: usize,
        oracle: &mut Oracle,
    ) {
        let lanes = self.disk.visible();
        let (to, lane) = (lanes.highest + 1, &lanes.by_id[&id]);
        let (shift, next_seq) = (keep_below - 1, lane.row.next_seq);
        // in every copy of this spool the same
        let epoch = known_writer(&lane.row.history, keep_below, next_seq)
            .map(|writer| lane.row.epoch.parted(keep_below, writer))
            .filter(|epoch| lanes.by_id.values().all(|lane| lane.row.epoch != *epoch))
            .unwrap_or(epoch);
        let row = Row {
            next_seq: next_seq - shift,
            history: lane.row.history.shifted(shift),
            ..new_row(lane.row.stream, epoch, lane.row.active)
        };
        let known = theirs.unwrap_or(&lane.row.history);
        let mut writes = vec![Write::Delete(id), Write::Row(to, row.clone())];
        writes.extend(retire(&lane.row, mark.max(shift), known));
        if let Some(lost) = (lane.row.committed + 1)
            .checked_sub(keep_below)
            .filter(|lost| *lost > 0)
        {
            let range = SeqRange { first: 1, last: lost };
            let content = Content::Dropped(
                FORGOTTEN,
                oracle.taken((of, row.stream), lane.row.epoch, keep_below, lost),
            );
            writes.push(Write::Block(to, Block { range, content }));
        }
        let held = shift.max(lane.row.committed) + 1;
        for block in lane.blocks.iter().filter(|block| block.range.last >= held) {
            let cut = held.saturating_sub(block.range.first) as usize;
            let content = block.content.without_first(cut);
            let first = block.range.first.max(held) - shift;
            let last = block.range.last - shift;
            oracle.identified(of, &row, first, content.events());
            let range = SeqRange { first, last };
            writes.push(Write::Block(to, Block { range, content }));
        }
        self.disk.transaction(writes);
    }

    /// Live data moves to a new epoch, away from a backlog that keeps its identity.
    pub fn fork_backlog(&mut self, id: u32, epoch: Epoch) {
        let lanes = self.disk.visible();
        let Some(lane) = lanes.by_id.get(&id) else { return };
        let (to, row) = (lanes.highest + 1, lane.row.clone());
        let fresh = new_row(row.stream, epoch, row.active);
        let writes = self.put(id, Row { active: false, ..row }, Vec::new());
        let writes = [writes, vec![Write::Row(to, fresh)]].concat();
        self.disk.transaction(writes);
    }

    /// The aggregator has forgotten the end of a retired lane, and has other events there: the loss gets new seqs.
    pub fn forgotten_and_taken(&mut self, no: u64, from: Seq, epoch: Epoch, of: usize, oracle: &mut Oracle) {
        let lanes = self.disk.visible();
        let Some(gone) = lanes
            .retired
            .iter()
            .find(|lane| lane.no == no && lane.committed >= from)
        else {
            return;
        };
        let (stream, lost) = (gone.stream, gone.committed + 1 - from);
        let active = lanes
            .by_id
            .iter()
            .find(|(_, lane)| lane.row.stream == stream && lane.row.active);
        let (id, row) = active.map_or((lanes.highest + 1, new_row(stream, epoch, true)), |(id, lane)| {
            (*id, lane.row.clone())
        });
        let row = self.numbered(row);
        let range = SeqRange {
            first: row.next_seq,
            last: row.next_seq + lost - 1,
        };
        let content = Content::Dropped(FORGOTTEN, oracle.taken((of, stream), gone.epoch, from, lost));
        let row = Row {
            next_seq: range.last + 1,
            ..row
        };
        self.disk.transaction(vec![
            Write::Shorten(no, from - 1),
            Write::Row(id, row),
            Write::Block(id, Block { range, content }),
        ]);
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
fn retire(row: &Row, committed: Seq, history: &History) -> Option<Write> {
    (committed > 0).then(|| {
        Write::Retire(Retired {
            no: 0,
            stream: row.stream,
            epoch: row.epoch,
            committed,
            history: history.clone(),
        })
    })
}

pub(super) fn new_row(stream: u32, epoch: Epoch, active: bool) -> Row {
    Row {
        stream,
        epoch,
        active,
        next_seq: 1,
        committed: 0,
        unsent_from: None,
        history: History::default(),
    }
}
