//! `sum(x)` and `avg(x)`.

use super::super::codec::{Reader, put_u64};
use super::super::messages::StateError;
use super::fold::{Fold, Number};
use super::slots::{Cell, Slots};
use crate::view::Scalar;

/// Integers are summed exactly in 128 bits, in any order; floats in log order beside them.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct SumCell {
    /// Low and high half of the integers' sum: split, so that the cell has 32 bytes.
    low: u64,
    high: i64,
    /// NaN until the first float. Floats that are added are finite, so that it never becomes NaN again.
    floats: f64,
    /// Numbers that were added.
    count: u64,
}

impl Default for SumCell {
    fn default() -> Self {
        Self {
            low: 0,
            high: 0,
            floats: f64::NAN,
            count: 0,
        }
    }
}

impl SumCell {
    #[inline]
    fn add_int(&mut self, value: i64) {
        let sum = self.ints() + i128::from(value);
        self.low = sum as u64;
        self.high = (sum >> 64) as i64;
        self.count += 1;
    }

    #[inline]
    fn add_float(&mut self, value: f64) {
        self.floats = if self.floats.is_nan() {
            value
        } else {
            self.floats + value
        };
        self.count += 1;
    }

    #[inline]
    fn ints(self) -> i128 {
        (i128::from(self.high) << 64) | i128::from(self.low)
    }

    fn total(self) -> f64 {
        self.ints() as f64 + if self.floats.is_nan() { 0.0 } else { self.floats }
    }

    /// The sum as a float; NULL's `None` when nothing was added.
    pub(super) fn as_f64(self) -> Option<f64> {
        (self.count > 0).then(|| self.total())
    }

    /// An integer as long as only integers were added and it fits 64 bits, else a float.
    pub(super) fn sum(self) -> Scalar {
        if self.count == 0 {
            return Scalar::Null;
        }
        if self.floats.is_nan()
            && let Ok(sum) = i64::try_from(self.ints())
        {
            return Scalar::Int(sum);
        }
        Scalar::finite(self.total()).unwrap_or_default()
    }

    pub(super) fn mean(self) -> Scalar {
        if self.count == 0 {
            return Scalar::Null;
        }
        Scalar::finite(self.total() / self.count as f64).unwrap_or_default()
    }
}

impl Cell for SumCell {
    fn merge(&mut self, other: &Self) {
        let ints = self.ints() + other.ints();
        self.low = ints as u64;
        self.high = (ints >> 64) as i64;
        if !other.floats.is_nan() {
            self.floats = other.floats + if self.floats.is_nan() { 0.0 } else { self.floats };
        }
        self.count += other.count;
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.low);
        put_u64(out, self.high.cast_unsigned());
        put_u64(out, self.floats.to_bits());
        put_u64(out, self.count);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            low: reader.u64()?,
            high: reader.u64()?.cast_signed(),
            floats: f64::from_bits(reader.u64()?),
            count: reader.u64()?,
        })
    }
}

impl Slots<SumCell> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        let cells = self.plain();
        fold.numbers(|row, number| {
            let cell = &mut cells[fold.slots[row] as usize];
            match number {
                Number::Int(value) => cell.add_int(value),
                Number::Float(value) => cell.add_float(value),
            }
        });
    }
}
