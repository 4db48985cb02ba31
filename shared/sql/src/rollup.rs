//! Roll-ups: views over another view's windows. A row of the source is to a roll-up what an event is to other views:
//! its columns are the source's, its time is the source's `window_start`. `merge(col)` alone looks behind a column, at
//! the state that it was read from.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{Expr as Sql, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::aggregate::{Aggregate, CellKind, CellSpec, Reading};
use super::expr::{Expr, Leaf};
use super::from::{From, Origin};
use super::kinds::{KnownColumns, StaticKind};
use super::lower::{Lowering, Refused, Scope};
use super::messages::{Column, ColumnType, ViewError};
use super::parse::{function_name, place};
use super::plan::ViewPlan;
use super::window::{DAY, WindowKind};

/// Views over views over views: each reading goes down all of them.
const MAX_DEPTH: usize = 8;
/// The input of a cell that is merged from the source's.
pub const MERGED: usize = usize::MAX;

/// The views that there are, for those that read them.
pub trait Catalog {
    fn view(&self, name: &str) -> Option<Arc<ViewPlan>>;
    fn names(&self) -> Vec<String>;
}

/// Of somebody who has no views.
#[derive(Debug, Clone, Copy)]
pub struct NoViews;

impl Catalog for NoViews {
    fn view(&self, _: &str) -> Option<Arc<ViewPlan>> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Catalog for BTreeMap<Arc<str>, Arc<ViewPlan>> {
    fn view(&self, name: &str) -> Option<Arc<ViewPlan>> {
        self.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.keys().map(ToString::to_string).collect()
    }
}

/// What a roll-up reads.
#[derive(Debug, Clone)]
pub struct Source {
    pub plan: Arc<ViewPlan>,
    /// For each of the roll-up's columns, which of the source's it is.
    pub columns: Vec<usize>,
    /// For each of the roll-up's cells with the input [`MERGED`], which of the source's cells it is merged from.
    pub merged: BTreeMap<usize, usize>,
}

/// Finds the view that a roll-up reads, and checks that its windows fit into the roll-up's.
pub(super) fn find_source(name: &str, from: &From, catalog: &dyn Catalog) -> Refused<Option<Arc<ViewPlan>>> {
    let Origin::View(view) = &from.origin else {
        return Ok(None);
    };
    let refuse = |message: String, hint: String| Err(ViewError::new(from.place, message, hint));
    if **view == *name {
        let hint = "read the stream, or give this view another name".to_owned();
        return refuse(format!("view {name:?} cannot read itself"), hint);
    }
    let Some(source) = catalog.view(view) else {
        let names = catalog.names();
        let hint = match names.as_slice() {
            [] => "with the time column window_start a view is read, and there is none; name the stream's own time"
                .to_owned(),
            names => format!("the views are {}; to read a stream, name its own time column", names.join(", ")),
        };
        return refuse(format!("there is no view {view:?}"), hint);
    };
    let mut chain = vec![name.to_owned()];
    let mut below = Some(&source);
    while let Some(plan) = below {
        chain.push(plan.name().to_owned());
        if plan.name() == name {
            let hint = "a view cannot read what is made of it".to_owned();
            return refuse(
                format!(
                    "the views would read each other in a circle: {}",
                    chain.join(" reads ")
                ),
                hint,
            );
        }
        if chain.len() > MAX_DEPTH {
            let message = format!(
                "{} views would read each other, more than {MAX_DEPTH}",
                chain.len()
            );
            return refuse(message, "read a view further down".to_owned());
        }
        below = plan.source.as_ref().map(|source| &source.plan);
    }
    fits(from, &source)?;
    Ok(Some(source))
}

fn fits(from: &From, source: &ViewPlan) -> Refused<()> {
    let name = source.name();
    let refuse = |message: String, hint: &str| Err(ViewError::new(from.place, message, hint));
    if matches!(from.window, WindowKind::Session { .. }) {
        return refuse(
            "there are no sessions of windows".to_owned(),
            "roll up with TUMBLE or HOP, or make sessions of the stream",
        );
    }
    match &source.window {
        WindowKind::None => {
            let message = format!("view {name:?} has no windows that could be rolled up");
            return refuse(message, "read the stream");
        }
        WindowKind::Hop { .. } if source.window.overlaps() => {
            let message = format!("the windows of {name:?} overlap: their events would count more than once");
            return refuse(message, "roll up a view with TUMBLE, or read the stream");
        }
        // a session belongs where it begins
        WindowKind::Session { .. } => return Ok(()),
        WindowKind::Tumble { .. } | WindowKind::Hop { .. } => {}
    }
    let (Some(inner), Some(size), Some(slide)) =
        (source.window.size(), from.window.size(), from.window.slide())
    else {
        return Ok(());
    };
    if size % inner != 0 || slide % inner != 0 {
        let message = format!("the windows are no multiple of those of {name:?}, which are {inner} ms long");
        return refuse(
            message,
            "choose a multiple, so that each of them lies in one window",
        );
    }
    match (from.window.zone(), source.window.zone()) {
        (None, None) => Ok(()),
        (Some(zone), None) if inner < DAY && zone.offsets_divide_by(inner) => Ok(()),
        (Some(zone), None) => refuse(
            format!(
                "midnight in {:?} does not always lie between two windows of {name:?}",
                zone.name()
            ),
            "roll up a view with windows of 15 minutes",
        ),
        (ours, Some(zone)) if ours == Some(zone) => Ok(()),
        (_, Some(zone)) => refuse(
            format!("the windows of {name:?} are days in {:?}", zone.name()),
            "name the same time zone behind the size",
        ),
    }
}

/// What the source's columns hold.
pub(super) fn known_columns(source: &ViewPlan) -> Arc<KnownColumns> {
    let kind = |column: &Column| match column.kind {
        ColumnType::Timestamp => StaticKind::Time,
        ColumnType::Text => StaticKind::Text,
        ColumnType::Boolean => StaticKind::Bool,
        ColumnType::Integer => StaticKind::Count,
        ColumnType::Number => StaticKind::Number,
        _ => StaticKind::Unknown,
    };
    let kinds = source
        .shown
        .iter()
        .map(|column| (column.name.clone(), kind(column)));
    Arc::new(KnownColumns {
        kinds: kinds.collect(),
        closed: true,
    })
}

impl Lowering {
    /// Calls that mean something else over a view's windows: `merge(col)`, and what would be a mistake there.
    pub(super) fn rollup_call(&mut self, function: &Function, scope: Scope) -> Refused<Option<Expr>> {
        let name = function_name(&function.name);
        let found = place(&function.name);
        if name == "merge" && scope != Scope::Group {
            let message = "merge is an aggregate: it stands in the SELECT list";
            return Err(ViewError::new(found, message, "as in merge(t_avg) AS t_avg"));
        }
        let Some(source) = self.source.clone() else {
            let message =
                "merge puts the states of another view's windows together, and this view reads a stream";
            let hint = "write FROM TUMBLE(view, window_start, INTERVAL '1 hour')";
            return if name == "merge" {
                Err(ViewError::new(found, message, hint))
            } else {
                Ok(None)
            };
        };
        let column = single_column(function).and_then(|column| {
            let at = source.shown.iter().position(|shown| shown.name == column)?;
            Some((column, at))
        });
        let behind = column.as_ref().map(|(_, at)| &source.outputs[*at]);
        let aggregate = match behind {
            Some(Expr::Leaf(Leaf::Aggregate(at))) => Some(source.aggregates[*at]),
            _ => None,
        };
        match (name.as_str(), aggregate, column) {
            ("merge", Some(aggregate), Some((column, _))) if function.filter.is_none() => {
                self.merge(aggregate, &column, found).map(Some)
            }
            ("merge", Some(_), _) => Err(ViewError::new(
                found,
                "merge takes no FILTER",
                "a window's state is one piece: choose windows with WHERE",
            )),
            ("merge", None, column) => {
                let message = match column {
                    Some((column, _)) => format!(
                        "{column} is no aggregate of {:?}, but computed or a group key",
                        source.name()
                    ),
                    None => format!("merge takes a column of {:?}", source.name()),
                };
                let hint = "give the aggregate a column of its own, and merge that";
                Err(ViewError::new(found, message, hint))
            }
            (
                "avg" | "mean",
                Some(Aggregate::Cell {
                    reading: Reading::Mean,
                    ..
                }),
                Some((column, _)),
            ) => Err(ViewError::new(
                found,
                format!("{column} is an average already, and an average of averages is none of the events"),
                format!("write merge({column})"),
            )),
            _ => Ok(None),
        }
    }

