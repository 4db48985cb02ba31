//! Durations (`30s`, `5m`, `72h`) and sizes (`256KiB`, `2GiB`) as configs and flags write them.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZE_UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start()))
}

/// Parses `250ms`, `30s`, `5m`, `72h`, `7d`. `None` when it is not a duration.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let (_, factor) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor).map(Duration::from_millis)
}

/// A duration as it is written, in the largest unit that says it exactly; days from a week on.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let exact = |(name, factor): &&(&str, u64)| {
        let factor = u128::from(*factor);
        ms.is_multiple_of(factor) && (*name != "d" || ms >= 7 * factor) && ms >= factor
    };
    match DURATION_UNITS.iter().rev().find(exact) {
        Some((name, factor)) => format!("{}{name}", ms / u128::from(*factor)),
        None => "0s".to_owned(),
    }
}

/// Parses `512B`, `256KiB`, `64MiB`, `2GiB`. `None` when it is not a size.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// A size for people: the largest unit that keeps one digit before the point.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (name, factor) = SIZE_UNITS
        .iter()
        .rev()
        .find(|(_, factor)| bytes >= *factor)
        .unwrap_or(&SIZE_UNITS[0]);
    if *factor == 1 {
        format!("{bytes} B")
    } else {
        format!("{:.1} {name}", bytes as f64 / *factor as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["0s", "250ms", "90s", "5m", "72h", "7d", "90d", "25h"] {
            let duration = parse_duration(text).expect("valid");
            assert_eq!(format_duration(duration), text);
        }
        assert_eq!(format_duration(Duration::from_millis(60_000)), "1m");
    }

    #[test]
    fn units_parse_and_nonsense_does_not() {
        assert_eq!(parse_duration("72h"), Some(Duration::from_secs(72 * 3600)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_size("2GiB"), Some(2 << 30));
        for bad in ["", "s", "5", "5 parsecs", "-1s", "99999999999999999999s", "2GB"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
            assert_eq!(parse_size(bad), None, "{bad}");
        }
        assert_eq!(format_size(1536), "1.5 KiB");
    }
}
