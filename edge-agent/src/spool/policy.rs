//! Decides, without touching a disk, whether an append fits and what gives way when it does not.

use std::str::FromStr;

/// What happens to a stream's new events when the spool is full. Each policy says what is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Nothing is lost: the append is refused, and its producer waits and tries again.
    #[default]
    Block,
    /// The stream's oldest held events are lost, whole blocks at a time, with a drop record.
    DropOldest,
}

/// A word that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a policy: use \"block\" or \"drop_oldest\"")]
pub struct UnknownPolicy;

impl FromStr for WhenFull {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        match text {
            "block" => Ok(Self::Block),
            "drop_oldest" => Ok(Self::DropOldest),
            _ => Err(UnknownPolicy),
        }
    }
}

/// Beyond this the WAL costs disk and saves no more work: a page that is written and freed again between two
/// checkpoints never reaches the database file.
const MAX_RESERVE: u64 = 16 << 20;

/// What one command may write beside bodies: a leaf of each table and index that it touches, and its share of
/// the pages above.
const PAGES_PER_COMMAND: u64 = 32 << 10;

/// How the byte cap is divided, so that files never exceed it. Pages in use stay below `limit - reserve`, and
/// the WAL (which also carries deletes, so that a full spool can still be emptied) below `reserve`: a quarter
/// of that when it is checkpointed, a quarter for the bodies of one more group, half for its other pages.
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
    /// Delete the stream's oldest blocks until this many bytes more are free, then ask again.
    DropOldest {
        bytes: u64,
    },
    /// No room now.
    Refuse,
    /// No room ever.
    TooLarge {
        limit: u64,
    },
}

impl Budget {
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit }
    }

    fn reserve(self) -> u64 {
        MAX_RESERVE.min(self.limit / 4)
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

    /// Can `need` more bytes go in? `usage` is what the current transaction leaves.
    #[must_use]
    pub fn decide(self, policy: WhenFull, usage: Usage, need: u64) -> Decision {
        let limit = self.max_group();
        if need > limit {
            return Decision::TooLarge { limit };
        }
        // a WAL beyond the reserve (a reader outside holds a snapshot) takes room from the events
        let used = usage.pages + usage.wal.saturating_sub(self.reserve());
        let room = (self.limit - self.reserve()).saturating_sub(used);
        match policy {
            _ if need <= room => Decision::Admit,
            WhenFull::Block => Decision::Refuse,
            WhenFull::DropOldest => Decision::DropOldest { bytes: need - room },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 16 << 20;

    #[test]
    fn policies_are_named_as_the_configuration_names_them() {
        assert_eq!("block".parse(), Ok(WhenFull::Block));
        assert_eq!("drop_oldest".parse(), Ok(WhenFull::DropOldest));
        assert_eq!("drop".parse::<WhenFull>(), Err(UnknownPolicy));
    }

    #[test]
    fn a_full_spool_refuses_or_names_what_must_go() {
        let budget = Budget::new(LIMIT);
        let full = Usage {
            pages: LIMIT * 3 / 4 - 100,
            wal: 1 << 20,
        };
        assert_eq!(budget.decide(WhenFull::Block, full, 100), Decision::Admit);
        assert_eq!(budget.decide(WhenFull::Block, full, 101), Decision::Refuse);
        assert_eq!(
            budget.decide(WhenFull::DropOldest, full, 101),
            Decision::DropOldest { bytes: 1 }
        );
    }

    #[test]
    fn a_wal_that_cannot_be_checkpointed_takes_room() {
        let budget = Budget::new(LIMIT);
        let stuck = Usage { pages: 0, wal: LIMIT };
        assert_eq!(budget.decide(WhenFull::Block, stuck, 1), Decision::Refuse);
    }

    #[test]
    fn what_never_fits_is_too_large_whatever_the_policy() {
        let budget = Budget::new(LIMIT);
        for policy in [WhenFull::Block, WhenFull::DropOldest] {
            assert_eq!(
                budget.decide(policy, Usage::default(), budget.max_group() + 1),
                Decision::TooLarge { limit: LIMIT / 16 }
            );
        }
    }

    proptest! {
        /// Pages in use plus the largest WAL never exceed the limit, whatever was admitted before.
        #[test]
        fn admitted_bytes_fit_the_limit(limit in 4u64 << 20..1 << 40, pages in 0u64..1 << 40, need in 0u64..16 << 20) {
            let budget = Budget::new(limit);
            if budget.decide(WhenFull::Block, Usage { pages, wal: 0 }, need) == Decision::Admit {
                let other_pages = 2 * budget.max_commands() as u64 * PAGES_PER_COMMAND;
                let largest_wal = budget.checkpoint_at() + budget.max_group() + other_pages;
                prop_assert!(pages + need + largest_wal <= limit);
            }
        }
    }
}
