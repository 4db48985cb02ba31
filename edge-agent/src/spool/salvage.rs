//! Brings what a damaged database still holds into the fresh one, under its old identity.
//!
//! A salvaged event keeps its lane and seq: whatever of it the aggregator has already, it trims. So the lanes of
//! the damaged file come back as lanes that only drain, and new events begin new epochs. First all seqs between
//! a lane's mark and its end become one hole (a drop record `damaged`); then block after block is read, checked,
//! and takes its place in the hole. Each seq is in exactly one block or record at any time, so a crash loses
//! nothing: the next process goes on where this one ended. Until the end the lanes are not shown to the shipper;
//! what is a hole then, is lost, and the ledger will say so.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tributary_shared::ids::{Epoch, Seq, SeqRange, StreamName};
use tributary_shared::wire::History;
use tributary_shared::wire::rows::{Rows, inflate};

use super::group::{MAX_BLOCK_ROWS, Packed};
use super::handle::MAX_APPEND_BYTES;
use super::lane::Lane;
use super::messages::LaneId;
use super::open::{Database, PAGE_SIZE};
use super::policy::{Budget, Usage};
use super::source::{DamagedBlock, Scan, Source};
use super::store::{Store, StoreError};
use super::store_host::SalvageRow;
use super::transaction::{DROPPED_DAMAGED, Transaction};

/// Bodies of one step: live events wait no longer than for a group commit of others.
const STEP_BYTES: usize = 1 << 20;
/// Rows looked at in one step.
const STEP_ROWS: usize = 64;

/// What was read of a lane in the damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OldLane {
    pub id: i64,
    pub stream: StreamName,
    pub epoch: Epoch,
    /// `None` when only its identity could be read.
    pub marks: Option<Marks>,
    /// The seqs of the blocks and records that can be read.
    pub held: Option<SeqRange>,
    /// Which processes numbered its seqs, as far as that can be read.
    pub history: History,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub next_seq: Seq,
    pub committed_seq: Seq,
    pub unsent_from: Option<Seq>,
}

/// Where a lane begins and ends, by all that is known: its row may be older than its blocks. `None` when it
/// holds nothing.
pub(super) fn bounds(lane: &OldLane) -> Option<Marks> {
    let marks = match (lane.marks, lane.held) {
        (Some(marks), held) => Marks {
            next_seq: held.map_or(marks.next_seq, |held| marks.next_seq.max(held.last + 1)),
            ..marks
        },
        // what lies below the first block is taken for committed: the aggregator's mark will tell
        (None, Some(held)) => Marks {
            next_seq: held.last + 1,
            committed_seq: held.first - 1,
            unsent_from: None,
        },
        (None, None) => return None,
    };
    (marks.committed_seq + 1 < marks.next_seq).then_some(marks)
}

