//! One row of a view: a group, read through the view's plan. Where the group's state lies (among the hot groups,
//! loaded from disk, or merged from panes) makes no difference to what it shows.

use std::cmp::Ordering;

use tributary_shared::time::Millis;

use super::groups::Groups;
use super::stamp::{Stamp, key_hash};
use crate::commit::LogPos;
use crate::view::{Aggregate, Env, Evaluator, Leaf, Mode, Scalar, ViewPlan, WindowKind};

/// A group and how to read it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowRef<'a> {
    pub plan: &'a ViewPlan,
    pub groups: &'a Groups,
    pub slot: u32,
}

impl RowRef<'_> {
    /// The value of a column.
    pub fn output(&self, column: usize) -> Scalar {
        // what a column shows is fixed by its groups, whichever way the numbers came in
        Evaluator::new(Mode::Typed).value(&self.plan.outputs[column], self)
    }

    /// The window's start, or where a view without windows keeps its rows.
    pub fn pane_start(&self) -> Millis {
        self.groups.window(self.slot)
    }

    /// `None` in views without windows.
    pub fn window_start(&self) -> Option<Millis> {
        (self.plan.window != WindowKind::None).then(|| self.groups.window(self.slot))
    }

    /// Whether the view's HAVING lets the row be seen.
    pub fn is_shown(&self) -> bool {
        self.plan
            .having
            .as_ref()
            .is_none_or(|having| Evaluator::new(Mode::Typed).value(having, self) == Scalar::Bool(true))
    }

    /// Exclusive. `None` in views without windows.
    pub fn window_end(&self) -> Option<Millis> {
        match (&self.plan.window, self.plan.session_last) {
            (WindowKind::Session { gap }, Some(last)) => match self.groups.cells(last).value(self.slot) {
                Scalar::Time(last) => Some(last + gap),
                _ => None,
            },
            (kind, _) => kind.end(self.window_start()?),
        }
    }

    /// Whether it stands for all groups that its window had no room for.
    pub fn is_overflow(&self) -> bool {
        self.groups.is_overflow(self.slot)
    }

    pub fn revision(&self) -> u64 {
        self.groups.revision(self.slot)
    }

    /// The log position of the row's last change.
    pub fn changed_at(&self) -> LogPos {
        self.groups.changed_at(self.slot)
    }

    /// The length of the window; NaN in views without windows, which have no rates.
    fn seconds(&self) -> f64 {
        match (self.window_start(), self.window_end()) {
            (Some(start), Some(end)) => (end - start) as f64 / 1e3,
            _ => f64::NAN,
        }
    }

    /// The columns whose values are approximate in this row, of those that are exact of few values.
    pub fn approximate(&self) -> Vec<usize> {
        let doubtful = self.plan.doubtful.iter();
        let mut columns: Vec<usize> = doubtful
            .filter(|(_, cell)| self.groups.cells(*cell).is_approximate(self.slot))
            .map(|(column, _)| *column)
            .collect();
        columns.dedup();
        columns
    }

    /// What stands for the row's keys in its stamp.
    pub fn key_hash(&self) -> u64 {
        let keys = 0..self.plan.keys.len();
        key_hash(keys.map(|at| self.groups.key(self.slot, at)))
    }

    /// Where the row stands among all changes.
    pub fn stamp(&self) -> Stamp {
        Stamp::new(
            self.changed_at(),
            self.window_start().unwrap_or_default(),
            self.key_hash(),
        )
    }

    /// The values that tell the row from others of its window.
    pub fn keys(&self) -> Vec<Scalar> {
        let keys = 0..self.plan.keys.len();
        keys.map(|at| self.groups.key(self.slot, at).clone()).collect()
    }

    /// The row's keys as a place has them: one more where it is the overflow, whose keys are those of a group of NULLs.
    pub fn place_key(&self) -> Vec<Scalar> {
        let mut key = self.keys();
        if self.is_overflow() {
            key.push(Scalar::Null);
        }
        key
    }

    /// How the row's keys stand to those of a place; a place of fewer keys comes first.
    pub fn compare_key(&self, place: &[Scalar]) -> Ordering {
        let len = self.plan.keys.len();
        let keys = (0..len).zip(place);
        keys.map(|(at, other)| self.groups.key(self.slot, at).total_cmp(other))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| (len + usize::from(self.is_overflow())).cmp(&place.len()))
    }

    /// The order of rows within a window: by their keys.
    pub fn compare(&self, other: &Self) -> Ordering {
        (0..self.plan.keys.len())
            .map(|at| {
                self.groups
                    .key(self.slot, at)
                    .total_cmp(other.groups.key(other.slot, at))
            })
            .find(|order| order.is_ne())
            .unwrap_or_else(|| (self.is_overflow(), self.slot).cmp(&(other.is_overflow(), other.slot)))
    }
}

impl Env for RowRef<'_> {
    fn leaf(&self, leaf: Leaf) -> Scalar {
        match leaf {
            Leaf::Key(at) => self.groups.key(self.slot, at).clone(),
            Leaf::WindowStart => time(self.window_start()),
            Leaf::WindowEnd => time(self.window_end()),
            Leaf::Aggregate(at) => match self.plan.aggregates[at] {
                // counts of events stay far below 2^63
                Aggregate::Rows => Scalar::Int(self.groups.row_count(self.slot).cast_signed()),
                Aggregate::RowsPerSecond => {
                    let rows = self.groups.row_count(self.slot) as f64;
                    Scalar::finite(rows / self.seconds()).unwrap_or_default()
                }
                Aggregate::Cell { cell, reading, .. } => {
                    self.groups.cells(cell).read(self.slot, reading, self.seconds())
                }
            },
            // the lowering puts no columns into an expression over groups
            Leaf::Column(_) => Scalar::Null,
        }
    }
}

/// A time that may be missing.
pub(super) fn time(time: Option<Millis>) -> Scalar {
    time.map_or(Scalar::Null, Scalar::Time)
}
