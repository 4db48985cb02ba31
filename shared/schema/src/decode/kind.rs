//! What a field's values are, for its column and for its checks.

use super::time::TimeUnit;

/// How a field's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Float,
    Bool,
    Text,
    /// A point in time, counted from the epoch.
    Time(TimeUnit),
    /// Integers of 64 bits without sign: integers in a batch where all of them fit, else JSON numbers as text.
    Unsigned,
    /// The value's JSON text: objects, arrays, and values of differing types.
    Json,
}
