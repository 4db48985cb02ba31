//! Times as the wire and the stores keep them: Unix milliseconds, UTC, signed.

use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::protocol::Tick;

/// Unix milliseconds, UTC.
pub type Millis = i64;

/// The latest time that we accept as one: the end of the year 9999, which is also what RFC 3339 can write.
pub const MAX_MILLIS: Millis = 253_402_300_799_999;
/// The earliest time that we accept as one: the start of the year 0001.
pub const MIN_MILLIS: Millis = -62_135_596_800_000;

/// The host's wall clock. Only the edges of the program call this; pure code takes `now` as an argument.
#[must_use]
pub fn now_millis() -> Millis {
    Utc::now().timestamp_millis()
}

/// Where monotonic [`Tick`]s come from: the edges of the program hold one, pure code takes its ticks.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic(Instant);

impl Monotonic {
    /// Starts counting at 1, so that 0 can stand for "never".
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    #[must_use]
    pub fn tick(&self) -> Tick {
        Tick::try_from(self.0.elapsed().as_millis())
            .unwrap_or(Tick::MAX)
            .saturating_add(1)
    }
}

/// RFC 3339 in UTC with milliseconds, as every API answer shows times.
#[must_use]
pub fn to_rfc3339(millis: Millis) -> String {
    let clamped = millis.clamp(MIN_MILLIS, MAX_MILLIS);
    DateTime::<Utc>::from_timestamp_millis(clamped)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Parses RFC 3339 text with any offset. `None` when it is not one, or lies outside the years 1 to 9999.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Millis> {
    let millis = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
    (MIN_MILLIS..=MAX_MILLIS).contains(&millis).then_some(millis)
}

/// Serde for [`Millis`] as RFC 3339 text: `#[serde(with = "tributary_shared::time::rfc3339")]`.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::Millis;

    /// # Errors
    /// Those of the serializer.
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub fn serialize<S: Serializer>(millis: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_rfc3339(*millis))
    }

    /// # Errors
    /// When the text is not RFC 3339.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_rfc3339(&text).ok_or_else(|| D::Error::custom("expected RFC 3339 text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips_with_offsets() {
        let millis = parse_rfc3339("2026-11-21T12:00:00.250+01:00").expect("valid");
        assert_eq!(to_rfc3339(millis), "2026-11-21T11:00:00.250Z");
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
