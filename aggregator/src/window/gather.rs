//! Which rows a view has in a window, wherever their state lies. All reading goes through here.

use std::collections::VecDeque;
use std::ops::Deref;

use tributary_shared::time::Millis;

use super::cold::ColdError;
use super::engine::Engine;
use super::filter::Filter;
use super::groups::Groups;
use super::pinned::Pinned;
use super::row::RowRef;
use super::state::ViewState;
use crate::commit::LogPos;
use crate::view::{ViewPlan, WindowKind};

/// Groups, and starts of panes, that are fetched from disk in one go.
const COLD_CHUNK: usize = 4_096;
const COLD_STARTS: usize = 256;

/// Which rows a reader wants, as far as it can be told before a row is made. What is not wanted may be left out.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Keys by number, and filters that they must pass.
    pub keys: Vec<(usize, &'a Filter<'a>)>,
    /// What the filters say of the keys of the view's own groups.
    pub pinned: Option<Pinned>,
    /// Rows that changed at this log position or later.
    pub since: Option<LogPos>,
    /// Only rows that are in memory, or merged from panes.
    pub hot: bool,
    /// Rows behind this key, in the order of keys as stored.
    pub behind: Option<&'a [u8]>,
    /// So many of those, and one more if there is one.
    pub most: Option<usize>,
}

impl Wanted<'_> {
    pub(super) fn key(&self, groups: &Groups, slot: u32) -> bool {
        self.keys
            .iter()
            .all(|(key, filter)| filter.keeps(groups.key(slot, *key)))
    }

    pub(super) fn change(&self, changed_at: LogPos) -> bool {
        self.since.is_none_or(|since| changed_at >= since)
    }
}

/// Some groups of one window: the view's own, or groups that were made for this reading.
#[derive(Debug)]
pub(super) enum Held<'a> {
    Hot(&'a Groups),
    Scratch(Box<Groups>),
}

impl Deref for Held<'_> {
    type Target = Groups;

    fn deref(&self) -> &Groups {
        match self {
            Self::Hot(groups) => groups,
            Self::Scratch(groups) => groups,
        }
    }
}

/// A part of a window's rows.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub groups: Held<'a>,
    pub slots: Vec<u32>,
}

/// The rows of one window, in no order.
#[derive(Debug)]
pub(super) struct WindowRows<'a> {
    plan: &'a ViewPlan,
    parts: Vec<Part<'a>>,
}

