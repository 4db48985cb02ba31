//! What goes into the window engine and what comes out of it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Serialize, Serializer};
use tributary_shared::ids::{AgentId, LaneNo, SeqRange, StreamName};
use tributary_shared::time::{Millis, to_rfc3339};

use super::cold::{ColdError, WindowFacts};
use super::place::PagePlace;
use crate::commit::LogPos;
use crate::view::{Column, ColumnType, Scalar, ViewOptions};

/// How the engine treats time and bounds its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// The options of views that are put without any.
    pub options: ViewOptions,
    /// How far an event's time may run ahead of its commit before it stops to move the watermark, in ms.
    pub future_tolerance: Millis,
    /// A lane that committed nothing for this long (against the newest commit of its stream) holds no
    /// watermark back, in ms.
    pub idle_after: Millis,
    /// Bytes of key texts that the groups of one window may have. Events for further groups go to its overflow group.
    pub max_key_bytes: u64,
    /// Bytes that all groups in memory may take. Those of the oldest windows leave it for the disk.
    pub hot_bytes: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            options: ViewOptions::default(),
            // more than NTP ever corrects, less than the smallest window that people chart
            future_tolerance: 60_000,
            idle_after: 300_000,
            max_key_bytes: 64 << 20,
            // some millions of groups
            hot_bytes: 1 << 30,
        }
    }
}

/// A committed log entry. Entries are applied in log order.
#[derive(Debug, Clone, Copy)]
pub struct AppliedBatch<'a> {
    pub pos: LogPos,
    pub lane: LaneNo,
    pub agent: &'a AgentId,
    pub stream: &'a StreamName,
    pub committed_at: Millis,
    /// The seqs that the entry is about.
    pub range: SeqRange,
    /// Dead letters that became valid: they amend the windows that they belong to, and say nothing of how far their lane
    /// has come.
    pub replayed: bool,
    /// The valid rows; `None` when the entry has none.
    pub records: Option<&'a RecordBatch>,
}

/// A row of a view, by number. Valid until the view is replaced or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub(crate) u32);

/// The rows of one view that one batch changed. Read them with [`super::Engine::rows`], at leisure: what is
/// read is the newest state.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowChange {
    pub view: Arc<str>,
    /// Each row once. Empty for views whose windows are made from others' when they are read.
    pub groups: Vec<GroupId>,
    /// For those views: the starts of windows with changed rows, each once.
    pub windows: Vec<Millis>,
    /// The first log position of the changes: rows that changed there or later are meant.
    pub since: LogPos,
    /// Rows that are no more, because they became part of another or begin at another time now.
    pub gone: Vec<GoneRow>,
    /// Which version of the view they belong to.
    pub(crate) generation: u64,
}

/// The name of a row that is no more.
#[derive(Debug, Clone, PartialEq)]
pub struct GoneRow {
    pub window_start: Millis,
    /// As it was.
    pub window_end: Millis,
    /// In the order of the view's keys.
    pub key: Vec<Scalar>,
}

/// Which windows to read.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowQuery {
    /// Windows that start at this time or later.
    pub from: Option<Millis>,
    /// Windows that start before this time.
    pub to: Option<Millis>,
    /// At most this many rows; the newest windows are kept.
    pub limit: usize,
    /// Rows behind this place only: where the page before ended.
    pub after: Option<PagePlace>,
    /// `(COLUMN, VALUE)` or `(COLUMN.OPERATOR, VALUE)`; see [`super::filter`]. The columns of the view, `window_start`,
    /// `window_end`, `revision` and `final` can be named.
    pub filters: Vec<(String, String)>,
}

impl Default for WindowQuery {
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            limit: super::DEFAULT_WINDOW_LIMIT,
            after: None,
            filters: Vec::new(),
        }
    }
}

/// Rows of a view, newest window first, and by group within a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowPage {
    #[serde(serialize_with = "shared")]
    pub view: Arc<str>,
    #[serde(serialize_with = "shared")]
    pub columns: Arc<[Column]>,
    pub rows: Vec<WindowRow>,
    /// Of each window of the rows, newest first: who has reported past its end. Without windows there are none.
    pub windows: Vec<WindowProgress>,
    /// There are more rows than the limit.
    pub truncated: bool,
    /// Where they go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<PagePlace>,
}

