//! Which rows a view has in a window, wherever their state lies. All reading goes through here.

use std::ops::Deref;

use tributary_shared::time::Millis;

use super::engine::Engine;
use super::filter::Filter;
use super::groups::Groups;
use super::row::RowRef;
use super::state::ViewState;
use crate::commit::LogPos;
use crate::view::{ViewPlan, WindowKind};

/// Which rows a reader wants, as far as it can be told before a row is made. What is not wanted may be left out.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// Keys by number, and filters that they must pass.
    pub keys: Vec<(usize, &'a Filter<'a>)>,
    /// Rows that changed at this log position or later.
    pub since: Option<LogPos>,
}

impl Wanted<'_> {
    fn key(&self, groups: &Groups, slot: u32) -> bool {
        self.keys
            .iter()
            .all(|(key, filter)| filter.keeps(groups.key(slot, *key)))
    }

    fn change(&self, changed_at: LogPos) -> bool {
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

/// The rows of one window, in an order that only grows at its end while the window gets new rows.
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
}

impl Engine {
    /// The starts of a view's windows within the bounds (`to` is excluded), oldest first. What has no window is not
    /// bounded.
    pub(super) fn window_starts<'a>(
        &'a self,
        state: &'a ViewState,
        from: Option<Millis>,
        to: Option<Millis>,
    ) -> Box<dyn DoubleEndedIterator<Item = Millis> + 'a> {
        match &state.plan.window {
            WindowKind::None => self.pane_starts(state, None, None),
            WindowKind::Hop { size, .. } => {
                // a window may begin before the first pane that it has
                let until = to.map(|to| to.saturating_add(longest(*size)));
                let panes = self.pane_starts(state, from, until);
                let starts = windows_over(&state.plan.window, panes, from, to);
                Box::new(starts.into_iter())
            }
            WindowKind::Tumble { .. } | WindowKind::Session { .. } => self.pane_starts(state, from, to),
        }
    }

    /// The rows of the window that starts then.
    pub(super) fn window_rows<'a>(
        &'a self,
        state: &'a ViewState,
        start: Millis,
        wanted: &Wanted<'_>,
    ) -> WindowRows<'a> {
        let plan = &state.plan;
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
        Box::new(state.groups.windows_between(from, to).map(|(start, _)| start))
    }

    /// The groups of one pane.
    fn pane<'a>(&'a self, state: &'a ViewState, start: Millis, wanted: &Wanted<'_>) -> Vec<Part<'a>> {
        let groups = &state.groups;
        let mut windows = groups.windows_between(Some(start), start.checked_add(1));
        let Some((_, slots)) = windows.next() else {
            return Vec::new();
        };
        let keeps = |slot: &&u32| wanted.key(groups, **slot) && wanted.change(groups.changed_at(**slot));
        vec![Part {
            groups: Held::Hot(groups),
            slots: slots.iter().filter(keeps).copied().collect(),
        }]
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
            since: None,
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
                let target = scratch.slot_of(start, &part.groups.keys(*slot));
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
fn windows_over(
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
