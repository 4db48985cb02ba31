//! Function calls in a view: aggregates, and functions of single values.

use sqlparser::ast::{
    DuplicateTreatment, Expr as Sql, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
};

use super::names::{AggregateFn, REFUSED, Takes};
use super::{Aggregate, CellKind, CellSpec, MAX_TOP, Reading};
use crate::call;
use crate::expr::{Expr, Leaf};
use crate::kinds::StaticKind;
use crate::lower::{Lowering, Refused, Scope, start_of};
use crate::messages::ViewError;
use crate::parse::{function_name, not_supported, place};
use crate::scalar::Scalar;

/// More would be a mistake, and each costs memory per group.
const MAX_CELLS: usize = 64;

const KNOWN: &str = "docs/sql.md lists all functions";

/// An aggregate's call, with its clauses.
struct Call<'a> {
    of: &'static AggregateFn,
    args: &'a [FunctionArg],
    distinct: bool,
    filter: Option<&'a Sql>,
    found: (u64, u64),
}

/// What an aggregate runs over.
enum Argument<'a> {
    Rows,
    Values(&'a Sql),
}

impl Call<'_> {
    fn refused(&self, message: impl Into<String>) -> ViewError {
        ViewError::new(self.found, message, format!("it is called as {}", self.of.call))
    }
}

impl Lowering {
    pub(crate) fn function(&mut self, function: &Function, scope: Scope) -> Refused<Expr> {
        let found = place(&function.name);
        let name = function_name(&function.name);
        if let Some(refusal) = call::refusal(&name, found) {
            return Err(refusal);
        }
        refuse_by_name(function, &name, found)?;
        let Some(of) = AggregateFn::find(&name) else {
            return self.scalar_function(function, &name, scope);
        };
        match scope {
            Scope::Group => {
                let (args, distinct) = arguments(function, &name)?;
                self.aggregate(&Call {
                    of,
                    args,
                    distinct,
                    filter: function.filter.as_deref(),
                    found,
                })
            }
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
        }
    }

    fn scalar_function(&mut self, function: &Function, name: &str, scope: Scope) -> Refused<Expr> {
        let found = place(&function.name);
        let (args, distinct) = arguments(function, name)?;
        if distinct || function.filter.is_some() {
            let message = format!("{name} is no aggregate: DISTINCT and FILTER have no meaning in it");
            return Err(ViewError::new(found, message, "remove them"));
        }
        self.call(name, &function.name.to_string(), args, scope, found)
    }

    fn aggregate(&mut self, call: &Call<'_>) -> Refused<Expr> {
        let (argument, reading) = read_arguments(call)?;
        if reading == Reading::PerSecond && !self.windowed {
            return Err(ViewError::new(
                call.found,
                "rate divides by the length of the window, and this view has none",
                "write FROM TUMBLE(stream, ts, INTERVAL '1 minute')",
            ));
        }
        let aggregate = match (argument, call.filter) {
            (Argument::Rows, None) if reading == Reading::PerSecond => Aggregate::RowsPerSecond,
            (Argument::Rows, None) => Aggregate::Rows,
            (argument, filter) => self.cell(call, &argument, filter, reading)?,
        };
        if self.cells.len() > MAX_CELLS {
            return Err(ViewError::new(
                call.found,
                format!("a view may have {MAX_CELLS} aggregates"),
                "split the view",
            ));
        }
        let known = self.aggregates.iter().position(|a| *a == aggregate);
        let at = known.unwrap_or_else(|| {
            self.aggregates.push(aggregate);
            self.aggregates.len() - 1
        });
        self.used.push(at);
        Ok(Expr::Leaf(Leaf::Aggregate(at)))
    }

    /// Finds or adds the state that an aggregate reads: `sum(x)` and `avg(x)` share theirs.
    fn cell(
        &mut self,
        call: &Call<'_>,
        argument: &Argument<'_>,
        filter: Option<&Sql>,
        reading: Reading,
    ) -> Refused<Aggregate> {
        if let (Argument::Values(sql), None) = (argument, filter)
            && let Some(cell) = self.merged_sketch(sql, cell_kind(call))
        {
            let kind = cell_kind(call);
            return Ok(Aggregate::Cell { cell, kind, reading });
        }
        let (values, kind) = match argument {
            Argument::Rows => (Expr::Literal(Scalar::Int(1)), CellKind::Count),
            Argument::Values(sql) => {
                let values = self.lower(sql, Scope::Row("an aggregate"))?;
                self.check_kind(call, sql, &values)?;
                (values, cell_kind(call))
            }
        };
        // a row that the filter leaves out has no value, and no aggregate sees NULL
        let input = match filter {
            Some(condition) => Expr::Case {
                arms: vec![(self.condition(condition, Scope::Row("FILTER"))?, values)],
                otherwise: Box::new(Expr::Literal(Scalar::Null)),
            },
            None => values,
        };
        let known = self.inputs.iter().position(|known| *known == input);
        let input = known.unwrap_or_else(|| {
            self.inputs.push(input);
            self.inputs.len() - 1
        });
        let spec = CellSpec { kind, input };
        let known = self.cells.iter().position(|cell| *cell == spec);
        let cell = known.unwrap_or_else(|| {
            self.cells.push(spec);
            self.cells.len() - 1
        });
        Ok(Aggregate::Cell { cell, kind, reading })
    }

