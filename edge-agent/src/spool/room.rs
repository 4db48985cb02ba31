//! Makes room: carries out what [`super::policy`] decides, and drops what is too old.

use std::num::NonZeroU64;
use std::sync::PoisonError;

use tributary_shared::ids::{Seq, SeqRange, StreamName};

use super::age::WallClock;
use super::lane::Lane;
use super::messages::{LaneId, SpoolError};
use super::policy::{Ask, Budget, Candidate, Decision, Usage, eviction_order};
use super::store::{Extent, StoreError};
use super::transaction::{
    DROPPED_BY_PRIORITY, DROPPED_OLDEST, DROPPED_TOO_OLD, FULL_RETRY, Outcome, Transaction,
};

/// What an append may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    Take,
    /// Take every `keep`-th event.
    Thin {
        keep: NonZeroU64,
    },
    /// Name all of it in a drop record.
    DropNew,
}

impl Transaction<'_> {
    fn usage(&self) -> Result<Usage, StoreError> {
        Ok(Usage {
            pages: self.store.pages_in_use()?,
            wal: self.wal_bytes,
        })
    }

    /// Room for `need` bytes by the stream's policy. The inner error is the answer to the append.
    pub(super) fn make_room(&mut self, stream: &StreamName, need: u64, thinned: bool) -> Outcome<Granted> {
        let (budget, policy) = (Budget::new(self.config.limit), self.config.policy(stream));
        let mut ask = Ask {
            when_full: policy.when_full,
            need,
            thinned,
            victims: true,
        };
        let mut order = None;
        loop {
            match budget.decide(ask, self.usage()?) {
                Decision::Admit => return Ok(Ok(Granted::Take)),
                Decision::Thin { keep } => return Ok(Ok(Granted::Thin { keep })),
                Decision::DropNew => return Ok(Ok(Granted::DropNew)),
                Decision::Refuse => return Ok(Err(full())),
                Decision::TooLarge { limit } => return Ok(Err(SpoolError::TooLarge { len: need, limit })),
                Decision::Evict { bytes } => {
                    let order = order.get_or_insert_with(|| self.eviction_order(stream));
                    ask.victims = self.evict(order, stream, bytes)? > 0;
                }
            }
        }
    }

    /// Room for a drop record.
    pub(super) fn make_record_room(&self) -> Outcome<()> {
        let fits = Budget::new(self.config.limit).record_fits(self.usage()?);
        Ok(if fits { Ok(()) } else { Err(full()) })
    }

    fn eviction_order(&self, stream: &StreamName) -> Vec<LaneId> {
        let candidates = self.lanes.iter().filter(|lane| lane.held_bytes > 0);
        eviction_order(
            self.config.policy(stream),
            candidates.map(|lane| Candidate {
                lane: lane.id,
                policy: self.config.policy(&lane.stream),
                own: lane.stream == *stream,
            }),
        )
    }

    /// Deletes the lanes' oldest blocks, in order, until `bytes` of bodies are gone. Spares what is in flight:
    /// its ack is near, and would make the drop record a lie. Returns the blocks deleted.
    fn evict(&mut self, order: &[LaneId], asking: &StreamName, bytes: u64) -> Result<usize, StoreError> {
        let (mut freed, mut deleted) = (0, 0);
        for &id in order {
            if freed >= bytes {
                break;
            }
            let Some(mut lane) = self.lanes.get(id).cloned() else {
                continue;
            };
            let own = lane.stream == *asking;
            let reason = if own { DROPPED_OLDEST } else { DROPPED_BY_PRIORITY };
            while freed < bytes
                && let Some(extent) = self.first_unsent(&lane)?
            {
                self.drop_block(&mut lane, extent, reason)?;
                freed += extent.bytes;
                deleted += 1;
            }
            self.put(lane)?;
        }
        Ok(deleted)
    }

    /// Drops blocks that are older than their stream allows, at most `limit` of them. Returns whether more may
    /// be left.
    pub(super) fn expire(&mut self, clock: &WallClock, limit: usize) -> Result<bool, StoreError> {
        let aged = self.lanes.iter().filter(|lane| lane.held_bytes > 0);
        let aged: Vec<_> = aged
            .filter_map(|lane| Some((lane.id, self.config.policy(&lane.stream).max_age?)))
            .collect();
        let mut deleted = 0;
        for (id, max_age) in aged {
            let Some(mut lane) = self.lanes.get(id).cloned() else {
                continue;
            };
            let before = deleted;
            while deleted < limit
                && let Some(extent) = self.first_unsent(&lane)?
                && let Some(spooled_at) = self.store.spooled_at(id, extent.range.first)?
                && clock.age(spooled_at) > max_age
            {
                self.drop_block(&mut lane, extent, DROPPED_TOO_OLD)?;
                deleted += 1;
            }
            if deleted > before {
                self.put(lane)?;
            }
        }
        Ok(deleted == limit)
    }

    fn drop_block(&mut self, lane: &mut Lane, extent: Extent, reason: &str) -> Result<(), StoreError> {
        self.store.delete_block(lane.id, extent.range.first)?;
        self.store.delete_contexts(lane.id, extent.range)?;
        lane.held_bytes -= extent.bytes;
        let range = SeqRange {
            first: extent.range.first.max(lane.committed_seq + 1),
            last: extent.range.last,
        };
        self.record_drop(lane, range, reason)
    }

    /// The lane's first block of which the session has sent nothing.
    fn first_unsent(&self, lane: &Lane) -> Result<Option<Extent>, StoreError> {
        let sent: Option<Seq> = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&lane.id)
            .copied();
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
}

fn full() -> SpoolError {
    SpoolError::Full {
        retry_after: FULL_RETRY,
    }
}
