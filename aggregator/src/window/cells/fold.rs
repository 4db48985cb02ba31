//! What a batch brings to one aggregate.

use arrow_array::Array;
use tributary_shared::time::Millis;

use super::super::codec::{Reader, put_u64};
use super::super::messages::StateError;
use crate::commit::LogPos;
use crate::view::{Mode, Scalar, Vector, integral};

/// A column of a batch, with each row's group and time.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Fold<'a> {
    /// One for each row.
    pub slots: &'a [u32],
    /// Event times, one for each row.
    pub times: &'a [Millis],
    pub values: &'a Vector,
    pub mode: Mode,
    /// The log entry that the batch is.
    pub pos: LogPos,
}

/// Where an event stands in event time, and among events of one time in the log. Never the same for two events of a
/// stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub time: Millis,
    pos: u64,
    row: u32,
}

impl Place {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_u64(out, self.time.cast_unsigned());
        put_u64(out, self.pos);
        put_u64(out, u64::from(self.row));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, StateError> {
        Ok(Self {
            time: reader.u64()?.cast_signed(),
            pos: reader.u64()?,
            row: u32::try_from(reader.u64()?).map_err(|_| StateError::Malformed)?,
        })
    }
}

/// A number as an aggregate takes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Calls `each` for the rows that are not NULL.
#[inline]
pub(super) fn rows_of(array: &dyn Array, mut each: impl FnMut(usize)) {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => (0..array.len()).for_each(each),
        Some(nulls) => nulls.valid_indices().for_each(&mut each),
    }
}

impl Fold<'_> {
    pub(super) fn place(&self, row: usize) -> Place {
        Place {
            time: self.times[row],
            pos: self.pos.0,
            // a batch has fewer rows than 2^32
            row: row as u32,
        }
    }

    /// Calls `each` for the rows that are numbers. Without a schema an integral float is an integer.
    #[inline]
    pub(super) fn numbers(&self, mut each: impl FnMut(usize, Number)) {
        let number = |value: f64| match integral(value) {
            Some(int) if self.mode == Mode::Json => Number::Int(int),
            _ => Number::Float(value),
        };
        match self.values {
            Vector::Int(array) => {
                let ints = array.values();
                rows_of(array, |row| each(row, Number::Int(ints[row])));
            }
            Vector::Float(array) => {
                let floats = array.values();
                match self.mode {
                    Mode::Typed => rows_of(array, |row| each(row, Number::Float(floats[row]))),
                    Mode::Json => rows_of(array, |row| each(row, number(floats[row]))),
                }
            }
            Vector::Scalars(values) => {
                for (row, value) in values.iter().enumerate() {
                    match value {
                        Scalar::Int(value) => each(row, Number::Int(*value)),
                        Scalar::Float(value) => each(row, number(*value)),
                        _ => {}
                    }
                }
            }
            Vector::Null | Vector::Bool(_) | Vector::Text(_) | Vector::Time(_) => {}
        }
    }

    /// Calls `each` for the rows that are true or false.
    pub(super) fn bools(&self, mut each: impl FnMut(usize, bool)) {
        match self.values {
            Vector::Bool(array) => rows_of(array, |row| each(row, array.value(row))),
            Vector::Scalars(values) => {
                for (row, value) in values.iter().enumerate() {
                    if let Scalar::Bool(value) = value {
                        each(row, *value);
                    }
                }
            }
            _ => {}
        }
    }

    /// Calls `each` for the rows that are not NULL.
    #[inline]
    pub(super) fn present(&self, mut each: impl FnMut(usize)) {
        match self.values {
            Vector::Null => {}
            Vector::Bool(array) => rows_of(array, each),
            Vector::Int(array) => rows_of(array, each),
            Vector::Float(array) => rows_of(array, each),
            Vector::Time(array) => rows_of(array, each),
            Vector::Text(array) => {
                // a dictionary may hold NULL as a value
                if let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
                    nulls.valid_indices().for_each(each);
                } else {
                    (0..array.len()).for_each(each);
                }
            }
            Vector::Scalars(values) => {
                let present = values.iter().enumerate().filter(|(_, value)| !value.is_null());
                present.for_each(|(row, _)| each(row));
            }
        }
    }

    /// The value in a row. Without a schema an integral float is an integer.
    pub(super) fn scalar(&self, row: usize) -> Scalar {
        match self.mode {
            Mode::Typed => self.values.scalar(row),
            Mode::Json => self.values.scalar(row).normalised(),
        }
    }
}
