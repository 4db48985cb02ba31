//! From sqlparser's expressions to ours: names become numbers, spellings are reduced, and what a view cannot
//! say is refused by place.

use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField, Expr as Sql, Ident,
    UnaryOperator, Value,
};
use tributary_shared::time::parse_rfc3339;

use super::aggregate::{Aggregate, CellSpec};
use super::expr::{ArithOp, CastType, CompareOp, Expr, Leaf, ScalarFn};
use super::messages::ViewError;
use super::parse::{not_yet, place};
use super::scalar::Scalar;

pub(super) type Refused<T> = Result<T, ViewError>;

/// Where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Over the rows of a batch, in this clause: names are columns.
    Row(&'static str),
    /// Over the groups of a window: names are group keys, and aggregates are allowed.
    Group,
}

/// What a plan collects while its expressions are lowered.
#[derive(Debug, Default)]
pub(super) struct Lowering {
    pub columns: Vec<String>,
    /// The group keys. Complete before the first expression of [`Scope::Group`].
    pub keys: Vec<Expr>,
    /// The arguments of the aggregates, each once.
    pub inputs: Vec<Expr>,
    pub cells: Vec<CellSpec>,
    pub aggregates: Vec<Aggregate>,
    /// Aggregates in the order that they were met, again and again.
    pub used: Vec<usize>,
    /// The view has windows, whose length a rate divides by.
    pub windowed: bool,
    /// Expressions around the present one.
    depth: usize,
}

/// Expressions are evaluated recursively, on threads with small stacks.
const MAX_DEPTH: usize = 64;

/// What is known of an expression's values without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StaticKind {
    Unknown,
    Null,
    Bool,
    /// PostgreSQL's bigint: division truncates.
    Count,
    Number,
    Text,
    Time,
}

impl Lowering {
    /// The number of a column.
    pub fn column(&mut self, name: &str) -> usize {
        if let Some(at) = self.columns.iter().position(|known| known == name) {
            return at;
        }
        self.columns.push(name.to_owned());
        self.columns.len() - 1
    }

    /// # Errors
    /// When the expression says something that a view cannot.
    pub fn lower(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        if self.depth == MAX_DEPTH {
            let hint = "write IN (...) for a chain of comparisons, and split other long chains";
            return Err(ViewError::new(
                start_of(sql),
                "the expression is nested too deeply",
                hint,
            ));
        }
        self.depth += 1;
        let lowered = self.lower_one(sql, scope);
        self.depth -= 1;
        lowered
    }

    fn lower_one(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        if let Some(key) = self.as_key(sql, scope) {
            return Ok(key);
        }
        match sql {
            Sql::Nested(inner) => self.lower(inner, scope),
            Sql::Value(value) => literal(&value.value).map(Expr::Literal).map_err(|message| {
                ViewError::new(
                    place(value),
                    message,
                    "literals are numbers, 'texts', true, false and NULL",
                )
            }),
            Sql::Identifier(ident) => self.identifier(ident, scope),
            Sql::CompoundIdentifier(parts) => Err(not_yet(
                parts
                    .first()
                    .map_or((1, 1), |p| (p.span.start.line, p.span.start.column)),
                "a field inside an object",
                "name a column; quote names with dots: \"a.b\"",
            )),
            Sql::UnaryOp { op, expr } => self.unary(*op, expr, scope),
            Sql::BinaryOp { left, op, right } => self.binary(sql, left, op, right, scope),
            Sql::IsNull(inner) => Ok(Expr::IsNull(self.boxed(inner, scope)?)),
            Sql::IsNotNull(inner) => Ok(not(Expr::IsNull(self.boxed(inner, scope)?))),
            Sql::IsTrue(inner) => self.is_bool(inner, true, scope),
            Sql::IsNotTrue(inner) => self.is_bool(inner, true, scope).map(not),
            Sql::IsFalse(inner) => self.is_bool(inner, false, scope),
            Sql::IsNotFalse(inner) => self.is_bool(inner, false, scope).map(not),
            Sql::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let both = self.between(expr, low, high, scope)?;
                Ok(negate(both, *negated))
            }
            Sql::InList { expr, list, negated } => self.in_list(expr, list, *negated, scope),
            Sql::Like {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => self
                .like(expr, pattern, false, scope)
                .map(|like| negate(like, *negated)),
            Sql::ILike {
                negated,
                any: false,
                expr,
                pattern,
                escape_char: None,
            } => self
                .like(expr, pattern, true, scope)
                .map(|like| negate(like, *negated)),
            Sql::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref(), scope),
            Sql::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon,
                expr,
                data_type,
                format: None,
            } => self.cast(sql, expr, data_type, scope),
            Sql::TypedString(typed) => timestamp(sql, &typed.data_type, &typed.value.value),
            Sql::Function(function) => self.function(function, scope),
            Sql::Floor {
                expr,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => Ok(Expr::Call(ScalarFn::Floor, vec![self.lower(expr, scope)?])),
            Sql::Ceil {
                expr,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => Ok(Expr::Call(ScalarFn::Ceil, vec![self.lower(expr, scope)?])),
            Sql::Subquery(_) | Sql::InSubquery { .. } | Sql::Exists { .. } => Err(ViewError::new(
                start_of(sql),
                "a subquery has no place in a view",
                "a view reads one stream",
            )),
            _ => Err(not_yet(
                start_of(sql),
                &format!("the expression {}", shorten(sql)),
                "",
            )),
        }
    }

