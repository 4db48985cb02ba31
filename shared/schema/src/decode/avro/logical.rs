//! Logical types as JSON values.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};

use crate::decode::time::TimeUnit;

/// The longest unscaled value of a decimal, in bytes: 300 digits, and quick to write as such.
pub(super) const MAX_DECIMAL_BYTES: usize = 128;

/// `None`: beyond the calendar that can be written.
pub(super) fn write_date(out: &mut String, days: i32) -> Option<()> {
    let date = NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_signed(TimeDelta::days(i64::from(days)))?;
    write!(out, "\"{date}\"").ok()
}

/// A time of day; `None` for one beyond 24 hours.
pub(super) fn write_time(out: &mut String, value: i64, unit: TimeUnit) -> Option<()> {
    let (seconds, nanos) = split(value, unit);
    let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::try_from(seconds).ok()?, nanos)?;
    write!(out, "\"{}\"", time.format("%H:%M:%S%.f")).ok()
}

/// A point in time as RFC 3339, or, when its zone is unknown, without one.
pub(super) fn write_timestamp(out: &mut String, value: i64, unit: TimeUnit, local: bool) -> Option<()> {
    let (seconds, nanos) = split(value, unit);
    let time = DateTime::from_timestamp(seconds, nanos)?;
    let format = if local {
        "%Y-%m-%dT%H:%M:%S%.f"
    } else {
        "%Y-%m-%dT%H:%M:%S%.fZ"
    };
    write!(out, "\"{}\"", time.format(format)).ok()
}

fn split(value: i64, unit: TimeUnit) -> (i64, u32) {
    let per_second = unit.per_second();
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    // below 10^9
    (value.div_euclid(per_second), nanos as u32)
}

/// The same point in time in another unit; `None` when it does not fit. Finer digits are cut off.
pub(super) fn convert(value: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let (from, to) = (from.per_second(), to.per_second());
    if to >= from {
        value.checked_mul(to / from)
    } else {
        Some(value.div_euclid(from / to))
    }
}

/// Months, days and milliseconds as an ISO 8601 duration.
pub(super) fn write_duration(out: &mut String, bytes: &[u8; 12]) {
    let part = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (months, days, millis) = (part(0), part(4), part(8));
    // writing to memory cannot fail
    let _ = write!(
        out,
        "\"P{months}M{days}DT{}.{:03}S\"",
        millis / 1000,
        millis % 1000
    );
}

pub(super) fn write_uuid(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    out.push('"');
}

/// A decimal's number: big-endian two's complement, divided by ten to the power of the scale. `None` beyond
/// [`MAX_DECIMAL_BYTES`].
pub(super) fn write_decimal(out: &mut String, bytes: &[u8], scale: u32) -> Option<()> {
    if bytes.len() > MAX_DECIMAL_BYTES {
        return None;
    }
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        magnitude.iter_mut().for_each(|byte| *byte = !*byte);
        for byte in magnitude.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
    }
    let mut digits = digits_of(magnitude);
    let scale = scale as usize;
    if scale > 0 {
        if digits.len() <= scale {
            digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
        }
        digits.insert(digits.len() - scale, '.');
    }
    if negative {
        out.push('-');
    }
    out.push_str(&digits);
    Some(())
}

/// Decimal digits of a big-endian number, at least one. The most negative number of its length overflows when
/// it is turned round, into exactly its magnitude.
fn digits_of(mut number: Vec<u8>) -> String {
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0u16;
        for byte in &mut number {
            let value = rest << 8 | u16::from(*byte);
            // below 256: the rest is below 10
            *byte = (value / 10) as u8;
            rest = value % 10;
        }
        digits.push(b'0' + rest as u8);
    }
    if digits.is_empty() {
        digits.push(b'0');
    }
    digits.iter().rev().map(|digit| char::from(*digit)).collect()
}

/// Bytes as base64 (RFC 4648, section 4) between quotes.
pub(in super::super) fn write_base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut String) -> Option<()>) -> Option<String> {
        let mut out = String::new();
        write(&mut out).map(|()| out)
    }

    #[test]
    fn decimals_are_written_digit_by_digit() {
        for (bytes, scale, expected) in [
            (&[][..], 0, "0"),
            (&[0], 2, "0.00"),
            (&[0x04, 0xd2], 2, "12.34"),
            (&[0xfb, 0x2e], 2, "-12.34"),
            (&[0xff], 3, "-0.001"),
            (&[0x80], 0, "-128"),
            (&[0x00, 0xff], 0, "255"),
            (
                &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                5,
                "23611832414348226.06847",
            ),
        ] {
            assert_eq!(
                text(|out| write_decimal(out, bytes, scale)).as_deref(),
                Some(expected),
                "{bytes:?}"
            );
        }
        assert_eq!(
            text(|out| write_decimal(out, &[1; MAX_DECIMAL_BYTES + 1], 0)),
            None
        );
    }

    #[test]
    fn times_are_written_as_iso_8601() {
        assert_eq!(text(|out| write_date(out, 0)).as_deref(), Some("\"1970-01-01\""));
        assert_eq!(text(|out| write_date(out, -1)).as_deref(), Some("\"1969-12-31\""));
        assert_eq!(text(|out| write_date(out, i32::MAX)), None);
        let micros = TimeUnit::Micros;
        let time = text(|out| write_time(out, 43_200_000_001, micros));
        assert_eq!(time.as_deref(), Some("\"12:00:00.000001\""));
        assert_eq!(text(|out| write_time(out, 86_400_000_000, micros)), None);
        assert_eq!(text(|out| write_time(out, -1, micros)), None);
        let stamp = |value, unit, local| text(|out| write_timestamp(out, value, unit, local));
        assert_eq!(
            stamp(-1, TimeUnit::Millis, false).as_deref(),
            Some("\"1969-12-31T23:59:59.999Z\"")
        );
        assert_eq!(
            stamp(1, TimeUnit::Nanos, true).as_deref(),
            Some("\"1970-01-01T00:00:00.000000001\"")
        );
        assert_eq!(stamp(i64::MAX, TimeUnit::Millis, false), None);
        assert_eq!(
            convert(1_500, TimeUnit::Millis, TimeUnit::Micros),
            Some(1_500_000)
        );
        assert_eq!(convert(-1, TimeUnit::Nanos, TimeUnit::Millis), Some(-1));
        assert_eq!(convert(i64::MAX, TimeUnit::Millis, TimeUnit::Nanos), None);
        let mut out = String::new();
        write_duration(&mut out, &[1, 0, 0, 0, 2, 0, 0, 0, 0xdc, 0x05, 0, 0]);
        assert_eq!(out, "\"P1M2DT1.500S\"");
    }

    #[test]
    fn bytes_are_base64() {
        for (bytes, expected) in [
            (&b""[..], "\"\""),
            (b"f", "\"Zg==\""),
            (b"fo", "\"Zm8=\""),
            (b"foo", "\"Zm9v\""),
            (&[0xff, 0xfe, 0xfd, 0xfc], "\"//79/A==\""),
        ] {
            let mut out = String::new();
            write_base64(&mut out, bytes);
            assert_eq!(out, expected);
        }
    }
}
