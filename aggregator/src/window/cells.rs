//! The state of aggregates: for each aggregate one array of small cells, indexed by group.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::Array;

use super::codec::{Reader, put_scalar, put_u64};
use super::messages::StateError;
use crate::view::{CellKind, Mode, Scalar, Texts, Vector, integral};

/// Bytes that a minimum or maximum of texts keeps. Cutting keeps the order of texts, so that what remains is
/// the start of the true extreme.
const MAX_EXTREME_TEXT: usize = 1024;

/// One aggregate's state for all groups.
#[derive(Debug, Clone)]
pub(super) enum Cells {
    Count(Vec<u64>),
    Sum(Vec<SumCell>),
    Extreme(Extremes),
}

/// Integers are summed exactly in 128 bits, in any order; floats in log order beside them.
#[derive(Debug, Clone, Copy)]
pub(super) struct SumCell {
    /// Low and high half of the integers' sum: split, so that the cell has 32 bytes.
    low: u64,
    high: i64,
    /// NaN until the first float. Floats that are added are finite, so that it never becomes NaN again.
    floats: f64,
    /// Numbers that were added.
    count: u64,
}

/// Minima or maxima.
#[derive(Debug, Clone)]
pub(super) struct Extremes {
    greatest: bool,
    cells: Vec<ExtremeCell>,
    /// The texts among them, by group.
    texts: HashMap<u32, Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExtremeCell {
    Empty,
    Int(i64),
    /// Bits of a finite float.
    Float(u64),
    Time(i64),
    Text,
}

impl SumCell {
    const EMPTY: Self = Self {
        low: 0,
        high: 0,
        floats: f64::NAN,
        count: 0,
    };

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

    fn merge(&mut self, other: Self) {
        let ints = self.ints() + other.ints();
        self.low = ints as u64;
        self.high = (ints >> 64) as i64;
        if !other.floats.is_nan() {
            self.floats = other.floats + if self.floats.is_nan() { 0.0 } else { self.floats };
        }
        self.count += other.count;
    }

    #[inline]
    fn ints(self) -> i128 {
        (i128::from(self.high) << 64) | i128::from(self.low)
    }

    fn total(self) -> f64 {
        self.ints() as f64 + if self.floats.is_nan() { 0.0 } else { self.floats }
    }

    /// An integer as long as only integers were added and it fits 64 bits, else a float.
    fn sum(self) -> Scalar {
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

    fn mean(self) -> Scalar {
        if self.count == 0 {
            return Scalar::Null;
        }
        Scalar::finite(self.total() / self.count as f64).unwrap_or_default()
    }
}

impl Cells {
    pub(super) fn new(kind: CellKind) -> Self {
        let extreme = |greatest| {
            Self::Extreme(Extremes {
                greatest,
                cells: Vec::new(),
                texts: HashMap::new(),
            })
        };
        match kind {
            CellKind::Count => Self::Count(Vec::new()),
            CellKind::Sum => Self::Sum(Vec::new()),
            CellKind::Min => extreme(false),
            CellKind::Max => extreme(true),
        }
    }

    /// Adds an empty cell for a new group.
    pub(super) fn push(&mut self) {
        match self {
            Self::Count(cells) => cells.push(0),
            Self::Sum(cells) => cells.push(SumCell::EMPTY),
            Self::Extreme(extremes) => extremes.cells.push(ExtremeCell::Empty),
        }
    }

    /// Folds each row's value into the cell of its group. `slots` has one entry for each row.
    pub(super) fn update(&mut self, slots: &[u32], values: &Vector, mode: Mode) {
        match self {
            Self::Count(cells) => count(cells, slots, values),
            Self::Sum(cells) => sum(cells, slots, values, mode),
            Self::Extreme(extremes) => extremes.update(slots, values, mode),
        }
    }

    /// The aggregate's value in a group.
    pub(super) fn value(&self, slot: u32) -> Scalar {
        match self {
            // counts of events stay far below 2^63
            Self::Count(cells) => Scalar::Int(cells[slot as usize].cast_signed()),
            Self::Sum(cells) => cells[slot as usize].sum(),
            Self::Extreme(extremes) => extremes.value(slot),
        }
    }

