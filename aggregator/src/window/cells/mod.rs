//! The state of aggregates: for each aggregate one array of small cells, indexed by group. Every kind of cell can
//! fold a batch's column, show its value, be stored and restored, and be merged: a merged cell is one that saw the
//! rows of both, which is how a hopping window is made of its panes and a roll-up of the view below.

mod bools;
mod count;
mod distinct;
mod edge;
mod extreme;
mod fingerprint;
mod fold;
mod increase;
mod kept;
mod moments;
mod quantiles;
mod slots;
mod sum;
#[cfg(test)]
mod tests;
mod top;

use bools::BoolCell;
use count::CountCell;
use distinct::DistinctCell;
use edge::EdgeCell;
use extreme::ExtremeCell;
pub(super) use fold::Fold;
use increase::IncreaseCell;
use moments::MomentsCell;
use quantiles::QuantileCell;
use slots::{Cell, Slots};
use sum::SumCell;
use top::TopCell;

use super::codec::Reader;
use super::messages::StateError;
use crate::view::{CellKind, EXACT_APPROX_DISTINCT, EXACT_DISTINCT, Reading, Scalar};

/// One aggregate's state for all groups.
#[derive(Debug, Clone)]
pub(super) enum Cells {
    Count(Slots<CountCell>),
    Sum(Slots<SumCell>),
    Min(Slots<ExtremeCell<false>>),
    Max(Slots<ExtremeCell<true>>),
    Moments(Slots<MomentsCell>),
    First(Slots<EdgeCell<false>>),
    Last(Slots<EdgeCell<true>>),
    Bools(Slots<BoolCell>),
    Distinct(Slots<DistinctCell<EXACT_DISTINCT>>),
    ApproxDistinct(Slots<DistinctCell<EXACT_APPROX_DISTINCT>>),
    Quantiles(Slots<QuantileCell>),
    Top(Slots<TopCell>),
    Increase(Slots<IncreaseCell>),
}

/// Does the same with the cells of whichever kind.
macro_rules! each_kind {
    ($cells:expr, $slots:ident => $does:expr) => {
        match $cells {
            Cells::Count($slots) => $does,
            Cells::Sum($slots) => $does,
            Cells::Min($slots) => $does,
            Cells::Max($slots) => $does,
            Cells::Moments($slots) => $does,
            Cells::First($slots) => $does,
            Cells::Last($slots) => $does,
            Cells::Bools($slots) => $does,
            Cells::Distinct($slots) => $does,
            Cells::ApproxDistinct($slots) => $does,
            Cells::Quantiles($slots) => $does,
            Cells::Top($slots) => $does,
            Cells::Increase($slots) => $does,
        }
    };
}

/// Does the same with two cells of the same kind.
macro_rules! same_kind {
    ($cells:expr, $other:expr, ($ours:ident, $theirs:ident) => $does:expr, $($kind:ident)*) => {
        match ($cells, $other) {
            $((Cells::$kind($ours), Cells::$kind($theirs)) => $does,)*
            (cells, other) => debug_assert!(false, "merging {other:?} into {cells:?}"),
        }
    };
}

impl Cells {
    pub(super) fn new(kind: CellKind) -> Self {
        match kind {
            CellKind::Count => Self::Count(Slots::default()),
            CellKind::Sum => Self::Sum(Slots::default()),
            CellKind::Min => Self::Min(Slots::default()),
            CellKind::Max => Self::Max(Slots::default()),
            CellKind::Moments => Self::Moments(Slots::default()),
            CellKind::First => Self::First(Slots::default()),
            CellKind::Last => Self::Last(Slots::default()),
            CellKind::Bools => Self::Bools(Slots::default()),
            CellKind::Distinct => Self::Distinct(Slots::default()),
            CellKind::ApproxDistinct => Self::ApproxDistinct(Slots::default()),
            CellKind::Quantiles => Self::Quantiles(Slots::default()),
            CellKind::Top => Self::Top(Slots::default()),
            CellKind::Increase => Self::Increase(Slots::default()),
        }
    }

    /// Adds an empty cell for a new group.
    pub(super) fn push(&mut self) {
        each_kind!(self, slots => slots.push(Default::default()));
    }

    /// Makes a group's cell an empty one.
    pub(super) fn clear(&mut self, slot: u32) {
        each_kind!(self, slots => slots.clear(slot));
    }

