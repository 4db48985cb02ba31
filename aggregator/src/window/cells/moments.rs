//! Variances and standard deviations.

use super::super::codec::{Reader, put_u64};
use super::super::messages::StateError;
use super::fold::Fold;
use super::slots::{Cell, Slots};
use crate::view::Scalar;

/// Number, mean and sum of squared distances from it, kept up value by value (Welford), because a difference of sums
/// of squares loses what a variance is about.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct MomentsCell {
    count: u64,
    mean: f64,
    squares: f64,
}

impl MomentsCell {
    fn add(&mut self, value: f64) {
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    /// NULL below one value, or below two of a sample.
    pub(super) fn variance(self, sample: bool) -> Scalar {
        let freedom = self.count.saturating_sub(u64::from(sample));
        if freedom == 0 {
            return Scalar::Null;
        }
        Scalar::finite(self.squares / freedom as f64).unwrap_or_default()
    }

    pub(super) fn deviation(self, sample: bool) -> Scalar {
        match self.variance(sample) {
            Scalar::Float(variance) => Scalar::finite(variance.sqrt()).unwrap_or_default(),
            other => other,
        }
    }
}

impl Cell for MomentsCell {
    fn merge(&mut self, other: &Self) {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = *other;
            }
            return;
        }
        let (ours, theirs) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.count += other.count;
        self.mean += apart * (theirs / self.count as f64);
        self.squares += other.squares + apart * apart * (ours * theirs / self.count as f64);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.count);
        put_u64(out, self.mean.to_bits());
        put_u64(out, self.squares.to_bits());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            count: reader.u64()?,
            mean: f64::from_bits(reader.u64()?),
            squares: f64::from_bits(reader.u64()?),
        })
    }
}

impl Slots<MomentsCell> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        let cells = self.plain();
        fold.numbers(|row, number| cells[fold.slots[row] as usize].add(number.as_f64()));
    }
}
