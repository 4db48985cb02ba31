//! `min(x)` and `max(x)`.

use super::super::codec::Reader;
use super::super::messages::StateError;
use super::fold::{Fold, rows_of};
use super::kept::{Kept, cut};
use super::slots::{Cell, Slots};
use crate::view::{Mode, Scalar, Texts, Vector, integral};

/// A minimum, or with `GREATEST` a maximum.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct ExtremeCell<const GREATEST: bool>(Kept);

impl<const GREATEST: bool> ExtremeCell<GREATEST> {
    pub(super) fn value(&self) -> Scalar {
        self.0.scalar()
    }

    #[inline]
    fn offer_int(&mut self, value: i64) {
        match &mut self.0 {
            Kept::Int(best) if GREATEST => *best = (*best).max(value),
            Kept::Int(best) => *best = (*best).min(value),
            kept @ Kept::Null => *kept = Kept::Int(value),
            _ => self.offer(&Scalar::Int(value)),
        }
    }

    #[inline]
    fn offer_time(&mut self, value: i64) {
        match &mut self.0 {
            Kept::Time(best) if GREATEST => *best = (*best).max(value),
            Kept::Time(best) => *best = (*best).min(value),
            _ => self.offer(&Scalar::Time(value)),
        }
    }

    #[inline]
    fn offer_float(&mut self, value: f64, mode: Mode) {
        if mode == Mode::Json
            && let Some(int) = integral(value)
        {
            return self.offer_int(int);
        }
        match &mut self.0 {
            Kept::Float(best) if GREATEST => *best = best.max(value),
            Kept::Float(best) => *best = best.min(value),
            kept @ Kept::Null => *kept = Kept::Float(value),
            _ => self.offer(&Scalar::Float(value)),
        }
    }

    fn offer_text(&mut self, text: &str) {
        let text = cut(text);
        match &self.0 {
            Kept::Text(best) if GREATEST && text.as_bytes() <= best.as_bytes() => {}
            Kept::Text(best) if !GREATEST && text.as_bytes() >= best.as_bytes() => {}
            Kept::Null | Kept::Text(_) => self.0 = Kept::text(text),
            _ => self.offer(&Scalar::from(text)),
        }
    }

    /// Any value, slowly. NULL does not count. In a column of several kinds, kinds order as in
    /// [`Scalar::total_cmp`].
    fn offer(&mut self, value: &Scalar) {
        let best = self.0.scalar();
        let better = match value.total_cmp(&best) {
            _ if value.is_null() => false,
            _ if best.is_null() => true,
            order if GREATEST => order.is_gt(),
            order => order.is_lt(),
        };
        if better {
            self.0 = Kept::from(value);
        }
    }
}

impl<const GREATEST: bool> Cell for ExtremeCell<GREATEST> {
    fn merge(&mut self, other: &Self) {
        self.offer(&other.value());
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        Kept::decode(reader).map(Self)
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

impl<const GREATEST: bool> Slots<ExtremeCell<GREATEST>> {
    pub(super) fn update(&mut self, fold: &Fold<'_>) {
        let (slots, mode) = (fold.slots, fold.mode);
        match fold.values {
            Vector::Int(array) => {
                let ints = array.values();
                rows_of(array, |row| {
                    self.change(slots[row], |cell| cell.offer_int(ints[row]))
                });
            }
            Vector::Float(array) => {
                let floats = array.values();
                rows_of(array, |row| {
                    self.change(slots[row], |cell| cell.offer_float(floats[row], mode));
                });
            }
            Vector::Time(array) => {
                let times = array.values();
                rows_of(array, |row| {
                    self.change(slots[row], |cell| cell.offer_time(times[row]))
                });
            }
            Vector::Bool(array) => rows_of(array, |row| {
                self.change(slots[row], |cell| cell.offer(&Scalar::Bool(array.value(row))));
            }),
            Vector::Text(array) => {
                let Some(texts) = Texts::of(array) else { return };
                for (row, slot) in slots.iter().enumerate() {
                    if let Some(text) = texts.get(row) {
                        self.change(*slot, |cell| cell.offer_text(text));
                    }
                }
            }
            Vector::Scalars(values) => {
                for (slot, value) in slots.iter().zip(values) {
                    self.change(*slot, |cell| match value {
                        Scalar::Float(value) => cell.offer_float(*value, mode),
                        Scalar::Text(text) => cell.offer_text(text),
                        value => cell.offer(value),
                    });
                }
            }
            Vector::Null => {}
        }
    }
}
