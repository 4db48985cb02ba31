//! From an event to the windows that it changed: which rows count it, and why other views do not.
//!
//! It is computed anew from the event and the engine's state. One thing that state does not know is whether an old
//! event came when it was not too old yet; who reads the log can tell ([`Doubt`]).

use std::sync::Arc;

use arrow_array::RecordBatch;
use serde::Serialize;
use tributary_shared::ids::StreamName;
use tributary_shared::time::Millis;
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;

use super::engine::Engine;
use super::messages::{QueryError, WindowHit};
use super::panes::RUNNING;
use super::sift::{self, Admitted, admit, key_codes};
use super::state::{Span, ViewState, hit, windows_of};
use crate::commit::{CommitError, LogEntry, LogPos, LogReader, TimeRange};
use crate::view::{Evaluator, Frame, Scalar, ViewPlan, WindowKind};

/// Entries that are read at most to tell whether an event was too late.
const MAX_READ: usize = 64;

/// Where an event went, view by view.
#[derive(Debug, Clone, Default)]
pub struct Located {
    /// The rows that count it.
    pub windows: Vec<WindowHit>,
    pub not_counted: Vec<NotCounted>,
    /// Views of which only the log can tell.
    pub doubts: Vec<Doubt>,
}

/// A view that reads the event's stream and does not count it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotCounted {
    #[serde(serialize_with = "super::messages::shared")]
    pub view: Arc<str>,
    pub why: WhyNot,
    pub message: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyNot {
    Filtered,
    NoTime,
    TooLate,
    BeforeTheView,
    NotYet,
    InNoWindow,
}

impl WhyNot {
    fn message(self) -> &'static str {
        match self {
            Self::Filtered => "the view's WHERE is not true for it",
            Self::NoTime => "the view's time column holds no time",
            Self::TooLate => "it was older than the view's retention when it came",
            Self::BeforeTheView => "its log entry was deleted before the view was made",
            Self::NotYet => "the view is being counted from the log, and has not come so far",
            Self::InNoWindow => "the view has no window at its time, or does not keep it any more",
        }
    }
}

/// An event that is older than what a view takes now. It counts if that was not so when it came.
#[derive(Debug, Clone)]
pub struct Doubt {
    plan: Arc<ViewPlan>,
    time: Millis,
    retention: Millis,
    future_tolerance: Millis,
    /// The rows that count it then.
    pub(super) hits: Vec<WindowHit>,
}

impl Located {
    fn not(&mut self, view: &ViewState, why: WhyNot) {
        self.not_counted.push(NotCounted {
            view: Arc::clone(&view.plan.name),
            why,
            message: why.message(),
        });
    }

    /// Settles what only the log can tell of the event at this position. Blocks.
    ///
    /// # Errors
    /// Those of the log.
    pub fn settle(&mut self, log: &LogReader, pos: LogPos) -> Result<(), CommitError> {
        for mut doubt in std::mem::take(&mut self.doubts) {
            match doubt.was_late(log, pos)? {
                Some(true) => self.not_counted.push(NotCounted {
                    view: Arc::clone(&doubt.plan.name),
                    why: WhyNot::TooLate,
                    message: WhyNot::TooLate.message(),
                }),
                Some(false) => self.windows.append(&mut doubt.hits),
                None => {
                    doubt.hits.iter_mut().for_each(|hit| hit.counted = None);
                    self.windows.append(&mut doubt.hits);
                }
            }
        }
        self.windows
            .sort_by(|a, b| (&a.view, a.window_start).cmp(&(&b.view, b.window_start)));
        Ok(())
    }
}

impl Doubt {
    /// Whether an event before it was so much newer that it was too late. `None` when that cannot be told: the log is
    /// not kept so far back, or too much of it would have to be read.
    fn was_late(&self, log: &LogReader, pos: LogPos) -> Result<Option<bool>, CommitError> {
        let until = self.time.saturating_add(self.retention);
        let lost = (log.floor()? > LogPos(0)).then_some(());
        let by_event_time = self.plan.time == "ts" || self.plan.time == EVENT_TIME_COLUMN;
        let range = TimeRange {
            from: if by_event_time {
                until.saturating_add(1)
            } else {
                Millis::MIN
            },
            to: Millis::MAX,
        };
        let found = log.entries_between(&self.plan.stream, range, LogPos(0), MAX_READ)?;
        let full = found.len() == MAX_READ && found.last().is_some_and(|last| last.pos < pos);
        for entry in found.iter().take_while(|entry| entry.pos < pos) {
            let entry = log.entry(entry.pos)?.map(LogEntry::decode).transpose()?;
            let Some((records, at)) = entry.and_then(|entry| Some((entry.records?, entry.committed_at)))
            else {
                continue;
            };
            let frame = Frame::bind(&self.plan, &records);
            let evaluator = Evaluator::new(frame.mode);
            let times = admit(&self.plan, frame, &evaluator).times;
            if sift::newest_believed(&times, at, self.future_tolerance) > Some(until) {
                return Ok(Some(true));
            }
        }
        Ok(if full || lost.is_some() { None } else { Some(false) })
    }
}