    fn between(&mut self, value: &Sql, low: &Sql, high: &Sql, scope: Scope) -> Refused<Expr> {
        let from = Expr::Compare(
            CompareOp::GtEq,
            self.boxed(value, scope)?,
            self.boxed(low, scope)?,
        );
        let to = Expr::Compare(
            CompareOp::LtEq,
            self.boxed(value, scope)?,
            self.boxed(high, scope)?,
        );
        Ok(Expr::And(Box::new(from), Box::new(to)))
    }

    fn cast(&mut self, sql: &Sql, value: &Sql, to: &DataType, scope: Scope) -> Refused<Expr> {
        let target = cast_type(to).ok_or_else(|| {
            ViewError::new(
                start_of(sql),
                format!("there is no cast to {to}"),
                "cast to bigint, double precision, text or boolean",
            )
        })?;
        Ok(Expr::Cast(self.boxed(value, scope)?, target))
    }

    fn boxed(&mut self, sql: &Sql, scope: Scope) -> Refused<Box<Expr>> {
        self.lower(sql, scope).map(Box::new)
    }

    /// An expression of the SELECT list that equals a GROUP BY expression is that key.
    fn as_key(&mut self, sql: &Sql, scope: Scope) -> Option<Expr> {
        if scope != Scope::Group || self.keys.is_empty() || matches!(sql, Sql::Value(_)) {
            return None;
        }
        let row = self.lower(sql, Scope::Row("GROUP BY")).ok()?;
        let at = self.keys.iter().position(|key| *key == row)?;
        Some(Expr::Leaf(Leaf::Key(at)))
    }

    fn identifier(&mut self, ident: &Ident, scope: Scope) -> Refused<Expr> {
        let found = (ident.span.start.line, ident.span.start.column);
        match (window_bound(ident), scope) {
            (Some(bound), Scope::Group) => Ok(Expr::Leaf(bound)),
            (Some(_), Scope::Row(clause)) => Err(ViewError::new(
                found,
                format!("{} cannot be used in {clause}", ident.value),
                "choose windows when you read them: from= and to=",
            )),
            (None, Scope::Row(_)) => Ok(Expr::Leaf(Leaf::Column(self.column(&ident.value)))),
            (None, Scope::Group) => Err(ViewError::new(
                found,
                format!("column {ident} must appear in GROUP BY or inside an aggregate"),
                format!("add {ident} to GROUP BY, or write max({ident})"),
            )),
        }
    }

