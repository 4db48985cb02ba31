//! The aggregates by name.

use super::{CellKind, Reading};

/// An aggregate of the view language.
#[derive(Debug, Clone, Copy)]
pub struct AggregateFn {
    pub name: &'static str,
    /// How it is called.
    pub call: &'static str,
    /// What it gives, for people.
    pub meaning: &'static str,
    pub(super) takes: Takes,
    pub(super) kind: CellKind,
    /// Of calls with a second argument, that argument makes the reading.
    pub(super) reading: Reading,
}

/// The arguments of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Any value.
    Any,
    Numbers,
    Booleans,
    /// Rows, as `*`, or any value.
    RowsOrAny,
    /// Rows, as `*`, or numbers.
    RowsOrNumbers,
    /// Numbers, and a share from 0 to 1.
    NumbersAndShare,
    /// Any value, and how many.
    AnyAndCount,
}

const fn named(
    (name, call): (&'static str, &'static str),
    takes: Takes,
    (kind, reading): (CellKind, Reading),
    meaning: &'static str,
) -> AggregateFn {
    AggregateFn {
        name,
        call,
        meaning,
        takes,
        kind,
        reading,
    }
}

const SAMPLE_DEVIATION: (CellKind, Reading) = (CellKind::Moments, Reading::Deviation { sample: true });
const SAMPLE_VARIANCE: (CellKind, Reading) = (CellKind::Moments, Reading::Variance { sample: true });
const ANY_QUANTILE: (CellKind, Reading) = (CellKind::Quantiles, Reading::Quantile(0.5));
const ANY_TOP: (CellKind, Reading) = (CellKind::Top, Reading::Top(1));

