//! Whether the log can store what comes, for who asks from outside: readiness and metrics.

use tributary_shared::time::Millis;

/// The log as its thread last found it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogHealth {
    /// The last write worked, or there was none yet.
    #[default]
    Storing,
    /// Batches are refused since then; agents keep them. It goes on by itself when writing works again.
    Failing { since: Millis, reason: String },
}
