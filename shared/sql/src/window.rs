//! How events fall into windows: which kinds there are, and the grids that their starts and ends lie on.

use tributary_shared::time::Millis;

use super::zone::Zone;

/// A day in UTC, in ms.
pub const DAY: Millis = 86_400_000;
/// Panes that one hopping window may be merged from: reading a window costs as many merges for each group.
pub const MAX_PANES: Millis = 1_440;

/// How events fall into windows. Sizes in ms; with a time zone they are whole days, which are as long there as the
/// day of the calendar is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WindowKind {
    /// One running row for each group.
    None,
    /// Windows of one size that follow each other without gap, aligned to the Unix epoch, with a zone to the local
    /// midnight of 1970-01-01.
    Tumble { size: Millis, zone: Option<Zone> },
    /// Windows of one size of which one begins every `slide`. They overlap.
    Hop {
        slide: Millis,
        size: Millis,
        zone: Option<Zone>,
    },
    /// A window for each group and run of events that have less than `gap` between them. It ends `gap` after its
    /// last event.
    Session { gap: Millis },
}

/// Instants in a regular order: every multiple of a length since the Unix epoch, or with a zone the local midnight
/// of every so many days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grid {
    /// In ms; whole days with a zone.
    step: Millis,
    zone: Option<Zone>,
}

impl Grid {
    /// The last instant of the grid that is not behind a time.
    #[must_use]
    pub fn floor(&self, time: Millis) -> Millis {
        match &self.zone {
            None => time - time.rem_euclid(self.step),
            Some(zone) => {
                let day = zone.day_of(time);
                zone.start_of(day - day.rem_euclid(self.days()))
            }
        }
    }

    /// So many steps behind (or before) an instant of the grid.
    #[must_use]
    pub fn walk(&self, start: Millis, steps: i64) -> Millis {
        self.later(start, steps.saturating_mul(self.step))
    }

    /// A length (in whole days with a zone) behind an instant of the grid.
    fn later(&self, start: Millis, length: Millis) -> Millis {
        match &self.zone {
            None => start.saturating_add(length),
            Some(zone) => zone.start_of(zone.day_of(start) + length / DAY),
        }
    }

    fn days(&self) -> i64 {
        (self.step / DAY).max(1)
    }
}

impl WindowKind {
    /// Where the state's panes begin: windows of these two kinds are kept, or merged from them. `None` for kinds
    /// whose windows lie on no grid.
    #[must_use]
    pub fn panes(&self) -> Option<Grid> {
        match self {
            Self::None | Self::Session { .. } => None,
            Self::Tumble { size, zone } => Some(grid(*size, zone)),
            Self::Hop { slide, size, zone } => Some(grid(gcd(*slide, *size), zone)),
        }
    }

    /// Where windows begin.
    #[must_use]
    pub fn starts(&self) -> Option<Grid> {
        match self {
            Self::None | Self::Session { .. } => None,
            Self::Tumble { size, zone } => Some(grid(*size, zone)),
            Self::Hop { slide, zone, .. } => Some(grid(*slide, zone)),
        }
    }

    /// The length of a window in ms, where it does not follow from the data.
    #[must_use]
    pub fn size(&self) -> Option<Millis> {
        match self {
            Self::None | Self::Session { .. } => None,
            Self::Tumble { size, .. } | Self::Hop { size, .. } => Some(*size),
        }
    }

    /// How far apart windows begin, in ms, where it does not follow from the data.
    #[must_use]
    pub fn slide(&self) -> Option<Millis> {
        match self {
            Self::None | Self::Session { .. } => None,
            Self::Tumble { size: slide, .. } | Self::Hop { slide, .. } => Some(*slide),
        }
    }

    #[must_use]
    pub fn zone(&self) -> Option<&Zone> {
        match self {
            Self::None | Self::Session { .. } => None,
            Self::Tumble { zone, .. } | Self::Hop { zone, .. } => zone.as_ref(),
        }
    }

    /// Where a window that starts then ends, exclusive. `None` where it does not follow from the start.
    #[must_use]
    pub fn end(&self, start: Millis) -> Option<Millis> {
        Some(self.starts()?.later(start, self.size()?))
    }

    /// The starts of the windows that a time lies in, oldest first.
    #[must_use]
    pub fn windows_of(&self, time: Millis) -> Vec<Millis> {
        let Some(grid) = self.starts() else {
            return Vec::new();
        };
        let mut starts = Vec::new();
        let mut start = grid.floor(time);
        while self.end(start).is_some_and(|end| end > time) {
            starts.push(start);
            let before = grid.walk(start, -1);
            if matches!(self, Self::Tumble { .. }) || before >= start {
                break;
            }
            start = before;
        }
        starts.reverse();
        starts
    }

