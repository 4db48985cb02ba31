//! What a field's values are, for its column and for its checks.

/// How a field's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Float,
    Bool,
    Text,
    /// The value's JSON text: objects, arrays, and values of differing types.
    Json,
}
