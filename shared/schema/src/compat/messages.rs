//! What is passed to and from the checks.

use std::fmt;
use std::str::FromStr;

/// How a subject may evolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompatibilityLevel {
    /// Everything goes.
    None,
    /// The new version reads the data of the newest old one.
    Backward,
    /// The new version reads the data of every old one.
    BackwardTransitive,
    /// The newest old version reads the data of the new one.
    Forward,
    /// Every old version reads the data of the new one.
    ForwardTransitive,
    /// Both ways, with the newest old version.
    Full,
    /// Both ways, with every old version.
    FullTransitive,
}

impl CompatibilityLevel {
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// As the Confluent API writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// Must the new version read old data?
    #[must_use]
    pub fn is_backward(self) -> bool {
        matches!(
            self,
            Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive
        )
    }

    /// Must old versions read new data?
    #[must_use]
    pub fn is_forward(self) -> bool {
        matches!(
            self,
            Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive
        )
    }

    /// Does it hold for every old version, not for the newest only?
    #[must_use]
    pub fn is_transitive(self) -> bool {
        matches!(
            self,
            Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive
        )
    }
}

impl fmt::Display for CompatibilityLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CompatibilityLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| UnknownLevel(text.chars().take(40).collect()))
    }
}

/// A name that is no compatibility level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a compatibility level; use NONE, BACKWARD, BACKWARD_TRANSITIVE, FORWARD, FORWARD_TRANSITIVE, FULL or FULL_TRANSITIVE"
)]
pub struct UnknownLevel(pub String);

/// One reason why a reader's schema cannot read all of a writer's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    /// The rule that breaks, by the name that the Confluent registry gives it where it has one.
    pub kind: &'static str,
    /// Where: a JSON Pointer with `#` in AVRO and JSON (`#/properties/a`), full name and field number in
    /// PROTOBUF (`#/Order/3`).
    pub path: String,
    /// Names the field and the rule.
    pub message: String,
}

/// The longest message, in characters: it names what is wrong, not all of a long list.
const MAX_MESSAGE: usize = 400;

impl Incompatibility {
    pub(crate) fn new(kind: &'static str, path: String, mut message: String) -> Self {
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self { kind, path, message }
    }
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "#" } else { &self.path };
        write!(f, "{} at {path}: {}", self.kind, self.message)
    }
}
