//! What is to be found in the log: the rows of one window, down to the view that reads the stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use serde_json::{Map, Value};
use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;

use super::super::codec::{KEY_FORMAT, OVERFLOW_KEY, Reader, put_scalar};
use super::super::engine::Engine;
use super::super::filter::Filters;
use super::super::gather::Wanted;
use super::super::messages::QueryError;
use super::super::panes::RUNNING;
use super::super::pinned::Pinned;
use super::super::row::RowRef;
use super::super::state::{ViewState, hit};
use super::messages::{Asked, ExplainError, ExplainQuery};
use super::targets::Targets;
use crate::commit::LogPos;
use crate::view::{Scalar, ViewPlan, WindowKind};

/// Rows of the view that reads the stream, at most: of a roll-up many may be one.
const MAX_ROWS: usize = 100_000;

/// Rows of a window, and where to look for their events.
#[derive(Debug, Clone)]
pub struct Basis {
    pub(super) view: Arc<str>,
    pub(super) window: (Option<Millis>, Option<Millis>),
    /// Rows of the window.
    pub(super) groups: u64,
    pub(super) group: Option<Map<String, Value>>,
    pub(super) overflow: bool,
    /// Events that they count.
    pub(in super::super) events: u64,
    /// The view that reads the stream.
    pub(in super::super) plan: Arc<ViewPlan>,
    pub(in super::super) generation: u64,
    /// It covers the log up to here.
    pub(super) position: LogPos,
    /// No later entry changed the rows.
    pub(super) until: LogPos,
    pub(super) targets: Targets,
    pub(super) retention: Millis,
    pub(super) future_tolerance: Millis,
    /// Events older than that would be too late now.
    pub(super) horizon: Millis,
    /// The log does not tell any more what the newest event was.
    pub(in super::super) late_is_lost: bool,
    /// Some window of the view was full.
    pub(super) overflowed: bool,
    /// Of a view of sessions: first and last event of each session of the overflow.
    overflow_sessions: Vec<(Millis, Millis)>,
    /// The rows that are meant may be others by now: only with the page that they were found for.
    pub(super) may_move: bool,
}

/// Rows of one level of a view over views, by start and key as stored.
type Level = BTreeMap<Millis, HashMap<Vec<u8>, Piece>>;

/// A row of one of the views.
#[derive(Debug, Clone, Copy)]
struct Piece {
    events: u64,
    end: Option<Millis>,
    changed_at: LogPos,
}

impl Basis {
    /// Whether an event in the rows may have been too late. Windows that begin behind the horizon have none.
    pub(super) fn judges_late(&self) -> bool {
        self.plan.window != WindowKind::None && self.targets.from < self.horizon
    }

    /// Whether the log's index of event times is that of the view's time.
    pub(super) fn by_event_time(&self) -> bool {
        let windowed = self.plan.window != WindowKind::None;
        windowed && (self.plan.time == "ts" || self.plan.time == EVENT_TIME_COLUMN)
    }

    /// The times of the events that are looked for.
    pub(super) fn times(&self) -> (Millis, Millis) {
        (self.targets.from, self.targets.to)
    }

    /// Events from this time on decide whether others were too late.
    pub(super) fn deciding_from(&self) -> Option<Millis> {
        let from = self.targets.from.saturating_add(self.retention).saturating_add(1);
        self.judges_late().then_some(from)
    }

    pub(super) fn stream(&self) -> &StreamName {
        &self.plan.stream
    }

    pub(super) fn is_of_sessions(&self) -> bool {
        matches!(self.plan.window, WindowKind::Session { .. })
    }

    pub(super) fn in_overflow_session(&self, time: Millis) -> bool {
        let holds = |(first, last): &(Millis, Millis)| (*first..=*last).contains(&time);
        self.overflow_sessions.iter().any(holds)
    }

    /// The time that the group of an event is asked for by.
    pub(super) fn group_time(&self, time: Millis) -> Millis {
        match self.plan.window.panes() {
            Some(grid) => grid.floor(time),
            None => time,
        }
    }
}

