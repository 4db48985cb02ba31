//! What a view's owner may choose beside its SQL.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tributary_shared::config::{format_duration, parse_duration};
use tributary_shared::time::Millis;

/// Below that, windows would go while their events are on the way.
const MIN_RETENTION: Millis = 60_000;
/// A hundred years: for ever, while times stay far from the ends of their range.
const MAX_RETENTION: Millis = 36_500 * 86_400_000;
/// A window's groups are listed in memory while any of them is.
const MAX_GROUPS: u64 = 10_000_000;

/// A view's options. Together with the SQL they decide what the windows hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewOptions {
    /// A window is final when its stream's watermark is this far past its end, in ms.
    #[serde(with = "duration")]
    pub allowed_lateness: Millis,
    /// Windows that ended longer ago than this are deleted, and events older than that are too late, in ms.
    #[serde(with = "duration")]
    pub retention: Millis,
    /// Groups that one window may hold. Events for further groups go to the window's overflow group.
    pub max_groups: u64,
}

impl Default for ViewOptions {
    fn default() -> Self {
        Self {
            // devices are offline for days, and a weekend is 60 hours
            allowed_lateness: 72 * 3_600_000,
            // old data is loaded as well as new, and what a view counted is kept unless its owner says otherwise
            retention: MAX_RETENTION,
            max_groups: 100_000,
        }
    }
}

/// Why a view cannot have these options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option}={value} {problem}")]
pub struct OptionError {
    pub option: &'static str,
    pub value: String,
    pub problem: String,
}

impl ViewOptions {
    /// Reads what a request names; the rest has its default.
    ///
    /// # Errors
    /// [`OptionError`] at the first value that cannot be.
    pub fn read(
        allowed_lateness: Option<&str>,
        retention: Option<&str>,
        max_groups: Option<u64>,
    ) -> Result<Self, OptionError> {
        let default = Self::default();
        let period = |option, text: Option<&str>, default| match text {
            None => Ok(default),
            Some(text) => parse_duration(text)
                .and_then(|period| Millis::try_from(period.as_millis()).ok())
                .ok_or_else(|| OptionError {
                    option,
                    value: format!("{text:?}"),
                    problem: "is not a duration; write 30s, 5m, 72h or 90d".to_owned(),
                }),
        };
        let options = Self {
            allowed_lateness: period("allowed_lateness", allowed_lateness, default.allowed_lateness)?,
            retention: period("retention", retention, default.retention)?,
            max_groups: max_groups.unwrap_or(default.max_groups),
        };
        options.check()?;
        Ok(options)
    }

    /// Whether windows under these options hold the same as under others.
    #[must_use]
    pub fn same_windows(&self, other: &Self) -> bool {
        (self.retention, self.max_groups) == (other.retention, other.max_groups)
    }

    fn check(&self) -> Result<(), OptionError> {
        let refuse = |option, value, problem: String| {
            Err(OptionError {
                option,
                value,
                problem,
            })
        };
        if !(MIN_RETENTION..=MAX_RETENTION).contains(&self.retention) {
            let (low, high) = (shown(MIN_RETENTION), shown(MAX_RETENTION));
            return refuse(
                "retention",
                shown(self.retention),
                format!("is not within {low} and {high}"),
            );
        }
        if self.allowed_lateness > self.retention {
            let retention = shown(self.retention);
            let problem = format!(
                "is longer than the retention ({retention}): windows would go before they are final; make one longer or the other shorter"
            );
            return refuse("allowed_lateness", shown(self.allowed_lateness), problem);
        }
        if !(1..=MAX_GROUPS).contains(&self.max_groups) {
            let problem = format!("is not within 1 and {MAX_GROUPS}");
            return refuse("max_groups", self.max_groups.to_string(), problem);
        }
        Ok(())
    }
}

fn shown(period: Millis) -> String {
    format_duration(Duration::from_millis(period.unsigned_abs()))
}

mod duration {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tributary_shared::config::parse_duration;
    use tributary_shared::time::Millis;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn serialize<S: Serializer>(period: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        super::shown(*period).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text)
            .and_then(|period| Millis::try_from(period.as_millis()).ok())
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a duration")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_with_their_defaults_and_shown_as_they_were_written() {
        assert_eq!(ViewOptions::read(None, None, None), Ok(ViewOptions::default()));
        let read = ViewOptions::read(Some("90s"), Some("30d"), Some(7)).expect("valid");
        assert_eq!((read.allowed_lateness, read.retention), (90_000, 30 * 86_400_000));
        for options in [ViewOptions::default(), read] {
            let json = serde_json::to_string(&options).expect("is JSON");
            assert_eq!(
                serde_json::from_str::<ViewOptions>(&json).expect("is read back"),
                options
            );
        }
        let json = serde_json::to_value(ViewOptions::default()).expect("is JSON");
        let expected =
            serde_json::json!({"allowed_lateness": "72h", "retention": "36500d", "max_groups": 100_000});
        assert_eq!(json, expected);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refused = |lateness, retention, groups| {
            let error = ViewOptions::read(lateness, retention, groups).expect_err("cannot be");
            (error.option, error.to_string())
        };
        for (got, option, part) in [
            (
                refused(Some("3 days"), None, None),
                "allowed_lateness",
                "write 30s, 5m, 72h or 90d",
            ),
            (
                refused(None, Some("99999999999999999d"), None),
                "retention",
                "is not a duration",
            ),
            (
                refused(Some("1s"), Some("59s"), None),
                "retention",
                "is not within 1m and",
            ),
            (
                refused(None, Some("1h"), None),
                "allowed_lateness",
                "longer than the retention (1h)",
            ),
            (
                refused(None, None, Some(0)),
                "max_groups",
                "max_groups=0 is not within 1 and",
            ),
        ] {
            assert_eq!(got.0, option);
            assert!(got.1.contains(part), "{}", got.1);
        }
    }
}