/// Every aggregate, as the language's reference shows it.
pub const AGGREGATES: [AggregateFn; 27] = [
    named(
        ("count", "count(*), count(x), count(DISTINCT x)"),
        Takes::RowsOrAny,
        (CellKind::Count, Reading::Value),
        "rows; rows where x is not NULL; distinct values, exact up to 1,000 of them in a group, then within 5 % (and the row says so)",
    ),
    named(
        ("sum", "sum(x)"),
        Takes::Numbers,
        (CellKind::Sum, Reading::Value),
        "sum; exact of integers, which become a float beyond 64 bits",
    ),
    named(
        ("avg", "avg(x)"),
        Takes::Numbers,
        (CellKind::Sum, Reading::Mean),
        "mean",
    ),
    named(
        ("min", "min(x)"),
        Takes::Any,
        (CellKind::Min, Reading::Value),
        "least value",
    ),
    named(
        ("max", "max(x)"),
        Takes::Any,
        (CellKind::Max, Reading::Value),
        "greatest value",
    ),
    named(
        ("stddev", "stddev(x)"),
        Takes::Numbers,
        SAMPLE_DEVIATION,
        "standard deviation of a sample; NULL of fewer than two values",
    ),
    named(
        ("stddev_samp", "stddev_samp(x)"),
        Takes::Numbers,
        SAMPLE_DEVIATION,
        "the same as stddev",
    ),
    named(
        ("stddev_pop", "stddev_pop(x)"),
        Takes::Numbers,
        (CellKind::Moments, Reading::Deviation { sample: false }),
        "standard deviation of a whole population",
    ),
    named(
        ("variance", "variance(x)"),
        Takes::Numbers,
        SAMPLE_VARIANCE,
        "variance of a sample; NULL of fewer than two values",
    ),
    named(
        ("var_samp", "var_samp(x)"),
        Takes::Numbers,
        SAMPLE_VARIANCE,
        "the same as variance",
    ),
    named(
        ("var_pop", "var_pop(x)"),
        Takes::Numbers,
        (CellKind::Moments, Reading::Variance { sample: false }),
        "variance of a whole population",
    ),
    named(
        ("first", "first(x)"),
        Takes::Any,
        (CellKind::First, Reading::Value),
        "the value, not NULL, of the earliest event by event time; of events of one time, the first committed",
    ),
    named(
        ("first_value", "first_value(x)"),
        Takes::Any,
        (CellKind::First, Reading::Value),
        "the same as first",
    ),
    named(
        ("last", "last(x)"),
        Takes::Any,
        (CellKind::Last, Reading::Value),
        "the value, not NULL, of the latest event by event time; of events of one time, the last committed",
    ),
    named(
        ("last_value", "last_value(x)"),
        Takes::Any,
        (CellKind::Last, Reading::Value),
        "the same as last",
    ),
    named(
        ("bool_and", "bool_and(x)"),
        Takes::Booleans,
        (CellKind::Bools, Reading::All),
        "whether all values are true",
    ),
    named(
        ("every", "every(x)"),
        Takes::Booleans,
        (CellKind::Bools, Reading::All),
        "the same as bool_and",
    ),
    named(
        ("bool_or", "bool_or(x)"),
        Takes::Booleans,
        (CellKind::Bools, Reading::Any),
        "whether one of the values is true",
    ),
    named(
        ("approx_distinct", "approx_distinct(x)"),
        Takes::Any,
        (CellKind::ApproxDistinct, Reading::Value),
        "distinct values: exact up to 128 of them in a group, then within 5 % in 997 of 1,000 cases (HyperLogLog)",
    ),
    named(
        ("approx_count_distinct", "approx_count_distinct(x)"),
        Takes::Any,
        (CellKind::ApproxDistinct, Reading::Value),
        "the same as approx_distinct",
    ),
    named(
        ("approx_percentile", "approx_percentile(x, q)"),
        Takes::NumbersAndShare,
        ANY_QUANTILE,
        "the value that the share q (from 0 to 1) of all does not exceed: exact up to 32 values in a group, then within \
         1 % of it (DDSketch; absolutely within 1e-9 near zero, and as long as magnitudes span less than 17 decades)",
    ),
    named(
        ("approx_quantile", "approx_quantile(x, q)"),
        Takes::NumbersAndShare,
        ANY_QUANTILE,
        "the same as approx_percentile",
    ),
    named(
        ("approx_median", "approx_median(x)"),
        Takes::Numbers,
        ANY_QUANTILE,
        "the same as approx_percentile(x, 0.5)",
    ),
    named(
        ("approx_top_k", "approx_top_k(x, k)"),
        Takes::AnyAndCount,
        ANY_TOP,
        "the k (1 to 100) most frequent values as a JSON array of {\"value\", \"count\"}: exact up to 896 distinct values \
         in a group, then counts are too low by at most 0.23 % of the group's rows (and the row says so)",
    ),
    named(
        ("top_k", "top_k(x, k)"),
        Takes::AnyAndCount,
        ANY_TOP,
        "the same as approx_top_k",
    ),
    named(
        ("rate", "rate(*), rate(x)"),
        Takes::RowsOrNumbers,
        (CellKind::Sum, Reading::PerSecond),
        "rows, or the sum of x, divided by the seconds of the window",
    ),
    named(
        ("increase", "increase(x)"),
        Takes::Numbers,
        (CellKind::Increase, Reading::Value),
        "how far a counter rose from its first to its last sample by event time; where it falls it began anew from zero. \
         Samples that arrive out of order are put where they belong; one that belongs between more than 128 samples that \
         came before it may be left out (and the row says so)",
    ),
];

/// Aggregates of other systems that people will try, and what to write instead.
pub(super) const REFUSED: [(&str, &str); 12] = [
    ("percentile_cont", "write approx_percentile(x, 0.5)"),
    ("percentile_disc", "write approx_percentile(x, 0.5)"),
    ("median", "write approx_median(x)"),
    ("quantile", "write approx_percentile(x, 0.5)"),
    ("mode", "write approx_top_k(x, 1)"),
    ("any_value", "write first(x) or last(x)"),
    ("arg_min", "first(x) is the x of the earliest event"),
    ("arg_max", "last(x) is the x of the latest event"),
    (
        "string_agg",
        "write approx_top_k(x, 10) for the values and their counts",
    ),
    (
        "array_agg",
        "write approx_top_k(x, 10) for the values and their counts",
    ),
    ("corr", ""),
    ("covar_pop", ""),
];

impl AggregateFn {
    /// By name, in lower case.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        AGGREGATES.iter().find(|known| known.name == name)
    }
}
