//! The window engine: every view's windows as a function of the log.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tributary_shared::ids::{AgentId, LaneNo, StreamName};
use tributary_shared::time::Millis;

use super::clocks::Clocks;
use super::cold::{ColdError, ColdGroups, ColdView, NothingCold};
use super::messages::{
    AppliedBatch, EngineConfig, GroupId, LaneWatermark, LateLine, ViewStats, WindowChange,
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
    pub(super) position: LogPos,
    pub(super) views: BTreeMap<Arc<str>, ViewState>,
    /// What replaces a view of the same name once it has caught up.
    pub(super) coming: BTreeMap<Arc<str>, ViewState>,
    cut_over: Vec<(Arc<str>, u64)>,
    pub(super) clocks: Clocks,
    pub(super) cold: Box<dyn ColdGroups>,
    pub(super) failure: Option<ColdError>,
    /// Why a reader did not get all rows.
    pub(super) unread: RefCell<Option<ColdError>>,
    generations: u64,
    pub(super) saving: super::saving::Progress,
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
            coming: BTreeMap::new(),
            cut_over: Vec::new(),
            clocks,
            cold: Box::new(NothingCold),
            failure: None,
            unread: RefCell::new(None),
            generations: 0,
            saving: super::saving::Progress::default(),
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
        let name = plan.name();
        let serves = |known: &ViewState| known.plan.sql == plan.sql && known.options.same_windows(&options);
        if self.views.get(name).is_some_and(serves) && self.coming.remove(name).is_some() {
            return false;
        }
        let newest = self.coming.get_mut(name).or(self.views.get_mut(name));
        if let Some(known) = newest
            && known.plan.sql == plan.sql
            && known.options.same_windows(&options)
        {
            known.options = options;
            return false;
        }
        self.begin_view(plan, options, self.generations + 1);
        true
    }

    /// Begins a view. One of this name that is live goes on serving until the new one has caught up. Generations are
    /// never used twice.
    pub fn begin_view(&mut self, plan: Arc<ViewPlan>, options: ViewOptions, generation: u64) {
        self.generations = self.generations.max(generation);
        let name = Arc::clone(&plan.name);
        let mut state = ViewState::new(plan, options, generation);
        state.live = self.position == LogPos(0);
        if state.plan.source.is_some() {
            // it has nothing of its own to catch up
            (state.position, state.live) = (self.position, true);
        }
        if self.views.get(&name).is_some_and(|known| known.live) {
            self.coming.insert(name, state);
            self.promote();
        } else {
            self.coming.remove(&name);
            if self.views.insert(Arc::clone(&name), state).is_some() {
                self.cut_over.push((Arc::clone(&name), generation));
            }
            self.refresh_readers(&name);
        }
    }

    /// What serves a view.
    pub(super) fn serving(&self, name: &str) -> Option<&ViewState> {
        self.views.get(name)
    }

    /// What replaces a view once it has caught up.
    pub(super) fn coming(&self, name: &str) -> Option<&ViewState> {
        self.coming.get(name)
    }

    /// A view stays what it is: what was to replace it is forgotten.
    pub fn forget_coming(&mut self, name: &str) {
        self.coming.remove(name);
    }

    /// Gives a view another allowed lateness; its windows stay.
    pub fn retime(&mut self, name: &str, options: ViewOptions) {
        if let Some(state) = self.coming.get_mut(name).or(self.views.get_mut(name)) {
            state.options.allowed_lateness = options.allowed_lateness;
        }
    }

    /// Says where windows are stored that are not in memory.
    pub fn set_cold(&mut self, cold: Box<dyn ColdGroups>) {
        self.cold = cold;
    }

    /// Why nothing that the engine holds is worth anything any more: begin again from the newest snapshot.
    #[must_use]
    pub fn failure(&self) -> Option<&ColdError> {
        self.failure.as_ref()
    }

    /// Returns whether there was such a view.
    pub fn drop_view(&mut self, name: &str) -> bool {
        self.coming.remove(name);
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

    /// What a view waits for, when there is nothing of it yet: its stream, or the view that it reads.
    #[must_use]
    pub fn waiting_for(&self, plan: &ViewPlan) -> Option<String> {
        match plan.reads() {
            Some(view) => (!self.views.contains_key(view)).then(|| view.to_owned()),
            None => (!self.clocks.knows(&plan.stream)).then(|| plan.stream.to_string()),
        }
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

    /// Applies the next entry of the log to the clocks and to all live views. An entry at or before
    /// [`position`](Self::position) is ignored.
    pub fn apply(&mut self, batch: &AppliedBatch<'_>) -> Vec<WindowChange> {
        if batch.pos <= self.position || self.failure.is_some() {
            return Vec::new();
        }
        self.position = batch.pos;
        if !batch.replayed {
            self.future_events += self.clocks.observe(batch, &self.config);
        }
        let (config, cold, mut failure) = (self.config, self.cold.as_ref(), None);
        let live = self.views.values_mut().filter(|state| state.live);
        let changes = live
            .filter_map(|state| change(state, batch, &config, cold, &mut failure))
            .collect();
        // what has caught up while a snapshot is taken serves when that is through
        for state in self.coming.values_mut().filter(|state| state.live) {
            change(state, batch, &config, cold, &mut failure);
        }
        self.failure = failure;
        changes
    }

    /// Applies an entry to one view that is catching up. Entries that the view covers already, and all entries
    /// once it is live, are ignored.
    pub fn apply_to(&mut self, view: &str, batch: &AppliedBatch<'_>) -> Option<WindowChange> {
        let (position, config) = (self.position, self.config);
        let Self {
            views,
            coming,
            cold,
            failure,
            ..
        } = self;
        let state = views.get_mut(view).filter(|state| !state.live);
        let serves = state.is_some();
        let state = state.or_else(|| coming.get_mut(view))?;
        if batch.pos <= state.position || batch.pos > position || failure.is_some() {
            return None;
        }
        let change = change(state, batch, &config, cold.as_ref(), failure);
        state.live = state.position == position;
        self.promote();
        change.filter(|_| serves)
    }

    /// Some view that is behind, and the position from which it needs the log.
    #[must_use]
    pub fn behind(&self) -> Option<(Arc<str>, LogPos)> {
        let state = self.filling()?;
        Some((Arc::clone(&state.plan.name), state.position))
    }

    /// The state that catches up next.
    pub(super) fn filling(&self) -> Option<&ViewState> {
        self.states().find(|state| !state.live)
    }

    /// Says that no entry up to a position matters to a view that is catching up.
    pub fn pass_to(&mut self, view: &str, pos: LogPos) {
        let newest = self.position;
        if let Some(state) = self.filling_mut(view) {
            state.position = state.position.max(pos.min(newest));
            state.live = state.position == newest;
        }
        self.promote();
    }

    /// Takes note that entries up to a position are not retained any more: a view that is catching up misses them.
    pub fn miss_to(&mut self, view: &str, pos: LogPos) {
        let newest = self.position;
        if let Some(state) = self.filling_mut(view) {
            state.miss_until(pos.min(newest));
            state.live = state.position == newest;
        }
        self.promote();
    }

    fn filling_mut(&mut self, view: &str) -> Option<&mut ViewState> {
        let serving = self.views.get_mut(view).filter(|state| !state.live);
        serving.or_else(|| self.coming.get_mut(view))
    }

    /// Ends a view's catching up although entries are missing, because the log does not retain them any more.
    /// Must follow the last retained entry, with no `apply` in between.
    pub fn skip_missing(&mut self, view: &str) {
        self.miss_to(view, self.position);
    }

    /// Lets every view serve that has caught up, in place of what it replaces.
    pub(super) fn promote(&mut self) {
        // the state that is replaced is part of the snapshot
        if self.saving.begun {
            return;
        }
        while let Some(name) = self
            .coming
            .iter()
            .find(|(_, state)| state.live)
            .map(|(name, _)| Arc::clone(name))
        {
            if let Some(state) = self.coming.remove(&name) {
                self.cut_over.push((Arc::clone(&name), state.generation));
                self.views.insert(Arc::clone(&name), state);
                self.refresh_readers(&name);
            }
        }
    }

    /// Views that serve their new definition since the last call, with the generation of its state.
    pub fn take_cut_over(&mut self) -> Vec<(Arc<str>, u64)> {
        std::mem::take(&mut self.cut_over)
    }

    /// All states: those that serve, and those that will.
    pub(super) fn states(&self) -> impl Iterator<Item = &ViewState> {
        self.views.values().chain(self.coming.values())
    }

    pub(super) fn states_mut(&mut self) -> impl Iterator<Item = &mut ViewState> {
        self.views.values_mut().chain(self.coming.values_mut())
    }

    pub(super) fn state_mut(&mut self, generation: u64) -> Option<&mut ViewState> {
        self.states_mut().find(|state| state.generation == generation)
    }

    /// Goes on behind entries that the log does not retain any more; every view notes that it missed them.
    pub fn skip_to(&mut self, pos: LogPos) {
        if pos > self.position {
            self.position = pos;
            for state in self.states_mut().filter(|state| state.live) {
                state.miss_until(pos);
            }
        }
    }
}

fn change(
    state: &mut ViewState,
    batch: &AppliedBatch<'_>,
    config: &EngineConfig,
    cold: &dyn ColdGroups,
    failure: &mut Option<ColdError>,
) -> Option<WindowChange> {
    let cold = ColdView::new(cold, state.generation);
    let Applied { slots, gone } = state.apply(batch, config, &cold);
    if let Some(error) = cold.into_failure() {
        failure.get_or_insert(error);
    }
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
