//! A view's SQL, checked and compiled: which rows count, into which groups, and what each group shows.

use std::sync::Arc;

use sqlparser::ast::{Expr as Sql, GroupByExpr, Ident, Select, SelectItem, Value};
use tributary_shared::ids::StreamName;

use super::aggregate::{Aggregate, CellKind, CellSpec};
use super::expr::{Expr, Leaf};
use super::from::Origin;
use super::kinds::{KnownColumns, StaticKind};
use super::lower::{Lowering, Refused, Scope, shorten, start_of, window_bound};
use super::messages::{Column, ColumnType, MAX_VIEW_NAME, ViewError};
use super::parse::{not_supported, parse_select, place};
use super::rollup::{Catalog, NoViews, Source, find_source, known_columns};
use super::window::WindowKind;

/// Each key costs four bytes a group and a dictionary.
pub const MAX_KEYS: usize = 16;
const MAX_OUTPUTS: usize = 128;
/// Names that every row of every view has.
const RESERVED: [&str; 3] = ["revision", "final", "completeness"];

/// A compiled view. Immutable, and independent of any data: column types are bound batch by batch.
#[derive(Debug, Clone)]
pub struct ViewPlan {
    pub name: Arc<str>,
    pub sql: Arc<str>,
    /// The view that it reads, when it is a roll-up.
    pub source: Option<Source>,
    /// The stream that it all comes from.
    pub stream: StreamName,
    pub window: WindowKind,
    /// The time column as written.
    pub time: String,
    /// Names of the batch columns that are read.
    pub columns: Vec<String>,
    pub filter: Option<Expr>,
    pub keys: Vec<Expr>,
    /// What to call each key where the SELECT list does not show it.
    pub key_names: Vec<String>,
    pub inputs: Vec<Expr>,
    pub cells: Vec<CellSpec>,
    pub aggregates: Vec<Aggregate>,
    /// The cell that keeps the time of a session's last event. Its input is the time itself, which comes behind all
    /// others.
    pub session_last: Option<usize>,
    /// One expression for each of `shown`.
    pub outputs: Vec<Expr>,
    pub shown: Arc<[Column]>,
    /// A group for which this is not true is not shown.
    pub having: Option<Expr>,
    /// Columns that are exact of few values only, each with a cell that knows.
    pub doubtful: Vec<(usize, usize)>,
}

impl ViewPlan {
    /// Checks and compiles a view.
    ///
    /// # Errors
    /// [`ViewError`] with the place of the mistake.
    pub fn compile(name: &str, sql: &str) -> Result<Self, ViewError> {
        Self::compile_with(name, sql, None, &NoViews)
    }

    /// The same, for a view that may read one of these.
    ///
    /// # Errors
    /// [`ViewError`] with the place of the mistake.
    pub fn compile_over(name: &str, sql: &str, catalog: &dyn Catalog) -> Result<Self, ViewError> {
        Self::compile_with(name, sql, None, catalog)
    }

    /// Checks a view against the columns of its stream as well: names that no event has, and operations on values
    /// of the wrong type. The plan is the same as [`compile`](Self::compile)'s, since a schema may change.
    ///
    /// # Errors
    /// [`ViewError`] with the place of the mistake.
    pub fn check_columns(&self, known: &Arc<KnownColumns>) -> Result<(), ViewError> {
        if self.source.is_some() {
            // its columns are a view's, and were checked
            return Ok(());
        }
        Self::compile_with(&self.name, &self.sql, Some(Arc::clone(known)), &NoViews).map(|_| ())
    }

