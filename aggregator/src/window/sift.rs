//! Which rows of an entry count in a view, and by which keys they are told. Folding, and saying afterwards what was
//! folded, both go through here.

use arrow_array::{Array, BooleanArray, Int64Array};
use tributary_shared::time::Millis;

use super::keys::KeyCodes;
use crate::view::{Evaluator, Expr, Frame, ViewPlan};

/// The rows of a batch that count, with their times.
pub(super) struct Admitted {
    pub frame: Frame,
    pub times: Int64Array,
    /// Rows that pass WHERE and have no time.
    pub without_time: u64,
}

/// Keeps the rows that pass WHERE and have a time.
pub(super) fn admit(plan: &ViewPlan, frame: Frame, evaluator: &Evaluator) -> Admitted {
    sift(plan, frame, evaluator, None)
}

/// The same, with the number that each row has in the batch.
pub(super) fn admit_numbered(plan: &ViewPlan, frame: Frame, evaluator: &Evaluator) -> (Admitted, Vec<usize>) {
    let mut rows = (0..frame.rows).collect();
    let admitted = sift(plan, frame, evaluator, Some(&mut rows));
    (admitted, rows)
}

fn sift(plan: &ViewPlan, frame: Frame, evaluator: &Evaluator, mut rows: Option<&mut Vec<usize>>) -> Admitted {
    let frame = match &plan.filter {
        Some(condition) => {
            let mask = evaluator.mask(condition, &frame);
            keep(frame, &mask, rows.as_deref_mut())
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
    let frame = keep(frame, &present, rows);
    let times = frame.times();
    Admitted {
        frame,
        times,
        without_time,
    }
}

/// Keeps the rows whose mask is true; their numbers as well, where somebody asks for them.
pub(super) fn keep(frame: Frame, mask: &BooleanArray, rows: Option<&mut Vec<usize>>) -> Frame {
    if mask.true_count() == frame.rows {
        return frame;
    }
    if let Some(rows) = rows {
        let mut kept = mask.iter().map(|keep| keep == Some(true));
        rows.retain(|_| kept.next() == Some(true));
    }
    frame.filter(mask)
}

/// The keys of each row.
pub(super) fn key_codes(plan: &ViewPlan, frame: &Frame, evaluator: &Evaluator) -> Vec<KeyCodes> {
    let code = |key: &Expr| KeyCodes::of(&evaluator.values(key, frame), frame.rows);
    plan.keys.iter().map(code).collect()
}

/// The newest of these times that can be believed of an entry that was committed then: clocks in the future move no
/// horizon.
pub(super) fn newest_believed(
    times: &Int64Array,
    committed_at: Millis,
    future_tolerance: Millis,
) -> Option<Millis> {
    let latest = committed_at.saturating_add(future_tolerance);
    times
        .values()
        .iter()
        .copied()
        .filter(|time| *time <= latest)
        .max()
}

/// What is older than that is too late, once this is the newest event.
pub(super) fn horizon(newest: Option<Millis>, retention: Millis) -> Millis {
    newest.map_or(Millis::MIN, |newest| newest.saturating_sub(retention))
}
