//! Carries out commands inside one transaction of the store, and keeps the lanes in memory in step with it.
//!
//! Nothing here commits: when the transaction fails, the lanes are loaded again from disk.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tributary_shared::ids::{AgentId, Epoch, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::MAX_SESSION_LANES;

use super::config::SpoolConfig;
use super::group::{Request, Unit, without_first};
use super::handle::InFlight;
use super::lane::{Lane, Lanes, Verdict};
use super::messages::{Accepted, ForkReason, InputPosition, LaneId, LaneInfo, NewDropped, SpoolError};
use super::open::Database;
use super::policy::{Budget, Decision, Usage};
use super::store::{Extent, Store, StoreError};

/// Drop records that [`LaneInfo::dropped`] lists; the rest are counted.
pub const MAX_LISTED_DROPS: usize = 64;
/// A full spool empties at the speed of the network: asking more often only costs.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// What a block's row, its index entry and half-filled pages cost beside the body, rounded up.
const BLOCK_OVERHEAD: u64 = 256;

/// Reasons of the drop records that the spool itself writes.
pub const DROPPED_OLDEST: &str = "drop_oldest";
pub const DROPPED_REWOUND: &str = tributary_shared::protocol::FORGOTTEN;
pub const DROPPED_DAMAGED: &str = "damaged";

/// A command's outcome within a transaction that goes on: the outer error ends the transaction.
pub(super) type Outcome<T> = Result<Result<T, SpoolError>, StoreError>;