impl Engine {
    /// Finds the rows that are to be explained.
    ///
    /// # Errors
    /// [`ExplainError`] when there are none, or too many.
    pub fn basis(&self, view: &str, query: &ExplainQuery) -> Result<Basis, ExplainError> {
        let state = self.state(view)?;
        let start = start(state, query)?;
        let rows = self.rows_of(state, start, query)?;
        let (base, rows, may_move) = self.down_to_the_stream(state, rows)?;
        let mut targets = Targets::new();
        let (mut events, mut until) = (0, Some(LogPos(0)));
        for (start, rows) in rows.found {
            for (key, piece) in rows {
                let span = span(&base.plan, start, piece.end);
                targets.add(key, span);
                events += piece.events;
                // a group that an old version stored does not say when it changed
                let changed_at = Some(piece.changed_at).filter(|pos| pos.0 > 0);
                until = until.zip(changed_at).map(|(until, pos)| until.max(pos));
            }
        }
        let overflowed = base.counters.overflowed > 0;
        let of_sessions = base.session_rules().filter(|_| overflowed);
        Ok(Basis {
            view: Arc::clone(&state.plan.name),
            window: rows.window,
            groups: rows.groups,
            group: rows.group,
            overflow: rows.overflow,
            events,
            generation: base.generation,
            position: base.position,
            until: until.unwrap_or(base.position).min(base.position),
            targets,
            retention: base.options.retention,
            future_tolerance: self.config.future_tolerance,
            horizon: base.horizon(),
            late_is_lost: false,
            overflowed,
            overflow_sessions: of_sessions
                .map_or_else(Vec::new, |rules| base.groups.overflow_sessions(rules)),
            may_move: may_move || base.session_rules().is_some(),
            plan: Arc::clone(&base.plan),
        })
    }

    /// Which of these groups of a view there are.
    ///
    /// # Errors
    /// [`QueryError`] when the view is another one by now, or its state cannot be read.
    pub fn owned(&self, view: &str, generation: u64, asked: &[Asked]) -> Result<Vec<bool>, QueryError> {
        let state = self
            .state(view)
            .ok()
            .filter(|state| state.generation == generation);
        let state = state.ok_or_else(|| QueryError::Replaced(view.to_owned()))?;
        let owns = |(time, key): &Asked| match state.session_rules() {
            Some(rules) => {
                let key = decoded(key, state.plan.keys.len()).unwrap_or_default();
                Ok(state.groups.session_at(*time, &key, rules).is_some())
            }
            None => self.owns(state, *time, key),
        };
        asked.iter().map(owns).collect()
    }

    /// Whether a pane has this group, in memory or on disk.
    pub(in super::super) fn owns(
        &self,
        state: &ViewState,
        pane: Millis,
        key: &[u8],
    ) -> Result<bool, QueryError> {
        if state.groups.holds(pane, key) {
            return Ok(true);
        }
        if !state.groups.may_be_cold(pane) {
            return Ok(false);
        }
        Ok(self.cold.state(state.generation, pane, key)?.is_some())
    }

    /// The rows of the window that the query means.
    fn rows_of(&self, state: &ViewState, start: Millis, query: &ExplainQuery) -> Result<Rows, ExplainError> {
        let filters = Filters::read(&state.plan, &query.filters)?;
        let keys = filters.on_keys(&state.plan);
        if keys.len() < filters.len() {
            return Err(ExplainError::NotAKey {
                view: state.plan.name().to_owned(),
                keys: state.plan.key_names.join(", "),
            });
        }
        let named = !keys.is_empty();
        let wanted = Wanted {
            pinned: Pinned::of(&state.groups, &keys),
            keys,
            ..Wanted::default()
        };
        let is_meant = |row: &RowRef<'_>| {
            let overflow = match query.overflow {
                Some(wanted) => row.is_overflow() == wanted,
                None => !named || !row.is_overflow(),
            };
            overflow && wanted.key(row.groups, row.slot) && row.is_shown()
        };
        let mut rows = Rows::default();
        let mut window = self.window_starts(state, Some(start), Some(start.saturating_add(1)));
        if window.any(|known| known == start) {
            let window = self.window_rows(state, start, &wanted);
            for row in window.rows().filter(is_meant) {
                rows.take(&row)?;
            }
        }
        self.check_read().map_err(QueryError::Cold)?;
        if rows.found.is_empty() {
            return Err(self.none(state, start));
        }
        Ok(rows)
    }

    /// Follows a roll-up's rows to those that they are made of, until these are of events.
    fn down_to_the_stream<'a>(
        &'a self,
        state: &'a ViewState,
        mut rows: Rows,
    ) -> Result<(&'a ViewState, Rows, bool), ExplainError> {
        let mut state = state;
        let mut may_move = false;
        while let Some(source) = &state.plan.source {
            may_move = true;
            let missing = || ExplainError::NoRow {
                view: state.plan.name().to_owned(),
            };
            let below = self.below(source).ok_or_else(missing)?;
            let mut found = Rows::default();
            for (start, wanted) in std::mem::take(&mut rows.found) {
                let mut full = Ok(());
                self.with_source_rows(&state.plan, source, start, &Wanted::default(), |row, key| {
                    if full.is_ok() && wanted.contains_key(&key_bytes(key)) {
                        full = found.add(row);
                    }
                });
                full?;
            }
            self.check_read().map_err(QueryError::Cold)?;
            rows.found = found.found;
            state = below;
        }
        Ok((state, rows, may_move))
    }

    /// Why a window has no rows.
    fn none(&self, state: &ViewState, start: Millis) -> ExplainError {
        let mut base = state;
        while let Some(below) = base.plan.source.as_ref().and_then(|source| self.below(source)) {
            base = below;
        }
        let view = state.plan.name().to_owned();
        let gone = state.plan.window.end(start).filter(|end| *end <= base.horizon());
        match (gone, base.counters.newest_event) {
            (Some(end), Some(newest)) => ExplainError::Expired {
                view,
                end,
                retention: Duration::from_millis(base.options.retention.unsigned_abs()),
                newest,
            },
            _ => ExplainError::NoRow { view },
        }
    }
}

