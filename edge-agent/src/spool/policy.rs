//! Decides, without touching a disk, whether an append fits and what gives way when it does not.

use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

pub use tributary_shared::protocol::{Priority, UnknownPriority};

use super::messages::LaneId;

/// What happens to a stream's new events when the spool is full. Each policy says what is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Nothing is lost: producers wait. The intake holds a request back for a moment before it says 429.
    #[default]
    Block,
    /// Nothing is lost: the intake says 429 at once, and tailed files wait.
    Reject,
    /// The stream's oldest held events are lost, whole blocks at a time, with a drop record.
    DropOldest,
    /// The new events are lost: they are accepted, get seqs, and become a drop record.
    DropNewest,
    /// Of the new events every `keep`-th is taken while the last of the room lasts; the others become drop
    /// records.
    Thin { keep: NonZeroU64 },
}

/// One of ten shows a trend, and makes the last eighth of the room last as long as all of it.
pub const DEFAULT_THIN_KEEP: NonZeroU64 = NonZeroU64::new(10).expect("not zero");

/// A word that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a policy: use \"block\", \"reject\", \"drop_oldest\", \"drop_newest\" or \"thin\"")]
pub struct UnknownPolicy;

impl FromStr for WhenFull {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "block" => Ok(Self::Block),
            "reject" => Ok(Self::Reject),
            "drop_oldest" => Ok(Self::DropOldest),
            "drop_newest" => Ok(Self::DropNewest),
            "thin" => Ok(Self::Thin {
                keep: DEFAULT_THIN_KEEP,
            }),
            _ => Err(UnknownPolicy),
        }
    }
}

impl WhenFull {
    /// May events of such a stream be lost to make room?
    #[must_use]
    pub fn is_droppable(self) -> bool {
        match self {
            Self::Block | Self::Reject => false,
            Self::DropOldest | Self::DropNewest | Self::Thin { .. } => true,
        }
    }
}

/// All that is set for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamPolicy {
    pub when_full: WhenFull,
    pub priority: Priority,
    /// Held events older than this are dropped, with a drop record.
    pub max_age: Option<Duration>,
}

impl From<WhenFull> for StreamPolicy {
    fn from(when_full: WhenFull) -> Self {
        Self {
            when_full,
            ..Self::default()
        }
    }
}

/// Beyond this the WAL costs disk and saves no more work: a page that is written and freed again between two
/// checkpoints never reaches the database file.
const MAX_RESERVE: u64 = 16 << 20;

/// What one command may write beside bodies: a leaf of each table and index that it touches, and its share of
/// the pages above.
const PAGES_PER_COMMAND: u64 = 32 << 10;

/// The WAL's index (`spool.db-shm`): 32 KiB for each 4,096 frames, and the WAL stays below 2,048.
const WAL_INDEX: u64 = 64 << 10;

/// How the byte cap is divided, so that files never exceed it:
///
/// ```text
/// limit = rows       blocks and everything else that an input's events need
///       + records    drop records only: what cannot be kept can still be named
///       + standby    spool.reserve, given up when the disk is full so that marks can still be stored
///       + WAL index
///       + reserve    the WAL: a quarter when it is checkpointed, a quarter for the bodies of one more group,
///                    half for its other pages (deletes as well, so that a full spool can still be emptied)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    limit: u64,
}

/// What the spool occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Database pages that are not free.
    pub pages: u64,
    /// The size of the WAL file.
    pub wal: u64,
}

impl Usage {
    #[must_use]
    pub fn total(self) -> u64 {
        self.pages + self.wal
    }
}

/// What to do with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Admit,
    /// Take every `keep`-th event and ask again.
    Thin {
        keep: NonZeroU64,
    },
    /// Delete blocks in [`eviction_order`] until this many bytes more are free, then ask again.
    Evict {
        bytes: u64,
    },
    /// Accept the events and name them in a drop record.
    DropNew,
    /// No room now.
    Refuse,
    /// No room ever.
    TooLarge {
        limit: u64,
    },
}

