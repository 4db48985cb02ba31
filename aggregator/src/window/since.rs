//! What changed since a reader was last told.

use std::collections::BinaryHeap;

use super::engine::Engine;
use super::gather::Wanted;
use super::messages::{QueryError, WindowRow};
use super::place;
use super::stamp::{EventId, Stamp, in_order};
use super::state::ViewState;
use crate::commit::LogPos;
use crate::view::WindowKind;

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
    /// Sessions that changed since may have been merged.
    Sessions,
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
            Self::Sessions => "sessions changed meanwhile, and some may have become part of others",
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
        // rows that became part of another leave no trace: who has heard of them must read again
        let sessions = matches!(state.plan.window, WindowKind::Session { .. });
        let wanted = self.first_behind(state, after.stamp, limit + 1);
        let more = wanted.len() > limit;
        let cut = wanted.get(limit.saturating_sub(1)).or(wanted.last()).copied();
        let Some(cut) = cut else {
            return Ok(nothing(None));
        };
        if sessions {
            return Ok(nothing(Some(Unknown::Sessions)));
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
        if state.groups.has_cold() && after.stamp.changed_at < state.groups.cold_changed_at() {
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
