//! `count(x)`.

use arrow_array::Array;

use super::super::codec::{Reader, put_u64};
use super::super::messages::StateError;
use super::rows::rows_of;
use super::slots::{Cell, Slots};
use crate::view::{Scalar, Texts, Vector};

/// Values that are not NULL.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct CountCell(u64);

impl CountCell {
    pub(super) fn value(self) -> Scalar {
        // counts of events stay far below 2^63
        Scalar::Int(self.0.cast_signed())
    }

    /// The number itself, for rates.
    #[allow(dead_code)] // for rates
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
    pub(super) fn update(&mut self, slots: &[u32], values: &Vector) {
        let cells = self.plain();
        let mut each = |row: usize| cells[slots[row] as usize].0 += 1;
        match values {
            Vector::Null => {}
            Vector::Bool(array) => rows_of(array, each),
            Vector::Int(array) => rows_of(array, each),
            Vector::Float(array) => rows_of(array, each),
            Vector::Time(array) => rows_of(array, each),
            Vector::Text(array) => match Texts::of(array) {
                Some(Texts::Plain(array)) => rows_of(array, each),
                Some(Texts::Dictionary(array, values)) if values.null_count() == 0 => rows_of(array, each),
                Some(texts) => (0..slots.len())
                    .filter(|row| texts.get(*row).is_some())
                    .for_each(each),
                None => {}
            },
            Vector::Scalars(values) => {
                let present = values.iter().enumerate().filter(|(_, value)| !value.is_null());
                present.for_each(|(row, _)| each(row));
            }
        }
    }
}
