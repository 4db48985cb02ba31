//! Calendar arithmetic on times in UTC: units, parts, intervals, and the texts that are read as times.

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveDateTime, Utc};
use tributary_shared::time::{MAX_MILLIS, MIN_MILLIS, Millis, parse_rfc3339};

use super::interval::unit_millis;
use super::scalar::Scalar;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;
const DAY: Millis = 24 * HOUR;

/// What `date_trunc` cuts to, and what `extract` takes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Millennium,
    Century,
    Decade,
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    /// Only taken out: Sunday is 0.
    DayOfWeek,
    /// Only taken out: Monday is 1, Sunday 7.
    IsoDayOfWeek,
    /// Only taken out.
    DayOfYear,
    /// Only taken out: the year that the week belongs to.
    IsoYear,
    /// Only taken out: seconds since 1970.
    Epoch,
}

impl Unit {
    /// PostgreSQL's names, in singular and plural.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "millennium" | "millenniums" | "millennia" => Self::Millennium,
            "century" | "centuries" => Self::Century,
            "decade" | "decades" => Self::Decade,
            "year" | "years" => Self::Year,
            "quarter" => Self::Quarter,
            "month" | "months" => Self::Month,
            "week" | "weeks" => Self::Week,
            "day" | "days" => Self::Day,
            "hour" | "hours" => Self::Hour,
            "minute" | "minutes" => Self::Minute,
            "second" | "seconds" => Self::Second,
            "millisecond" | "milliseconds" => Self::Millisecond,
            "microsecond" | "microseconds" => Self::Microsecond,
            "dow" => Self::DayOfWeek,
            "isodow" => Self::IsoDayOfWeek,
            "doy" => Self::DayOfYear,
            "isoyear" => Self::IsoYear,
            "epoch" => Self::Epoch,
            _ => return None,
        })
    }

    /// Whether `date_trunc` knows it.
    pub fn truncates(self) -> bool {
        !matches!(
            self,
            Self::DayOfWeek | Self::IsoDayOfWeek | Self::DayOfYear | Self::IsoYear | Self::Epoch
        )
    }

    /// The length, where all are equally long.
    fn length(self) -> Option<Millis> {
        match self {
            Self::Day => Some(DAY),
            Self::Hour => Some(HOUR),
            Self::Minute => Some(MINUTE),
            Self::Second => Some(SECOND),
            Self::Millisecond | Self::Microsecond => Some(1),
            _ => None,
        }
    }

    /// The start of the unit that a time falls into; `None` beyond the years 1 to 9999.
    pub fn truncate(self, time: Millis) -> Option<Millis> {
        if let Some(length) = self.length() {
            return in_range(time - time.rem_euclid(length));
        }
        if self == Self::Week {
            let day = time.div_euclid(DAY);
            // day 0 was a Thursday
            return in_range((day - (day + 3).rem_euclid(7)) * DAY);
        }
        let date = date(time)?;
        let (year, month) = (date.year(), date.month());
        let within = |years: i32| (year - 1).div_euclid(years) * years + 1;
        let (year, month) = match self {
            Self::Millennium => (within(1_000), 1),
            Self::Century => (within(100), 1),
            // the decade that year 1 falls into began with a year that times do not reach
            Self::Decade => (year - year.rem_euclid(10), 1),
            Self::Quarter => (year, (month - 1) / 3 * 3 + 1),
            Self::Month => (year, month),
            _ => (year, 1),
        };
        let start = NaiveDate::from_ymd_opt(year, month, 1)?.and_hms_opt(0, 0, 0)?;
        in_range(start.and_utc().timestamp_millis())
    }

    /// The part of a time; `None` beyond the years 1 to 9999.
    pub fn part(self, time: Millis) -> Option<f64> {
        let within = |size: Millis| time.rem_euclid(size);
        let whole = |value: i64| Some(value as f64);
        match self {
            Self::Epoch => return Some(time as f64 / 1_000.0),
            Self::Hour => return whole(within(DAY) / HOUR),
            Self::Minute => return whole(within(HOUR) / MINUTE),
            Self::Second => return Some(within(MINUTE) as f64 / 1_000.0),
            Self::Millisecond => return whole(within(MINUTE)),
            Self::Microsecond => return whole(within(MINUTE) * 1_000),
            _ => {}
        }
        let date = date(time)?;
        let year = i64::from(date.year());
        whole(match self {
            Self::Millennium => (year + 999) / 1_000,
            Self::Century => (year + 99) / 100,
            Self::Decade => year / 10,
            Self::Quarter => i64::from(date.month0() / 3 + 1),
            Self::Month => date.month().into(),
            Self::Week => date.iso_week().week().into(),
            Self::IsoYear => date.iso_week().year().into(),
            Self::Day => date.day().into(),
            Self::DayOfWeek => date.weekday().num_days_from_sunday().into(),
            Self::IsoDayOfWeek => date.weekday().number_from_monday().into(),
            Self::DayOfYear => date.ordinal().into(),
            _ => year,
        })
    }
}