    /// The mean in a group; NULL for anything but sums.
    pub(super) fn mean(&self, slot: u32) -> Scalar {
        match self {
            Self::Sum(cells) => cells[slot as usize].mean(),
            Self::Count(_) | Self::Extreme(_) => Scalar::Null,
        }
    }

    pub(super) fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        match self {
            Self::Count(cells) => put_u64(out, cells[slot as usize]),
            Self::Sum(cells) => {
                let cell = cells[slot as usize];
                put_u64(out, cell.low);
                put_u64(out, cell.high.cast_unsigned());
                put_u64(out, cell.floats.to_bits());
                put_u64(out, cell.count);
            }
            Self::Extreme(extremes) => put_scalar(out, &extremes.value(slot)),
        }
    }

    /// Adds a cell with stored state.
    pub(super) fn push_encoded(&mut self, reader: &mut Reader<'_>) -> Result<(), StateError> {
        match self {
            Self::Count(cells) => cells.push(reader.u64()?),
            Self::Sum(cells) => {
                let (low, high) = (reader.u64()?, reader.u64()?.cast_signed());
                let (floats, count) = (f64::from_bits(reader.u64()?), reader.u64()?);
                cells.push(SumCell {
                    low,
                    high,
                    floats,
                    count,
                });
            }
            Self::Extreme(extremes) => {
                let value = reader.scalar()?;
                extremes.cells.push(ExtremeCell::Empty);
                let slot = u32::try_from(extremes.cells.len() - 1).map_err(|_| StateError::Malformed)?;
                extremes.offer(slot, &value);
            }
        }
        Ok(())
    }

    /// Takes the newest cell away and adds what is in it to the cell of a group.
    pub(super) fn merge_last(&mut self, slot: u32) {
        let at = slot as usize;
        match self {
            Self::Count(cells) => {
                let last = cells.pop().unwrap_or_default();
                cells[at] += last;
            }
            Self::Sum(cells) => {
                let last = cells.pop().unwrap_or(SumCell::EMPTY);
                cells[at].merge(last);
            }
            Self::Extreme(extremes) => {
                // there are fewer cells than 2^32
                let last = extremes.cells.len() as u32 - 1;
                let value = extremes.value(last);
                extremes.cells.pop();
                extremes.texts.remove(&last);
                extremes.offer(slot, &value);
            }
        }
    }
}

/// Calls `each` for the rows that are not NULL.
#[inline]
fn rows_of(array: &dyn Array, mut each: impl FnMut(usize)) {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => (0..array.len()).for_each(each),
        Some(nulls) => nulls.valid_indices().for_each(&mut each),
    }
}

fn count(cells: &mut [u64], slots: &[u32], values: &Vector) {
    let mut each = |row: usize| cells[slots[row] as usize] += 1;
    match values {
        Vector::Null => {}
        Vector::Bool(array) => rows_of(array, each),
        Vector::Int(array) => rows_of(array, each),
        Vector::Float(array) => rows_of(array, each),
        Vector::Time(array) => rows_of(array, each),
        Vector::Text(array) => {
            if let Some(texts) = Texts::of(array) {
                (0..slots.len())
                    .filter(|row| texts.get(*row).is_some())
                    .for_each(each);
            }
        }
        Vector::Scalars(values) => {
            values
                .iter()
                .enumerate()
                .filter(|(_, value)| !value.is_null())
                .for_each(|(row, _)| each(row));
        }
    }
}

fn sum(cells: &mut [SumCell], slots: &[u32], values: &Vector, mode: Mode) {
    match values {
        Vector::Int(array) => {
            let ints = array.values();
            rows_of(array, |row| cells[slots[row] as usize].add_int(ints[row]));
        }
        Vector::Float(array) => {
            let floats = array.values();
            rows_of(array, |row| {
                add_number(&mut cells[slots[row] as usize], floats[row], mode)
            });
        }
        Vector::Scalars(values) => {
            for (slot, value) in slots.iter().zip(values) {
                match value {
                    Scalar::Int(value) => cells[*slot as usize].add_int(*value),
                    Scalar::Float(value) => add_number(&mut cells[*slot as usize], *value, mode),
                    _ => {}
                }
            }
        }
        Vector::Null | Vector::Bool(_) | Vector::Text(_) | Vector::Time(_) => {}
    }
}

