//! Function calls in a view: aggregates, and functions of single values.

use sqlparser::ast::{
    DuplicateTreatment, Expr as Sql, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned,
};

use super::call;
use super::expr::{Expr, Leaf};
use super::kinds::StaticKind;
use super::lower::{Lowering, Refused, Scope, start_of};
use super::messages::ViewError;
use super::parse::{function_name, not_yet, place};

/// An aggregate's state per group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// Values that are not NULL.
    Count,
    /// Sum and number of the numbers.
    Sum,
    Min,
    Max,
}

/// What state a group keeps, and of which input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellSpec {
    pub kind: CellKind,
    /// Index into the plan's inputs.
    pub input: usize,
}

/// How an aggregate's value is read from the group's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// `count(*)`: the group's rows.
    Rows,
    /// The value of a cell, by index.
    Value(usize, CellKind),
    /// The sum of a cell divided by its count.
    Mean(usize),
}

impl Aggregate {
    pub(super) fn kind(self) -> StaticKind {
        match self {
            Self::Rows | Self::Value(_, CellKind::Count) => StaticKind::Count,
            Self::Value(_, CellKind::Sum) | Self::Mean(_) => StaticKind::Number,
            Self::Value(_, CellKind::Min | CellKind::Max) => StaticKind::Unknown,
        }
    }
}

/// More would be a mistake, and each costs memory per group.
const MAX_CELLS: usize = 64;

/// Aggregates of other systems that people will try.
const LATER: [(&str, &str); 14] = [
    ("approx_percentile", "use avg, min and max until then"),
    (
        "approx_distinct",
        "GROUP BY the column and count the groups until then",
    ),
    (
        "approx_count_distinct",
        "GROUP BY the column and count the groups until then",
    ),
    (
        "percentile_cont",
        "approx_percentile will come; use avg, min and max until then",
    ),
    (
        "percentile_disc",
        "approx_percentile will come; use avg, min and max until then",
    ),
    (
        "median",
        "approx_percentile will come; use avg, min and max until then",
    ),
    ("stddev", ""),
    ("variance", ""),
    ("first_value", ""),
    ("last_value", ""),
    ("string_agg", ""),
    ("array_agg", ""),
    ("bool_and", ""),
    ("bool_or", ""),
];

const KNOWN: &str = "docs/sql.md lists all functions";

impl Lowering {
    pub(super) fn function(&mut self, function: &Function, scope: Scope) -> Refused<Expr> {
        let found = place(&function.name);
        let name = function_name(&function.name);
        if let Some(refusal) = call::refusal(&name, found) {
            return Err(refusal);
        }
        let args = plain_args(function, &name)?;
        if matches!(name.as_str(), "count" | "sum" | "avg" | "min" | "max") {
            return match scope {
                Scope::Group => self.aggregate(&name, args, found),
                Scope::Row("an aggregate") => Err(ViewError::new(
                    found,
                    "aggregates cannot be nested",
                    "aggregate a column",
                )),
                Scope::Row(clause) => Err(ViewError::new(
                    found,
                    format!("an aggregate cannot stand in {clause}"),
                    "aggregates stand in the SELECT list",
                )),
            };
        }
        if let Some((_, instead)) = LATER.iter().find(|(later, _)| *later == name) {
            return Err(not_yet(found, &format!("the aggregate {name}"), instead));
        }
        self.call(&name, &function.name.to_string(), args, scope, found)
    }

    fn aggregate(&mut self, name: &str, args: &[FunctionArg], found: (u64, u64)) -> Refused<Expr> {
        let aggregate = match args {
            [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if name == "count" => Aggregate::Rows,
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(sql))] => self.cell(name, sql)?,
            _ => {
                let message = format!("{name} takes one argument");
                return Err(ViewError::new(
                    found,
                    message,
                    "as in count(*), sum(x), avg(x), min(x), max(x)",
                ));
            }
        };
        if self.cells.len() > MAX_CELLS {
            return Err(ViewError::new(
                found,
                format!("a view may have {MAX_CELLS} aggregates"),
                "split the view",
            ));
        }
        let known = self.aggregates.iter().position(|a| *a == aggregate);
        let at = known.unwrap_or_else(|| {
            self.aggregates.push(aggregate);
            self.aggregates.len() - 1
        });
        Ok(Expr::Leaf(Leaf::Aggregate(at)))
    }

    /// Finds or adds the state that an aggregate reads: `sum(x)` and `avg(x)` share theirs.
    fn cell(&mut self, name: &str, sql: &Sql) -> Refused<Aggregate> {
        let expr = self.lower(sql, Scope::Row("an aggregate"))?;
        if matches!(name, "sum" | "avg")
            && matches!(
                self.kind(&expr),
                StaticKind::Text | StaticKind::Bool | StaticKind::Time
            )
        {
            let message = format!("{name} needs numbers");
            return Err(ViewError::new(
                start_of(sql),
                message,
                "count(x), min(x) and max(x) take other values",
            ));
        }
        let known = self.inputs.iter().position(|input| *input == expr);
        let input = known.unwrap_or_else(|| {
            self.inputs.push(expr);
            self.inputs.len() - 1
        });
        let kind = match name {
            "count" => CellKind::Count,
            "min" => CellKind::Min,
            "max" => CellKind::Max,
            _ => CellKind::Sum,
        };
        let spec = CellSpec { kind, input };
        let known = self.cells.iter().position(|cell| *cell == spec);
        let at = known.unwrap_or_else(|| {
            self.cells.push(spec);
            self.cells.len() - 1
        });
        Ok(if name == "avg" {
            Aggregate::Mean(at)
        } else {
            Aggregate::Value(at, kind)
        })
    }
}

/// The arguments, when the call has no clause around them.
fn plain_args<'a>(function: &'a Function, name: &str) -> Refused<&'a [FunctionArg]> {
    let found = place(&function.name);
    if function.over.is_some() {
        return Err(ViewError::new(
            found,
            "OVER has no place in a view",
            "the window stands in FROM: TUMBLE(...)",
        ));
    }
    if let Some(filter) = &function.filter {
        let filter = match filter.span().start {
            start if start.line > 0 => (start.line, start.column),
            _ => found,
        };
        return Err(not_yet(
            filter,
            "FILTER",
            "write sum(CASE WHEN condition THEN x END)",
        ));
    }
    let plain = function.within_group.is_empty()
        && function.null_treatment.is_none()
        && !function.uses_odbc_syntax
        && matches!(function.parameters, FunctionArguments::None);
    match &function.args {
        FunctionArguments::List(list) if plain => {
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
                let hint = "approx_distinct will come; GROUP BY the column and count the groups until then";
                return Err(not_yet(found, &format!("{name}(DISTINCT ...)"), hint));
            }
            if !list.clauses.is_empty() {
                return Err(not_yet(
                    found,
                    &format!("a clause within {name}(...)"),
                    "remove it",
                ));
            }
            Ok(&list.args)
        }
        FunctionArguments::None if plain => Err(ViewError::new(
            found,
            format!("there is no {name} without arguments"),
            KNOWN,
        )),
        _ => Err(not_yet(
            found,
            &format!("{name} with further clauses"),
            "remove them",
        )),
    }
}