impl WindowRows<'_> {
    pub fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.parts.iter().flat_map(|part| {
            part.slots.iter().map(|slot| RowRef {
                plan: self.plan,
                groups: &part.groups,
                slot: *slot,
            })
        })
    }

    /// The first rows behind a key, at most so many, in the order of their keys as stored, and whether there are more.
    pub fn page(&self, after: Option<&[u8]>, most: usize) -> (Vec<(Vec<u8>, RowRef<'_>)>, bool) {
        let keyed = self.rows().map(|row| (row.groups.encoded_key(row.slot), row));
        let behind = |(key, _): &(Vec<u8>, RowRef<'_>)| after.is_none_or(|after| key.as_slice() > after);
        let mut rows: Vec<_> = keyed.filter(behind).collect();
        let more = rows.len() > most;
        if more && most > 0 {
            rows.select_nth_unstable_by(most - 1, |a, b| a.0.cmp(&b.0));
        }
        rows.truncate(most);
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        (rows, more)
    }
}

impl Engine {
    /// The starts of a view's windows within the bounds (`to` is excluded), oldest first, but those beyond the
    /// retention. What has no window is not bounded.
    pub(super) fn window_starts<'a>(
        &'a self,
        state: &'a ViewState,
        from: Option<Millis>,
        to: Option<Millis>,
    ) -> Box<dyn DoubleEndedIterator<Item = Millis> + 'a> {
        if let (Some(source), Some(size)) = (&state.plan.source, state.plan.window.size()) {
            let until = to.map(|to| to.saturating_add(longest(size)));
            let starts = self.rolled_starts(&state.plan, source, from, until, to);
            return Box::new(starts.into_iter());
        }
        let starts: Box<dyn DoubleEndedIterator<Item = Millis> + 'a> = match &state.plan.window {
            WindowKind::None => self.pane_starts(state, None, None),
            WindowKind::Hop { size, .. } => {
                // a window may begin before the first pane that it has
                let until = to.map(|to| to.saturating_add(longest(*size)));
                let panes = self.pane_starts(state, from, until);
                let starts = windows_over(&state.plan.window, panes, from, to);
                Box::new(starts.into_iter())
            }
            WindowKind::Tumble { .. } | WindowKind::Session { .. } => self.pane_starts(state, from, to),
        };
        let horizon = self.horizon(state);
        // they may not be deleted yet
        Box::new(starts.filter(move |start| !state.is_beyond(*start, horizon)))
    }

    /// The starts of a view's windows that are in memory, or merged from panes that are.
    pub(super) fn hot_starts(&self, state: &ViewState) -> Vec<Millis> {
        if !state.groups.has_cold() {
            return self.window_starts(state, None, None).collect();
        }
        let panes = state.groups.windows_between(None, None).map(|(start, _)| start);
        let horizon = self.horizon(state);
        let starts = match &state.plan.window {
            kind @ WindowKind::Hop { .. } => windows_over(kind, panes, None, None),
            _ => panes.collect(),
        };
        starts
            .into_iter()
            .filter(|start| !state.is_beyond(*start, horizon))
            .collect()
    }

    /// The rows of the window that starts then.
    pub(super) fn window_rows<'a>(
        &'a self,
        state: &'a ViewState,
        start: Millis,
        wanted: &Wanted<'_>,
    ) -> WindowRows<'a> {
        let plan = &state.plan;
        if let Some(source) = &plan.source {
            let parts = vec![self.rolled(plan, source, start, wanted)];
            return WindowRows { plan, parts };
        }
        let parts = match &plan.window {
            kind @ WindowKind::Hop { .. } => {
                let end = kind.end(start).unwrap_or(start);
                vec![self.merged(state, start, end, wanted)]
            }
            _ => self.pane(state, start, wanted),
        };
        WindowRows { plan, parts }
    }

    /// The starts of the panes that a view keeps, within the bounds.
    fn pane_starts<'a>(
        &'a self,
        state: &'a ViewState,
        from: Option<Millis>,
        to: Option<Millis>,
    ) -> Box<dyn DoubleEndedIterator<Item = Millis> + 'a> {
        if !state.groups.has_cold() {
            return Box::new(state.groups.windows_between(from, to).map(|(start, _)| start));
        }
        let from = from.unwrap_or(Millis::MIN);
        let to = to.unwrap_or(Millis::MAX).max(from);
        Box::new(PaneStarts {
            engine: self,
            state,
            from,
            to,
            front: Ahead::default(),
            back: Ahead::default(),
        })
    }

    /// The groups of one pane, in memory and on disk.
    fn pane<'a>(&'a self, state: &'a ViewState, start: Millis, wanted: &Wanted<'_>) -> Vec<Part<'a>> {
        let groups = &state.groups;
        let keeps = |slot: &u32| wanted.key(groups, *slot) && wanted.change(groups.changed_at(*slot));
        let mut slots = match &wanted.pinned {
            Some(pinned) => groups.slots_with(start, pinned),
            None => groups.slots_of(start).to_vec(),
        };
        slots.retain(keeps);
        let groups_in_memory = Held::Hot(groups);
        let mut parts = vec![Part {
            groups: groups_in_memory,
            slots,
        }];
        let changed = wanted.since.is_none_or(|since| groups.cold_changed_since(since));
        if !wanted.hot && changed && groups.may_be_cold(start) {
            parts.push(self.cold_pane(state, start, wanted));
        }
        parts
    }

    /// Those groups of a pane that are on disk only.
    fn cold_pane<'a>(&self, state: &ViewState, start: Millis, wanted: &Wanted<'_>) -> Part<'a> {
        let mut scratch = Groups::new(state.plan.keys.len(), &state.plan.cells);
        let mut slots = Vec::new();
        let mut after = wanted.behind.map(<[u8]>::to_vec);
        // one more than asked for, to know whether there is more
        while wanted.most.is_none_or(|most| slots.len() <= most) {
            let found = self
                .cold
                .groups(state.generation, start, after.as_deref(), COLD_CHUNK);
            let Some(found) = self.read(found) else { break };
            let Some(last) = found.last() else { break };
            after = Some(last.key.clone());
            // what is in memory may be newer
            for group in found
                .iter()
                .filter(|group| !state.groups.holds(start, &group.key))
            {
                let restored = scratch.restore(group);
                let Some(slot) = self.read(restored.map_err(|error| ColdError(error.to_string()))) else {
                    break;
                };
                if wanted.key(&scratch, slot) && wanted.change(scratch.changed_at(slot)) {
                    slots.push(slot);
                }
            }
        }
        let groups = Held::Scratch(Box::new(scratch));
        Part { groups, slots }
    }

    /// What was read of the disk. A failure is kept for whoever answers the reader.
    fn read<T>(&self, read: Result<T, ColdError>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                self.unread.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    /// Whether all that was gathered since the last call could be read.
    pub(super) fn check_read(&self) -> Result<(), ColdError> {
        self.unread.take().map_or(Ok(()), Err)
    }

    /// A window that is merged from the panes within it.
    fn merged<'a>(
        &'a self,
        state: &'a ViewState,
        start: Millis,
        end: Millis,
        wanted: &Wanted<'_>,
    ) -> Part<'a> {
        let of_any_time = Wanted {
            keys: wanted.keys.clone(),
            pinned: wanted.pinned.clone(),
            ..Wanted::default()
        };
        let panes = self.pane_starts(state, Some(start), Some(end));
        let parts: Vec<Part<'_>> = panes
            .flat_map(|pane| self.pane(state, pane, &of_any_time))
            .collect();
        let mut scratch = Groups::new(state.plan.keys.len(), &state.plan.cells);
        // which groups there are and whether a pane of theirs changed; then only those are merged
        let mut changed: Vec<bool> = Vec::new();
        let mut targets = Vec::new();
        for part in &parts {
            for slot in &part.slots {
                let target = scratch.slot_like(start, &part.groups, *slot);
                changed.resize(changed.len().max(target as usize + 1), false);
                changed[target as usize] |= wanted.change(part.groups.changed_at(*slot));
                targets.push(target);
            }
        }
        let slots = parts
            .iter()
            .flat_map(|part| part.slots.iter().map(|slot| (&part.groups, *slot)));
        for ((groups, slot), target) in slots.zip(&targets) {
            if changed[*target as usize] {
                scratch.merge_slot(*target, groups, slot);
            }
        }
        // the bound on groups is far below 2^32
        let slots = (1..changed.len() as u32).filter(|slot| changed[*slot as usize]);
        Part {
            slots: slots.collect(),
            groups: Held::Scratch(Box::new(scratch)),
        }
    }

    /// The windows of a view that events of these panes are in: those that change when the panes do.
    pub(super) fn windows_over_panes(plan: &ViewPlan, mut panes: Vec<Millis>) -> Vec<Millis> {
        panes.sort_unstable();
        panes.dedup();
        windows_over(&plan.window, panes.into_iter(), None, None)
    }
}

