//! One view's windows: its plan, its groups, and how far in the log they are.

use std::sync::Arc;

use arrow_array::{BooleanArray, Int64Array, RecordBatch, TimestampMillisecondArray};
use tributary_shared::time::Millis;

use super::cells::Fold;
use super::cold::ColdView;
use super::groups::{Bounds, Cut, Groups, SessionRules};
use super::late::LateLines;
use super::messages::{AppliedBatch, EngineConfig, GoneRow, LateLine, ViewCounters, ViewSnapshot, WindowHit};
use super::panes::pane_codes;
use super::row::RowRef;
use super::sift::{self, Admitted, admit, key_codes};
use crate::commit::LogPos;
use crate::view::{Evaluator, Frame, Scalar, Vector, ViewOptions, ViewPlan, WindowKind};

#[derive(Debug)]
pub(super) struct ViewState {
    pub(super) plan: Arc<ViewPlan>,
    pub(super) options: ViewOptions,
    pub(super) groups: Groups,
    pub(super) counters: ViewCounters,
    pub(super) late: LateLines,
    /// Lines of the snapshot that was begun.
    pub(super) late_taken: Vec<LateLine>,
    /// The groups cover the log up to here.
    pub(super) position: LogPos,
    /// Position equals the engine's: the view takes new entries as they come.
    pub(super) live: bool,
    pub(super) generation: u64,
    /// Windows beyond the retention, which the next snapshot deletes.
    pub(super) expired: Vec<Millis>,
    /// The same of the snapshot that was begun.
    pub(super) expired_taken: Vec<Millis>,
    /// What was stored before belongs to another definition or is unusable.
    pub(super) reset: bool,
    /// The same of the snapshot that was begun.
    pub(super) reset_taken: bool,
}

/// What one entry did to a view's groups.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Each changed group once.
    pub slots: Vec<u32>,
    pub gone: Vec<GoneRow>,
}

impl ViewState {
    pub(super) fn new(plan: Arc<ViewPlan>, options: ViewOptions, generation: u64) -> Self {
        let groups = Groups::new(plan.keys.len(), &plan.cells);
        let (counters, position) = (ViewCounters::default(), LogPos(0));
        Self {
            plan,
            options,
            groups,
            counters,
            late: LateLines::default(),
            late_taken: Vec::new(),
            position,
            live: false,
            expired: Vec::new(),
            expired_taken: Vec::new(),
            generation,
            reset: true,
            reset_taken: false,
        }
    }

    /// Folds one log entry into the windows.
    pub(super) fn apply(
        &mut self,
        batch: &AppliedBatch<'_>,
        config: &EngineConfig,
        cold: &ColdView<'_>,
    ) -> Applied {
        // positions have no holes: what lies between was deleted before the view could see it
        self.miss_until(LogPos(batch.pos.0.saturating_sub(1)));
        self.position = batch.pos;
        match batch.records {
            Some(records)
                if self.plan.source.is_none()
                    && *batch.stream == self.plan.stream
                    && records.num_rows() > 0 =>
            {
                self.fold(batch, records, config, cold)
            }
            _ => Applied::default(),
        }
    }

    /// The entries between the view's position and this one, included, are gone.
    pub(super) fn miss_until(&mut self, last: LogPos) {
        if last > self.position {
            self.counters.missed_entries += last.0 - self.position.0;
            self.counters.counts_after = last;
            self.position = last;
        }
    }

    fn fold(
        &mut self,
        batch: &AppliedBatch<'_>,
        records: &RecordBatch,
        config: &EngineConfig,
        cold: &ColdView<'_>,
    ) -> Applied {
        let plan = Arc::clone(&self.plan);
        let frame = Frame::bind(&plan, records);
        let (mode, evaluator) = (frame.mode, Evaluator::new(frame.mode));
        let Admitted {
            frame,
            times,
            without_time,
        } = admit(&plan, frame, &evaluator);
        self.counters.without_time += without_time;
        let (frame, times) = self.timely(batch, config, frame, times);
        if frame.rows == 0 {
            self.counters.arithmetic += evaluator.failures();
            return Applied::default();
        }
        let keys = key_codes(&plan, &frame, &evaluator);
        let bounds = Bounds {
            groups: self.options.max_groups,
            key_bytes: config.max_key_bytes,
        };
        let (slots, overflowed) = match self.session_rules() {
            Some(rules) => self
                .groups
                .assign_sessions(times.values(), rules, &keys, batch.pos, &bounds),
            None => {
                let windows = pane_codes(times.values(), &plan.window);
                self.groups.assign(windows, &keys, batch.pos, &bounds, cold)
            }
        };
        self.counters.overflowed += overflowed;
        if overflowed > 0 {
            self.counters.overflowed_since.get_or_insert(batch.committed_at);
        }
        self.counters.applied += slots.len() as u64;
        let mut inputs: Vec<Vector> = plan
            .inputs
            .iter()
            .map(|input| evaluator.values(input, &frame))
            .collect();
        if plan.session_last.is_some() {
            let times = TimestampMillisecondArray::new(times.values().clone(), None);
            inputs.push(Vector::Time(times));
        }
        for (at, cell) in plan.cells.iter().enumerate() {
            let fold = Fold {
                slots: &slots,
                times: times.values(),
                values: &inputs[cell.input],
                mode,
                pos: batch.pos,
            };
            self.groups.update(at, &fold);
        }
        self.counters.arithmetic += evaluator.failures();
        Applied {
            slots: self.groups.touched().to_vec(),
            gone: self.groups.take_gone(),
        }
    }