    fn unary(&mut self, op: UnaryOperator, inner: &Sql, scope: Scope) -> Refused<Expr> {
        match op {
            UnaryOperator::Not => Ok(not(self.condition(inner, scope)?)),
            UnaryOperator::Plus => self.number(inner, scope),
            UnaryOperator::Minus => Ok(match self.number(inner, scope)? {
                Expr::Literal(Scalar::Int(value)) => Expr::Literal(Scalar::Int(-value)),
                Expr::Literal(Scalar::Float(value)) => Expr::Literal(Scalar::Float(0.0 - value)),
                expr => Expr::Arith(
                    ArithOp::Sub,
                    Box::new(Expr::Literal(Scalar::Int(0))),
                    Box::new(expr),
                ),
            }),
            other => Err(not_yet(start_of(inner), &format!("the operator {other}"), "")),
        }
    }

    fn binary(
        &mut self,
        whole: &Sql,
        left: &Sql,
        op: &BinaryOperator,
        right: &Sql,
        scope: Scope,
    ) -> Refused<Expr> {
        use BinaryOperator as Op;
        let compare = |op| Some(Ok(op));
        let operator = match op {
            Op::Plus => Some(Err(ArithOp::Add)),
            Op::Minus => Some(Err(ArithOp::Sub)),
            Op::Multiply => Some(Err(ArithOp::Mul)),
            Op::Divide => Some(Err(ArithOp::Div)),
            Op::Modulo => Some(Err(ArithOp::Rem)),
            Op::Eq => compare(CompareOp::Eq),
            Op::NotEq => compare(CompareOp::NotEq),
            Op::Lt => compare(CompareOp::Lt),
            Op::LtEq => compare(CompareOp::LtEq),
            Op::Gt => compare(CompareOp::Gt),
            Op::GtEq => compare(CompareOp::GtEq),
            Op::And | Op::Or => None,
            other => return Err(not_yet(start_of(whole), &format!("the operator {other}"), "")),
        };
        match operator {
            Some(Ok(op)) => Ok(Expr::Compare(
                op,
                self.boxed(left, scope)?,
                self.boxed(right, scope)?,
            )),
            Some(Err(op)) => {
                let (left, right) = (self.number(left, scope)?, self.number(right, scope)?);
                let exact = op == ArithOp::Div && scope == Scope::Group && !self.both_counts(&left, &right);
                let op = if exact { ArithOp::DivExact } else { op };
                Ok(Expr::Arith(op, Box::new(left), Box::new(right)))
            }
            None => {
                let left = Box::new(self.condition(left, scope)?);
                let right = Box::new(self.condition(right, scope)?);
                Ok(if *op == Op::And {
                    Expr::And(left, right)
                } else {
                    Expr::Or(left, right)
                })
            }
        }
    }

    fn both_counts(&self, left: &Expr, right: &Expr) -> bool {
        self.kind(left) == StaticKind::Count && self.kind(right) == StaticKind::Count
    }

    /// An operand of AND, OR, NOT, or a whole WHERE.
    ///
    /// # Errors
    /// When it is surely not a condition.
    pub fn condition(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        let expr = self.lower(sql, scope)?;
        match self.kind(&expr) {
            StaticKind::Bool | StaticKind::Unknown | StaticKind::Null => Ok(expr),
            _ => Err(ViewError::new(
                start_of(sql),
                format!("{} is not a condition", shorten(sql)),
                "compare it with something, as in status <> 'test'",
            )),
        }
    }

    /// An operand of arithmetic.
    fn number(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        let expr = self.lower(sql, scope)?;
        match self.kind(&expr) {
            StaticKind::Text | StaticKind::Bool | StaticKind::Time => Err(ViewError::new(
                start_of(sql),
                format!("{} is not a number", shorten(sql)),
                "arithmetic needs numbers",
            )),
            _ => Ok(expr),
        }
    }

    fn is_bool(&mut self, inner: &Sql, value: bool, scope: Scope) -> Refused<Expr> {
        let operand = Box::new(self.condition(inner, scope)?);
        let equal = Expr::Compare(
            CompareOp::Eq,
            operand,
            Box::new(Expr::Literal(Scalar::Bool(value))),
        );
        Ok(Expr::Call(
            ScalarFn::Coalesce,
            vec![equal, Expr::Literal(Scalar::Bool(false))],
        ))
    }

