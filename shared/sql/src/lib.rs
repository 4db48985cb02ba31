//! The SQL of views and of rules, in PostgreSQL's dialect. A view is one SELECT over a stream through a window
//! function ([`ViewPlan`]), a rule is one condition over a row ([`Predicate`]). This crate parses and checks the
//! text (every refusal names the place and what to write instead), and evaluates the compiled expressions over
//! Arrow batches. Aggregators run views, gateways run the rules that schemas bring.
//!
//! Where events come without a schema, a column's type belongs to the batch, not to the stream. Therefore
//! expressions are bound to each batch anew, which costs a few hundred nanoseconds per batch, and the result
//! of an expression depends on the row's values only, never on its neighbours in the batch:
//!
//! - Numeric operations on anything but numbers give NULL, and so do comparisons of different kinds. A text
//!   literal compared with a number, boolean or time is read as one.
//! - With a schema, integers and floats differ as in PostgreSQL: `7 / 2` is 3. Without one there is a single
//!   number type, as in JSON: `7 / 2` is 3.5. As a group key 5.0 is 5 in both.
//! - Division by zero, overflow and casts that do not fit give NULL for the row, and are counted.
//! - Over aggregates, `/` truncates only between counts and integer literals (PostgreSQL's bigint); sums are
//!   numerics there and divide exactly here as well.
//! - A schema may change while a view runs, and each row is read with the types of the version that judged it.
//!   Rows from before a field was added have NULL there; an integer field that became a number goes on in the
//!   same groups (5.0 is 5 as a group key, as after PostgreSQL's ALTER TYPE; integers beyond 2^53 stay apart,
//!   because floats cannot tell them apart) and in the same sums and extremes, which widen with the first
//!   float. Only what PostgreSQL computes otherwise for integers, their division and its remainder's and sum's
//!   overflow, stays as it was in the old rows: `x::double precision / 2` is the same over all versions.
//! - Columns that a batch does not have are looked up in `_extra`, and are NULL if they are not there either.
//!   Names are case-sensitive as written, because JSON's are. Texts compare by their bytes.

mod aggregate;
#[cfg(test)]
mod agree_tests;
mod bind;
mod call;
mod convert;
mod expr;
mod from;
mod functions;
mod interval;
mod json;
mod kinds;
mod literal;
mod lower;
mod memo;
mod messages;
mod numbers;
mod parse;
mod plan;
mod predicate;
mod promote;
mod reads;
#[cfg(test)]
mod reference_tests;
mod regexes;
mod rollup;
mod rowwise;
mod scalar;
mod syntax;
#[cfg(test)]
mod tests;
mod texts;
mod times;
mod vector;
mod window;
mod zone;

pub use aggregate::{
    AGGREGATES, Aggregate, AggregateFn, CellKind, CellSpec, DISTINCT_LG_REGISTERS, EXACT_APPROX_DISTINCT,
    EXACT_DISTINCT, EXACT_QUANTILES, INCREASE_SAMPLES, Reading, TOP_COUNTERS,
};
pub use bind::{Frame, Mode, Picked, Texts, Vector};
pub use expr::{ArithOp, CastType, CompareOp, Expr, Leaf, ScalarFn};
pub use from::Origin;
pub use functions::{Function, Takes};
pub use json::Step;
pub use kinds::{KnownColumns, StaticKind};
pub use messages::{Column, ColumnType, ErrorBound, ErrorKind, MAX_SQL, MAX_VIEW_NAME, ViewError};
pub use plan::{MAX_KEYS, ViewPlan};
pub use predicate::Predicate;
pub use reads::{ColumnReads, How, OutputReads};
pub use regexes::{Pattern, RegexJob, Replacement};
pub use rollup::{Catalog, MERGED, NoViews, Source};
pub use rowwise::{Env, Evaluator};
pub use scalar::{Scalar, integral};
pub use times::{Span, Unit};
pub use window::{DAY, Grid, MAX_PANES, WindowKind};
pub use zone::Zone;