    /// The aggregate that a column of the source shows, over all events of the roll-up's window.
    fn merge(&mut self, aggregate: Aggregate, column: &str, found: (u64, u64)) -> Refused<Expr> {
        let merged = match aggregate {
            // a row of the source says how many events it stands for
            Aggregate::Rows => self.summed(column, Reading::Value),
            Aggregate::RowsPerSecond => {
                let message = format!("{column} is a rate of rows, and says not how many they were");
                let hint = "give the source count(*) AS n, and write sum(n) over the seconds";
                return Err(ViewError::new(found, message, hint));
            }
            Aggregate::Cell { cell, kind, reading } => Aggregate::Cell {
                cell: self.merged_cell(kind, cell),
                kind,
                reading,
            },
        };
        let known = self.aggregates.iter().position(|known| *known == merged);
        let at = known.unwrap_or_else(|| {
            self.aggregates.push(merged);
            self.aggregates.len() - 1
        });
        self.used.push(at);
        Ok(Expr::Leaf(Leaf::Aggregate(at)))
    }

    /// The state of a sketch over all events of the roll-up's window, when a column of the source shows one of this
    /// kind: a percentile of percentiles would be none of the events.
    pub(super) fn merged_sketch(&mut self, sql: &Sql, kind: CellKind) -> Option<usize> {
        let (Sql::Identifier(ident), CellKind::Quantiles | CellKind::ApproxDistinct | CellKind::Top) =
            (sql, kind)
        else {
            return None;
        };
        let source = self.source.clone()?;
        let at = source.shown.iter().position(|shown| shown.name == ident.value)?;
        let Expr::Leaf(Leaf::Aggregate(at)) = source.outputs[at] else {
            return None;
        };
        match source.aggregates[at] {
            Aggregate::Cell { cell, kind: of, .. } if of == kind => Some(self.merged_cell(kind, cell)),
            _ => None,
        }
    }

