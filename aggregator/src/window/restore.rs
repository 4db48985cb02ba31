//! How an engine comes back from what is stored.

use tributary_shared::time::Millis;

use super::cold::WindowFacts;
use super::engine::Engine;
use super::messages::{GroupState, LaneWatermark, LateLine, StateError, ViewCounters};
use super::state::ViewState;
use crate::commit::LogPos;

impl Engine {
    /// Restores the engine's own position and clocks. Only on a new engine, and before any view is put, so that
    /// views begin behind it.
    pub fn restore_clocks(&mut self, position: LogPos, lanes: impl IntoIterator<Item = LaneWatermark>) {
        self.position = position;
        lanes.into_iter().for_each(|mark| self.clocks.advance(mark));
    }

    /// Takes note of what is stored of a view, before any of it is restored.
    pub fn restore_cold(&mut self, generation: u64, groups: u64, windows: u64, newest: Option<Millis>) {
        if let Some(state) = self.state_mut(generation) {
            state.groups.restore_cold(groups, windows, newest);
        }
    }

    /// Takes note of a stored window that groups are restored of.
    pub fn restore_window(&mut self, generation: u64, window: Millis, facts: WindowFacts) {
        if let Some(state) = self.state_mut(generation) {
            state.groups.restore_window(window, facts);
        }
    }

    /// Restores one group of a view.
    ///
    /// # Errors
    /// When the bytes cannot be used. The view must then be [reset](Self::reset_view).
    pub fn restore_group(&mut self, generation: u64, group: &GroupState) -> Result<(), StateError> {
        let state = self.state_mut(generation).ok_or(StateError::UnknownView)?;
        state.groups.restore(group).map(drop)
    }

    /// Whether what is restored should stop here: the rest of the memory is for what comes.
    #[must_use]
    pub fn is_half_full(&self, generation: u64) -> bool {
        let leaves = self
            .states()
            .any(|state| state.generation == generation && state.may_be_cold());
        leaves && self.hot_bytes() > self.config.hot_bytes / 2
    }

    /// Ends the restoring of a view: its groups are what the log up to `position` gives.
    pub fn restored(&mut self, generation: u64, position: LogPos, counters: ViewCounters) {
        let newest = self.position;
        if let Some(state) = self.state_mut(generation) {
            state.position = position;
            state.counters = counters;
            state.groups.restored_up_to(position);
            state.reset = false;
            state.live = position == newest;
        }
        self.promote();
    }

    /// Restores what the ledger says of events that were too late for a view.
    pub fn restore_late(&mut self, generation: u64, line: LateLine) {
        if let Some(state) = self.state_mut(generation) {
            state.late.restore(line);
        }
    }

    /// Empties a view, which then has the whole log to catch up.
    pub fn reset_view(&mut self, generation: u64) {
        let newest = self.position;
        if let Some(state) = self.state_mut(generation) {
            *state = ViewState::new(std::sync::Arc::clone(&state.plan), state.options, generation);
            state.live = newest == LogPos(0);
        }
    }
}