    fn in_list(&mut self, expr: &Sql, list: &[Sql], negated: bool, scope: Scope) -> Refused<Expr> {
        let operand = self.boxed(expr, scope)?;
        let mut values = Vec::with_capacity(list.len());
        for item in list {
            match self.lower(item, scope)? {
                Expr::Literal(value) => values.push(value),
                _ => {
                    return Err(not_yet(
                        start_of(item),
                        "IN with anything but literals",
                        "chain comparisons with OR",
                    ));
                }
            }
        }
        Ok(negate(Expr::In(operand, values), negated))
    }

    fn like(&mut self, expr: &Sql, pattern: &Sql, ignore_case: bool, scope: Scope) -> Refused<Expr> {
        let text = self.boxed(expr, scope)?;
        match self.lower(pattern, scope)? {
            Expr::Literal(Scalar::Text(pattern)) => Ok(Expr::Like {
                text,
                pattern: pattern.as_ref().to_owned(),
                ignore_case,
            }),
            _ => Err(not_yet(
                start_of(pattern),
                "LIKE with anything but a text literal",
                "write the pattern in quotes",
            )),
        }
    }

    fn case(
        &mut self,
        operand: Option<&Sql>,
        conditions: &[CaseWhen],
        otherwise: Option<&Sql>,
        scope: Scope,
    ) -> Refused<Expr> {
        let mut arms = Vec::with_capacity(conditions.len());
        for CaseWhen { condition, result } in conditions {
            let when = match operand {
                Some(operand) => Expr::Compare(
                    CompareOp::Eq,
                    self.boxed(operand, scope)?,
                    self.boxed(condition, scope)?,
                ),
                None => self.condition(condition, scope)?,
            };
            arms.push((when, self.lower(result, scope)?));
        }
        let otherwise = match otherwise {
            Some(sql) => self.lower(sql, scope)?,
            None => Expr::Literal(Scalar::Null),
        };
        Ok(Expr::Case {
            arms,
            otherwise: Box::new(otherwise),
        })
    }

    /// What is known of an expression's values before there are any.
    pub fn kind(&self, expr: &Expr) -> StaticKind {
        match expr {
            Expr::Literal(value) => match value {
                Scalar::Null => StaticKind::Null,
                Scalar::Bool(_) => StaticKind::Bool,
                Scalar::Int(_) => StaticKind::Count,
                Scalar::Float(_) => StaticKind::Number,
                Scalar::Text(_) => StaticKind::Text,
                Scalar::Time(_) => StaticKind::Time,
            },
            Expr::Leaf(Leaf::WindowStart | Leaf::WindowEnd) => StaticKind::Time,
            Expr::Leaf(Leaf::Aggregate(at)) => self.aggregates[*at].kind(),
            // a key is what its expression is
            Expr::Leaf(Leaf::Key(at)) => self.kind(&self.keys[*at]),
            Expr::Leaf(Leaf::Column(_)) => StaticKind::Unknown,
            Expr::Arith(_, left, right) if self.both_counts(left, right) => StaticKind::Count,
            Expr::Arith(..) => StaticKind::Number,
            Expr::Compare(..) | Expr::And(..) | Expr::Or(..) | Expr::Not(_) => StaticKind::Bool,
            Expr::IsNull(_) | Expr::In(..) | Expr::Like { .. } => StaticKind::Bool,
            Expr::Case { arms, otherwise } => {
                self.common(arms.iter().map(|(_, then)| then).chain([otherwise.as_ref()]))
            }
            Expr::Cast(_, CastType::Int) => StaticKind::Count,
            Expr::Cast(_, CastType::Float) => StaticKind::Number,
            Expr::Cast(_, CastType::Text) => StaticKind::Text,
            Expr::Cast(_, CastType::Bool) => StaticKind::Bool,
            Expr::Call(function, args) => match function {
                ScalarFn::Lower | ScalarFn::Upper => StaticKind::Text,
                ScalarFn::Length => StaticKind::Count,
                ScalarFn::Abs | ScalarFn::Ceil | ScalarFn::Floor | ScalarFn::Round => StaticKind::Number,
                ScalarFn::NullIf => args.first().map_or(StaticKind::Null, |arg| self.kind(arg)),
                ScalarFn::Coalesce | ScalarFn::Greatest | ScalarFn::Least => self.common(args.iter()),
            },
        }
    }