/// The starts of all windows that hold any of these times, which rise. Within bounds.
pub(super) fn windows_over(
    kind: &WindowKind,
    times: impl Iterator<Item = Millis>,
    from: Option<Millis>,
    to: Option<Millis>,
) -> Vec<Millis> {
    let mut starts: Vec<Millis> = Vec::new();
    for time in times {
        let newest = starts.last().copied();
        let new = kind.windows_of(time).into_iter().filter(|start| {
            newest.is_none_or(|newest| *start > newest)
                && from.is_none_or(|from| *start >= from)
                && to.is_none_or(|to| *start < to)
        });
        starts.extend(new);
    }
    starts
}

/// A window of this size is never longer: with a zone its days may have an hour more, or in the farthest past and at
/// the date line some.
fn longest(size: Millis) -> Millis {
    size.saturating_add(2 * crate::view::DAY)
}

/// Starts of panes in memory and on disk, from both ends.
struct PaneStarts<'a> {
    engine: &'a Engine,
    state: &'a ViewState,
    /// What is left.
    from: Millis,
    to: Millis,
    front: Ahead,
    back: Ahead,
}

/// Starts of panes on disk that were read ahead.
#[derive(Debug, Default)]
struct Ahead {
    starts: VecDeque<Millis>,
    ended: bool,
}

impl PaneStarts<'_> {
    fn hot(&self) -> impl DoubleEndedIterator<Item = Millis> {
        let panes = self.state.groups.windows_between(Some(self.from), Some(self.to));
        panes.map(|(start, _)| start)
    }

    fn fetch(&self, ahead: &mut Ahead, newest_first: bool) {
        if ahead.starts.is_empty() && !ahead.ended {
            let (view, bounds) = (self.state.generation, (self.from, self.to));
            let found = self.engine.cold.starts(view, bounds, newest_first, COLD_STARTS);
            let found = self.engine.read(found).unwrap_or_default();
            ahead.ended = found.len() < COLD_STARTS;
            ahead.starts = found.into();
        }
    }
}

impl Iterator for PaneStarts<'_> {
    type Item = Millis;

    fn next(&mut self) -> Option<Millis> {
        let mut ahead = std::mem::take(&mut self.front);
        ahead.starts.retain(|start| *start >= self.from);
        self.fetch(&mut ahead, false);
        let cold = ahead.starts.front().copied().filter(|start| *start < self.to);
        self.front = ahead;
        let hot = self.hot().next();
        let found = hot.into_iter().chain(cold).min()?;
        self.from = found.saturating_add(1);
        Some(found)
    }
}

impl DoubleEndedIterator for PaneStarts<'_> {
    fn next_back(&mut self) -> Option<Millis> {
        let mut ahead = std::mem::take(&mut self.back);
        ahead.starts.retain(|start| *start < self.to);
        self.fetch(&mut ahead, true);
        let cold = ahead.starts.front().copied().filter(|start| *start >= self.from);
        self.back = ahead;
        let hot = self.hot().next_back();
        let found = hot.into_iter().chain(cold).max()?;
        self.to = found;
        Some(found)
    }
}
