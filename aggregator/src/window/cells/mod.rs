//! The state of aggregates: for each aggregate one array of small cells, indexed by group. Every kind of cell can
//! fold a batch's column, show its value, be stored and restored, and be merged: a merged cell is one that saw the
//! rows of both, which is how a hopping window is made of its panes and a roll-up of the view below.

mod count;
mod extreme;
mod kept;
mod rows;
mod slots;
mod sum;

use count::CountCell;
use extreme::ExtremeCell;
use slots::{Cell, Slots};
use sum::SumCell;

use super::codec::Reader;
use super::messages::StateError;
use crate::view::{CellKind, Mode, Scalar, Vector};

/// One aggregate's state for all groups.
#[derive(Debug, Clone)]
pub(super) enum Cells {
    Count(Slots<CountCell>),
    Sum(Slots<SumCell>),
    Min(Slots<ExtremeCell<false>>),
    Max(Slots<ExtremeCell<true>>),
}

/// Does the same with the cells of whichever kind.
macro_rules! each_kind {
    ($cells:expr, $slots:ident => $does:expr) => {
        match $cells {
            Cells::Count($slots) => $does,
            Cells::Sum($slots) => $does,
            Cells::Min($slots) => $does,
            Cells::Max($slots) => $does,
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

    /// Folds each row's value into the cell of its group. `slots` has one entry for each row.
    pub(super) fn update(&mut self, slots: &[u32], values: &Vector, mode: Mode) {
        match self {
            Self::Count(cells) => cells.update(slots, values),
            Self::Sum(cells) => cells.update(slots, values, mode),
            Self::Min(cells) => cells.update(slots, values, mode),
            Self::Max(cells) => cells.update(slots, values, mode),
        }
    }

    /// The aggregate's value in a group.
    pub(super) fn value(&self, slot: u32) -> Scalar {
        match self {
            Self::Count(cells) => cells.get(slot).value(),
            Self::Sum(cells) => cells.get(slot).sum(),
            Self::Min(cells) => cells.get(slot).value(),
            Self::Max(cells) => cells.get(slot).value(),
        }
    }

    /// The mean in a group; NULL for anything but sums.
    pub(super) fn mean(&self, slot: u32) -> Scalar {
        match self {
            Self::Sum(cells) => cells.get(slot).mean(),
            _ => Scalar::Null,
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
    #[allow(dead_code)] // for reloaded groups
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
        match (self, other) {
            (Self::Count(cells), Self::Count(other)) => cells.merge_from(slot, other, other_slot),
            (Self::Sum(cells), Self::Sum(other)) => cells.merge_from(slot, other, other_slot),
            (Self::Min(cells), Self::Min(other)) => cells.merge_from(slot, other, other_slot),
            (Self::Max(cells), Self::Max(other)) => cells.merge_from(slot, other, other_slot),
            (cells, other) => debug_assert!(false, "merging {other:?} into {cells:?}"),
        }
    }

    /// Bytes in memory, of all groups.
    #[allow(dead_code)] // for the memory budget
    pub(super) fn bytes(&self) -> usize {
        each_kind!(self, slots => slots.bytes())
    }

    /// Bytes in memory, of one group.
    #[allow(dead_code)] // for the memory budget
    pub(super) fn slot_bytes(&self, slot: u32) -> usize {
        each_kind!(self, slots => slots.slot_bytes(slot))
    }
}
