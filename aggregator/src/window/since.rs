//! What changed since a reader was last told.

use std::collections::BinaryHeap;

use tributary_shared::time::Millis;

use super::engine::Engine;
use super::gather::Wanted;
use super::messages::{QueryError, WindowChange, WindowRow};
use super::place;
use super::row::RowRef;
use super::stamp::{EventId, Stamp, in_order};
use super::state::ViewState;
use crate::commit::LogPos;
use crate::view::{Scalar, WindowKind};

/// The next rows for a reader who comes back.
#[derive(Debug, Clone, PartialEq)]
pub struct SincePage {
    /// In the order of their stamps.
    pub rows: Vec<(Stamp, WindowRow)>,
    /// There are more.
    pub more: bool,
    /// When there are no more: everything that changed up to here was told.
    pub through: LogPos,
    pub definition: u32,
    /// Why it cannot be known what the reader has missed; there are no rows then.
    pub unknown: Option<Unknown>,
}

/// Why what a reader has missed cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The id is of another definition of the view.
    Replaced,
    /// The id is ahead of the log: it is of another log, or this one was restored from an older copy.
    Ahead,
    /// The view is being back-filled, in the order of the log and not of its changes.
    Filling,
    /// Rows that changed since are not in memory any more.
    Cold,
    /// Rows that changed since may be no more: sessions that were merged, rows that HAVING hides.
    Gone,
}

impl Unknown {
    /// For the reader.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Replaced => "the view was replaced, or is back-filled since",
            Self::Ahead => "the id is ahead of the log, which was restored or is another one",
            Self::Filling => "the view is being back-filled",
            Self::Cold => "the id is too old",
            Self::Gone => "rows changed meanwhile, and some may be no more",
        }
    }
}

/// The name of a row that is not shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HiddenRow {
    pub window_start: Option<Millis>,
    pub window_end: Option<Millis>,
    /// In the order of the view's keys.
    pub key: Vec<Scalar>,
}

impl HiddenRow {
    fn of(row: &RowRef<'_>) -> Self {
        Self {
            window_start: row.window_start(),
            window_end: row.window_end(),
            key: row.keys(),
        }
    }
}

impl Engine {
    /// The rows that changed behind `after`, oldest change first, at most `limit`; without `after` none, for a reader
    /// who begins now.
    ///
    /// # Errors
    /// [`QueryError::UnknownView`].
    pub fn since(&self, view: &str, after: Option<EventId>, limit: usize) -> Result<SincePage, QueryError> {
        let state = self.state(view)?;
        let definition = place::definition(&state.plan.sql);
        let nothing = |unknown| SincePage {
            rows: Vec::new(),
            more: false,
            through: self.position(),
            definition,
            unknown,
        };
        let Some(after) = after else {
            return Ok(nothing((!state.live).then_some(Unknown::Filling)));
        };
        if let Some(unknown) = self.unknown(state, &after, definition) {
            return Ok(nothing(Some(unknown)));
        }
        // rows that became part of another, or that HAVING hides now, leave no trace: who has heard of them reads again
        let may_go = matches!(state.plan.window, WindowKind::Session { .. }) || state.plan.having.is_some();
        let wanted = self.first_behind(state, after.stamp, limit + 1);
        let more = wanted.len() > limit;
        let cut = wanted.get(limit.saturating_sub(1)).or(wanted.last()).copied();
        let Some(cut) = cut else {
            return Ok(nothing(None));
        };
        if may_go {
            return Ok(nothing(Some(Unknown::Gone)));
        }
        // the next row, which does not come with this page, may be of the same position
        let complete = wanted
            .get(limit)
            .is_none_or(|next| next.changed_at != cut.changed_at);
        let progress = self.progress(state);
        let changed = since(after.stamp);
        let mut rows = Vec::new();
        for window in self.hot_starts(state) {
            let found = self.window_rows(state, window, &changed);
            let wanted = found.rows().filter(|row| {
                let stamp = row.stamp();
                after.stamp < stamp && stamp <= cut
            });
            rows.extend(wanted.map(|row| self.row(&progress, &row)));
        }
        self.check_read()?;
        Ok(SincePage {
            rows: in_order(rows, complete),
            more,
            ..nothing(None)
        })
    }

    /// The changed rows that HAVING hides: some reader may have seen them before.
    pub(super) fn hidden(&self, change: &WindowChange) -> Vec<HiddenRow> {
        let serving = self.views.get(&change.view);
        let of_this =
            |state: &&ViewState| state.generation == change.generation && state.plan.having.is_some();
        let Some(state) = serving.filter(of_this) else {
            return Vec::new();
        };
        let (plan, groups) = (state.plan.as_ref(), &state.groups);
        let slots = change.groups.iter().map(|group| group.0);
        let rows = slots
            .filter(|slot| groups.contains(*slot))
            .map(|slot| RowRef { plan, groups, slot });
        let mut hidden: Vec<HiddenRow> = rows
            .filter(|row| !row.is_shown())
            .map(|row| HiddenRow::of(&row))
            .collect();
        let changed = Wanted {
            since: Some(change.since),
            ..Wanted::default()
        };
        for start in &change.windows {
            let window = self.window_rows(state, *start, &changed);
            hidden.extend(
                window
                    .rows()
                    .filter(|row| !row.is_shown())
                    .map(|row| HiddenRow::of(&row)),
            );
        }
        hidden
    }

    fn unknown(&self, state: &ViewState, after: &EventId, definition: u32) -> Option<Unknown> {
        if after.definition.is_some_and(|of| of != definition) {
            return Some(Unknown::Replaced);
        }
        if after.stamp.changed_at > self.position() {
            return Some(Unknown::Ahead);
        }
        if !state.live {
            return Some(Unknown::Filling);
        }
        if state
            .groups
            .cold_changed_since(LogPos(after.stamp.changed_at.0 + 1))
        {
            return Some(Unknown::Cold);
        }
        None
    }

    /// The stamps of the first rows behind a stamp, in order.
    fn first_behind(&self, state: &ViewState, after: Stamp, most: usize) -> Vec<Stamp> {
        let (changed, mut first) = (since(after), BinaryHeap::<Stamp>::new());
        for window in self.hot_starts(state) {
            let rows = self.window_rows(state, window, &changed);
            for row in rows.rows() {
                let stamp = row.stamp();
                let full = first.len() == most && first.peek().is_some_and(|last| *last <= stamp);
                if stamp <= after || full {
                    continue;
                }
                first.push(stamp);
                if first.len() > most {
                    first.pop();
                }
            }
        }
        first.into_sorted_vec()
    }
}

/// Rows that changed at the stamp's position or later; those that are on disk only did not.
fn since(stamp: Stamp) -> Wanted<'static> {
    Wanted {
        since: Some(stamp.changed_at),
        hot: true,
        ..Wanted::default()
    }
}
