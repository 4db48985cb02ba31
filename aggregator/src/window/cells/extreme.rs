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

    /// Offers a number to a cell that holds one of its kind; false if it holds something else.
    #[inline]
    fn beats_int(&mut self, value: i64) -> bool {
        match &mut self.0 {
            Kept::Int(best) if GREATEST => *best = (*best).max(value),
            Kept::Int(best) => *best = (*best).min(value),
            _ => return false,
        }
        true
    }

    /// The same for floats, which are finite.
    #[inline]
    fn beats_float(&mut self, value: f64) -> bool {
        match &mut self.0 {
            Kept::Float(best) if GREATEST => *best = best.max(value),
            Kept::Float(best) => *best = best.min(value),
            _ => return false,
        }
        true
    }

    /// The same for times.
    #[inline]
    fn beats_time(&mut self, value: i64) -> bool {
        match &mut self.0 {
            Kept::Time(best) if GREATEST => *best = (*best).max(value),
            Kept::Time(best) => *best = (*best).min(value),
            _ => return false,
        }
        true
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
                rows_of(array, |row| self.offer_int(slots[row], ints[row]));
            }
            Vector::Float(array) => {
                let floats = array.values();
                rows_of(array, |row| self.offer_float(slots[row], floats[row], mode));
            }
            Vector::Time(array) => {
                let times = array.values();
                rows_of(array, |row| {
                    if !self.quick(slots[row]).beats_time(times[row]) {
                        self.change(slots[row], |cell| cell.offer(&Scalar::Time(times[row])));
                    }
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
                    match value {
                        Scalar::Float(value) => self.offer_float(*slot, *value, mode),
                        Scalar::Text(text) => self.change(*slot, |cell| cell.offer_text(text)),
                        value => self.change(*slot, |cell| cell.offer(value)),
                    }
                }
            }
            Vector::Null => {}
        }
    }

    #[inline]
    fn offer_int(&mut self, slot: u32, value: i64) {
        if !self.quick(slot).beats_int(value) {
            self.change(slot, |cell| cell.offer(&Scalar::Int(value)));
        }
    }

    /// Without a schema an integral float is the integer.
    #[inline]
    fn offer_float(&mut self, slot: u32, value: f64, mode: Mode) {
        if mode == Mode::Json
            && let Some(int) = integral(value)
        {
            return self.offer_int(slot, int);
        }
        if !self.quick(slot).beats_float(value) {
            self.change(slot, |cell| cell.offer(&Scalar::Float(value)));
        }
    }
}
