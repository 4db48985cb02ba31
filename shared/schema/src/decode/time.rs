//! Event times: RFC 3339 text or integer Unix milliseconds.

use tributary_shared::time::{MAX_MILLIS, MIN_MILLIS, Millis, parse_rfc3339};

use super::number::{Number, integral};
use super::scan::Cursor;

/// An event's own time, read from its event-time field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventTime {
    /// Written in the common shape, which JSON Schema's `date-time` format accepts as well.
    Common(Millis),
    /// Some other way to write a time.
    Other(Millis),
    /// Not a time between the years 1 and 9999.
    Unusable,
}

impl EventTime {
    /// Reads a checked JSON value (not null).
    pub(super) fn of_value(raw: &str, scratch: &mut String) -> Self {
        let mut cursor = Cursor::new(raw);
        match cursor.peek() {
            b'"' => cursor
                .string()
                .map_or(Self::Unusable, |text| Self::of_text(text.decode(scratch))),
            b'-' | b'0'..=b'9' => cursor.number().map_or(Self::Unusable, Self::of_number),
            _ => Self::Unusable,
        }
    }

    pub(super) fn of_text(text: &str) -> Self {
        match parse_common(text) {
            Some(millis) => Self::Common(millis),
            None => parse_rfc3339(text).map_or(Self::Unusable, Self::Other),
        }
    }

    pub(super) fn of_number(number: Number) -> Self {
        let millis = match number {
            Number::Int(value) => Some(value),
            Number::Float(value) => integral(value),
        };
        millis
            .filter(|millis| (MIN_MILLIS..=MAX_MILLIS).contains(millis))
            .map_or(Self::Unusable, Self::Other)
    }

    pub(super) fn millis(self) -> Option<Millis> {
        match self {
            Self::Common(millis) | Self::Other(millis) => Some(millis),
            Self::Unusable => None,
        }
    }
}

/// What an integer that is a time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TimeUnit {
    Millis,
    Micros,
    Nanos,
}

impl TimeUnit {
    pub(super) fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }

    /// The count since the epoch in Unix milliseconds, rounded down.
    pub(super) fn to_millis(self, value: i64) -> Millis {
        value.div_euclid(self.per_second() / 1_000)
    }

    /// What RFC 3339 text says, in this unit; finer digits are cut off. `None` for text that is no time, and
    /// for one that 64 bits do not hold.
    pub(super) fn of_text(self, text: &str) -> Option<i64> {
        let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        match self {
            Self::Millis => Some(time.timestamp_millis()),
            Self::Micros => Some(time.timestamp_micros()),
            Self::Nanos => time.timestamp_nanos_opt(),
        }
    }
}

/// Days from the epoch to the first of March of the year 0, from where leap days come last in a year.
const DAYS_TO_EPOCH: i64 = 719_468;

/// Parses `YYYY-MM-DDTHH:MM:SS[.f…](Z|±hh:mm)` with one to nine digits of fraction. Whatever it takes is RFC
/// 3339 and lies within the years 1 to 9999; `None` says only that the slower parser must look.
pub(super) fn parse_common(text: &str) -> Option<Millis> {
    let bytes = text.as_bytes();
    let head = bytes.first_chunk::<19>()?;
    if (head[4], head[7], head[10], head[13], head[16]) != (b'-', b'-', b'T', b':', b':') {
        return None;
    }
    let two = |at: usize| -> Option<i64> { two_digits(head[at], head[at + 1]) };
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if year == 0 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let (millis, zone) = fraction(&bytes[19..])?;
    let offset_minutes = offset(zone)?;
    let minutes = (days_from_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    let total = (minutes * 60 + second) * 1000 + millis;
    (MIN_MILLIS..=MAX_MILLIS).contains(&total).then_some(total)
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Milliseconds of the fraction, rounded down, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', digits)) = bytes.split_first() else {
        return Some((0, bytes));
    };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&len) {
        return None;
    }
    let digit = |at: usize| if at < len { i64::from(digits[at] - b'0') } else { 0 };
    Some((digit(0) * 100 + digit(1) * 10 + digit(2), &digits[len..]))
}

/// Minutes that the written time is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let ahead = hours * 60 + minutes;
            Some(if sign == b'-' { -ahead } else { ahead })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar. A year counted from March has its leap day last, and its months
/// then start on days that a line of slope 153/5 passes through.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_TO_EPOCH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_common_shape_agrees_with_the_slow_parser(
            millis in MIN_MILLIS..=MAX_MILLIS,
            offset in -1439i32..=1439,
            digits in 0usize..=9,
        ) {
            let zone = chrono::FixedOffset::east_opt(offset * 60).expect("within a day");
            let time = chrono::DateTime::from_timestamp_millis(millis).expect("in range").with_timezone(&zone);
            let fraction: String = format!("{:09}", 123_456_789 % 10u32.pow(9)).chars().take(digits).collect();
            let point = if digits == 0 { "" } else { "." };
            let text = format!("{}{point}{fraction}{}", time.format("%Y-%m-%dT%H:%M:%S"), time.format("%:z"));
            prop_assert_eq!(EventTime::of_text(&text).millis(), parse_rfc3339(&text), "{}", text);
        }

        #[test]
        fn whatever_the_common_shape_takes_the_slow_parser_takes(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])",
        ) {
            if let Some(millis) = parse_common(&text) {
                prop_assert_eq!(Some(millis), parse_rfc3339(&text), "{}", text);
            }
        }
    }

    #[test]
    fn numbers_are_milliseconds_within_bounds() {
        assert_eq!(EventTime::of_number(Number::Int(0)).millis(), Some(0));
        assert_eq!(
            EventTime::of_number(Number::Float(1e12)).millis(),
            Some(1_000_000_000_000)
        );
        for out in [
            Number::Int(MAX_MILLIS + 1),
            Number::Int(i64::MIN),
            Number::Float(0.5),
        ] {
            assert_eq!(EventTime::of_number(out), EventTime::Unusable);
        }
    }
}