    /// Whether groups may leave memory: not while what is stored is of another state.
    pub(super) fn may_leave(&self) -> bool {
        !self.reset && !self.reset_taken && self.may_be_cold()
    }

    /// Whether a window ended so long ago. Without windows nothing does.
    pub(super) fn is_beyond(&self, start: Millis, horizon: Millis) -> bool {
        if self.may_be_cold() {
            return self.plan.window.end(start).is_some_and(|end| end <= horizon);
        }
        let (plan, groups) = (self.plan.as_ref(), &self.groups);
        let ends = groups.slots_of(start).iter();
        let mut ends = ends.map(|slot| {
            RowRef {
                plan,
                groups,
                slot: *slot,
            }
            .window_end()
        });
        ends.all(|end| end.is_some_and(|end| end <= horizon))
    }

    /// Any event may join any session of its key: they stay in memory.
    pub(super) fn may_be_cold(&self) -> bool {
        !matches!(self.plan.window, WindowKind::Session { .. })
    }

    /// Windows that ended then or earlier are beyond the retention.
    pub(super) fn horizon(&self) -> Millis {
        sift::horizon(self.counters.newest_event, self.options.retention)
    }

    /// Leaves out what is older than the retention, and counts it. What counts as old follows from the entries alone:
    /// a history that is sent long after it happened is as good as if it had been sent at once.
    fn timely(
        &mut self,
        batch: &AppliedBatch<'_>,
        config: &EngineConfig,
        frame: Frame,
        times: Int64Array,
    ) -> (Frame, Int64Array) {
        let horizon = self.horizon();
        let newest = sift::newest_believed(&times, batch.committed_at, config.future_tolerance);
        self.counters.newest_event = self.counters.newest_event.max(newest);
        let late = times.values().iter().filter(|time| **time < horizon).count() as u64;
        if late == 0 || self.plan.window == WindowKind::None {
            return (frame, times);
        }
        self.counters.too_late += late;
        self.late.add(batch.lane, batch.range, late);
        let timely: BooleanArray = times.values().iter().map(|time| Some(*time >= horizon)).collect();
        let frame = frame.filter(&timely);
        let times = frame.times();
        (frame, times)
    }

    pub(super) fn session_rules(&self) -> Option<SessionRules> {
        match (&self.plan.window, self.plan.session_last) {
            (WindowKind::Session { gap }, Some(last)) => Some(SessionRules { gap: *gap, last }),
            _ => None,
        }
    }

    /// Begins a snapshot: its groups are fetched later.
    pub(super) fn cut(&mut self) -> ViewSnapshot {
        let Cut {
            windows,
            emptied,
            removed,
        } = self.groups.cut();
        self.reset_taken = std::mem::take(&mut self.reset);
        self.expired_taken = std::mem::take(&mut self.expired);
        self.late_taken = self.late.take_unsaved();
        ViewSnapshot {
            view: Arc::clone(&self.plan.name),
            sql: Arc::clone(&self.plan.sql),
            options: self.options,
            reset: self.reset_taken,
            position: self.position,
            counters: self.counters,
            generation: self.generation,
            windows,
            emptied,
            expired: self.expired_taken.clone(),
            late: self.late_taken.clone(),
            removed,
            groups: Vec::new(),
        }
    }
}

/// A window's start and end, where it has them.
pub(super) type Span = (Option<Millis>, Option<Millis>);

/// The windows that a time falls into, of views whose windows follow from the time alone.
pub(super) fn windows_of(plan: &ViewPlan, time: Millis) -> Vec<Span> {
    if plan.window == WindowKind::None {
        return vec![(None, None)];
    }
    let windows = plan.window.windows_of(time);
    windows
        .into_iter()
        .map(|start| (Some(start), plan.window.end(start)))
        .collect()
}

pub(super) fn hit(plan: &ViewPlan, keys: &[Scalar], (window_start, window_end): Span) -> WindowHit {
    let group = plan.key_names.iter().zip(keys).map(|(name, value)| {
        // a scalar is always a JSON value
        (name.clone(), serde_json::to_value(value).unwrap_or_default())
    });
    WindowHit {
        view: Arc::clone(&plan.name),
        window_start,
        window_end,
        group: group.collect(),
        overflow: false,
        expired: false,
        counted: Some(true),
    }
}
