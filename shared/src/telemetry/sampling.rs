//! Which traces are exported when nothing is special about them. Pure.
//!
//! The decision is made from the trace's id alone, as OpenTelemetry's ratio sampler makes it, so every process with the
//! same ratio decides alike. Whatever it is, traces with an error, a dead letter or a slow batch are kept
//! ([`super::held`]).

use opentelemetry::trace::TraceId;

/// The head sampler of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// No traces, whatever happens.
    Off,
    Ratio {
        /// Of the 63 bits of a trace's id that count, the values below this are in.
        below: u64,
        /// A trace that another process began is in when that says so, and only then.
        parent_based: bool,
    },
}

/// Everything.
impl Default for Sampler {
    fn default() -> Self {
        Self::ratio(1.0, true)
    }
}

impl Sampler {
    /// `ratio` lies between 0 and 1.
    #[must_use]
    pub fn ratio(ratio: f64, parent_based: bool) -> Self {
        // 2^63 is exact; a ratio of 1 takes every value
        let below = (ratio.clamp(0.0, 1.0) * 2f64.powi(63)) as u64;
        Self::Ratio { below, parent_based }
    }

    /// Whether a trace is exported, which `parent` (the word of the process before this one) has an opinion on. Who says
    /// that it is may know of an error in it: that is followed in any case.
    pub(super) fn takes(self, trace: TraceId, parent: Option<bool>) -> bool {
        match (self, parent) {
            (Self::Off, _) => false,
            (Self::Ratio { .. }, Some(true)) => true,
            (
                Self::Ratio {
                    parent_based: true, ..
                },
                Some(false),
            ) => false,
            (Self::Ratio { below, .. }, _) => {
                let bytes = trace.to_bytes();
                let low = bytes[8..]
                    .iter()
                    .fold(0u64, |all, byte| all << 8 | u64::from(*byte));
                low >> 1 < below
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(low: u64) -> TraceId {
        TraceId::from(7u128 << 64 | u128::from(low))
    }

    #[test]
    fn a_ratio_is_of_the_lower_half_of_the_id() {
        let half = Sampler::ratio(0.5, true);
        assert!(half.takes(trace(0), None) && half.takes(trace(u64::MAX / 2 - 1), None));
        assert!(!half.takes(trace(u64::MAX / 2 + 1), None) && !half.takes(trace(u64::MAX), None));
        let (all, none) = (Sampler::default(), Sampler::ratio(0.0, true));
        for id in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(all.takes(trace(id), None) && !none.takes(trace(id), None), "{id}");
        }
        let taken = (0..10_000).filter(|_| Sampler::ratio(0.1, true).takes(trace(rand::random()), None));
        let taken = taken.count();
        assert!((800..1_200).contains(&taken), "{taken} of 10,000");
    }

    #[test]
    fn the_process_before_decides_where_that_is_wanted() {
        let (based, own) = (Sampler::ratio(0.5, true), Sampler::ratio(0.5, false));
        assert!(!based.takes(trace(0), Some(false)) && own.takes(trace(0), Some(false)));
        let far = trace(u64::MAX);
        assert!(based.takes(far, Some(true)) && own.takes(far, Some(true)));
        assert!(!own.takes(far, Some(false)));
        assert!(!Sampler::Off.takes(trace(0), Some(true)));
    }
}