    fn common<'a>(&self, exprs: impl Iterator<Item = &'a Expr>) -> StaticKind {
        exprs
            .map(|expr| self.kind(expr))
            .fold(StaticKind::Null, |all, one| match (all, one) {
                (StaticKind::Null, kind) | (kind, StaticKind::Null) => kind,
                (a, b) if a == b => a,
                (StaticKind::Count | StaticKind::Number, StaticKind::Count | StaticKind::Number) => {
                    StaticKind::Number
                }
                _ => StaticKind::Unknown,
            })
    }
}

/// `window_start` and `window_end`, in any case unless quoted.
pub(super) fn window_bound(ident: &Ident) -> Option<Leaf> {
    let is = |name: &str| match ident.quote_style {
        Some(_) => ident.value == name,
        None => ident.value.eq_ignore_ascii_case(name),
    };
    if is("window_start") {
        Some(Leaf::WindowStart)
    } else if is("window_end") {
        Some(Leaf::WindowEnd)
    } else {
        None
    }
}

fn not(expr: Expr) -> Expr {
    Expr::Not(Box::new(expr))
}

fn negate(expr: Expr, negated: bool) -> Expr {
    if negated { not(expr) } else { expr }
}

fn literal(value: &Value) -> Result<Scalar, String> {
    match value {
        Value::Number(text, _) => {
            let float = || text.parse::<f64>().ok().and_then(Scalar::finite);
            text.parse()
                .ok()
                .map(Scalar::Int)
                .or_else(float)
                .ok_or_else(|| format!("{text} is not a usable number"))
        }
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Ok(text.as_str().into()),
        Value::DollarQuotedString(text) => Ok(Scalar::Text(Arc::from(text.value.as_str()))),
        Value::Boolean(value) => Ok(Scalar::Bool(*value)),
        Value::Null => Ok(Scalar::Null),
        other => Err(format!("the literal {other} is not supported")),
    }
}

fn timestamp(sql: &Sql, data_type: &DataType, value: &Value) -> Refused<Expr> {
    let text = match (data_type, value) {
        (DataType::Timestamp(..), Value::SingleQuotedString(text)) => text,
        _ => {
            return Err(not_yet(
                start_of(sql),
                &format!("a literal of type {data_type}"),
                "write TIMESTAMP '...'",
            ));
        }
    };
    parse_rfc3339(text)
        .map(|millis| Expr::Literal(Scalar::Time(millis)))
        .ok_or_else(|| {
            ViewError::new(
                start_of(sql),
                format!("'{text}' is not a time"),
                "write it like '2026-01-31T12:00:00Z'",
            )
        })
}

fn cast_type(data_type: &DataType) -> Option<CastType> {
    match data_type.to_string().to_ascii_lowercase().as_str() {
        "int" | "integer" | "bigint" | "int8" | "int4" => Some(CastType::Int),
        "float" | "float8" | "double" | "double precision" | "real" | "numeric" | "decimal" => {
            Some(CastType::Float)
        }
        "text" | "varchar" | "character varying" => Some(CastType::Text),
        "bool" | "boolean" => Some(CastType::Bool),
        _ => None,
    }
}

/// The place of an expression. Goes down chains like `a + b + c` itself, because they may be longer than a
/// stack allows a recursion to be.
pub(super) fn start_of(sql: &Sql) -> (u64, u64) {
    let mut leftmost = sql;
    loop {
        leftmost = match leftmost {
            Sql::BinaryOp { left: inner, .. }
            | Sql::Nested(inner)
            | Sql::IsNull(inner)
            | Sql::IsNotNull(inner)
            | Sql::IsTrue(inner)
            | Sql::IsNotTrue(inner)
            | Sql::IsFalse(inner)
            | Sql::IsNotFalse(inner)
            | Sql::InList { expr: inner, .. }
            | Sql::Between { expr: inner, .. }
            | Sql::Like { expr: inner, .. }
            | Sql::ILike { expr: inner, .. }
            | Sql::Cast {
                kind: CastKind::DoubleColon,
                expr: inner,
                ..
            } => inner,
            found => return place(found),
        };
    }
}

/// An expression as it may stand in a message.
pub(super) fn shorten(sql: &Sql) -> String {
    let text = sql.to_string();
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}
