//! The views of an aggregator: how they are stored, and those that it begins with. Their SQL is the crate
//! `tributary-sql`.

mod defaults;
mod messages;
mod options;

pub use defaults::{DEFAULT_VIEWS, HOST_CPU, HOST_MEMORY};
pub use messages::ViewDef;
pub use options::{OptionError, ViewOptions};
pub use tributary_sql::{
    Catalog, Column, ColumnType, DAY, ErrorBound, ErrorKind, MAX_SQL, MAX_VIEW_NAME, Scalar, ViewError,
    ViewPlan, WindowKind,
};

pub(crate) use tributary_sql::{
    Aggregate, CellKind, CellSpec, DISTINCT_LG_REGISTERS, EXACT_APPROX_DISTINCT, EXACT_DISTINCT,
    EXACT_QUANTILES, Env, Evaluator, Expr, Frame, INCREASE_SAMPLES, Leaf, MAX_KEYS, MERGED, Mode, Picked,
    Reading, Source, TOP_COUNTERS, Texts, Vector, integral,
};
