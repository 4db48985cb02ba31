//! The views of an aggregator: how they are stored, and those that it begins with. Their SQL is the crate
//! `tributary-sql`.

mod defaults;
mod messages;
mod options;

pub use defaults::{DEFAULT_VIEWS, HOST_CPU, HOST_MEMORY};
pub use messages::ViewDef;
pub use options::{OptionError, ViewOptions};
pub use tributary_sql::{
    Catalog, Column, ColumnType, DAY, MAX_SQL, MAX_VIEW_NAME, Scalar, ViewError, ViewPlan, WindowKind,
};

pub(crate) use tributary_sql::{
    Aggregate, CellKind, CellSpec, Env, Evaluator, Expr, Frame, Leaf, MAX_KEYS, MERGED, Mode, Picked, Source,
    Texts, Vector, integral,
};