/// An event's place in a view.
struct Place {
    time: Millis,
    key: Vec<Scalar>,
    windows: Vec<Span>,
    overflow: bool,
}

impl Engine {
    /// The windows that one event changed: row `row` of `records`, the entry of `stream` at `pos`.
    ///
    /// # Errors
    /// [`QueryError::Cold`] when windows on disk cannot be read.
    pub fn locate(
        &self,
        stream: &StreamName,
        pos: LogPos,
        records: &RecordBatch,
        row: usize,
    ) -> Result<Located, QueryError> {
        let mut located = Located::default();
        if row >= records.num_rows() {
            return Ok(located);
        }
        let event = records.slice(row, 1);
        let reads = |state: &&ViewState| state.plan.source.is_none() && state.plan.stream == *stream;
        for state in self.views.values().filter(reads) {
            match self.place(state, pos, &event)? {
                Err(why) => located.not(state, why),
                Ok(place) => self.take_place(state, &place, &mut located),
            }
        }
        self.check_read()?;
        Ok(located)
    }

    fn take_place(&self, state: &ViewState, place: &Place, located: &mut Located) {
        let horizon = self.horizon(state);
        let mut hits = Vec::new();
        for span in &place.windows {
            let mut hit = hit(&state.plan, &place.key, *span);
            hit.overflow = place.overflow;
            hit.expired = span.1.is_some_and(|end| end <= horizon);
            let expired = hit.expired;
            hits.push(hit);
            if !expired {
                self.locate_above(state, *span, &place.key, place.overflow, &mut hits);
            }
        }
        if place.windows.is_empty() {
            located.not(state, WhyNot::InNoWindow);
        } else if state.plan.window != WindowKind::None && place.time < horizon {
            located.doubts.push(Doubt {
                plan: Arc::clone(&state.plan),
                time: place.time,
                retention: state.options.retention,
                future_tolerance: self.config.future_tolerance,
                hits,
            });
        } else {
            located.windows.append(&mut hits);
        }
    }

    /// Where a view has an event, if it was not too late; or why not at all.
    fn place(
        &self,
        state: &ViewState,
        pos: LogPos,
        event: &RecordBatch,
    ) -> Result<Result<Place, WhyNot>, QueryError> {
        if pos > state.position {
            return Ok(Err(WhyNot::NotYet));
        }
        if pos <= state.counters.counts_after {
            return Ok(Err(WhyNot::BeforeTheView));
        }
        let plan = &state.plan;
        let frame = Frame::bind(plan, event);
        let evaluator = Evaluator::new(frame.mode);
        let Admitted {
            frame,
            times,
            without_time,
        } = admit(plan, frame, &evaluator);
        let Some(time) = times.values().first().copied() else {
            let why = if without_time > 0 {
                WhyNot::NoTime
            } else {
                WhyNot::Filtered
            };
            return Ok(Err(why));
        };
        let columns = key_codes(plan, &frame, &evaluator);
        let key: Vec<Scalar> = columns
            .iter()
            .map(|column| column.value(column.codes[0]).to_scalar())
            .collect();
        let overflowed = state.counters.overflowed > 0 && !key.is_empty();
        if let Some(rules) = state.session_rules() {
            let own = state.groups.session_at(time, &key, rules);
            let sessions = || state.groups.overflow_sessions(rules).into_iter();
            let holds = |(first, last): &(Millis, Millis)| (*first..=*last).contains(&time);
            let overflow = own.is_none() && overflowed;
            let session = own.or_else(|| {
                let (first, last) = sessions().filter(|_| overflow).find(holds)?;
                Some((Some(first), Some(last + rules.gap)))
            });
            let windows = session.into_iter().collect();
            return Ok(Ok(Place::new(time, key, windows, overflow)));
        }
        let pane = plan.window.panes().map_or(RUNNING, |grid| grid.floor(time));
        let stored = super::explain::encoded(&columns, 0);
        let expired = |(_, end): &Span| end.is_some_and(|end| end <= self.horizon(state));
        let windows = windows_of(plan, time);
        // of windows that are gone nobody knows which groups they had
        let overflow = overflowed && !windows.iter().all(expired) && !self.owns(state, pane, &stored)?;
        Ok(Ok(Place::new(time, key, windows, overflow)))
    }
}

impl Place {
    fn new(time: Millis, key: Vec<Scalar>, windows: Vec<Span>, overflow: bool) -> Self {
        // the overflow has no keys of its own
        let key = if overflow {
            vec![Scalar::Null; key.len()]
        } else {
            key
        };
        Self {
            time,
            key,
            windows,
            overflow,
        }
    }
}
