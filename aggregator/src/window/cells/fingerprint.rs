//! Values as 128-bit numbers: equal values give equal numbers, on every machine and in every version, because the
//! numbers are stored. That two values of one group ever give the same number is far less likely than that memory fails.

use arrow_array::Array;
use twox_hash::XxHash3_128;

use super::fold::{Fold, rows_of};
use crate::view::{Scalar, Texts, Vector, integral};

/// Texts hash with a seed of their own, so that none is taken for a number.
const TEXT_SEED: u64 = 1;
const BOOL: u8 = 0;
const NUMBER: u8 = 1;
const FLOAT: u8 = 2;
const TIME: u8 = 3;

fn of_bits(kind: u8, bits: u64) -> u128 {
    let mut bytes = [kind; 9];
    bytes[1..].copy_from_slice(&bits.to_le_bytes());
    XxHash3_128::oneshot(&bytes)
}

fn of_int(value: i64) -> u128 {
    of_bits(NUMBER, value.cast_unsigned())
}

/// 5 and 5.0 are one value.
fn of_float(value: f64) -> u128 {
    match integral(value) {
        Some(int) => of_int(int),
        None => of_bits(FLOAT, value.to_bits()),
    }
}

fn of_text(text: &str) -> u128 {
    XxHash3_128::oneshot_with_seed(TEXT_SEED, text.as_bytes())
}

/// NULL has none.
fn of_scalar(value: &Scalar) -> Option<u128> {
    match value {
        Scalar::Null => None,
        Scalar::Bool(value) => Some(of_bits(BOOL, u64::from(*value))),
        Scalar::Int(value) => Some(of_int(*value)),
        Scalar::Float(value) => Some(of_float(*value)),
        Scalar::Time(value) => Some(of_bits(TIME, value.cast_unsigned())),
        Scalar::Text(text) => Some(of_text(text)),
    }
}

impl Fold<'_> {
    /// Calls `each` for the rows that are not NULL, with the value's fingerprint.
    #[inline]
    pub(super) fn fingerprints(&self, mut each: impl FnMut(usize, u128)) {
        match self.values {
            Vector::Null => {}
            Vector::Int(array) => {
                let ints = array.values();
                rows_of(array, |row| each(row, of_int(ints[row])));
            }
            Vector::Float(array) => {
                let floats = array.values();
                rows_of(array, |row| each(row, of_float(floats[row])));
            }
            Vector::Time(array) => {
                let times = array.values();
                rows_of(array, |row| each(row, of_bits(TIME, times[row].cast_unsigned())));
            }
            Vector::Bool(array) => {
                rows_of(array, |row| each(row, of_bits(BOOL, u64::from(array.value(row)))));
            }
            Vector::Text(array) => match Texts::of(array) {
                // each value of a dictionary is hashed once, unless there are more than rows
                Some(Texts::Dictionary(keys, values)) if values.len() <= keys.keys().len() => {
                    let known: Vec<Option<u128>> = values.iter().map(|text| text.map(of_text)).collect();
                    let codes = keys.keys();
                    rows_of(codes, |row| {
                        if let Some(print) = known[codes.value(row) as usize] {
                            each(row, print);
                        }
                    });
                }
                Some(texts) => {
                    for row in 0..self.slots.len() {
                        if let Some(text) = texts.get(row) {
                            each(row, of_text(text));
                        }
                    }
                }
                None => {}
            },
            Vector::Scalars(values) => {
                for (row, value) in values.iter().enumerate() {
                    if let Some(print) = of_scalar(value) {
                        each(row, print);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{of_bits, of_float, of_int, of_text};

    /// Stored state depends on these numbers.
    #[test]
    fn fingerprints_are_the_same_for_ever() {
        assert_eq!(of_int(5), of_float(5.0));
        assert_ne!(of_int(5), of_text("5"));
        assert_ne!(of_float(0.5), of_bits(super::TIME, 0.5f64.to_bits()));
        assert_eq!(of_int(5), 0x0d68_9b13_e6a0_0c0c_242d_0704_864e_2154);
        assert_eq!(of_float(0.5), 0xb453_0a45_5862_10b0_e7f1_a80d_07f1_5f56);
        assert_eq!(of_text("device-1"), 0x6c13_8386_3f37_484f_edfe_5f4c_090f_2412);
    }
}
