//! Columns under construction. A row that has nothing for a column costs nothing: a column is filled up with
//! nulls when its next value comes, or at the end. A rejected row's cells are cut off again.

use std::sync::Arc;

use arrow_array::types::{
    ArrowTimestampType, Float64Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use arrow_array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, BooleanBufferBuilder, NullBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

use super::kind::Kind;
use super::lent::Lent;
use super::text::TextColumn;
use super::time::TimeUnit;

/// The rows without a value, as ascending ranges.
#[derive(Debug, Default)]
pub(super) struct Gaps(Vec<(usize, usize)>);

impl Gaps {
    pub(super) fn add(&mut self, from: usize, to: usize) {
        self.0.push((from, to));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0.iter().copied()
    }

    /// The validity of `rows` rows, and nothing left behind.
    pub(super) fn take(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.0.is_empty() {
            return None;
        }
        let mut bits = BooleanBufferBuilder::new(rows);
        for (from, to) in self.0.drain(..) {
            bits.append_n(from - bits.len(), true);
            bits.append_n(to - from, false);
        }
        bits.append_n(rows - bits.len(), true);
        Some(NullBuffer::new(bits.finish()))
    }
}

/// Values of a fixed size.
#[derive(Debug, Default)]
pub(super) struct Fixed<T> {
    values: Vec<T>,
    gaps: Gaps,
    lent: Lent,
}

impl<T: Copy + Default> Fixed<T> {
    fn fill_to(&mut self, row: usize) {
        if self.values.len() < row {
            self.gaps.add(self.values.len(), row);
            self.values.resize(row, T::default());
        }
    }

    /// Sets the value of `row`, which has none yet and is not before any row that has one.
    #[inline]
    pub(super) fn push(&mut self, row: usize, value: T) {
        self.fill_to(row);
        self.values.push(value);
    }

    fn take(&mut self, rows: usize) -> (Vec<T>, Option<NullBuffer>) {
        self.fill_to(rows);
        (std::mem::take(&mut self.values), self.gaps.take(rows))
    }
}

impl<T: ArrowNativeType> Fixed<T> {
    fn finish<P: ArrowPrimitiveType<Native = T>>(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let (values, nulls) = self.take(rows);
        let values = ScalarBuffer::from(self.lent.lend(values));
        Ok(Arc::new(PrimitiveArray::<P>::try_new(values, nulls)?))
    }

    fn reclaim(&mut self) {
        self.values = self.lent.take_back();
    }
}

impl Fixed<i64> {
    fn finish_times<P: ArrowTimestampType>(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let (values, nulls) = self.take(rows);
        let values = ScalarBuffer::from(self.lent.lend(values));
        Ok(Arc::new(
            PrimitiveArray::<P>::try_new(values, nulls)?.with_timezone("UTC"),
        ))
    }
}

/// One column of any kind.
#[derive(Debug)]
pub(super) enum Column {
    Int(Fixed<i64>),
    Float(Fixed<f64>),
    Bool(Fixed<bool>),
    Text(TextColumn),
    Time(TimeUnit, Fixed<i64>),
    Unsigned(Fixed<u64>),
    Json(TextColumn),
}

/// Texts of numbers, for a column whose numbers fit no type.
fn number_texts(values: &[u64], nulls: Option<NullBuffer>) -> ArrayRef {
    let valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let texts = values.iter().enumerate();
    Arc::new(StringArray::from_iter(
        texts.map(|(row, value)| valid(row).then(|| value.to_string())),
    ))
}

impl Column {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Int(Fixed::default()),
            Kind::Float => Self::Float(Fixed::default()),
            Kind::Bool => Self::Bool(Fixed::default()),
            Kind::Text => Self::Text(TextColumn::adaptive()),
            Kind::Time(unit) => Self::Time(unit, Fixed::default()),
            Kind::Unsigned => Self::Unsigned(Fixed::default()),
            Kind::Json => Self::Json(TextColumn::plain()),
        }
    }

    /// Cuts off the cell of `row`, when there is one.
    pub(super) fn truncate(&mut self, row: usize) {
        match self {
            Self::Int(column) | Self::Time(_, column) => column.values.truncate(row),
            Self::Unsigned(column) => column.values.truncate(row),
            Self::Float(column) => column.values.truncate(row),
            Self::Bool(column) => column.values.truncate(row),
            Self::Text(column) | Self::Json(column) => column.truncate(row),
        }
    }

    /// The array of `rows` rows, and whether its values are JSON texts; the column is then empty and ready for
    /// the next batch.
    ///
    /// # Errors
    /// None that a column filled through [`Fixed::push`] and [`TextColumn::push`] can cause.
    pub(super) fn finish(&mut self, rows: usize) -> Result<(ArrayRef, bool), ArrowError> {
        let array = match self {
            Self::Int(column) => column.finish::<Int64Type>(rows)?,
            Self::Float(column) => column.finish::<Float64Type>(rows)?,
            Self::Bool(column) => {
                let (values, nulls) = column.take(rows);
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            Self::Time(unit, column) => match unit {
                TimeUnit::Millis => column.finish_times::<TimestampMillisecondType>(rows)?,
                TimeUnit::Micros => column.finish_times::<TimestampMicrosecondType>(rows)?,
                TimeUnit::Nanos => column.finish_times::<TimestampNanosecondType>(rows)?,
            },
            Self::Unsigned(column) => {
                let (values, nulls) = column.take(rows);
                let ints: Result<Vec<i64>, _> = values.iter().map(|value| i64::try_from(*value)).collect();
                match ints {
                    Ok(ints) => Arc::new(PrimitiveArray::<Int64Type>::try_new(ints.into(), nulls)?),
                    Err(_) => return Ok((number_texts(&values, nulls), true)),
                }
            }
            Self::Text(column) => column.finish(rows)?,
            Self::Json(column) => return Ok((column.finish(rows)?, true)),
        };
        Ok((array, false))
    }

    /// Takes the memory back that the last array had, once the array is written and gone.
    pub(super) fn reclaim(&mut self) {
        match self {
            Self::Int(column) | Self::Time(_, column) => column.reclaim(),
            Self::Unsigned(column) => column.reclaim(),
            Self::Float(column) => column.reclaim(),
            Self::Bool(_) => {}
            Self::Text(column) | Self::Json(column) => column.reclaim(),
        }
    }
}