    fn compile_with(
        name: &str,
        sql: &str,
        known: Option<Arc<KnownColumns>>,
        catalog: &dyn Catalog,
    ) -> Result<Self, ViewError> {
        let fits = !name.is_empty()
            && name.len() <= MAX_VIEW_NAME
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if !fits {
            let hint = "use 1 to 128 characters of A-Z a-z 0-9 . _ - and do not start with a dot";
            return Err(ViewError::new(
                (1, 1),
                format!("{name:?} is not a name for a view"),
                hint,
            ));
        }
        let (select, from) = parse_select(sql)?;
        let source = find_source(name, &from, catalog)?;
        let mut lowering = Lowering {
            known: source.as_deref().map(known_columns).or(known),
            source: source.clone(),
            windowed: from.window != WindowKind::None,
            ..Lowering::default()
        };
        let filter = match &select.selection {
            Some(condition) => Some(lowering.condition(condition, Scope::Row("WHERE"))?),
            None => None,
        };
        let mut key_names = group_by(&select, &mut lowering)?;
        let (outputs, shown, doubtful) = select_list(&select, &mut lowering)?;
        for (output, column) in outputs.iter().zip(&shown) {
            if let Expr::Leaf(Leaf::Key(at)) = output {
                key_names[*at].clone_from(&column.name);
            }
        }
        let having = match &select.having {
            Some(condition) => Some(having(&select, condition, &mut lowering)?),
            None => None,
        };
        if source.is_none() {
            if let Some(known) = &lowering.known {
                known.check_time(&from.time)?;
            }
            // the time column is read like any other, unless it turns out to be the event time
            lowering.column(&from.time.value);
        }
        let Lowering {
            columns,
            keys,
            inputs,
            mut cells,
            aggregates,
            merged,
            ..
        } = lowering;
        let session_last = matches!(from.window, WindowKind::Session { .. }).then(|| {
            cells.push(CellSpec {
                kind: CellKind::Max,
                input: inputs.len(),
            });
            cells.len() - 1
        });
        let stream = match (&from.origin, &source) {
            (_, Some(source)) => source.stream.clone(),
            (Origin::Stream(stream), None) => stream.clone(),
            // a source was found, or refused
            (Origin::View(view), None) => {
                return Err(ViewError::new(
                    from.place,
                    format!("there is no view {view:?}"),
                    "",
                ));
            }
        };
        let source = source.map(|plan| {
            // the source has all of them: it is what is known
            let at = |column: &String| plan.shown.iter().position(|shown| shown.name == *column);
            Source {
                columns: columns.iter().filter_map(at).collect(),
                merged,
                plan,
            }
        });
        Ok(Self {
            name: name.into(),
            sql: sql.into(),
            source,
            stream,
            window: from.window,
            time: from.time.value,
            columns,
            filter,
            keys,
            key_names,
            inputs,
            cells,
            aggregates,
            session_last,
            outputs,
            shown: shown.into(),
            having,
            doubtful,
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// The stream that the view reads.
    #[must_use]
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    #[must_use]
    pub fn window(&self) -> &WindowKind {
        &self.window
    }

    /// The columns in SELECT order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.shown
    }
}

/// Lowers GROUP BY into `lowering.keys`; returns a name for each.
fn group_by(select: &Select, lowering: &mut Lowering) -> Refused<Vec<String>> {
    let items = match &select.group_by {
        GroupByExpr::Expressions(items, modifiers) if modifiers.is_empty() => items,
        GroupByExpr::Expressions(..) | GroupByExpr::All(_) => {
            let found = place(&select.group_by);
            return Err(not_supported(
                found,
                "GROUP BY ALL and its modifiers",
                "list the columns",
            ));
        }
    };
    let mut names = Vec::new();
    for item in items {
        let sql = resolve(select, item)?;
        if let Sql::Identifier(ident) = sql
            && window_bound(ident).is_some()
        {
            continue;
        }
        let expr = lowering.lower(sql, Scope::Row("GROUP BY"))?;
        if matches!(expr, Expr::Literal(_)) {
            return Err(ViewError::new(
                place(item),
                "a constant groups nothing",
                "group by a column",
            ));
        }
        if lowering.keys.contains(&expr) {
            continue;
        }
        if lowering.keys.len() == MAX_KEYS {
            return Err(ViewError::new(
                place(item),
                format!("a view may group by {MAX_KEYS} columns"),
                "",
            ));
        }
        names.push(shorten(sql));
        lowering.keys.push(expr);
    }
    Ok(names)
}

/// What a GROUP BY item stands for: an alias or an ordinal names an item of the SELECT list. An alias wins
/// over a column of the same name, because without a schema nobody knows the columns.
fn resolve<'a>(select: &'a Select, item: &'a Sql) -> Refused<&'a Sql> {
    match item {
        Sql::Nested(inner) => resolve(select, inner),
        Sql::Identifier(ident) if window_bound(ident).is_none() => {
            let aliased = select.projection.iter().find_map(|shown| match shown {
                SelectItem::ExprWithAlias { expr, alias } if alias.value == ident.value => Some(expr),
                _ => None,
            });
            Ok(aliased.unwrap_or(item))
        }
        Sql::Value(value) => {
            let Value::Number(text, _) = &value.value else {
                return Ok(item);
            };
            let at = text.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
            match at.and_then(|at| select.projection.get(at)) {
                Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => Ok(expr),
                _ => {
                    let message = format!("GROUP BY position {text} is not in the SELECT list");
                    Err(ViewError::new(place(value), message, "positions count from 1"))
                }
            }
        }
        _ => Ok(item),
    }
}

/// Lowers HAVING. It sees what the SELECT list sees, but not the names given there.
fn having(select: &Select, condition: &Sql, lowering: &mut Lowering) -> Refused<Expr> {
    lowering.condition(condition, Scope::Group).map_err(|mut error| {
        let named = select.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias }
                if error.message.starts_with(&format!("column {alias} must")) =>
            {
                Some((expr, alias))
            }
            _ => None,
        });
        if let Some((expr, alias)) = named {
            error.message = format!("HAVING does not know the name {alias}");
            error.hint = format!("write {} in its place", shorten(expr));
        }
        error
    })
}

