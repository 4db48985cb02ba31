//! What is asked about a window, and what is answered.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneNo, Seq, StreamName};
use tributary_shared::time::{Millis, to_rfc3339};
use tributary_shared::wire::SchemaRef;

use super::super::handle::{EngineStopped, WindowsError};
use super::super::messages::QueryError;
use crate::commit::{CommitError, LogPos};

/// Which rows of a view are meant: all of one window, or those of some groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExplainQuery {
    /// `None` for views without windows.
    pub window_start: Option<Millis>,
    /// As in [`super::super::WindowQuery`], of columns that are keys.
    pub filters: Vec<(String, String)>,
    /// Whether the row is meant that stands for all groups that had no room. Not said: only when no group is named.
    pub overflow: Option<bool>,
}

/// A group by the start of its pane (of sessions: a time within it) and its key as stored.
pub type Asked = (Millis, Vec<u8>);

/// The events that some rows were built from, as far as the log still has them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    #[serde(serialize_with = "super::super::messages::shared")]
    pub view: Arc<str>,
    pub stream: StreamName,
    /// `None` in views without windows.
    #[serde(serialize_with = "super::super::messages::rfc3339_or_null")]
    pub window_start: Option<Millis>,
    #[serde(serialize_with = "super::super::messages::rfc3339_or_null")]
    pub window_end: Option<Millis>,
    /// The rows that are explained.
    pub groups: u64,
    /// The only row's keys by column; `None` when there are several.
    pub group: Option<Map<String, Value>>,
    /// The only row stands for all groups that had no room.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overflow: bool,
    /// Events that the rows count, up to `position`.
    pub events: u64,
    /// The log is counted up to here.
    pub position: LogPos,
    /// Events of this page.
    pub explained: u64,
    /// Events of the pages before.
    pub explained_before: u64,
    pub lanes: Vec<LanePart>,
    pub agents: Vec<AgentPart>,
    pub gateways: Vec<GatewayPart>,
    pub schemas: Vec<SchemaPart>,
    /// With the last page: what is missing to `events`. `None` when nothing is.
    pub not_kept: Option<NotKept>,
    /// This is the last page.
    pub complete: bool,
    /// Where the next page goes on.
    pub next: Option<String>,
}

/// Events of one lane, in runs of one log entry each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LanePart {
    pub lane: LaneNo,
    pub agent: AgentId,
    pub stream: StreamName,
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub events: u64,
    pub ranges: Vec<RangePart>,
}

/// Events of one log entry. Between the first and the last of them may be some that went elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RangePart {
    pub first_seq: Seq,
    pub last_seq: Seq,
    pub events: u64,
    pub position: LogPos,
    #[serde(serialize_with = "rfc3339")]
    pub committed_at: Millis,
    /// `None` for dead letters that were replayed: no gateway was there.
    pub gateway: Option<GatewayId>,
    /// What judged them.
    pub schema: Option<SchemaRef>,
    pub trace_id: Option<String>,
    pub replayed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentPart {
    pub agent: AgentId,
    pub events: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GatewayPart {
    /// `None` for dead letters that were replayed.
    pub gateway: Option<GatewayId>,
    pub events: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SchemaPart {
    pub id: Option<u32>,
    /// `None` when the stream had no schema.
    pub version: Option<u32>,
    pub events: u64,
}

/// Events that the rows count and that cannot be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotKept {
    pub events: u64,
    /// Retention has deleted the log up to here.
    pub up_to_position: Option<LogPos>,
    /// The hour in which it deleted the last of that.
    #[serde(serialize_with = "super::super::messages::rfc3339_or_null")]
    pub since: Option<Millis>,
    pub why: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn rfc3339<S: serde::Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_rfc3339(*time))
}

/// Why a window is not explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Stopped(#[from] EngineStopped),
    #[error(transparent)]
    Log(#[from] CommitError),
    #[error("view {view:?} {problem}")]
    Start { view: String, problem: &'static str },
    #[error("only columns that rows are told by can name a row; those of view {view:?} are: {keys}")]
    NotAKey { view: String, keys: String },
    #[error("view {view:?} has no such row; GET /api/v1/views/{view}/windows lists the rows that it has")]
    NoRow { view: String },
    #[error(
        "the window ended at {}, longer ago than the {} for which view {view:?} keeps windows; since its events of {} \
         it is not kept any more",
        to_rfc3339(*.end), tributary_shared::config::format_duration(*.retention), to_rfc3339(*.newest)
    )]
    Expired {
        view: String,
        end: Millis,
        retention: std::time::Duration,
        /// The view's newest event, which the retention counts from.
        newest: Millis,
    },
    #[error("the window has more than {limit} rows; name columns, so that it is fewer")]
    TooManyRows { limit: usize },
    #[error("the window of view {0:?} changed while it was read page by page; begin again without next")]
    Changed(String),
}

impl From<WindowsError> for ExplainError {
    fn from(error: WindowsError) -> Self {
        match error {
            WindowsError::Query(error) => error.into(),
            WindowsError::Stopped(stopped) => stopped.into(),
        }
    }
}