    /// The sum of a column of counts.
    fn summed(&mut self, column: &str, reading: Reading) -> Aggregate {
        let input = Expr::Leaf(Leaf::Column(self.column(column)));
        let (kind, input) = (CellKind::Sum, self.input(input));
        let cell = self.plain_cell(CellSpec { kind, input });
        Aggregate::Cell { cell, kind, reading }
    }

    fn input(&mut self, input: Expr) -> usize {
        let known = self.inputs.iter().position(|known| *known == input);
        known.unwrap_or_else(|| {
            self.inputs.push(input);
            self.inputs.len() - 1
        })
    }

    fn plain_cell(&mut self, spec: CellSpec) -> usize {
        let known = self.cells.iter().position(|known| *known == spec);
        known.unwrap_or_else(|| {
            self.cells.push(spec);
            self.cells.len() - 1
        })
    }

    fn merged_cell(&mut self, kind: CellKind, from: usize) -> usize {
        let known = self.merged.iter().find(|(_, known)| **known == from);
        if let Some((cell, _)) = known {
            return *cell;
        }
        self.cells.push(CellSpec { kind, input: MERGED });
        self.merged.insert(self.cells.len() - 1, from);
        self.cells.len() - 1
    }
}

/// The column, when it is the only argument.
fn single_column(function: &Function) -> Option<String> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Sql::Identifier(ident)))] => Some(ident.value.clone()),
        _ => None,
    }
}

impl ViewPlan {
    /// The same definition over what its source is now.
    ///
    /// # Errors
    /// [`ViewError`] when it does not fit that any more.
    pub fn recompile(&self, catalog: &dyn Catalog) -> Result<Self, ViewError> {
        Self::compile_over(&self.name, &self.sql, catalog)
    }

    /// The view that it reads, when it is a roll-up.
    #[must_use]
    pub fn reads(&self) -> Option<&str> {
        self.source.as_ref().map(|source| source.plan.name())
    }
}
