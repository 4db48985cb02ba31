//! Carries out commands inside one transaction of the store, and keeps the lanes in memory in step with it.
//!
//! Nothing here commits: when the transaction fails, the lanes are loaded again from disk.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tributary_shared::ids::{AgentId, Epoch, Seq, SeqRange, StreamName};
use tributary_shared::protocol::RETIRED_HANDLES;
use tributary_shared::time::Millis;
use tributary_shared::wire::{History, MAX_SESSION_LANES};

use super::config::SpoolConfig;
use super::group::{Packed, Request, Unit, pack_rows};
use super::handle::InFlight;
use super::lane::{Lane, Lanes};
use super::messages::{Accepted, InputPosition, LaneId, LaneInfo, NewDropped, SpoolError};
use super::open::Database;
use super::policy::WhenFull;
use super::room::Granted;
use super::store::{Store, StoreError};
use super::store_contexts::CONTEXT_BYTES;
use super::thin::{Run, Thinned, thin};

/// Lanes that a spool may have when a stream comes that is new to it: a session has room for all, and for asking what
/// became of those that are gone.
const MAX_LANES: u32 = MAX_SESSION_LANES - RETIRED_HANDLES;
/// Drop records that [`LaneInfo::dropped`] lists; the rest are counted.
pub const MAX_LISTED_DROPS: usize = 64;
/// A full spool empties at the speed of the network: asking more often only costs.
pub(super) const FULL_RETRY: Duration = Duration::from_secs(1);
/// What a block's row, its index entry and half-filled pages cost beside the body, rounded up.
const BLOCK_OVERHEAD: u64 = 256;

/// Reasons of the drop records that the spool itself writes.
pub const DROPPED_OLDEST: &str = "drop_oldest";
pub const DROPPED_NEWEST: &str = "drop_newest";
pub const DROPPED_THINNED: &str = "thin";
pub const DROPPED_BY_PRIORITY: &str = "evicted_by_priority";
pub const DROPPED_TOO_OLD: &str = "max_age";
pub const DROPPED_REWOUND: &str = tributary_shared::protocol::FORGOTTEN;
pub const DROPPED_DAMAGED: &str = "damaged";

/// A command's outcome within a transaction that goes on: the outer error ends the transaction.
pub(super) type Outcome<T> = Result<Result<T, SpoolError>, StoreError>;

/// Seqs of one kind, ready to be stored.
enum PackedRun {
    Kept(Vec<Packed>),
    Dropped(u32),
}

/// What the stream's policy leaves of a unit.
enum Share {
    /// Nothing: all of it is dropped.
    None,
    Some {
        runs: Vec<PackedRun>,
        /// How many of each request's events are dropped.
        dropped: Vec<u32>,
        /// Bytes that it needs.
        need: u64,
    },
}

