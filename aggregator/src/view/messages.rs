//! What a view is made of, as it is stored.

use serde::{Deserialize, Serialize};
use tributary_shared::time::{Millis, rfc3339};

use super::ViewOptions;
use crate::commit::LogPos;

/// A view as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDef {
    pub name: String,
    pub sql: String,
    pub options: ViewOptions,
    #[serde(with = "rfc3339")]
    pub created_at: Millis,
    /// The view covers every log entry behind this position; 0 for the whole log.
    pub applies_from: LogPos,
}
