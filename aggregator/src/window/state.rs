//! One view's windows: its plan, its groups, and how far in the log they are.

use std::sync::Arc;

use arrow_array::{Array, BooleanArray, Int64Array, RecordBatch};
use tributary_shared::time::Millis;

use super::cells::Fold;
use super::groups::{Bounds, Groups};
use super::keys::KeyCodes;
use super::messages::{AppliedBatch, EngineConfig, ViewCounters, ViewSnapshot, WindowHit};
use crate::commit::LogPos;
use crate::view::{Evaluator, Expr, Frame, Vector, ViewOptions, ViewPlan, WindowKind};

#[derive(Debug)]
pub(super) struct ViewState {
    pub(super) plan: Arc<ViewPlan>,
    pub(super) options: ViewOptions,
    pub(super) groups: Groups,
    pub(super) counters: ViewCounters,
    /// The groups cover the log up to here.
    pub(super) position: LogPos,
    /// Position equals the engine's: the view takes new entries as they come.
    pub(super) live: bool,
    pub(super) generation: u64,
    /// What was stored before belongs to another definition or is unusable.
    pub(super) reset: bool,
}

/// The rows of a batch that count, with their times.
struct Admitted {
    frame: Frame,
    times: Int64Array,
    without_time: u64,
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
            position,
            live: false,
            generation,
            reset: true,
        }
    }

    /// Folds one log entry into the windows. Returns the changed slots.
    pub(super) fn apply(&mut self, batch: &AppliedBatch<'_>, config: &EngineConfig) -> Vec<u32> {
        // positions have no holes: what lies between was deleted before the view could see it
        self.miss_until(LogPos(batch.pos.0.saturating_sub(1)));
        self.position = batch.pos;
        match batch.records {
            Some(records) if *batch.stream == self.plan.stream && records.num_rows() > 0 => {
                self.fold(batch.pos, records, config)
            }
            _ => Vec::new(),
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

    fn fold(&mut self, pos: LogPos, records: &RecordBatch, config: &EngineConfig) -> Vec<u32> {
        let plan = Arc::clone(&self.plan);
        let frame = Frame::bind(&plan, records);
        let (mode, evaluator) = (frame.mode, Evaluator::new(frame.mode));
        let Admitted {
            frame,
            times,
            without_time,
        } = admit(&plan, frame, &evaluator);
        self.counters.without_time += without_time;
        if frame.rows == 0 {
            self.counters.arithmetic += evaluator.failures();
            return Vec::new();
        }
        let keys = key_codes(&plan, &frame, &evaluator);
        let bounds = Bounds {
            groups: usize::try_from(self.options.max_groups).unwrap_or(usize::MAX),
            key_bytes: config.max_key_bytes,
        };
        let (slots, overflowed) = self
            .groups
            .assign(times.values(), window_size(&plan), &keys, pos, &bounds);
        self.counters.overflowed += overflowed;
        self.counters.applied += slots.len() as u64 - overflowed;
        let inputs: Vec<Vector> = plan
            .inputs
            .iter()
            .map(|input| evaluator.values(input, &frame))
            .collect();
        for (at, cell) in plan.cells.iter().enumerate() {
            let fold = Fold {
                slots: &slots,
                times: times.values(),
                values: &inputs[cell.input],
                mode,
                pos,
            };
            self.groups.update(at, &fold);
        }
        self.counters.arithmetic += evaluator.failures();
        self.groups.touched().to_vec()
    }

    /// The row that one event went into.
    pub(super) fn locate(&self, event: &RecordBatch) -> Option<WindowHit> {
        let plan = &self.plan;
        let frame = Frame::bind(plan, event);
        let evaluator = Evaluator::new(frame.mode);
        let Admitted { frame, times, .. } = admit(plan, frame, &evaluator);
        let time = times.values().first()?;
        let size = window_size(plan);
        let window_start = time - time.rem_euclid(size);
        let keys = key_codes(plan, &frame, &evaluator);
        let group = plan.key_names.iter().zip(&keys).map(|(name, key)| {
            let value = key.value(key.codes[0]).to_scalar();
            // a scalar is always a JSON value
            (name.clone(), serde_json::to_value(&value).unwrap_or_default())
        });
        let group = group.collect();
        Some(WindowHit {
            view: Arc::clone(&plan.name),
            window_start,
            window_end: window_start + size,
            group,
        })
    }

    pub(super) fn take_snapshot(&mut self) -> ViewSnapshot {
        ViewSnapshot {
            view: Arc::clone(&self.plan.name),
            sql: Arc::clone(&self.plan.sql),
            options: self.options,
            reset: std::mem::take(&mut self.reset),
            position: self.position,
            counters: self.counters,
            groups: self.groups.take_unsaved(),
        }
    }
}

fn window_size(plan: &ViewPlan) -> Millis {
    match plan.window {
        WindowKind::Tumble { size } => size,
    }
}

/// Keeps the rows that pass WHERE and have a time.
fn admit(plan: &ViewPlan, frame: Frame, evaluator: &Evaluator) -> Admitted {
    let frame = match &plan.filter {
        Some(condition) => {
            let mask = evaluator.mask(condition, &frame);
            keep(frame, &mask)
        }
        None => frame,
    };
    let times = frame.times();
    let without_time = times.null_count() as u64;
    if without_time == 0 {
        return Admitted {
            frame,
            times,
            without_time,
        };
    }
    let present: BooleanArray = (0..frame.rows).map(|row| Some(times.is_valid(row))).collect();
    let frame = keep(frame, &present);
    let times = frame.times();
    Admitted {
        frame,
        times,
        without_time,
    }
}

fn keep(frame: Frame, mask: &BooleanArray) -> Frame {
    if mask.true_count() == frame.rows {
        frame
    } else {
        frame.filter(mask)
    }
}

fn key_codes(plan: &ViewPlan, frame: &Frame, evaluator: &Evaluator) -> Vec<KeyCodes> {
    let code = |key: &Expr| KeyCodes::of(&evaluator.values(key, frame), frame.rows);
    plan.keys.iter().map(code).collect()
}
