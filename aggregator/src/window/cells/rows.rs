//! Going over a column's rows.

use arrow_array::Array;

use crate::view::{Mode, Scalar, Vector, integral};

/// Calls `each` for the rows that are not NULL.
#[inline]
pub(super) fn rows_of(array: &dyn Array, mut each: impl FnMut(usize)) {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => (0..array.len()).for_each(each),
        Some(nulls) => nulls.valid_indices().for_each(&mut each),
    }
}

/// A number as an aggregate takes it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    #[allow(dead_code)] // for rates
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Calls `each` for the rows that are numbers. Without a schema an integral float is an integer.
#[inline]
pub(super) fn numbers_of(values: &Vector, mode: Mode, mut each: impl FnMut(usize, Number)) {
    let number = |value: f64| match integral(value) {
        Some(int) if mode == Mode::Json => Number::Int(int),
        _ => Number::Float(value),
    };
    match values {
        Vector::Int(array) => {
            let ints = array.values();
            rows_of(array, |row| each(row, Number::Int(ints[row])));
        }
        Vector::Float(array) => {
            let floats = array.values();
            rows_of(array, |row| each(row, number(floats[row])));
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