/// Prepares the fresh database for what is in the damaged one.
pub(super) fn begin(database: &mut Database, fresh: &Path, aside: &Path) -> Result<(), StoreError> {
    // the fresh database's first page may have to stand in for the damaged one
    database.checkpoint(true)?;
    let mut row = SalvageRow {
        file: aside
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        ..SalvageRow::default()
    };
    let (lanes, source) = match open_source(fresh, aside) {
        Ok(source) => (source.lanes(&mut row.problems), Some(source)),
        Err(error) => {
            row.problems.push(format!("it cannot be opened: {error}"));
            (Vec::new(), None)
        }
    };
    if lanes.is_empty() {
        row.problems.push("no lane with events could be read".to_owned());
        row.done = true;
    }
    let store = &database.store;
    store.transaction(|| {
        for lane in &lanes {
            let Some(marks) = bounds(lane) else {
                let committed = lane.marks.map_or(0, |marks| marks.committed_seq);
                store.retire(&lane.stream, lane.epoch, committed, &lane.history)?;
                continue;
            };
            let new = store.insert_lane(&lane.stream, lane.epoch, false)?;
            store.update_lane(&Lane {
                next_seq: marks.next_seq,
                committed_seq: marks.committed_seq,
                // a mark beyond the end then means that the lane's row was old, and everything is committed
                unsent_from: marks.unsent_from.or(Some(marks.next_seq)),
                history: lane.history.clone(),
                ..new.clone()
            })?;
            let hole = SeqRange {
                first: marks.committed_seq + 1,
                last: marks.next_seq - 1,
            };
            store.insert_drop(new.id, hole, DROPPED_DAMAGED)?;
            store.map_salvaged(lane.id, new.id)?;
        }
        if let Some(source) = &source {
            source.each_retired(|lane| {
                store.retire(&lane.stream, lane.epoch, lane.committed_seq, &lane.history)
            })?;
            source.each_position(&mut row.problems, |position| store.set_position(&position))?;
            source.each_drop(&mut row.problems, |old, range, reason| {
                match lanes.iter().find(|lane| lane.id == old) {
                    Some(_) => fill_hole(store, old, range, |new, part| {
                        store.insert_drop(new, part, reason)
                    })
                    .map(drop),
                    None => Ok(()),
                }
            })?;
        }
        store.put_salvage(&row)
    })
}

/// Opens the damaged file; one whose first page is unreadable gets that of a fresh database, which names the same
/// tables at the same places. The damaged page is kept beside.
fn open_source(fresh: &Path, aside: &Path) -> Result<Source, StoreError> {
    match Source::open(aside) {
        Ok(source) => return Ok(source),
        Err(error) => tracing::warn!(error = %error, "first page of the damaged spool is replaced"),
    }
    let mut page = vec![0; PAGE_SIZE as usize];
    File::open(fresh)?.read_exact(&mut page)?;
    // other than the change counter: the page count there is not that of this file
    page[92..96].copy_from_slice(&[0xff; 4]);
    let file = File::options().read(true).write(true).open(aside)?;
    let mut damaged = vec![0; PAGE_SIZE as usize];
    file.read_exact_at(&mut damaged, 0)?;
    let mut kept = aside.as_os_str().to_owned();
    kept.push("-page1");
    File::create(PathBuf::from(kept))?.write_all(&damaged)?;
    file.write_all_at(&page, 0)?;
    Source::open(aside)
}

/// Puts the part of `range` that lies in a hole of the lane there with `put`. Nothing where no hole has room for
/// all of it: then its place is taken, or it is committed.
fn fill_hole(
    store: &Store,
    old: i64,
    range: SeqRange,
    put: impl FnOnce(LaneId, SeqRange) -> Result<(), StoreError>,
) -> Result<Option<(LaneId, SeqRange)>, StoreError> {
    let Some((lane, committed)) = store.salvaged_lane(old)? else {
        return Ok(None);
    };
    let part = SeqRange {
        first: range.first.max(committed + 1),
        last: range.last,
    };
    if part.first > part.last {
        return Ok(None);
    }
    let hole = store.drops(lane, part.first, 1)?.pop();
    let Some(hole) = hole.filter(|hole| {
        &*hole.reason == DROPPED_DAMAGED && hole.range.contains(part.first) && hole.range.contains(part.last)
    }) else {
        return Ok(None);
    };
    store.delete_drop(lane, hole.range.first)?;
    let left = (hole.range.first < part.first).then(|| SeqRange {
        first: hole.range.first,
        last: part.first - 1,
    });
    let right = (part.last < hole.range.last).then(|| SeqRange {
        first: part.last + 1,
        last: hole.range.last,
    });
    for rest in [left, right].into_iter().flatten() {
        store.insert_drop(lane, rest, DROPPED_DAMAGED)?;
    }
    put(lane, part)?;
    Ok(Some((lane, part)))
}