    /// Whether several windows hold one event.
    #[must_use]
    pub fn overlaps(&self) -> bool {
        matches!(self, Self::Hop { slide, size, .. } if slide < size)
    }
}

fn grid(step: Millis, zone: &Option<Zone>) -> Grid {
    Grid {
        step,
        zone: zone.clone(),
    }
}

/// The longest length that both are multiples of. Both are above zero.
pub(super) fn gcd(a: Millis, b: Millis) -> Millis {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use tributary_shared::time::{MAX_MILLIS, MIN_MILLIS, parse_rfc3339};

    use super::*;

    const HOUR: Millis = 3_600_000;

    fn zoned(name: &str, days: i64) -> WindowKind {
        WindowKind::Tumble {
            size: days * DAY,
            zone: Some(Zone::find(name).expect("known")),
        }
    }

    fn at(text: &str) -> Millis {
        parse_rfc3339(text).expect("a time")
    }

    #[test]
    fn days_in_a_zone_have_23_24_and_25_hours() {
        let berlin = zoned("Europe/Berlin", 1);
        for (time, start, hours) in [
            ("2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", 23),
            ("2026-03-30T12:00:00Z", "2026-03-29T22:00:00Z", 24),
            ("2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-10-24T22:00:00Z", "2026-10-24T22:00:00Z", 25),
            ("2026-10-24T21:59:59.999Z", "2026-10-23T22:00:00Z", 24),
        ] {
            assert_eq!(berlin.windows_of(at(time)), [at(start)], "{time}");
            assert_eq!(berlin.end(at(start)), Some(at(start) + hours * HOUR), "{time}");
        }
        // midnight itself is skipped in spring, and comes twice in autumn
        let cairo = zoned("Africa/Cairo", 1);
        let start = at("2024-04-25T22:00:00Z");
        assert_eq!(cairo.windows_of(at("2024-04-26T10:00:00Z")), [start]);
        assert_eq!(cairo.end(start), Some(start + 23 * HOUR));
        // a day that never was
        let apia = zoned("Pacific/Apia", 1);
        let start = at("2011-12-29T10:00:00Z");
        assert_eq!(apia.windows_of(at("2011-12-30T09:59:59.999Z")), [start]);
        assert_eq!(apia.end(start), Some(start + DAY));
    }

    #[test]
    fn every_time_lies_in_its_windows_and_they_follow_each_other() {
        let kinds = [
            zoned("Europe/Berlin", 1),
            zoned("Europe/Berlin", 7),
            zoned("Pacific/Apia", 1),
            zoned("America/Sao_Paulo", 1),
            zoned("Asia/Kathmandu", 3),
            WindowKind::Tumble {
                size: 7_919,
                zone: None,
            },
        ];
        let mut time = MIN_MILLIS;
        while time < MAX_MILLIS - 400 * DAY {
            for kind in &kinds {
                let starts = kind.windows_of(time);
                let [start] = starts[..] else {
                    panic!("{kind:?} {time} {starts:?}")
                };
                let end = kind.end(start).expect("on a grid");
                assert!(start <= time && time < end, "{kind:?} {start} {time} {end}");
                assert_eq!(
                    kind.windows_of(end).last(),
                    Some(&end),
                    "{kind:?} {start} {time} {end}"
                );
                assert_eq!(kind.windows_of(end - 1), [start], "{kind:?} {start} {time} {end}");
            }
            time += 977 * DAY / 13 + 1;
        }
    }

    #[test]
    fn hopping_windows_hold_a_time_as_often_as_they_overlap() {
        let hop = WindowKind::Hop {
            slide: 4,
            size: 10,
            zone: None,
        };
        assert_eq!(hop.windows_of(0), [-8, -4, 0]);
        assert_eq!(hop.windows_of(3), [-4, 0]);
        assert_eq!(hop.windows_of(-1), [-8, -4]);
        assert_eq!(hop.panes().map(|panes| panes.floor(-1)), Some(-2));
        let days = WindowKind::Hop {
            slide: DAY,
            size: 2 * DAY,
            zone: Some(Zone::find("Europe/Berlin").expect("known")),
        };
        let starts = [at("2026-10-23T22:00:00Z"), at("2026-10-24T22:00:00Z")];
        assert_eq!(days.windows_of(at("2026-10-25T12:00:00Z")), starts);
        assert_eq!(days.end(starts[0]), Some(starts[0] + 49 * HOUR));
    }
}
