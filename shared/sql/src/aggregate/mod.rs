//! Aggregates: which state a group keeps for each, and how its value is read from that. Aggregates that read the same
//! state share it: `sum(x)` and `avg(x)`, or the percentiles of one column.

mod call;
mod names;

pub use names::{AGGREGATES, AggregateFn};

use super::kinds::StaticKind;
use super::messages::{ErrorBound, ErrorKind};

/// `count(DISTINCT x)` is exact up to so many values in a group, then approximate, and its rows say so.
pub const EXACT_DISTINCT: usize = 1_000;
/// `approx_distinct(x)` is exact up to so many values.
pub const EXACT_APPROX_DISTINCT: usize = 128;
/// 4,096 registers: a standard error of 1.6 %, in 4 KiB.
pub const DISTINCT_LG_REGISTERS: u8 = 12;
/// Three standard errors.
const DISTINCT_ERROR: f64 = 0.05;
/// Percentiles are values of the group up to so many of them.
pub const EXACT_QUANTILES: usize = 32;
/// Of the sketch's standard configuration, which its stored form presumes.
const QUANTILE_ERROR: f64 = 0.01;
/// `approx_top_k` is exact up to so many values in a group.
pub const TOP_COUNTERS: usize = 896;
/// The longest list that `approx_top_k` gives; the error of counts is small against those of so many.
pub const MAX_TOP: usize = 100;
/// Samples that `increase(x)` keeps of a group.
pub const INCREASE_SAMPLES: usize = 128;

/// An aggregate's state per group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// Values that are not NULL.
    Count,
    /// Sum and number of the numbers.
    Sum,
    Min,
    Max,
    /// Number, mean and squared distances from it.
    Moments,
    /// The value of the earliest event.
    First,
    /// The value of the latest event.
    Last,
    /// Which of true and false were there.
    Bools,
    /// Distinct values, exact for long.
    Distinct,
    /// Distinct values, small in memory.
    ApproxDistinct,
    Quantiles,
    /// Values by frequency.
    Top,
    /// The samples of a counter.
    Increase,
}

/// What state a group keeps, and of which input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellSpec {
    pub kind: CellKind,
    /// Index into the plan's inputs.
    pub input: usize,
}

/// What is read from a state that can show several things.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// The one thing that the state is about.
    Value,
    Mean,
    /// A count or sum, divided by the seconds of the window.
    PerSecond,
    Variance {
        sample: bool,
    },
    Deviation {
        sample: bool,
    },
    All,
    Any,
    /// From 0 to 1.
    Quantile(f64),
    /// So many of the most frequent values.
    Top(usize),
}

/// How an aggregate's value is read from the group's state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// `count(*)`: the group's rows.
    Rows,
    /// `rate(*)`: the group's rows in a second.
    RowsPerSecond,
    /// From a cell, by index.
    Cell {
        cell: usize,
        kind: CellKind,
        reading: Reading,
    },
}

impl Aggregate {
    pub(super) fn kind(self) -> StaticKind {
        match self {
            Self::Rows => StaticKind::Count,
            Self::RowsPerSecond => StaticKind::Number,
            Self::Cell { kind, reading, .. } => match (kind, reading) {
                (_, Reading::PerSecond) => StaticKind::Number,
                (CellKind::Count | CellKind::Distinct | CellKind::ApproxDistinct, _) => StaticKind::Count,
                (CellKind::Sum | CellKind::Moments | CellKind::Quantiles | CellKind::Increase, _) => {
                    StaticKind::Number
                }
                (CellKind::Bools, _) => StaticKind::Bool,
                (CellKind::Top, _) => StaticKind::Text,
                (CellKind::Min | CellKind::Max | CellKind::First | CellKind::Last, _) => StaticKind::Unknown,
            },
        }
    }

    /// Whether the value is a JSON text.
    pub(super) fn is_json(self) -> bool {
        matches!(
            self,
            Self::Cell {
                kind: CellKind::Top,
                ..
            }
        )
    }

    /// The cell that knows whether a row's value is approximate, for aggregates that are exact of few values.
    pub(super) fn doubtful(self) -> Option<usize> {
        match self {
            Self::Cell {
                cell,
                kind: CellKind::Distinct | CellKind::Top | CellKind::Increase,
                ..
            } => Some(cell),
            _ => None,
        }
    }

    /// How far the value may be from the true one.
    pub(super) fn error(self) -> Option<ErrorBound> {
        let Self::Cell { kind, .. } = self else {
            return None;
        };
        let distinct = |exact_up_to| ErrorBound {
            kind: ErrorKind::Relative,
            bound: DISTINCT_ERROR,
            confidence: Some(0.997),
            exact_up_to,
        };
        match kind {
            CellKind::Distinct => Some(distinct(EXACT_DISTINCT)),
            CellKind::ApproxDistinct => Some(distinct(EXACT_APPROX_DISTINCT)),
            CellKind::Quantiles => Some(ErrorBound {
                kind: ErrorKind::Relative,
                bound: QUANTILE_ERROR,
                confidence: None,
                exact_up_to: EXACT_QUANTILES,
            }),
            CellKind::Top => Some(ErrorBound {
                kind: ErrorKind::ShareOfRows,
                bound: 1.0 / (TOP_COUNTERS / 2 + 1) as f64,
                confidence: None,
                exact_up_to: TOP_COUNTERS,
            }),
            _ => None,
        }
    }
}
