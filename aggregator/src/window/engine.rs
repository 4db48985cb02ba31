//! The window engine: every view's windows as a function of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::RecordBatch;
use tributary_shared::ids::{AgentId, LaneNo, StreamName};
use tributary_shared::time::Millis;

use super::clocks::Clocks;
use super::messages::{
    AppliedBatch, EngineConfig, GroupId, GroupState, LaneWatermark, LateLine, Snapshot, StateError,
    ViewCounters, ViewStats, WindowChange, WindowHit,
};
use super::state::{Applied, ViewState};
use crate::commit::LogPos;
use crate::view::{ViewOptions, ViewPlan, WindowKind};

/// All views with their windows, and the clocks of all lanes. Pure: the state after a sequence of entries
/// depends on nothing but the entries.
///
/// - [`apply`](Self::apply) takes the log in order; an entry that was applied before changes nothing.
/// - A new view begins empty and behind. It catches up when its owner replays the log through
///   [`apply_to`](Self::apply_to); at the engine's own position it turns live, and only then takes part in
///   `apply`. So no entry is missed or applied twice, however the two are interleaved.
/// - [`take_snapshot`](Self::take_snapshot) gives what changed; [`super::ViewStore`] keeps and restores it.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: EngineConfig,
    position: LogPos,
    pub(super) views: BTreeMap<Arc<str>, ViewState>,
    pub(super) clocks: Clocks,
    generations: u64,
    future_events: u64,
}