impl Share {
    /// Takes the unit's rows.
    fn of(unit: &mut Unit, granted: Granted, first: Seq) -> std::io::Result<Self> {
        let counts = unit.counts();
        let (count, raw) = unit.take_rows();
        let Thinned { runs, dropped } = match granted {
            Granted::DropNew => return Ok(Self::None),
            Granted::Thin { keep } => thin(&raw, &counts, first, keep),
            Granted::Take => Thinned {
                runs: vec![Run::Kept { count, raw }],
                dropped: vec![0; counts.len()],
            },
        };
        let mut need = unit.traced() as u64 * CONTEXT_BYTES;
        let mut packed = Vec::with_capacity(runs.len());
        for run in runs {
            packed.push(match run {
                Run::Dropped { count } => PackedRun::Dropped(count),
                Run::Kept { count, raw } => {
                    let blocks = pack_rows(count, &raw)?;
                    let sizes = blocks
                        .iter()
                        .map(|block| block.body.len() as u64 + BLOCK_OVERHEAD);
                    need += sizes.sum::<u64>();
                    PackedRun::Kept(blocks)
                }
            });
        }
        Ok(Self::Some {
            runs: packed,
            dropped,
            need,
        })
    }
}

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
    /// This process, as the one that numbers seqs.
    pub writer: u64,
    /// Events that got new seqs.
    pub renumbered: u64,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        database: &'a mut Database,
        config: &'a SpoolConfig,
        agent: &'a AgentId,
        in_flight: &'a InFlight,
        now: Millis,
        writer: u64,
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
            writer,
            renumbered: 0,
        }
    }

    /// Stores a unit's rows, or what its stream's policy leaves of them, and moves its positions; gives each
    /// request its range, in order.
    pub(super) fn append(&mut self, unit: &mut Unit) -> Outcome<Vec<Accepted>> {
        if self.refused.contains(&unit.stream) {
            return Ok(Err(SpoolError::Full {
                retry_after: FULL_RETRY,
            }));
        }
        // a full spool decides before it compresses
        let granted = match self.make_room(&unit.stream, BLOCK_OVERHEAD, false)? {
            Ok(granted) => granted,
            Err(error) => return Ok(Err(self.refuse(&unit.stream, error))),
        };
        let next = self.lanes.active(&unit.stream).and_then(|id| self.lanes.get(id));
        let mut share = Share::of(unit, granted, next.map_or(1, |lane| lane.next_seq))?;
        if let Share::Some { need, .. } = share {
            match self.make_room(&unit.stream, need.max(BLOCK_OVERHEAD), true)? {
                Ok(Granted::Take | Granted::Thin { .. }) => {}
                Ok(Granted::DropNew) => share = Share::None,
                Err(error) => return Ok(Err(self.refuse(&unit.stream, error))),
            }
        }
        let mut lane = match self.active_lane(&unit.stream)? {
            Ok(lane) => lane,
            Err(error) => return Ok(Err(error)),
        };
        lane.number_by(self.writer);
        let mut next = lane.next_seq;
        let dropped = self.store_share(&mut lane, unit, share)?;
        let mut accepted = Vec::with_capacity(unit.requests.len());
        for (request, dropped) in unit.requests.iter().zip(dropped) {
            let Request { count, position, .. } = request;
            let range = SeqRange::from_count(next, *count);
            accepted.push(self.accepted(&lane, range, dropped));
            if let Some(traceparent) = request.traceparent.as_deref().filter(|_| dropped < *count) {
                self.store.insert_context(lane.id, range, traceparent)?;
            }
            next += u64::from(*count);
            if let Some(position) = position {
                self.store.set_position(position)?;
            }
        }
        self.put(lane)?;
        Ok(Ok(accepted))
    }

    /// Returns how many of each request's events were dropped.
    fn store_share(&mut self, lane: &mut Lane, unit: &Unit, share: Share) -> Result<Vec<u32>, StoreError> {
        let reason = match self.config.policy(&unit.stream).when_full {
            WhenFull::Thin { .. } => DROPPED_THINNED,
            _ => DROPPED_NEWEST,
        };
        match share {
            Share::None => {
                let counts = unit.counts();
                self.drop_next(lane, counts.iter().map(|count| u64::from(*count)).sum(), reason)?;
                Ok(counts)
            }
            Share::Some { runs, dropped, .. } => {
                for run in runs {
                    match run {
                        PackedRun::Dropped(count) => self.drop_next(lane, u64::from(count), reason)?,
                        PackedRun::Kept(blocks) => {
                            for block in &blocks {
                                let range = SeqRange::from_count(lane.next_seq, block.count);
                                let times = (unit.collected_at, self.now);
                                self.store.insert_block(
                                    lane.id,
                                    range,
                                    times,
                                    unit.origin.as_deref(),
                                    block,
                                )?;
                                lane.next_seq = range.last + 1;
                                lane.held_bytes += block.body.len() as u64;
                            }
                        }
                    }
                }
                Ok(dropped)
            }
        }
    }

    fn drop_next(&mut self, lane: &mut Lane, count: u64, reason: &str) -> Result<(), StoreError> {
        let range = SeqRange {
            first: lane.next_seq,
            last: lane.next_seq + count - 1,
        };
        lane.next_seq = range.last + 1;
        self.record_drop(lane, range, reason)
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
        if let Err(error) = self.make_record_room()? {
            return Ok(Err(self.refuse(&dropped.stream, error)));
        }
        let mut lane = match self.active_lane(&dropped.stream)? {
            Ok(lane) => lane,
            Err(error) => return Ok(Err(error)),
        };
        lane.number_by(self.writer);
        let range = SeqRange::from_count(lane.next_seq, dropped.count);
        self.drop_next(&mut lane, u64::from(dropped.count), &dropped.reason)?;
        if let Some(position) = &dropped.position {
            self.store.set_position(position)?;
        }
        let accepted = self.accepted(&lane, range, dropped.count);
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

    pub(super) fn record_drop(
        &mut self,
        lane: &mut Lane,
        range: SeqRange,
        reason: &str,
    ) -> Result<(), StoreError> {
        self.store.insert_drop(lane.id, range, reason)?;
        lane.dropped_events += range.count();
        self.dropped_in.insert(lane.id);
        *self.dropped.entry(reason.into()).or_default() += range.count();
        Ok(())
    }

    /// Deletes what the mark covers and moves it. The caller puts the lane.
    pub(super) fn advance(&mut self, lane: &mut Lane, mark: Seq) -> Result<(), StoreError> {
        lane.held_bytes -= self.store.delete_blocks(lane.id, mark)?;
        self.store.forget_contexts(lane.id, mark)?;
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
        if self.lanes.len() >= MAX_LANES as usize {
            return Ok(Err(SpoolError::TooManyStreams { limit: MAX_LANES }));
        }
        let lane = self.new_lane(stream, true)?;
        tracing::info!(lane = lane.id.0, stream = %stream, epoch = lane.epoch.0, "lane begun");
        Ok(Ok(lane))
    }

    pub(super) fn new_lane(&self, stream: &StreamName, active: bool) -> Result<Lane, StoreError> {
        let seconds = u64::try_from(self.now / 1_000).unwrap_or(0);
        self.store
            .insert_lane(stream, Epoch::from_parts(seconds, rand::random()), active)
    }

    /// Stores the lane; a drained one that takes no new events goes.
    pub(super) fn put(&mut self, lane: Lane) -> Result<(), StoreError> {
        if lane.is_empty() && !lane.active {
            self.let_go(&lane, lane.committed_seq, &lane.history)?;
        } else {
            self.store.update_lane(&lane)?;
            self.lanes.insert(lane);
        }
        Ok(())
    }

    /// The lane is gone from this spool; what is left is that the aggregator had it up to `committed_seq`, by these
    /// writers.
    pub(super) fn let_go(
        &mut self,
        lane: &Lane,
        committed_seq: Seq,
        history: &History,
    ) -> Result<(), StoreError> {
        self.store.delete_lane(lane.id)?;
        self.lanes.remove(lane.id);
        self.store
            .retire(&lane.stream, lane.epoch, committed_seq, history)?;
        self.lanes.retired = self.store.retired()?;
        Ok(())
    }

    /// The aggregator has forgotten the end of a lane that is gone from here, and has other events under its seqs: the
    /// loss is named under new ones.
    pub(super) fn forgotten_and_taken(&mut self, no: u64, from: Seq) -> Outcome<()> {
        let gone = self.lanes.retired.iter().find(|lane| lane.no == no).cloned();
        let Some(gone) = gone.filter(|gone| gone.committed_seq >= from) else {
            return Ok(Ok(()));
        };
        let mut lane = match self.active_lane(&gone.stream)? {
            Ok(lane) => lane,
            Err(error) => return Ok(Err(error)),
        };
        tracing::error!(stream = %gone.stream, epoch = gone.epoch.0, first = from, last = gone.committed_seq,
            "aggregator lost committed events, and has others in their place");
        lane.number_by(self.writer);
        self.drop_next(&mut lane, gone.committed_seq + 1 - from, DROPPED_REWOUND)?;
        self.put(lane)?;
        self.store.shorten_retired(no, from - 1)?;
        self.lanes.retired = self.store.retired()?;
        Ok(Ok(()))
    }

    fn accepted(&self, lane: &Lane, range: SeqRange, dropped: u32) -> Accepted {
        Accepted {
            agent: self.agent.clone(),
            stream: lane.stream.clone(),
            epoch: lane.epoch,
            range,
            dropped: u64::from(dropped),
        }
    }

    pub(super) fn info(&self, id: LaneId) -> Result<LaneInfo, SpoolError> {
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