/// One group of one window. Serialized as one object: the view's columns in SELECT order, then
/// `window_start`, `window_end`, `revision`, `final` and `completeness`; `approximate` with the names of the columns
/// that are, where some are; and `overflow` where it is true.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WindowRow {
    pub columns: Arc<[Column]>,
    /// In the order of `columns`.
    pub values: Vec<Scalar>,
    /// `None` in views without windows.
    pub window_start: Option<Millis>,
    /// Exclusive.
    pub window_end: Option<Millis>,
    /// 1 at first, then 1 more for each batch that changed the row.
    pub revision: u64,
    /// The log position of the row's last change.
    pub changed_at: LogPos,
    /// Columns, by number, that are exact of few values and were not of this row's.
    pub approximate: Vec<usize>,
    /// Stands for the row's keys in the order of changes; not shown.
    pub(crate) key: u64,
    /// The row stands for all groups that its window had no room for.
    pub overflow: bool,
    /// No lane is expected to change the row any more. Data that comes still does.
    pub is_final: bool,
    /// Share of the stream's active lanes whose watermark passed the window's end, 0 to 1.
    pub completeness: f64,
}

impl WindowRow {
    /// The value of a column of the view.
    #[must_use]
    pub fn value(&self, column: &str) -> Option<&Scalar> {
        let at = self.columns.iter().position(|c| c.name == column)?;
        self.values.get(at)
    }
}

impl Serialize for WindowRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (column, value) in self.columns.iter().zip(&self.values) {
            if column.name != "window_start" && column.name != "window_end" {
                match value {
                    Scalar::Text(text) if column.kind == ColumnType::Json => {
                        let said: serde_json::Value = serde_json::from_str(text).map_err(S::Error::custom)?;
                        map.serialize_entry(&column.name, &said)?;
                    }
                    value => map.serialize_entry(&column.name, value)?,
                }
            }
        }
        map.serialize_entry("window_start", &self.window_start.map(to_rfc3339))?;
        map.serialize_entry("window_end", &self.window_end.map(to_rfc3339))?;
        map.serialize_entry("revision", &self.revision)?;
        map.serialize_entry("final", &self.is_final)?;
        map.serialize_entry("completeness", &self.completeness)?;
        if !self.approximate.is_empty() {
            let names = self.approximate.iter().filter_map(|at| self.columns.get(*at));
            let names: Vec<&str> = names.map(|column| column.name.as_str()).collect();
            map.serialize_entry("approximate", &names)?;
        }
        if self.overflow {
            map.serialize_entry("overflow", &true)?;
        }
        map.end()
    }
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    #[error("there is no view {0:?}; GET /api/v1/views lists them")]
    UnknownView(String),
    #[error("view {0:?} was replaced while it was read; ask again")]
    Replaced(String),
    #[error(transparent)]
    Cold(#[from] ColdError),
    #[error("{parameter}: {problem}")]
    BadFilter { parameter: String, problem: String },
    #[error(
        "view {view:?} has no column {column:?}; it has {known}, and beside them window_start, window_end, revision \
         and final; operators are written COLUMN.OPERATOR=VALUE with eq, ne, lt, lte, gt, gte and prefix"
    )]
    UnknownColumn {
        view: String,
        column: String,
        known: String,
    },
}

/// Rows of a view for a reader who wants all of them: oldest window first, a page at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WindowScan {
    /// Windows that start at this time or later.
    pub from: Option<Millis>,
    /// Windows that start before this time.
    pub to: Option<Millis>,
    /// As in [`WindowQuery`].
    pub filters: Vec<(String, String)>,
    /// Where the page before ended; `None` for the first.
    pub after: Option<ScanPlace>,
    /// Rows to look at for this page; those that the filters leave out count.
    pub limit: usize,
}

/// A place within a view's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPlace {
    pub(crate) window_start: Millis,
    /// The stored form of the key of the last row of that window that was looked at.
    pub(crate) key: Arc<[u8]>,
    pub(crate) generation: u64,
}

/// One page of a [`WindowScan`].
#[derive(Debug, Clone, PartialEq)]
pub struct ScanPage {
    pub rows: Vec<WindowRow>,
    /// `None` after the last row.
    pub next: Option<ScanPlace>,
}

/// A row that one event went into: the last hop of its lineage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowHit {
    #[serde(serialize_with = "shared")]
    pub view: Arc<str>,
    /// `None` in views without windows.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub window_start: Option<Millis>,
    #[serde(serialize_with = "rfc3339_or_null")]
    pub window_end: Option<Millis>,
    /// The group key by column.
    pub group: serde_json::Map<String, serde_json::Value>,
    /// It is the row that stands for all groups that its window had no room for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overflow: bool,
    /// The window is beyond the view's retention by now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub expired: bool,
    /// `None` when it cannot be told any more whether the event was too late for it.
    pub counted: Option<bool>,
}