/// Rows that were found.
#[derive(Debug, Default)]
struct Rows {
    found: Level,
    window: (Option<Millis>, Option<Millis>),
    groups: u64,
    /// Of the only one.
    group: Option<Map<String, Value>>,
    overflow: bool,
    count: usize,
}

impl Rows {
    fn take(&mut self, row: &RowRef<'_>) -> Result<(), ExplainError> {
        let window_end = row.window_end();
        self.window = (row.window_start(), self.window.1.max(window_end));
        self.groups += 1;
        let only = self.groups == 1;
        self.group = only.then(|| hit(row.plan, &row.keys(), (None, None)).group);
        self.overflow = only && row.is_overflow();
        self.add(row)
    }

    fn add(&mut self, row: &RowRef<'_>) -> Result<(), ExplainError> {
        let rows = self.found.entry(row.pane_start()).or_default();
        let known = rows.insert(
            row.groups.encoded_key(row.slot),
            Piece {
                events: row.groups.row_count(row.slot),
                end: row.window_end(),
                changed_at: row.changed_at(),
            },
        );
        self.count += usize::from(known.is_none());
        if self.count > MAX_ROWS {
            return Err(ExplainError::TooManyRows { limit: MAX_ROWS });
        }
        Ok(())
    }
}

fn start(state: &ViewState, query: &ExplainQuery) -> Result<Millis, ExplainError> {
    let refuse = |problem| {
        let view = state.plan.name().to_owned();
        Err(ExplainError::Start { view, problem })
    };
    match (&state.plan.window, query.window_start) {
        (WindowKind::None, None) => Ok(RUNNING),
        (WindowKind::None, Some(_)) => refuse("has no windows: leave window_start out"),
        (_, Some(start)) => Ok(start),
        (_, None) => refuse("has windows: say window_start, when the one that is meant begins"),
    }
}

/// A key as it is stored; `None` stands for the overflow.
fn key_bytes(key: Option<&[Scalar]>) -> Vec<u8> {
    let Some(key) = key else {
        return OVERFLOW_KEY.to_vec();
    };
    let mut bytes = vec![KEY_FORMAT];
    key.iter().for_each(|value| put_scalar(&mut bytes, value));
    bytes
}

fn decoded(bytes: &[u8], keys: usize) -> Option<Vec<Scalar>> {
    let (mut reader, _) = Reader::new(bytes, &[KEY_FORMAT]).ok()?;
    (0..keys).map(|_| reader.scalar().ok()).collect()
}

/// The times of the events of a row, the end exclusive.
fn span(plan: &ViewPlan, start: Millis, end: Option<Millis>) -> (Millis, Millis) {
    match plan.window {
        // its last event lies a gap before its end
        WindowKind::Session { gap } => (start, end.map_or(start, |end| end - gap).saturating_add(1)),
        _ => (start, end.unwrap_or(Millis::MAX)),
    }
}