/// Everything that a command may touch.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    pub store: &'a Store,
    pub lanes: &'a mut Lanes,
    pub config: &'a SpoolConfig,
    pub agent: &'a AgentId,
    pub in_flight: &'a InFlight,
    pub now: Millis,
    pub wal_bytes: u64,
    /// Streams whose append was refused: later ones of the group would overtake it.
    pub refused: HashSet<StreamName>,
    /// Lanes whose drop records changed.
    pub dropped_in: BTreeSet<LaneId>,
    /// Events dropped, by reason.
    pub dropped: HashMap<Arc<str>, u64>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        database: &'a mut Database,
        config: &'a SpoolConfig,
        agent: &'a AgentId,
        in_flight: &'a InFlight,
        now: Millis,
    ) -> Self {
        let wal_bytes = database.wal_bytes();
        let Database { store, lanes, .. } = database;
        let (refused, dropped_in, dropped) = Default::default();
        Self {
            store,
            lanes,
            config,
            agent,
            in_flight,
            now,
            wal_bytes,
            refused,
            dropped_in,
            dropped,
        }
    }

    /// Stores a unit's rows and moves its positions; gives each request its range, in order.
    pub(super) fn append(&mut self, unit: &mut Unit) -> Outcome<Vec<Accepted>> {
        if self.refused.contains(&unit.stream) {
            return Ok(Err(SpoolError::Full {
                retry_after: FULL_RETRY,
            }));
        }
        // a full spool refuses before it compresses
        if let Err(error) = self.make_room(&unit.stream, BLOCK_OVERHEAD)? {
            return Ok(Err(self.refuse(&unit.stream, error)));
        }
        let blocks = unit.pack()?;
        let need = blocks
            .iter()
            .map(|block| block.body.len() as u64 + BLOCK_OVERHEAD)
            .sum();
        if let Err(error) = self.make_room(&unit.stream, need)? {
            return Ok(Err(self.refuse(&unit.stream, error)));
        }
        let mut lane = match self.active_lane(&unit.stream)? {
            Ok(lane) => lane,
            Err(error) => return Ok(Err(error)),
        };
        let mut next = lane.next_seq;
        for block in &blocks {
            let range = SeqRange::from_count(lane.next_seq, block.count);
            let times = (unit.collected_at, self.now);
            self.store
                .insert_block(lane.id, range, times, unit.origin.as_deref(), block)?;
            lane.next_seq = range.last + 1;
            lane.held_bytes += block.body.len() as u64;
        }
        let mut accepted = Vec::with_capacity(unit.requests.len());
        for Request { count, position, .. } in &unit.requests {
            accepted.push(self.accepted(&lane, SeqRange::from_count(next, *count)));
            next += u64::from(*count);
            if let Some(position) = position {
                self.store.set_position(position)?;
            }
        }
        self.put(lane)?;
        Ok(Ok(accepted))
    }

    fn refuse(&mut self, stream: &StreamName, error: SpoolError) -> SpoolError {
        self.refused.insert(stream.clone());
        error
    }

    /// Gives seqs to events that are gone already.
    pub(super) fn append_dropped(&mut self, dropped: &NewDropped) -> Outcome<Accepted> {
        if self.refused.contains(&dropped.stream) {
            return Ok(Err(SpoolError::Full {
                retry_after: FULL_RETRY,
            }));
        }
        if let Err(error) = self.make_room(&dropped.stream, BLOCK_OVERHEAD)? {
            return Ok(Err(self.refuse(&dropped.stream, error)));
        }
        let mut lane = match self.active_lane(&dropped.stream)? {
            Ok(lane) => lane,
            Err(error) => return Ok(Err(error)),
        };
        let range = SeqRange::from_count(lane.next_seq, dropped.count);
        lane.next_seq = range.last + 1;
        self.record_drop(&mut lane, range, &dropped.reason)?;
        if let Some(position) = &dropped.position {
            self.store.set_position(position)?;
        }
        let accepted = self.accepted(&lane, range);
        self.put(lane)?;
        Ok(Ok(accepted))
    }

    pub(super) fn set_position(&self, position: &InputPosition) -> Outcome<()> {
        Ok(Ok(self.store.set_position(position)?))
    }

    pub(super) fn forget_position(&self, key: &str) -> Outcome<()> {
        Ok(Ok(self.store.forget_position(key)?))
    }

    /// The aggregator has everything up to `mark`.
    pub(super) fn commit_mark(&mut self, id: LaneId, mark: Seq) -> Outcome<()> {
        let Some(lane) = self.lanes.get(id) else {
            return Ok(Err(SpoolError::UnknownLane));
        };
        if mark >= lane.next_seq {
            return Ok(Err(SpoolError::MarkAhead {
                mark,
                next_seq: lane.next_seq,
            }));
        }
        if mark > lane.committed_seq {
            let mut lane = lane.clone();
            self.advance(&mut lane, mark)?;
            self.put(lane)?;
        }
        Ok(Ok(()))
    }

    /// The aggregator opened the lane and stands at `mark`; see [`Verdict`].
    pub(super) fn lane_opened(&mut self, id: LaneId, mark: Seq) -> Outcome<LaneInfo> {
        let Some(lane) = self.lanes.get(id) else {
            return Ok(Err(SpoolError::UnknownLane));
        };
        let mut lane = lane.clone();
        match lane.judge(mark) {
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
            Verdict::BehindPast { keep_below } => self.fork(lane, keep_below, mark),
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
                self.fork(lane, keep_below, mark)
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
    /// other events that the aggregator has under the same seqs, and were never sent. What lies below is
    /// what the aggregator has, and goes as with any mark.
    fn fork(&mut self, mut old: Lane, keep_below: Seq, mark: Seq) -> Outcome<LaneInfo> {
        if keep_below > old.committed_seq + 1 {
            self.advance(&mut old, keep_below - 1)?;
        }
        self.cut_block(&mut old)?;
        let mut fork = self.new_lane(&old.stream, false)?;
        let shift = old.committed_seq;
        self.store.move_to(old.id, fork.id, shift)?;
        fork.active = old.active;
        fork.next_seq = old.next_seq - shift;
        fork.held_bytes = old.held_bytes;
        fork.dropped_events = old.dropped_events;
        // the old row goes first: a stream has one active lane
        self.store.delete_lane(old.id)?;
        self.lanes.remove(old.id);
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

    /// Room for `need` bytes by the stream's policy. The inner error is the answer to the append.
    fn make_room(&mut self, stream: &StreamName, need: u64) -> Outcome<()> {
        let (budget, policy) = (Budget::new(self.config.limit), self.config.policy(stream));
        loop {
            let usage = Usage {
                pages: self.store.pages_in_use()?,
                wal: self.wal_bytes,
            };
            match budget.decide(policy, usage, need) {
                Decision::Admit => return Ok(Ok(())),
                Decision::Refuse => {
                    return Ok(Err(SpoolError::Full {
                        retry_after: FULL_RETRY,
                    }));
                }
                Decision::TooLarge { limit } => return Ok(Err(SpoolError::TooLarge { len: need, limit })),
                Decision::DropOldest { bytes } => {
                    if self.drop_oldest(stream, bytes)? == 0 {
                        return Ok(Err(SpoolError::Full {
                            retry_after: FULL_RETRY,
                        }));
                    }
                }
            }
        }
    }

    /// Deletes the stream's oldest blocks, older epochs first, until `bytes` of bodies are gone. Spares what is
    /// in flight: its ack is near, and would make the drop record a lie. Returns the blocks deleted.
    fn drop_oldest(&mut self, stream: &StreamName, bytes: u64) -> Result<usize, StoreError> {
        let ids: Vec<LaneId> = self
            .lanes
            .iter()
            .filter(|lane| lane.stream == *stream)
            .map(|lane| lane.id)
            .collect();
        let (mut freed, mut deleted) = (0, 0);
        for id in ids {
            let sent = self
                .in_flight
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&id)
                .copied();
            let Some(mut lane) = self.lanes.get(id).cloned() else {
                continue;
            };
            while freed < bytes
                && let Some(extent) = self.first_unsent(&lane, sent)?
            {
                self.store.delete_block(id, extent.range.first)?;
                lane.held_bytes -= extent.bytes;
                let range = SeqRange {
                    first: extent.range.first.max(lane.committed_seq + 1),
                    last: extent.range.last,
                };
                self.record_drop(&mut lane, range, DROPPED_OLDEST)?;
                freed += extent.bytes;
                deleted += 1;
            }
            self.put(lane)?;
        }
        Ok(deleted)
    }

    fn first_unsent(&self, lane: &Lane, sent: Option<Seq>) -> Result<Option<Extent>, StoreError> {
        let from = sent.unwrap_or(0).max(lane.committed_seq) + 1;
        let found = self.store.block_at(lane.id, from)?;
        match (found, sent) {
            // a block whose first part was sent is in flight as well
            (Some(extent), Some(sent)) if extent.range.first <= sent => {
                self.store.block_at(lane.id, extent.range.last + 1)
            }
            (found, _) => Ok(found),
        }
    }

    fn record_drop(&mut self, lane: &mut Lane, range: SeqRange, reason: &str) -> Result<(), StoreError> {
        self.store.insert_drop(lane.id, range, reason)?;
        lane.dropped_events += range.count();
        self.dropped_in.insert(lane.id);
        *self.dropped.entry(reason.into()).or_default() += range.count();
        Ok(())
    }

    /// Deletes what the mark covers and moves it. The caller puts the lane.
    fn advance(&mut self, lane: &mut Lane, mark: Seq) -> Result<(), StoreError> {
        lane.held_bytes -= self.store.delete_blocks(lane.id, mark)?;
        let forgotten = self.store.delete_drops(lane.id, mark)?;
        if forgotten > 0 {
            lane.dropped_events -= forgotten;
            self.dropped_in.insert(lane.id);
        }
        lane.committed_seq = mark;
        Ok(())
    }

    fn active_lane(&mut self, stream: &StreamName) -> Outcome<Lane> {
        if let Some(lane) = self.lanes.active(stream).and_then(|id| self.lanes.get(id)) {
            return Ok(Ok(lane.clone()));
        }
        if self.lanes.len() >= MAX_SESSION_LANES as usize {
            return Ok(Err(SpoolError::TooManyStreams {
                limit: MAX_SESSION_LANES,
            }));
        }
        let lane = self.new_lane(stream, true)?;
        tracing::info!(lane = lane.id.0, stream = %stream, epoch = lane.epoch.0, "lane begun");
        Ok(Ok(lane))
    }

    fn new_lane(&self, stream: &StreamName, active: bool) -> Result<Lane, StoreError> {
        let seconds = u64::try_from(self.now / 1_000).unwrap_or(0);
        self.store
            .insert_lane(stream, Epoch::from_parts(seconds, rand::random()), active)
    }

    /// Stores the lane; a drained one that takes no new events goes.
    fn put(&mut self, lane: Lane) -> Result<(), StoreError> {
        if lane.is_empty() && !lane.active {
            self.store.delete_lane(lane.id)?;
            self.lanes.remove(lane.id);
        } else {
            self.store.update_lane(&lane)?;
            self.lanes.insert(lane);
        }
        Ok(())
    }

    fn accepted(&self, lane: &Lane, range: SeqRange) -> Accepted {
        Accepted {
            agent: self.agent.clone(),
            stream: lane.stream.clone(),
            epoch: lane.epoch,
            range,
        }
    }

    fn info(&self, id: LaneId) -> Result<LaneInfo, SpoolError> {
        self.lanes.get(id).map(Lane::info).ok_or(SpoolError::UnknownLane)
    }

    /// Brings the lists of drop records in memory up to date: once a transaction, not once a drop.
    pub(super) fn list_drops(&mut self) -> Result<(), StoreError> {
        list_drops(self.store, self.lanes, std::mem::take(&mut self.dropped_in))
    }
}

/// Lists the drop records of these lanes.
pub(super) fn list_drops(
    store: &Store,
    lanes: &mut Lanes,
    of: impl IntoIterator<Item = LaneId>,
) -> Result<(), StoreError> {
    for id in of {
        if let Some(lane) = lanes.get_mut(id) {
            lane.dropped = store.drops(id, lane.committed_seq + 1, MAX_LISTED_DROPS)?.into();
        }
    }
    Ok(())
}