/// An append as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub when_full: WhenFull,
    /// Bytes that it needs.
    pub need: u64,
    /// It was thinned already.
    pub thinned: bool,
    /// Blocks that must give way to it may be left.
    pub victims: bool,
}

impl Budget {
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit }
    }

    fn reserve(self) -> u64 {
        MAX_RESERVE.min(self.limit / 4)
    }

    fn records(self) -> u64 {
        self.reserve() / 8
    }

    /// The size of the file that is given up when the disk is full.
    #[must_use]
    pub fn standby(self) -> u64 {
        self.reserve() / 4
    }

    fn for_records(self) -> u64 {
        (self.limit - self.reserve()).saturating_sub(self.standby() + WAL_INDEX)
    }

    fn for_rows(self) -> u64 {
        self.for_records().saturating_sub(self.records())
    }

    /// The last of the room, where thinning begins. More than one group.
    fn tight(self) -> u64 {
        self.for_rows() / 8
    }

    /// The WAL is checkpointed after the commit that brings it here.
    #[must_use]
    pub fn checkpoint_at(self) -> u64 {
        self.reserve() / 4
    }

    /// The most bytes of bodies that one transaction may write.
    #[must_use]
    pub fn max_group(self) -> u64 {
        self.reserve() / 4
    }

    /// The most appends, and the most other commands, that one transaction may carry out.
    #[must_use]
    pub fn max_commands(self) -> usize {
        usize::try_from(self.reserve() / 4 / PAGES_PER_COMMAND)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    fn used(self, usage: Usage) -> u64 {
        // a WAL beyond the reserve (a reader outside holds a snapshot) takes room from the events
        usage.pages + usage.wal.saturating_sub(self.reserve())
    }

    /// Is there room for one more drop record?
    #[must_use]
    pub fn record_fits(self, usage: Usage) -> bool {
        self.used(usage) < self.for_records()
    }

    /// Is there room for `need` more bytes of events?
    #[must_use]
    pub fn rows_fit(self, usage: Usage, need: u64) -> bool {
        self.used(usage) + need <= self.for_rows()
    }

    /// What is to become of an append? `usage` is what the current transaction leaves.
    #[must_use]
    pub fn decide(self, ask: Ask, usage: Usage) -> Decision {
        let limit = self.max_group();
        if ask.need > limit {
            return Decision::TooLarge { limit };
        }
        let room = self.for_rows().saturating_sub(self.used(usage));
        let fits = ask.need <= room;
        match ask.when_full {
            WhenFull::Thin { keep } if !ask.thinned && room.saturating_sub(ask.need) < self.tight() => {
                Decision::Thin { keep }
            }
            _ if fits => Decision::Admit,
            _ if ask.victims => Decision::Evict {
                bytes: ask.need - room,
            },
            WhenFull::DropNewest | WhenFull::Thin { .. } if self.record_fits(usage) => Decision::DropNew,
            _ => Decision::Refuse,
        }
    }
}

/// A lane that holds blocks, as a candidate to give some up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub lane: LaneId,
    pub policy: StreamPolicy,
    /// Of the stream that asks.
    pub own: bool,
}

/// The lanes whose oldest blocks give way to an append of a stream with this policy, the first one first:
/// droppable streams of lower priorities, the lowest first, then the stream itself where its policy is to drop
/// its oldest. Within a priority older lanes come first. Streams that must lose nothing are never among them.
#[must_use]
pub fn eviction_order(asking: StreamPolicy, candidates: impl IntoIterator<Item = Candidate>) -> Vec<LaneId> {
    let gives_way = |candidate: &Candidate| {
        if candidate.own {
            asking.when_full == WhenFull::DropOldest
        } else {
            candidate.policy.when_full.is_droppable() && candidate.policy.priority < asking.priority
        }
    };
    let mut order: Vec<_> = candidates.into_iter().filter(gives_way).collect();
    order.sort_by_key(|candidate| (candidate.own, candidate.policy.priority, candidate.lane));
    order.into_iter().map(|candidate| candidate.lane).collect()
}

#[cfg(test)]
#[path = "tests/policy.rs"]
mod tests;
