//! `INTERVAL '1 minute'`: PostgreSQL's interval texts, as far as they have a fixed length.

use tributary_shared::time::Millis;

/// The longest window: beyond a leap year it is surely a mistake.
pub const MAX_INTERVAL: Millis = 366 * DAY;
const DAY: Millis = 86_400_000;

/// Parses `1 minute`, `90s`, `1 hour 30 minutes`; `unit` stands for numbers without one.
///
/// # Errors
/// What is wrong, in words.
pub fn parse_interval(text: &str, unit: Option<&str>) -> Result<Millis, String> {
    let mut total: f64 = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("the interval is empty".to_owned());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+'))
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number
            .parse()
            .map_err(|_| format!("{text:?} is not an interval"))?;
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
        total += number * unit_millis(name)? as f64;
        rest = after.trim_start();
    }
    if total <= 0.0 {
        return Err("a window must be longer than nothing".to_owned());
    }
    if total > MAX_INTERVAL as f64 {
        return Err("a window may not be longer than 366 days".to_owned());
    }
    if total.fract() != 0.0 {
        return Err("a window must be a whole number of milliseconds".to_owned());
    }
    Ok(total as Millis)
}

pub(super) fn unit_millis(name: &str) -> Result<Millis, String> {
    match name.to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Ok(1),
        "s" | "sec" | "secs" | "second" | "seconds" => Ok(1000),
        "m" | "min" | "mins" | "minute" | "minutes" => Ok(60_000),
        "h" | "hr" | "hrs" | "hour" | "hours" => Ok(3_600_000),
        "d" | "day" | "days" => Ok(DAY),
        "w" | "week" | "weeks" => Ok(7 * DAY),
        "mon" | "month" | "months" | "y" | "year" | "years" => {
            Err("months and years differ in length; use days".to_owned())
        }
        other => Err(format!("{other:?} is not a unit of time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_fixed_length_are_read() {
        let cases = [
            ("1 minute", None, 60_000),
            ("10", Some("SECOND"), 10_000),
            ("90", None, 90_000),
            ("1 hour 30 minutes", None, 5_400_000),
            ("1h30m", None, 5_400_000),
            ("0.5 seconds", None, 500),
            ("250 ms", None, 250),
            ("1 week", None, 604_800_000),
        ];
        for (text, unit, millis) in cases {
            assert_eq!(parse_interval(text, unit), Ok(millis), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "minute",
            "0 seconds",
            "-1 minute",
            "1 month",
            "400 days",
            "1 fortnight",
            "0.5 ms",
            "1 .. 2",
            "1e99 days",
        ] {
            assert!(parse_interval(text, None).is_err(), "{text}");
        }
    }
}