impl Transaction<'_> {
    /// Reads some more blocks. `row` is brought up to date; it is done when there are no more.
    pub(super) fn salvage_some(&mut self, source: &Source, row: &mut SalvageRow) -> Result<(), StoreError> {
        let budget = Budget::new(self.config.limit);
        let (mut bytes, mut rows) = (0, 0);
        while bytes < STEP_BYTES && rows < STEP_ROWS && !row.done {
            rows += 1;
            match source.next_block(row.next_id) {
                Scan::End => row.done = true,
                Scan::Unreachable => {
                    row.done = true;
                    row.problems
                        .push("rows at the end could not be reached".to_owned());
                }
                Scan::Damaged { id } => row.next_id = id,
                Scan::Block { id, block } => {
                    row.next_id = id;
                    bytes += block.body.len();
                    let usage = Usage {
                        pages: self.store.pages_in_use()?,
                        wal: self.wal_bytes,
                    };
                    if !budget.rows_fit(usage, block.body.len() as u64 + 256) {
                        row.done = true;
                        row.problems
                            .push("the spool is full: the rest stays in the file".to_owned());
                    } else if is_whole(&block) {
                        self.salvage_block(*block, row)?;
                    }
                }
            }
        }
        if row.done {
            self.end_salvage(row)?;
        }
        self.store.put_salvage(row)
    }

    /// The damaged file is gone, or nothing of it can be read any more.
    pub(super) fn give_up_salvage(&mut self, row: &mut SalvageRow) -> Result<(), StoreError> {
        row.done = true;
        self.end_salvage(row)?;
        self.store.put_salvage(row)
    }

    fn salvage_block(&mut self, block: DamagedBlock, row: &mut SalvageRow) -> Result<(), StoreError> {
        let DamagedBlock {
            lane,
            range,
            times,
            origin,
            codec,
            raw_len,
            crc,
            body,
        } = block;
        let packed = Packed {
            count: u32::try_from(range.count()).unwrap_or(u32::MAX),
            raw_len,
            codec,
            body,
            crc,
        };
        let store = self.store;
        let put = |lane, _| store.insert_block(lane, range, times, origin.as_deref(), &packed);
        if let Some((id, part)) = fill_hole(store, lane, range, put)? {
            row.saved_events += part.count();
            row.saved_bytes += packed.body.len() as u64;
            if let Some(lane) = self.lanes.get_mut(id) {
                lane.held_bytes += packed.body.len() as u64;
                lane.dropped_events -= part.count();
            }
        }
        Ok(())
    }

    /// What is a hole now, is lost. The lanes begin to drain.
    fn end_salvage(&mut self, row: &mut SalvageRow) -> Result<(), StoreError> {
        for id in self.store.salvaged_lanes()? {
            let lost = self.store.damaged_events(id, DROPPED_DAMAGED)?;
            row.lost_events += lost;
            self.dropped_in.insert(id);
        }
        *self.dropped.entry(DROPPED_DAMAGED.into()).or_default() += row.lost_events;
        self.store.end_salvage()?;
        let SalvageRow {
            file,
            saved_events,
            lost_events,
            problems,
            ..
        } = row;
        if *lost_events > 0 {
            tracing::error!(
                file,
                saved_events,
                lost_events,
                ?problems,
                "salvage of the damaged spool ended"
            );
        } else {
            tracing::warn!(
                file,
                saved_events,
                ?problems,
                "salvage of the damaged spool ended"
            );
        }
        Ok(())
    }
}

/// Does the block hold what it says?
fn is_whole(block: &DamagedBlock) -> bool {
    let count = block.range.count();
    if count > u64::from(MAX_BLOCK_ROWS) || block.raw_len as usize > 2 * MAX_APPEND_BYTES {
        return false;
    }
    let Some(segment) = block.segment() else {
        return false;
    };
    inflate(&segment, &block.body, block.raw_len as usize).is_ok_and(|raw| {
        let mut rows = Rows::new(&raw);
        let whole = rows.by_ref().take_while(Result::is_ok).count() as u64;
        whole == count && raw.len() == block.raw_len as usize
    })
}