    /// Refuses values that an aggregate surely cannot take.
    fn check_kind(&self, call: &Call<'_>, sql: &Sql, values: &Expr) -> Refused<()> {
        let kind = self.kind(values);
        let name = call.of.name;
        let (fits, needs) = match call.of.takes {
            Takes::Numbers | Takes::RowsOrNumbers | Takes::NumbersAndShare => (
                !matches!(kind, StaticKind::Text | StaticKind::Bool | StaticKind::Time),
                "numbers",
            ),
            Takes::Booleans => (
                matches!(kind, StaticKind::Bool | StaticKind::Unknown | StaticKind::Null),
                "conditions",
            ),
            Takes::Any | Takes::RowsOrAny | Takes::AnyAndCount => (true, ""),
        };
        if fits {
            return Ok(());
        }
        let hint = match call.of.takes {
            Takes::Booleans => "compare with something, as in bool_and(x > 0)",
            _ => "count(x), min(x), max(x), first(x) and last(x) take other values",
        };
        Err(ViewError::new(
            start_of(sql),
            format!("{name} needs {needs}"),
            hint,
        ))
    }
}

fn cell_kind(call: &Call<'_>) -> CellKind {
    match call.of.kind {
        CellKind::Count if call.distinct => CellKind::Distinct,
        kind => kind,
    }
}

/// What the aggregate runs over, and how it is read.
fn read_arguments<'a>(call: &Call<'a>) -> Refused<(Argument<'a>, Reading)> {
    let name = call.of.name;
    // the least and greatest of distinct values are those of all
    let distinct_fits = matches!(call.of.kind, CellKind::Count | CellKind::Min | CellKind::Max);
    if call.distinct && !distinct_fits {
        let hint = "remove it; count(DISTINCT x) counts distinct values";
        return Err(ViewError::new(
            call.found,
            format!("{name} does not take DISTINCT"),
            hint,
        ));
    }
    let mut values = Vec::with_capacity(call.args.len());
    for arg in call.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(sql)) => values.push(sql),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard)
                if call.args.len() == 1
                    && !call.distinct
                    && matches!(call.of.takes, Takes::RowsOrAny | Takes::RowsOrNumbers) =>
            {
                return Ok((Argument::Rows, call.of.reading));
            }
            _ => return Err(call.refused(format!("{name} does not take such an argument"))),
        }
    }
    match (call.of.takes, values.as_slice()) {
        (Takes::NumbersAndShare, [values, share]) => Ok((
            Argument::Values(values),
            Reading::Quantile(share_of(call, share)?),
        )),
        (Takes::AnyAndCount, [values, count]) => {
            Ok((Argument::Values(values), Reading::Top(count_of(call, count)?)))
        }
        (Takes::NumbersAndShare | Takes::AnyAndCount, _) => {
            Err(call.refused(format!("{name} takes two arguments")))
        }
        (_, [values]) => Ok((Argument::Values(values), call.of.reading)),
        _ => Err(call.refused(format!("{name} takes one argument"))),
    }
}

fn literal(sql: &Sql) -> Option<f64> {
    match sql {
        Sql::Nested(inner) => literal(inner),
        Sql::Value(value) => match &value.value {
            sqlparser::ast::Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn share_of(call: &Call<'_>, sql: &Sql) -> Refused<f64> {
    literal(sql)
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| {
            let message = format!("the second argument of {} is a number from 0 to 1", call.of.name);
            ViewError::new(
                start_of(sql),
                message,
                "0.5 is the median, 0.99 what one of a hundred exceeds",
            )
        })
}

fn count_of(call: &Call<'_>, sql: &Sql) -> Refused<usize> {
    let fits = |count: &f64| (1.0..=MAX_TOP as f64).contains(count) && count.fract() == 0.0;
    literal(sql)
        .filter(fits)
        .map(|count| count as usize)
        .ok_or_else(|| {
            let message = format!(
                "the second argument of {} is an integer from 1 to {MAX_TOP}",
                call.of.name
            );
            ViewError::new(start_of(sql), message, "it says how many values to list")
        })
}

/// Refuses aggregates of other systems, with what to write in their place.
fn refuse_by_name(function: &Function, name: &str, found: (u64, u64)) -> Refused<()> {
    let Some((_, instead)) = REFUSED.iter().find(|(refused, _)| *refused == name) else {
        return Ok(());
    };
    let hint = match (ordered_share(function), name) {
        (Some((share, by)), _) => format!("write approx_percentile({by}, {share})"),
        _ => (*instead).to_owned(),
    };
    Err(not_supported(found, &format!("the aggregate {name}"), &hint))
}

/// The parts of `percentile_cont(0.5) WITHIN GROUP (ORDER BY x)`.
fn ordered_share(function: &Function) -> Option<(String, String)> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let (share, by) = (list.args.first()?, function.within_group.first()?);
    Some((share.to_string(), by.expr.to_string()))
}

/// The arguments, and whether DISTINCT stands before them, when the call has no other clause.
fn arguments<'a>(function: &'a Function, name: &str) -> Refused<(&'a [FunctionArg], bool)> {
    let found = place(&function.name);
    if function.over.is_some() {
        return Err(ViewError::new(
            found,
            "OVER has no place in a view",
            "the window stands in FROM: TUMBLE(...)",
        ));
    }
    let plain = function.within_group.is_empty()
        && function.null_treatment.is_none()
        && !function.uses_odbc_syntax
        && matches!(function.parameters, FunctionArguments::None);
    match &function.args {
        FunctionArguments::List(list) if plain => {
            if !list.clauses.is_empty() {
                let hint = match name {
                    "first" | "last" | "first_value" | "last_value" => {
                        "remove it: the order is that of event time"
                    }
                    _ => "remove it",
                };
                return Err(not_supported(
                    found,
                    &format!("a clause within {name}(...)"),
                    hint,
                ));
            }
            Ok((
                &list.args,
                list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
            ))
        }
        FunctionArguments::None if plain => Err(ViewError::new(
            found,
            format!("there is no {name} without arguments"),
            KNOWN,
        )),
        _ => Err(not_supported(
            found,
            &format!("{name} with further clauses"),
            "remove them",
        )),
    }
}