/// The columns: what each shows, how it is called, and which of them are exact of few values only.
type SelectList = (Vec<Expr>, Vec<Column>, Vec<(usize, usize)>);

fn select_list(select: &Select, lowering: &mut Lowering) -> Refused<SelectList> {
    let mut outputs = Vec::new();
    let mut shown: Vec<Column> = Vec::new();
    let mut doubtful = Vec::new();
    for item in &select.projection {
        let (sql, alias) = match item {
            SelectItem::UnnamedExpr(sql) => (sql, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
            SelectItem::Wildcard(_)
            | SelectItem::QualifiedWildcard(..)
            | SelectItem::ExprWithAliases { .. } => {
                let hint = "name the columns, as in SELECT window_start, site, count(*) AS n";
                return Err(ViewError::new(place(item), "a view cannot SELECT *", hint));
            }
        };
        lowering.used.clear();
        let expr = lowering.lower(sql, Scope::Group)?;
        let name = column_name(sql, alias)?;
        let found = alias.map_or_else(|| start_of(sql), |a| (a.span.start.line, a.span.start.column));
        check_name(&name, &expr, &shown, found)?;
        let kind = match lowering.kind(&expr) {
            StaticKind::Unknown | StaticKind::Null => ColumnType::Any,
            StaticKind::Bool => ColumnType::Boolean,
            StaticKind::Count => ColumnType::Integer,
            StaticKind::Number => ColumnType::Number,
            StaticKind::Text => ColumnType::Text,
            StaticKind::Time => ColumnType::Timestamp,
        };
        if shown.len() == MAX_OUTPUTS {
            return Err(ViewError::new(
                found,
                format!("a view may have {MAX_OUTPUTS} columns"),
                "split the view",
            ));
        }
        let cells = lowering.used.iter().map(|at| lowering.aggregates[*at]);
        doubtful.extend(
            cells
                .filter_map(Aggregate::doubtful)
                .map(|cell| (shown.len(), cell)),
        );
        let (kind, error) = match expr {
            Expr::Leaf(Leaf::Aggregate(at)) if lowering.aggregates[at].is_json() => {
                (ColumnType::Json, lowering.aggregates[at].error())
            }
            Expr::Leaf(Leaf::Aggregate(at)) => (kind, lowering.aggregates[at].error()),
            _ => (kind, None),
        };
        shown.push(Column { name, kind, error });
        outputs.push(expr);
    }
    if lowering.aggregates.is_empty() {
        let start = select.select_token.0.span.start;
        let message = "a view needs at least one aggregate";
        return Err(ViewError::new(
            (start.line, start.column),
            message,
            "add count(*) AS n",
        ));
    }
    Ok((outputs, shown, doubtful))
}

fn column_name(sql: &Sql, alias: Option<&Ident>) -> Refused<String> {
    match (alias, sql) {
        (Some(alias), _) => Ok(alias.value.clone()),
        (None, Sql::Identifier(ident)) => match window_bound(ident) {
            Some(Leaf::WindowStart) => Ok("window_start".to_owned()),
            Some(_) => Ok("window_end".to_owned()),
            None => Ok(ident.value.clone()),
        },
        (None, Sql::Function(function)) => Ok(function.name.to_string().to_ascii_lowercase()),
        (None, _) => {
            let message = format!("{} needs a name", shorten(sql));
            Err(ViewError::new(
                start_of(sql),
                message,
                format!("write {} AS name", shorten(sql)),
            ))
        }
    }
}

fn check_name(name: &str, expr: &Expr, shown: &[Column], found: (u64, u64)) -> Refused<()> {
    if shown.iter().any(|column| column.name == name) {
        return Err(ViewError::new(
            found,
            format!("there are two columns {name:?}"),
            "give one another name with AS",
        ));
    }
    let bound = match name {
        "window_start" => Some(Leaf::WindowStart),
        "window_end" => Some(Leaf::WindowEnd),
        _ => None,
    };
    let taken = RESERVED.contains(&name) || bound.is_some_and(|bound| *expr != Expr::Leaf(bound));
    if taken {
        let message = format!("every row has a {name:?} of its own");
        return Err(ViewError::new(
            found,
            message,
            "give the column another name with AS",
        ));
    }
    Ok(())
}