    /// Folds each row's value into the cell of its group.
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        each_kind!(self, slots => slots.update(fold));
    }

    /// The aggregate's value in a group, of a window that is `seconds` long.
    pub(super) fn read(&self, slot: u32, reading: Reading, seconds: f64) -> Scalar {
        let rate = |amount: f64| Scalar::finite(amount / seconds).unwrap_or_default();
        match (self, reading) {
            (Self::Count(cells), Reading::PerSecond) => rate(cells.get(slot).as_f64()),
            (Self::Count(cells), _) => cells.get(slot).value(),
            (Self::Sum(cells), Reading::Mean) => cells.get(slot).mean(),
            (Self::Sum(cells), Reading::PerSecond) => cells.get(slot).as_f64().map_or(Scalar::Null, rate),
            (Self::Sum(cells), _) => cells.get(slot).sum(),
            (Self::Min(cells), _) => cells.get(slot).value(),
            (Self::Max(cells), _) => cells.get(slot).value(),
            (Self::Moments(cells), Reading::Deviation { sample }) => cells.get(slot).deviation(sample),
            (Self::Moments(cells), Reading::Variance { sample }) => cells.get(slot).variance(sample),
            (Self::First(cells), _) => cells.get(slot).value(),
            (Self::Last(cells), _) => cells.get(slot).value(),
            (Self::Bools(cells), Reading::All) => cells.get(slot).all(),
            (Self::Bools(cells), Reading::Any) => cells.get(slot).any(),
            (Self::Distinct(cells), _) => cells.get(slot).value(),
            (Self::ApproxDistinct(cells), _) => cells.get(slot).value(),
            (Self::Quantiles(cells), Reading::Quantile(q)) => cells.get(slot).value(q),
            (Self::Top(cells), Reading::Top(k)) => cells.get(slot).value(k),
            (Self::Increase(cells), _) => cells.get(slot).value(),
            // the lowering gives each kind a reading of its own
            (Self::Moments(_) | Self::Bools(_) | Self::Quantiles(_) | Self::Top(_), _) => Scalar::Null,
        }
    }

    /// The plain value in a group, of an aggregate that has one.
    pub(super) fn value(&self, slot: u32) -> Scalar {
        self.read(slot, Reading::Value, f64::NAN)
    }

    /// Whether an aggregate that is exact of few values had too many in this group.
    pub(super) fn is_approximate(&self, slot: u32) -> bool {
        match self {
            Self::Distinct(cells) => cells.get(slot).is_approximate(),
            Self::Top(cells) => cells.get(slot).is_approximate(),
            Self::Increase(cells) => cells.get(slot).is_approximate(),
            _ => false,
        }
    }

    pub(super) fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        each_kind!(self, slots => slots.get(slot).encode(out));
    }

    /// Adds a cell with stored state.
    pub(super) fn push_encoded(&mut self, reader: &mut Reader<'_>) -> Result<(), StateError> {
        each_kind!(self, slots => slots.push_encoded(reader))
    }

    /// Puts stored state in place of a group's cell.
    pub(super) fn restore(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<(), StateError> {
        each_kind!(self, slots => slots.restore(slot, reader))
    }

    /// Takes the newest cell away and adds what is in it to the cell of a group.
    pub(super) fn merge_last(&mut self, slot: u32) {
        each_kind!(self, slots => slots.merge_last(slot));
    }

    /// Adds what one group saw to another.
    pub(super) fn merge_within(&mut self, slot: u32, other: u32) {
        each_kind!(self, slots => slots.merge_within(slot, other));
    }

    /// Adds what a group of other cells saw. The others must be of the same kind: the plan of whoever merges says
    /// so, and cells of another kind add nothing.
    pub(super) fn merge_from(&mut self, slot: u32, other: &Self, other_slot: u32) {
        same_kind!(self, other, (ours, theirs) => ours.merge_from(slot, theirs, other_slot),
            Count Sum Min Max Moments First Last Bools Distinct ApproxDistinct Quantiles Top Increase);
    }

    /// Bytes in memory, of all groups.
    pub(super) fn bytes(&self) -> usize {
        each_kind!(self, slots => slots.bytes())
    }

    /// Bytes in memory, of one group.
    pub(super) fn slot_bytes(&self, slot: u32) -> usize {
        each_kind!(self, slots => slots.slot_bytes(slot))
    }
}
