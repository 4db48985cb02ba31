//! What happens to a lane when its epoch ends or its blocks turn out to be damaged.

use tributary_shared::ids::{Epoch, Seq, SeqRange};
use tributary_shared::protocol::known_writer;
use tributary_shared::wire::History;

use super::group::without_first;
use super::lane::{Lane, Verdict};
use super::messages::{ForkReason, LaneId, LaneInfo, SpoolError};
use super::store::StoreError;
use super::transaction::{DROPPED_DAMAGED, DROPPED_REWOUND, Outcome, Transaction};

impl Transaction<'_> {
    /// The aggregator opened the lane and stands at `mark`; see [`Verdict`].
    pub(super) fn lane_opened(
        &mut self,
        id: LaneId,
        mark: Seq,
        theirs: Option<&History>,
    ) -> Outcome<LaneInfo> {
        let Some(lane) = self.lanes.get(id) else {
            return Ok(Err(SpoolError::UnknownLane));
        };
        let mut lane = lane.clone();
        match lane.judge(mark, theirs) {
            Verdict::Resume if lane.unsent_from.is_none() && mark == lane.committed_seq => {
                Ok(Ok(lane.info()))
            }
            Verdict::Resume => {
                lane.unsent_from = None;
                self.advance(&mut lane, mark)?;
                let info = lane.info();
                self.put(lane)?;
                Ok(Ok(info))
            }
            Verdict::Rewound { lost } => {
                // a block that lies across the old mark still has its part of them
                let held = self
                    .store
                    .block_at(id, lost.first)?
                    .map_or(lane.next_seq, |block| block.range.first);
                lane.unsent_from = None;
                lane.committed_seq = lost.first - 1;
                if held > lost.first {
                    let gone = SeqRange {
                        first: lost.first,
                        last: lost.last.min(held - 1),
                    };
                    tracing::error!(
                        lane = id.0,
                        first = gone.first,
                        last = gone.last,
                        "aggregator lost committed events"
                    );
                    self.record_drop(&mut lane, gone, DROPPED_REWOUND)?;
                }
                self.put(lane)?;
                self.list_drops()?;
                Ok(self.info(id))
            }
            Verdict::BehindPast { keep_below } => self.fork(lane, keep_below, mark, theirs),
        }
    }

    pub(super) fn fork_epoch(&mut self, id: LaneId, reason: ForkReason) -> Outcome<LaneInfo> {
        let Some(lane) = self.lanes.get(id) else {
            return Ok(Err(SpoolError::UnknownLane));
        };
        let mut lane = lane.clone();
        match reason {
            ForkReason::BehindPast { mark } => {
                // what lies above the mark is not committed, whoever sent it
                let sent_below = lane.unsent_from.map_or(0, |unsent| unsent.min(mark + 1));
                let keep_below = sent_below.max(lane.committed_seq + 1);
                self.fork(lane, keep_below, mark, None)
            }
            ForkReason::Backlog => {
                let (stream, active) = (lane.stream.clone(), lane.active);
                self.lanes.retire(id);
                lane.active = false;
                self.put(lane)?;
                let fork = self.new_lane(&stream, active)?;
                tracing::info!(from = id.0, to = fork.id.0, stream = %stream, "epoch forked away from backlog");
                let id = fork.id;
                self.lanes.insert(fork);
                Ok(self.info(id))
            }
        }
    }

    /// Gives the lane's seqs from `keep_below` on to a new epoch, where they begin with 1. They collide with
    /// other events that the aggregator has under the same seqs. What lies below is what the aggregator has, and
    /// goes as with any mark. What lies between is committed no more, and gone: it is named there.
    fn fork(
        &mut self,
        mut old: Lane,
        keep_below: Seq,
        mark: Seq,
        theirs: Option<&History>,
    ) -> Outcome<LaneInfo> {
        if keep_below > old.committed_seq + 1 {
            self.advance(&mut old, keep_below - 1)?;
        }
        self.cut_block(&mut old)?;
        let mut fork = self.parted_lane(&old, keep_below)?;
        let shift = keep_below - 1;
        self.store.move_to(old.id, fork.id, shift)?;
        fork.active = old.active;
        fork.next_seq = old.next_seq - shift;
        fork.history = old.history.shifted(shift);
        fork.held_bytes = old.held_bytes;
        fork.dropped_events = old.dropped_events;
        if old.committed_seq > shift {
            let gone = SeqRange {
                first: 1,
                last: old.committed_seq - shift,
            };
            self.record_drop(&mut fork, gone, DROPPED_REWOUND)?;
        }
        self.renumbered += fork.held_events();
        // the old row goes first: a stream has one active lane
        self.let_go(&old, mark.max(shift), theirs.unwrap_or(&old.history))?;
        let id = fork.id;
        tracing::warn!(
            stream = %old.stream, old_epoch = old.epoch.0, epoch = fork.epoch.0, mark, next_seq = old.next_seq,
            events = fork.held_events(), "spool is behind its own past, new epoch begun"
        );
        self.dropped_in.insert(id);
        self.put(fork)?;
        self.list_drops()?;
        Ok(self.info(id))
    }

    /// A lane for what must leave another one from this seq on. Where the writer is known, every copy of this spool
    /// that must do the same begins the same epoch: what they hold in common still has one identity.
    fn parted_lane(&self, old: &Lane, from: Seq) -> Result<Lane, StoreError> {
        let epoch =
            known_writer(&old.history, from, old.next_seq).map(|writer| old.epoch.parted(from, writer));
        let free = |epoch: &Epoch| {
            let taken = |lane: &Lane| (&lane.stream, lane.epoch) == (&old.stream, *epoch);
            !self.lanes.iter().any(taken)
        };
        match epoch.filter(free) {
            Some(epoch) => self.store.insert_lane(&old.stream, epoch, false),
            None => self.new_lane(&old.stream, false),
        }
    }

    /// Cuts committed events off a block that lies across the mark.
    fn cut_block(&mut self, lane: &mut Lane) -> Result<(), StoreError> {
        let first = lane.committed_seq + 1;
        let Some(extent) = self
            .store
            .block_at(lane.id, first)?
            .filter(|block| block.range.first < first)
        else {
            return Ok(());
        };
        let block = self.store.block(lane.id, extent.range.first)?;
        self.store.delete_block(lane.id, extent.range.first)?;
        lane.held_bytes -= extent.bytes;
        let rest = SeqRange {
            first,
            last: extent.range.last,
        };
        match block.map(|block| (without_first(&block, first - extent.range.first), block)) {
            Some((Ok(packed), block)) if u64::from(packed.count) == rest.count() => {
                let times = (block.collected_at, block.spooled_at);
                self.store
                    .insert_block(lane.id, rest, times, block.origin.as_deref(), &packed)?;
                lane.held_bytes += packed.body.len() as u64;
                Ok(())
            }
            _ => self.record_damage(lane, rest),
        }
    }

    /// The block's body does not match its checksum: its events are lost, and the ledger will say so.
    pub(super) fn drop_damaged(&mut self, id: LaneId, first: Seq) -> Result<(), StoreError> {
        let Some(mut lane) = self.lanes.get(id).cloned() else {
            return Ok(());
        };
        let Some(extent) = self.store.block_at(id, first)? else {
            return Ok(());
        };
        self.store.delete_block(id, extent.range.first)?;
        lane.held_bytes -= extent.bytes;
        let rest = SeqRange {
            first: extent.range.first.max(lane.committed_seq + 1),
            last: extent.range.last,
        };
        self.record_damage(&mut lane, rest)?;
        self.put(lane)
    }

    fn record_damage(&mut self, lane: &mut Lane, range: SeqRange) -> Result<(), StoreError> {
        tracing::error!(
            lane = lane.id.0, stream = %lane.stream, first = range.first, last = range.last,
            "block damaged on disk, its events are lost"
        );
        self.record_drop(lane, range, DROPPED_DAMAGED)
    }
}