fn date(time: Millis) -> Option<NaiveDate> {
    let time = in_range(time)?;
    DateTime::<Utc>::from_timestamp_millis(time).map(|time| time.date_naive())
}

/// The time, unless no API could write it.
pub(super) fn in_range(time: Millis) -> Option<Millis> {
    (MIN_MILLIS..=MAX_MILLIS).contains(&time).then_some(time)
}

/// How far a time is moved: by calendar months, then by a fixed length. A day has 24 hours, as in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub months: i32,
    pub millis: Millis,
}

impl Span {
    /// Reads PostgreSQL's usual spellings: `1 day 2 hours`, `-90 minutes`, `1 month`, `01:30:00`; `unit` stands for
    /// numbers without one.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str, unit: Option<&str>) -> Result<Self, String> {
        let nonsense = || format!("{text:?} is not an interval");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err("the interval is empty".to_owned());
        }
        let (mut months, mut millis) = (0.0, 0.0);
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+' | ':'))
                .unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            if number.contains(':') {
                millis += clock(number).ok_or_else(nonsense)?;
                rest = after.trim_start();
                continue;
            }
            let number: f64 = number.parse().map_err(|_| nonsense())?;
            let after = after.trim_start();
            let letters = after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len());
            let (name, after) = after.split_at(letters);
            let name = if name.is_empty() {
                unit.unwrap_or("seconds")
            } else {
                name
            };
            match name.to_ascii_lowercase().as_str() {
                "mon" | "mons" | "month" | "months" => months += number,
                "y" | "yr" | "yrs" | "year" | "years" => months += number * 12.0,
                name => millis += number * unit_millis(name)? as f64,
            }
            rest = after.trim_start();
        }
        if months.fract() != 0.0 || millis.fract() != 0.0 {
            return Err("an interval must be whole months and whole milliseconds".to_owned());
        }
        // longer than all times that there are
        if months.abs() > 120_000.0 || millis.abs() > MAX_MILLIS as f64 {
            return Err("an interval may not be longer than 9999 years".to_owned());
        }
        Ok(Self {
            months: months as i32,
            millis: millis as Millis,
        })
    }

    pub fn negated(self) -> Self {
        Self {
            months: -self.months,
            millis: -self.millis,
        }
    }

    /// `None` when the result lies beyond the years 1 to 9999. A month's day that the target month does not have
    /// becomes its last.
    pub fn shift(self, time: Millis) -> Option<Millis> {
        let moved = if self.months == 0 {
            time
        } else {
            let time = DateTime::<Utc>::from_timestamp_millis(in_range(time)?)?;
            let months = Months::new(self.months.unsigned_abs());
            let moved = if self.months < 0 {
                time.checked_sub_months(months)
            } else {
                time.checked_add_months(months)
            };
            moved?.timestamp_millis()
        };
        in_range(moved.checked_add(self.millis)?)
    }
}

/// `01:30` or `01:30:00.5`, in milliseconds.
fn clock(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.trim_start_matches('+')),
    };
    let mut total = 0.0;
    let mut scale = 3_600_000.0;
    let mut parts = 0;
    for part in digits.split(':') {
        let whole = parts < 2;
        let number: f64 = part
            .parse()
            .ok()
            .filter(|n: &f64| *n >= 0.0 && (!whole || n.fract() == 0.0))?;
        total += number * scale;
        scale /= 60.0;
        parts += 1;
    }
    (parts == 2 || parts == 3).then_some(sign * total)
}