impl Engine {
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let (views, clocks) = (BTreeMap::new(), Clocks::default());
        Self {
            config,
            position: LogPos(0),
            views,
            clocks,
            generations: 0,
            future_events: 0,
        }
    }

    /// The last entry that was applied.
    #[must_use]
    pub fn position(&self) -> LogPos {
        self.position
    }

    /// Adds a view, or replaces one whose SQL differs; one with equal SQL stays as it is. Returns whether the
    /// view began anew.
    pub fn put_view(&mut self, plan: Arc<ViewPlan>) -> bool {
        self.put_view_with(plan, self.config.options)
    }

    /// The same with the view's own options. A change of nothing but the allowed lateness keeps the windows.
    pub fn put_view_with(&mut self, plan: Arc<ViewPlan>, options: ViewOptions) -> bool {
        if let Some(known) = self.views.get_mut(plan.name())
            && known.plan.sql == plan.sql
            && known.options.same_windows(&options)
        {
            known.options = options;
            return false;
        }
        self.generations += 1;
        let mut state = ViewState::new(Arc::clone(&plan), options, self.generations);
        state.live = self.position == LogPos(0);
        self.views.insert(Arc::clone(&plan.name), state);
        true
    }

    /// Returns whether there was such a view.
    pub fn drop_view(&mut self, name: &str) -> bool {
        self.views.remove(name).is_some()
    }

    /// The views by name.
    pub fn views(&self) -> impl Iterator<Item = &Arc<ViewPlan>> {
        self.views.values().map(|state| &state.plan)
    }

    #[must_use]
    pub fn view(&self, name: &str) -> Option<&Arc<ViewPlan>> {
        self.views.get(name).map(|state| &state.plan)
    }

    #[must_use]
    pub fn stats(&self, name: &str) -> Option<ViewStats> {
        let state = self.views.get(name)?;
        Some(ViewStats {
            groups: state.groups.len(),
            windows: state.groups.window_count(),
            position: state.position,
            live: state.live,
            counters: state.counters,
        })
    }

    /// The time up to which all active lanes of a stream have reported.
    #[must_use]
    pub fn watermark(&self, stream: &StreamName) -> Option<Millis> {
        self.clocks.progress(stream, &self.config, 0).watermark()
    }

    #[must_use]
    pub fn lane_watermark(&self, stream: &StreamName, lane: LaneNo) -> Option<Millis> {
        self.clocks.lane(stream, lane)
    }

    /// The clocks of all lanes.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneWatermark> {
        self.clocks.lanes()
    }

    /// Events since this engine began that were too far ahead of their commit to move a watermark.
    #[must_use]
    pub fn future_events(&self) -> u64 {
        self.future_events
    }

    /// Which agents are known to have left: no watermark waits for them. What is folded does not depend on it.
    pub fn set_away(&mut self, agents: BTreeSet<AgentId>) {
        self.clocks.set_away(agents);
    }

    /// Events that were too late, by view.
    #[must_use]
    pub fn too_late(&self) -> Vec<(Arc<str>, LateLine)> {
        let of = |state: &ViewState| {
            let name = Arc::clone(&state.plan.name);
            state
                .late
                .iter()
                .map(move |line| (Arc::clone(&name), *line))
                .collect::<Vec<_>>()
        };
        self.views.values().flat_map(of).collect()
    }

    /// Restores what the ledger says of events that were too late for a view.
    pub fn restore_late(&mut self, view: &str, line: LateLine) {
        if let Some(state) = self.views.get_mut(view) {
            state.late.restore(line);
        }
    }

    /// Applies the next entry of the log to the clocks and to all live views. An entry at or before
    /// [`position`](Self::position) is ignored.
    pub fn apply(&mut self, batch: &AppliedBatch<'_>) -> Vec<WindowChange> {
        if batch.pos <= self.position {
            return Vec::new();
        }
        self.position = batch.pos;
        if !batch.replayed {
            self.future_events += self.clocks.observe(batch, &self.config);
        }
        let config = self.config;
        let live = self.views.values_mut().filter(|state| state.live);
        live.filter_map(|state| change(state, batch, &config)).collect()
    }

    /// Applies an entry to one view that is catching up. Entries that the view covers already, and all entries
    /// once it is live, are ignored.
    pub fn apply_to(&mut self, view: &str, batch: &AppliedBatch<'_>) -> Option<WindowChange> {
        let position = self.position;
        let state = self.views.get_mut(view)?;
        if state.live || batch.pos <= state.position || batch.pos > position {
            return None;
        }
        let change = change(state, batch, &self.config);
        state.live = state.position == position;
        change
    }

    /// Some view that is behind, and the position from which it needs the log.
    #[must_use]
    pub fn behind(&self) -> Option<(Arc<str>, LogPos)> {
        let state = self.views.values().find(|state| !state.live)?;
        Some((Arc::clone(&state.plan.name), state.position))
    }

    /// Ends a view's catching up although entries are missing, because the log does not retain them any more.
    /// Must follow the last retained entry, with no `apply` in between.
    pub fn skip_missing(&mut self, view: &str) {
        if let Some(state) = self.views.get_mut(view) {
            state.miss_until(self.position);
            state.live = true;
        }
    }

    /// Goes on behind entries that the log does not retain any more; every view notes that it missed them.
    pub fn skip_to(&mut self, pos: LogPos) {
        if pos > self.position {
            self.position = pos;
            for state in self.views.values_mut().filter(|state| state.live) {
                state.miss_until(pos);
            }
        }
    }

    /// The windows that one event changed: row `row` of `records`, an entry of `stream`.
    #[must_use]
    pub fn locate(&self, stream: &StreamName, records: &RecordBatch, row: usize) -> Vec<WindowHit> {
        if row >= records.num_rows() {
            return Vec::new();
        }
        let event = records.slice(row, 1);
        let reading = self.views.values().filter(|state| state.plan.stream == *stream);
        reading.flat_map(|state| state.locate(&event)).collect()
    }

    /// What changed since the last snapshot.
    pub fn take_snapshot(&mut self) -> Snapshot {
        Snapshot {
            position: self.position,
            lanes: self.clocks.take_unsaved(),
            views: self.views.values_mut().map(ViewState::take_snapshot).collect(),
        }
    }

    /// Restores the engine's own position and clocks. Only on a new engine, and before any view is put, so that
    /// views begin behind it.
    pub fn restore_clocks(&mut self, position: LogPos, lanes: impl IntoIterator<Item = LaneWatermark>) {
        self.position = position;
        lanes.into_iter().for_each(|mark| self.clocks.advance(mark));
    }

    /// Restores one group of a view.
    ///
    /// # Errors
    /// When the bytes cannot be used. The view must then be [reset](Self::reset_view).
    pub fn restore_group(&mut self, view: &str, group: &GroupState) -> Result<(), StateError> {
        self.views
            .get_mut(view)
            .ok_or(StateError::UnknownView)?
            .groups
            .restore(group)
    }

    /// Ends the restoring of a view: its groups are what the log up to `position` gives.
    pub fn restored(&mut self, view: &str, position: LogPos, counters: ViewCounters) {
        if let Some(state) = self.views.get_mut(view) {
            state.position = position;
            state.counters = counters;
            state.reset = state.groups.restored();
            state.live = position == self.position;
        }
    }

    /// Empties a view, which then has the whole log to catch up.
    pub fn reset_view(&mut self, view: &str) {
        self.generations += 1;
        if let Some(state) = self.views.get_mut(view) {
            *state = ViewState::new(Arc::clone(&state.plan), state.options, self.generations);
            state.live = self.position == LogPos(0);
        }
    }
}

fn change(state: &mut ViewState, batch: &AppliedBatch<'_>, config: &EngineConfig) -> Option<WindowChange> {
    let Applied { slots, gone } = state.apply(batch, config);
    if slots.is_empty() && gone.is_empty() {
        return None;
    }
    let merged = matches!(state.plan.window, WindowKind::Hop { .. });
    let panes = slots
        .iter()
        .filter(|_| merged)
        .map(|slot| state.groups.window(*slot));
    let windows = Engine::windows_over_panes(&state.plan, panes.collect());
    let groups = slots.into_iter().filter(|_| !merged).map(GroupId).collect();
    Some(WindowChange {
        view: Arc::clone(&state.plan.name),
        groups,
        windows,
        since: batch.pos,
        gone,
        generation: state.generation,
    })
}