#[inline]
fn add_number(cell: &mut SumCell, value: f64, mode: Mode) {
    match integral(value) {
        Some(int) if mode == Mode::Json => cell.add_int(int),
        _ => cell.add_float(value),
    }
}

impl Extremes {
    fn update(&mut self, slots: &[u32], values: &Vector, mode: Mode) {
        match values {
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
                rows_of(array, |row| self.offer(slots[row], &Scalar::Time(times[row])));
            }
            Vector::Text(array) => {
                let Some(texts) = Texts::of(array) else { return };
                for (row, slot) in slots.iter().enumerate() {
                    if let Some(text) = texts.get(row) {
                        self.offer_text(*slot, text);
                    }
                }
            }
            Vector::Scalars(values) => {
                for (slot, value) in slots.iter().zip(values) {
                    match value {
                        Scalar::Float(value) => self.offer_float(*slot, *value, mode),
                        Scalar::Text(text) => self.offer_text(*slot, text),
                        value => self.offer(*slot, value),
                    }
                }
            }
            // PostgreSQL has no min and max of booleans
            Vector::Null | Vector::Bool(_) => {}
        }
    }

    #[inline]
    fn offer_int(&mut self, slot: u32, value: i64) {
        match &mut self.cells[slot as usize] {
            ExtremeCell::Int(best) => {
                *best = if self.greatest {
                    (*best).max(value)
                } else {
                    (*best).min(value)
                }
            }
            cell @ ExtremeCell::Empty => *cell = ExtremeCell::Int(value),
            _ => self.offer(slot, &Scalar::Int(value)),
        }
    }

    #[inline]
    fn offer_float(&mut self, slot: u32, value: f64, mode: Mode) {
        if mode == Mode::Json
            && let Some(int) = integral(value)
        {
            return self.offer_int(slot, int);
        }
        match &mut self.cells[slot as usize] {
            ExtremeCell::Float(bits) => {
                let best = f64::from_bits(*bits);
                *bits = if self.greatest {
                    best.max(value)
                } else {
                    best.min(value)
                }
                .to_bits();
            }
            cell @ ExtremeCell::Empty => *cell = ExtremeCell::Float(value.to_bits()),
            _ => self.offer(slot, &Scalar::Float(value)),
        }
    }

    fn offer_text(&mut self, slot: u32, text: &str) {
        let text = &text[..text.floor_char_boundary(MAX_EXTREME_TEXT)];
        let better = match self.texts.get(&slot) {
            Some(best) if self.greatest => text.as_bytes() > best.as_bytes(),
            Some(best) => text.as_bytes() < best.as_bytes(),
            None => true,
        };
        if better {
            self.offer(slot, &Scalar::from(text));
        }
    }

    /// Any value, slowly. NULL and booleans do not count.
    fn offer(&mut self, slot: u32, value: &Scalar) {
        let best = self.value(slot);
        let better = match value.total_cmp(&best) {
            _ if matches!(value, Scalar::Null | Scalar::Bool(_)) => false,
            _ if best.is_null() => true,
            order if self.greatest => order.is_gt(),
            order => order.is_lt(),
        };
        if !better {
            return;
        }
        self.texts.remove(&slot);
        self.cells[slot as usize] = match value {
            Scalar::Int(value) => ExtremeCell::Int(*value),
            Scalar::Float(value) => ExtremeCell::Float(value.to_bits()),
            Scalar::Time(value) => ExtremeCell::Time(*value),
            Scalar::Text(text) => {
                self.texts.insert(slot, Arc::clone(text));
                ExtremeCell::Text
            }
            Scalar::Null | Scalar::Bool(_) => ExtremeCell::Empty,
        };
    }

    fn value(&self, slot: u32) -> Scalar {
        match self.cells[slot as usize] {
            ExtremeCell::Empty => Scalar::Null,
            ExtremeCell::Int(value) => Scalar::Int(value),
            ExtremeCell::Float(bits) => Scalar::Float(f64::from_bits(bits)),
            ExtremeCell::Time(value) => Scalar::Time(value),
            ExtremeCell::Text => self
                .texts
                .get(&slot)
                .map_or(Scalar::Null, |text| Scalar::Text(Arc::clone(text))),
        }
    }
}
