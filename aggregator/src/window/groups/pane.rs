//! The groups of one window.

use super::super::cold::WindowFacts;
use super::saving::Saved;
use crate::commit::LogPos;

/// A window of which some group is in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Pane {
    /// Its groups in memory, in no order.
    pub slots: Vec<u32>,
    /// All its groups.
    pub facts: WindowFacts,
    /// Whether the facts are stored.
    pub saved: Saved,
}

impl Pane {
    /// Groups that are on disk only.
    pub fn cold(&self) -> u64 {
        self.facts.stored().saturating_sub(self.slots.len() as u64)
    }
}

/// What is not in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cold {
    /// Groups, those of windows that are partly in memory included.
    pub groups: u64,
    /// Windows of which no group is in memory.
    pub windows: u64,
    /// No window that starts later is among them.
    pub newest: Option<i64>,
    /// No group on disk changed later.
    pub newest_change: LogPos,
}

impl Cold {
    /// Whether the window may be one of which no group is in memory.
    pub fn may_have(&self, window: i64) -> bool {
        self.windows > 0 && self.newest.is_some_and(|newest| window <= newest)
    }
}
