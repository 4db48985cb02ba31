//! JSON numbers: the grammar of RFC 8259, and the same values that `serde_json` reads.

use super::scan::{Problem, ScanError};

/// A number as a column takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Written without fraction and exponent, and within 64 bits.
    Int(i64),
    /// Everything else, correctly rounded; `-0` too, because an integer cannot hold its sign.
    Float(f64),
}

impl Number {
    /// Integers beyond 2^53 are rounded.
    #[inline]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Powers of ten that a 64-bit float holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];
/// Digits that always fit 63 bits.
const SAFE_DIGITS: usize = 18;
/// Integers up to here are exact as a float, so that one division rounds correctly.
const MAX_EXACT: u64 = 1 << 53;

/// Reads the number at `start`; also returns the position behind it.
#[inline]
pub(super) fn parse(text: &str, start: usize) -> Result<(Number, usize), ScanError> {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let bad = |at| {
        Err(ScanError {
            at,
            problem: Problem::BadNumber,
        })
    };
    let negative = byte(start) == b'-';
    let whole_start = start + usize::from(negative);
    let mut at = whole_start;
    let mut mantissa = 0u64;
    while byte(at).is_ascii_digit() {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte(at) - b'0'));
        at += 1;
    }
    let whole = at - whole_start;
    if whole == 0 || (whole > 1 && byte(whole_start) == b'0') {
        return bad(whole_start);
    }
    let mut fraction = 0;
    if byte(at) == b'.' {
        at += 1;
        let fraction_start = at;
        while byte(at).is_ascii_digit() {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte(at) - b'0'));
            at += 1;
        }
        fraction = at - fraction_start;
        if fraction == 0 {
            return bad(at);
        }
    }
    if byte(at) | 0x20 == b'e' {
        at += 1;
        at += usize::from(matches!(byte(at), b'+' | b'-'));
        let exponent_start = at;
        while byte(at).is_ascii_digit() {
            at += 1;
        }
        if at == exponent_start {
            return bad(at);
        }
        return rounded(&text[start..at], start).map(|value| (Number::Float(value), at));
    }
    let exact = whole + fraction <= SAFE_DIGITS;
    let number = if fraction == 0 {
        match whole_number(&text[start..at], exact.then_some(mantissa), negative) {
            Some(value) => Number::Int(value),
            None => Number::Float(rounded(&text[start..at], start)?),
        }
    } else if exact && mantissa <= MAX_EXACT {
        // at most 17 digits behind the point here, so the power is in the table
        let value = mantissa as f64 / EXACT_POWERS[fraction];
        Number::Float(if negative { -value } else { value })
    } else {
        Number::Float(rounded(&text[start..at], start)?)
    };
    Ok((number, at))
}

#[inline]
fn whole_number(text: &str, mantissa: Option<u64>, negative: bool) -> Option<i64> {
    match mantissa {
        Some(0) if negative => None,
        Some(mantissa) => {
            let value = i64::try_from(mantissa).ok()?;
            Some(if negative { -value } else { value })
        }
        None => text.parse().ok(),
    }
}

#[cold]
fn rounded(text: &str, at: usize) -> Result<f64, ScanError> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(ScanError {
            at,
            problem: Problem::NotFinite,
        }),
        Err(_) => Err(ScanError {
            at,
            problem: Problem::BadNumber,
        }),
    }
}

/// The integer that a float stands for (`1.0` is an integer to JSON Schema), when it fits 64 bits.
pub(super) fn integral(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2^63
    let fits = value.fract() == 0.0 && (-LIMIT..LIMIT).contains(&value);
    fits.then_some(value as i64)
}
