//! `count(x)`.

use super::super::codec::{Reader, put_u64};
use super::super::messages::StateError;
use super::fold::Fold;
use super::slots::{Cell, Slots};
use crate::view::Scalar;

/// Values that are not NULL.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct CountCell(u64);

impl CountCell {
    pub(super) fn value(self) -> Scalar {
        // counts of events stay far below 2^63
        Scalar::Int(self.0.cast_signed())
    }

    /// The number itself, for rates.
    pub(super) fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl Cell for CountCell {
    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        reader.u64().map(Self)
    }
}

impl Slots<CountCell> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        let cells = self.plain();
        fold.present(|row| cells[fold.slots[row] as usize].0 += 1);
    }
}
