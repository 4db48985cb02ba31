//! The types that the intake shares with the rest of the agent.

use serde::Serialize;
use tokio::sync::watch;
use tributary_shared::time::Millis;

use crate::check::Checks;
use crate::heads::Heads;
use crate::spool::SpoolHandle;

/// What a request handler needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IntakeContext {
    pub spool: SpoolHandle,
    /// Kept up to date by the shipper; shown by `/v1/status`.
    pub connection: watch::Receiver<ConnectionStatus>,
    /// Bytes of one request body.
    pub max_request: usize,
    pub checks: Checks,
    /// Of the aggregator's audit.
    pub heads: Heads,
}

/// How the agent stands with its gateways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionStatus {
    pub state: ConnectionState,
    /// The address of the gateway that `state` is about.
    pub gateway: Option<String>,
    /// When `state` began.
    #[serde(with = "tributary_shared::time::rfc3339")]
    pub since: Millis,
    /// Why the last attempt failed or the last session ended.
    pub last_error: Option<String>,
    /// Attempts since a session was last open.
    pub attempts: u64,
}

impl ConnectionStatus {
    /// Before the first attempt.
    #[must_use]
    pub fn starting(now: Millis) -> Self {
        Self {
            state: ConnectionState::Waiting,
            gateway: None,
            since: now,
            last_error: None,
            attempts: 0,
        }
    }
}

/// See [`ConnectionStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// A session is open.
    Connected,
    /// An attempt is being made.
    Connecting,
    /// A back-off lies before the next attempt.
    Waiting,
    /// Another process has this agent's identity and took the session: a longer back-off.
    Superseded,
}
