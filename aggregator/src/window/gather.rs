//! Which rows a view has in a window, wherever their state lies. All reading goes through here.

use std::ops::Deref;

use tributary_shared::time::Millis;

use super::engine::Engine;
use super::groups::Groups;
use super::row::RowRef;
use super::state::ViewState;
use crate::view::ViewPlan;

/// Some groups of one window: the view's own, or groups that were made for this reading.
#[derive(Debug)]
pub(super) enum Held<'a> {
    Hot(&'a Groups),
    #[allow(
        dead_code,
        reason = "what is loaded from disk or merged for a reader lies here"
    )]
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
    /// The starts of a view's windows within the bounds (`to` is excluded), oldest first.
    pub(super) fn window_starts<'a>(
        &'a self,
        state: &'a ViewState,
        from: Option<Millis>,
        to: Option<Millis>,
    ) -> impl DoubleEndedIterator<Item = Millis> + 'a {
        state.groups.windows_between(from, to).map(|(start, _)| start)
    }

    /// The rows of the window that starts then.
    pub(super) fn window_rows<'a>(&'a self, state: &'a ViewState, start: Millis) -> WindowRows<'a> {
        let mut windows = state.groups.windows_between(Some(start), start.checked_add(1));
        let slots = windows
            .next()
            .map(|(_, slots)| slots.to_vec())
            .unwrap_or_default();
        WindowRows {
            plan: &state.plan,
            parts: vec![Part {
                groups: Held::Hot(&state.groups),
                slots,
            }],
        }
    }
}
