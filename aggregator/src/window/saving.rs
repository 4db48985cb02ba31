//! Snapshots of the engine, what leaves memory, and what is too old to be kept.
//!
//! A snapshot is of one log position. It begins with a cut, which costs next to nothing; its groups are then fetched
//! a slice at a time, while batches go on. See [`super::groups`] for how it stays consistent.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tributary_shared::time::Millis;

use super::engine::Engine;
use super::messages::{GroupState, LaneWatermark, Snapshot};
use super::state::ViewState;

/// Groups of windows beyond the retention that one snapshot deletes; at least one window.
const EXPIRE_GROUPS: u64 = 20_000;
/// Windows beyond the retention that one snapshot deletes.
const EXPIRE_WINDOWS: usize = 500;
/// When groups leave memory, so much of the budget is free afterwards: then they leave now and then, and not with
/// every batch.
const EVICTED_SHARE: u64 = 8;

/// How far a snapshot is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A snapshot was begun and is not stored yet.
    pub begun: bool,
    /// Its clocks, for the case that it cannot be stored.
    lanes: Vec<LaneWatermark>,
}

/// Some groups of the snapshot that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSlice {
    pub generation: u64,
    pub groups: Vec<GroupState>,
}

impl Engine {
    /// What changed since the last snapshot, all at once. To be stored as it is.
    pub fn take_snapshot(&mut self) -> Snapshot {
        let mut snapshot = self.begin_snapshot();
        while let Some(slice) = self.next_slice(usize::MAX) {
            let of = snapshot
                .views
                .iter_mut()
                .find(|view| view.generation == slice.generation);
            if let Some(view) = of {
                view.groups.extend(slice.groups);
            }
        }
        snapshot
    }

    /// Begins a snapshot of this moment; one that was begun before and not stored becomes part of it. Its groups are
    /// fetched by [`Self::next_slice`].
    pub fn begin_snapshot(&mut self) -> Snapshot {
        if self.saving.begun {
            self.snapshot_failed();
        }
        self.expire();
        self.saving.begun = true;
        let mut lanes = std::mem::take(&mut self.saving.lanes);
        lanes.extend(self.clocks.take_unsaved());
        self.saving.lanes.clone_from(&lanes);
        Snapshot {
            position: self.position(),
            lanes,
            views: self.states_mut().map(ViewState::cut).collect(),
        }
    }

    /// The next groups of the snapshot that was begun, about as many as asked for. `None` when it has all.
    pub fn next_slice(&mut self, limit: usize) -> Option<SnapshotSlice> {
        for state in self.states_mut() {
            while !state.groups.is_encoded() {
                let groups = state.groups.next_slice(limit);
                if !groups.is_empty() {
                    let generation = state.generation;
                    return Some(SnapshotSlice { generation, groups });
                }
            }
        }
        None
    }

    /// Groups of the snapshot that were encoded because batches were about to change them, and wait.
    #[must_use]
    pub fn encoded_ahead(&self) -> usize {
        self.states().map(|state| state.groups.ahead()).sum()
    }

    /// The snapshot that was begun is stored, with all its slices.
    pub fn snapshot_stored(&mut self) {
        self.saving = Progress::default();
        for state in self.states_mut() {
            state.groups.stored();
            state.reset_taken = false;
            state.expired_taken.clear();
            state.late_taken.clear();
        }
        self.promote();
    }

    /// The snapshot that was begun is not stored: the next one has what it had.
    pub fn snapshot_failed(&mut self) {
        self.saving.begun = false;
        for state in self.states_mut() {
            state.groups.not_stored();
            state.reset |= state.reset_taken;
            state.expired.append(&mut state.expired_taken);
            for line in std::mem::take(&mut state.late_taken) {
                state.late.unsave(line);
            }
        }
        self.promote();
    }

    /// Bytes that groups take in memory.
    #[must_use]
    pub fn hot_bytes(&self) -> u64 {
        self.states().map(|state| state.groups.bytes() as u64).sum()
    }

    /// Whether groups should leave memory.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.hot_bytes() > self.config.hot_bytes
    }

    /// Lets groups leave memory until it is within the budget: those that are stored as they are, the oldest windows
    /// first. Returns how many went. When they do not suffice, a snapshot must be stored first.
    pub fn evict(&mut self) -> usize {
        let mut bytes = self.hot_bytes();
        if bytes <= self.config.hot_bytes {
            return 0;
        }
        let target = self.config.hot_bytes - self.config.hot_bytes / EVICTED_SHARE;
        let first = |state: &ViewState| Some(Reverse((state.groups.window_after(None)?, state.generation)));
        let leaving = self.states().filter(|state| state.may_leave());
        let mut oldest: BinaryHeap<_> = leaving.filter_map(first).collect();
        let mut gone = 0;
        while bytes > target
            && let Some(Reverse((window, generation))) = oldest.pop()
        {
            let Some(state) = self.state_mut(generation) else {
                continue;
            };
            let before = state.groups.bytes() as u64;
            gone += state.groups.evict(window, usize::MAX);
            bytes -= (before - state.groups.bytes() as u64).min(bytes);
            if let Some(next) = state.groups.window_after(Some(window)) {
                oldest.push(Reverse((next, generation)));
            }
        }
        gone
    }

    /// Windows of a view that ended then or earlier are beyond its retention.
    pub(super) fn horizon(&self, state: &ViewState) -> Millis {
        state.horizon()
    }

    /// Takes windows beyond the retention away, some at a time.
    fn expire(&mut self) {
        let generations: Vec<u64> = self.states().map(|state| state.generation).collect();
        for generation in generations {
            let (mut groups, mut windows) = (0, 0);
            while groups < EXPIRE_GROUPS && windows < EXPIRE_WINDOWS {
                let Some(forgotten) = self.expire_one(generation) else {
                    break;
                };
                groups += forgotten;
                windows += 1;
            }
        }
    }

    /// Takes a view's oldest window away if it is beyond the retention. Returns how many groups it had.
    fn expire_one(&mut self, generation: u64) -> Option<u64> {
        let state = self.states().find(|state| state.generation == generation)?;
        let horizon = self.horizon(state);
        if horizon == Millis::MIN {
            return None;
        }
        let hot = state.groups.window_after(None);
        let behind = state
            .expired
            .last()
            .map_or(Millis::MIN, |window| window.saturating_add(1));
        let cold = match state.groups.has_cold() {
            // what cannot be read now is deleted later
            true => self
                .cold
                .starts(generation, (behind, Millis::MAX), false, 1)
                .ok()?
                .pop(),
            false => None,
        };
        let oldest = hot.into_iter().chain(cold).min()?;
        if !state.is_beyond(oldest, horizon) {
            return None;
        }
        let cold = match hot == Some(oldest) {
            true => None,
            false => Some(
                self.cold
                    .window(generation, oldest)
                    .ok()?
                    .unwrap_or_default()
                    .stored(),
            ),
        };
        let state = self.state_mut(generation)?;
        state.expired.push(oldest);
        Some(match cold {
            None => state.groups.forget_window(oldest),
            Some(groups) => {
                state.groups.forget_cold_window(groups);
                groups
            }
        })
    }
}