/// The time that a text says: RFC 3339, or a date with or without time, which is UTC without an offset.
pub(super) fn parse_time(text: &str) -> Option<Millis> {
    let text = text.trim();
    if let Some(time) = parse_rfc3339(text) {
        return Some(time);
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return in_range(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis());
    }
    let zoned = ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"];
    if let Some(time) = zoned
        .iter()
        .find_map(|form| DateTime::parse_from_str(text, form).ok())
    {
        return in_range(time.timestamp_millis());
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .and_then(|time| in_range(time.and_utc().timestamp_millis()))
}

/// What a value is as a time: times are, texts are read, and integers are Unix milliseconds, as event times are.
///
/// # Errors
/// When it is none.
pub(super) fn as_time(value: &Scalar) -> Result<Option<Millis>, NoTime> {
    match value {
        Scalar::Null => Ok(None),
        Scalar::Time(time) => Ok(Some(*time)),
        Scalar::Text(text) => parse_time(text).map(Some).ok_or(NoTime),
        Scalar::Bool(_) => Err(NoTime),
        Scalar::Int(_) | Scalar::Float(_) => match value.clone().normalised() {
            Scalar::Int(time) => in_range(time).map(Some).ok_or(NoTime),
            _ => Err(NoTime),
        },
    }
}

/// A value says no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoTime;

#[cfg(test)]
mod tests {
    use tributary_shared::time::to_rfc3339;

    use super::*;

    fn at(text: &str) -> Millis {
        parse_time(text).expect(text)
    }

    #[test]
    fn times_are_read_in_the_usual_spellings() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31 12:00:00",
            "2026-01-31 12:00",
            "2026-01-31T13:00:00.000+01:00",
            "2026-01-31 13:00:00+01",
            " 2026-01-31T12:00:00 ",
        ] {
            assert_eq!(to_rfc3339(at(text)), "2026-01-31T12:00:00.000Z", "{text}");
        }
        assert_eq!(to_rfc3339(at("2026-01-31")), "2026-01-31T00:00:00.000Z");
        for text in [
            "",
            "noon",
            "2026-02-30",
            "2026-01-31 25:00",
            "31.01.2026",
            "0000-01-01",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn units_cut_where_the_calendar_does() {
        let time = at("2026-08-19T15:47:31.250Z");
        for (unit, start) in [
            ("millennium", "2001-01-01"),
            ("century", "2001-01-01"),
            ("decade", "2020-01-01"),
            ("year", "2026-01-01"),
            ("quarter", "2026-07-01"),
            ("month", "2026-08-01"),
            ("week", "2026-08-17"),
            ("day", "2026-08-19"),
            ("hour", "2026-08-19 15:00"),
            ("minute", "2026-08-19 15:47"),
            ("second", "2026-08-19 15:47:31"),
        ] {
            let unit = Unit::parse(unit).expect(unit);
            assert_eq!(unit.truncate(time), Some(at(start)), "{unit:?}");
        }
        // before 1970, and on the last day of a year of 53 weeks
        assert_eq!(Unit::Week.truncate(at("1969-12-31")), Some(at("1969-12-29")));
        assert_eq!(Unit::Hour.truncate(-1), Some(-HOUR));
        assert_eq!(Unit::Week.part(at("2027-01-01")), Some(53.0));
        assert_eq!(Unit::IsoYear.part(at("2027-01-01")), Some(2026.0));
        assert_eq!(Unit::Week.truncate(MIN_MILLIS), Some(MIN_MILLIS), "a Monday");
        assert_eq!(Unit::Decade.truncate(MIN_MILLIS), None);
    }

    #[test]
    fn intervals_move_times_by_calendar_and_clock() {
        for (from, by, to) in [
            ("2026-01-31", "1 month", "2026-02-28"),
            ("2024-02-29", "1 year", "2025-02-28"),
            ("2026-03-01", "-1 day", "2026-02-28"),
            ("2026-03-01", "1 day 02:30", "2026-03-02 02:30"),
            ("2026-03-01", "1 year 2 mons 3 days", "2027-05-04"),
            ("2026-03-01", "-90 minutes", "2026-02-28 22:30"),
        ] {
            let span = Span::parse(by, None).expect(by);
            assert_eq!(span.shift(at(from)), Some(at(to)), "{from} + {by}");
        }
        assert_eq!(Span { months: 0, millis: 1 }.shift(MAX_MILLIS), None);
        for text in [
            "",
            "soon",
            "1.5 months",
            "1 fortnight",
            "1:2:3:4",
            "20000 years",
            "0.1 ms",
        ] {
            assert!(Span::parse(text, None).is_err(), "{text}");
        }
    }
}