/// What was counted instead of guessed, since the view began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewCounters {
    /// Events in windows: they passed WHERE and have a time. Those in overflow groups are among them.
    pub applied: u64,
    /// Events that went to the overflow group of their window, because it had no room for one group more.
    pub overflowed: u64,
    /// When the first of them was committed; `None` when there was none.
    #[serde(with = "maybe_time", skip_serializing_if = "Option::is_none")]
    pub overflowed_since: Option<Millis>,
    /// Events that were older than the retention when they came. The ledger says of which lanes.
    pub too_late: u64,
    /// The newest event time, as far as it can be believed. The retention counts from it.
    #[serde(with = "maybe_time")]
    pub newest_event: Option<Millis>,
    /// Events without a usable value in the view's time column.
    pub without_time: u64,
    /// Operations that gave NULL: division by zero, overflow, a cast that does not fit.
    pub arithmetic: u64,
    /// Log entries, of whatever stream, that the view never saw, because the log did not have them any more.
    pub missed_entries: u64,
    /// The last of them: the view counts all that was committed after this log position.
    pub counts_after: LogPos,
}

/// A view's state in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ViewStats {
    /// Rows of all windows, in memory or on disk.
    pub groups: u64,
    pub windows: u64,
    /// The view covers the log up to here.
    pub position: LogPos,
    /// It keeps up with the log. False while it is back-filled.
    pub live: bool,
    #[serde(flatten)]
    pub counters: ViewCounters,
}

/// A lane's clock, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneWatermark {
    pub lane: LaneNo,
    /// `None` when a version stored it that did not note it.
    pub agent: Option<AgentId>,
    pub stream: StreamName,
    /// Highest event time; `None` before the first valid row.
    pub watermark: Option<Millis>,
    pub last_commit: Millis,
    /// Events that were too far ahead of their commit to move the watermark.
    pub future_events: u64,
}

/// Events of one lane that one view did not take, because they were older than its retention when they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateLine {
    pub lane: LaneNo,
    /// Where the first batch with such events begins, and the last one ends.
    pub range: SeqRange,
    pub count: u64,
}

/// How many agents have reported past a window's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WindowProgress {
    #[serde(with = "tributary_shared::time::rfc3339")]
    pub window_start: Millis,
    #[serde(with = "tributary_shared::time::rfc3339")]
    pub window_end: Millis,
    /// Agents of the stream that committed within the allowed lateness of its newest commit.
    pub expected: usize,
    pub reported: usize,
    /// Those that have not, the ones that are furthest behind first; no more than can be read.
    pub missing: Vec<AgentId>,
}

/// What changed since the snapshot before, and the position that it belongs to. A snapshot must be saved
/// before the next one, in order, and saved again if that fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub position: LogPos,
    pub lanes: Vec<LaneWatermark>,
    pub views: Vec<ViewSnapshot>,
}

/// One view's part of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewSnapshot {
    pub view: Arc<str>,
    /// The definition that the state belongs to: state of another definition is not stored.
    pub sql: Arc<str>,
    pub options: ViewOptions,
    /// Forget what was stored: the state began anew.
    pub reset: bool,
    pub position: LogPos,
    pub counters: ViewCounters,
    /// Which state of the view this is of.
    pub generation: u64,
    /// Windows that have other groups than before.
    pub windows: Vec<(Millis, WindowFacts)>,
    /// Windows that have no groups any more, to be deleted before `windows` are put, of which one may have some again.
    pub emptied: Vec<Millis>,
    /// Windows that are older than the view's retention, to be deleted with their groups.
    pub expired: Vec<Millis>,
    /// Lines that changed.
    pub late: Vec<LateLine>,
    /// Groups that are no more. To be deleted before `groups` are put, of which one may have the name again.
    pub removed: Vec<GroupName>,
    pub groups: Vec<GroupState>,
}

/// What a stored group is found by, within its view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName {
    pub window_start: Millis,
    pub key: Vec<u8>,
}

/// One group in stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    pub window_start: Millis,
    pub key: Vec<u8>,
    pub state: Vec<u8>,
}

/// Stored state that this program cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    #[error("the state has format {0}, which this program does not know")]
    Format(u8),
    #[error("the state's bytes end early or do not fit the view")]
    Malformed,
    #[error("there is no such view")]
    UnknownView,
}

/// A time that may be missing, as RFC 3339.
mod maybe_time {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use tributary_shared::time::{Millis, parse_rfc3339, to_rfc3339};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub fn serialize<S: Serializer>(time: &Option<Millis>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(to_rfc3339).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Millis>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let time = text.map(|text| parse_rfc3339(&text).ok_or_else(|| D::Error::custom("not a time")));
        time.transpose()
    }
}

#[expect(clippy::ref_option, reason = "serde passes a reference")]
pub(super) fn rfc3339_or_null<S: Serializer>(
    time: &Option<Millis>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(to_rfc3339).serialize(serializer)
}

pub(super) fn shared<T: ?Sized + Serialize, S: Serializer>(
    value: &Arc<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(serializer)
}
