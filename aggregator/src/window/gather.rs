//! Which rows a view has in a window, wherever their state lies. All reading goes through here.

use std::ops::Deref;

use tributary_shared::time::Millis;

use super::cold::ColdError;
use super::engine::Engine;
use super::groups::Groups;
use super::messages::GroupState;
use super::row::{RowRef, window_end};
use super::state::ViewState;
use crate::view::ViewPlan;

/// Groups that are fetched from disk in one go.
const COLD_CHUNK: usize = 4_096;

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
    /// The oldest of a view's windows that start within the bounds (`to` is excluded).
    pub(super) fn first_start(
        &self,
        state: &ViewState,
        from: Millis,
        to: Millis,
    ) -> Result<Option<Millis>, ColdError> {
        let (horizon, mut from) = (self.horizon(state), from);
        loop {
            let hot = state.groups.windows_between(Some(from), Some(to)).next();
            let hot = hot.map(|(start, _)| start);
            let cold = match state.groups.has_cold() {
                true => self.cold.first(state.generation, from, to)?,
                false => None,
            };
            match hot.into_iter().chain(cold).min() {
                // too old to be shown, and not deleted yet
                Some(start) if window_end(&state.plan, start) <= horizon => from = start.saturating_add(1),
                found => return Ok(found),
            }
        }
    }

    /// The newest of a view's windows that start within the bounds (`to` is excluded).
    pub(super) fn last_start(
        &self,
        state: &ViewState,
        from: Millis,
        to: Millis,
    ) -> Result<Option<Millis>, ColdError> {
        let hot = state.groups.windows_between(Some(from), Some(to)).next_back();
        let hot = hot.map(|(start, _)| start);
        let cold = match state.groups.has_cold() {
            true => self.cold.last(state.generation, from, to)?,
            false => None,
        };
        let found = hot.into_iter().chain(cold).max();
        Ok(found.filter(|start| window_end(&state.plan, *start) > self.horizon(state)))
    }

    /// The rows of the window that starts then.
    pub(super) fn window_rows<'a>(
        &'a self,
        state: &'a ViewState,
        start: Millis,
    ) -> Result<WindowRows<'a>, ColdError> {
        let mut rows = self.hot_rows(state, start);
        if state.groups.may_be_cold(start) {
            let mut scratch = Scratch::new(state);
            let mut after: Option<Vec<u8>> = None;
            loop {
                let groups = self
                    .cold
                    .groups(state.generation, start, after.as_deref(), COLD_CHUNK)?;
                let Some(last) = groups.last() else { break };
                after = Some(last.key.clone());
                scratch.take(&groups)?;
            }
            rows.parts.push(scratch.into_part());
        }
        Ok(rows)
    }

    /// Those rows of the window that starts then which may be among the first so many behind a key.
    pub(super) fn window_rows_behind<'a>(
        &'a self,
        state: &'a ViewState,
        start: Millis,
        after: Option<&[u8]>,
        most: usize,
    ) -> Result<WindowRows<'a>, ColdError> {
        let mut rows = self.hot_rows(state, start);
        if state.groups.may_be_cold(start) {
            let mut scratch = Scratch::new(state);
            let mut after = after.map(<[u8]>::to_vec);
            // one more than asked for, to know whether there is more
            while scratch.slots.len() <= most {
                let groups = self
                    .cold
                    .groups(state.generation, start, after.as_deref(), COLD_CHUNK)?;
                let Some(last) = groups.last() else { break };
                after = Some(last.key.clone());
                scratch.take(&groups)?;
            }
            rows.parts.push(scratch.into_part());
        }
        Ok(rows)
    }

    fn hot_rows<'a>(&'a self, state: &'a ViewState, start: Millis) -> WindowRows<'a> {
        WindowRows {
            plan: &state.plan,
            parts: vec![Part {
                groups: Held::Hot(&state.groups),
                slots: state.groups.slots_of(start).to_vec(),
            }],
        }
    }
}

/// Groups of one window that were fetched from disk for a reader.
struct Scratch<'a> {
    of: &'a ViewState,
    groups: Box<Groups>,
    slots: Vec<u32>,
}

impl<'a> Scratch<'a> {
    fn new(of: &'a ViewState) -> Self {
        let groups = Box::new(Groups::new(of.plan.keys.len(), &of.plan.cells));
        let slots = Vec::new();
        Self { of, groups, slots }
    }

    /// Takes those that are not in memory: what is in memory may be newer.
    fn take(&mut self, stored: &[GroupState]) -> Result<(), ColdError> {
        for group in stored {
            if !self.of.groups.holds(group.window_start, &group.key) {
                let restored = self.groups.restore(group);
                self.slots
                    .push(restored.map_err(|error| ColdError(error.to_string()))?);
            }
        }
        Ok(())
    }

    fn into_part(self) -> Part<'a> {
        let groups = Held::Scratch(self.groups);
        let slots = self.slots;
        Part { groups, slots }
    }
}
