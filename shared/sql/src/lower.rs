//! From sqlparser's expressions to ours: names become numbers, spellings are reduced, and what a view cannot
//! say is refused by place.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr as Sql, Ident, UnaryOperator,
};

use super::aggregate::{Aggregate, CellSpec};
use super::expr::{ArithOp, CompareOp, Expr, Leaf, ScalarFn};
use super::functions::{self, Function};
use super::kinds::{KnownColumns, StaticKind};
use super::literal;
use super::messages::ViewError;
use super::parse::place;
use super::plan::ViewPlan;
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
    /// The stream's columns, where a schema names them.
    pub known: Option<Arc<KnownColumns>>,
    /// The view that is read, when it is none but a stream's.
    pub source: Option<Arc<ViewPlan>>,
    /// Cells that are merged from the source's.
    pub merged: BTreeMap<usize, usize>,
    /// Aggregates in the order that they were met, again and again.
    pub used: Vec<usize>,
    /// The view has windows, whose length a rate divides by.
    pub windowed: bool,
    /// Expressions around the present one.
    pub depth: usize,
}

/// Expressions are evaluated recursively, on threads with small stacks.
const MAX_DEPTH: usize = 64;

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
            Sql::Value(value) => literal::literal(&value.value)
                .map(Expr::Literal)
                .map_err(|message| {
                    ViewError::new(
                        place(value),
                        message,
                        "literals are numbers, 'texts', true, false and NULL",
                    )
                }),
            Sql::TypedString(typed) => literal::typed(sql, &typed.data_type, &typed.value.value),
            Sql::Identifier(ident) => self.identifier(ident, scope),
            Sql::CompoundIdentifier(_) | Sql::CompoundFieldAccess { .. } => self.path(sql, scope),
            Sql::UnaryOp { op, expr } => self.unary(*op, expr, scope),
            Sql::BinaryOp { left, op, right } => self.binary(sql, left, op, right, scope),
            Sql::IsNull(inner) => Ok(Expr::IsNull(self.boxed(inner, scope)?)),
            Sql::IsNotNull(inner) => Ok(not(Expr::IsNull(self.boxed(inner, scope)?))),
            Sql::IsUnknown(inner) => Ok(Expr::IsNull(Box::new(self.condition(inner, scope)?))),
            Sql::IsNotUnknown(inner) => Ok(not(Expr::IsNull(Box::new(self.condition(inner, scope)?)))),
            Sql::IsTrue(inner) => self.is_bool(inner, true, scope),
            Sql::IsNotTrue(inner) => self.is_bool(inner, true, scope).map(not),
            Sql::IsFalse(inner) => self.is_bool(inner, false, scope),
            Sql::IsNotFalse(inner) => self.is_bool(inner, false, scope).map(not),
            Sql::IsDistinctFrom(a, b) => self.compare(CompareOp::Distinct, a, b, scope),
            Sql::IsNotDistinctFrom(a, b) => self.compare(CompareOp::NotDistinct, a, b, scope),
            Sql::Between {
                expr,
                negated,
                low,
                high,
            } => {
                let from = self.compare(CompareOp::GtEq, expr, low, scope)?;
                let to = self.compare(CompareOp::LtEq, expr, high, scope)?;
                Ok(negate(Expr::And(Box::new(from), Box::new(to)), *negated))
            }
            Sql::InList { expr, list, negated } => self
                .in_list(expr, list, scope)
                .map(|found| negate(found, *negated)),
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
            Sql::Function(function) => match self.rollup_call(function, scope)? {
                Some(merged) => Ok(merged),
                None => self.function(function, scope),
            },
            Sql::Floor {
                expr,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => self.named("floor", &[expr], scope),
            Sql::Ceil {
                expr,
                field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime),
            } => self.named("ceil", &[expr], scope),
            other => self.special_syntax(other, scope),
        }
    }

    pub(super) fn boxed(&mut self, sql: &Sql, scope: Scope) -> Refused<Box<Expr>> {
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
            (None, Scope::Row(_)) => {
                if let Some(known) = &self.known {
                    known.check(&ident.value, found)?;
                }
                Ok(Expr::Leaf(Leaf::Column(self.column(&ident.value))))
            }
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
            UnaryOperator::PGAbs => self.named("abs", &[inner], scope),
            UnaryOperator::PGSquareRoot => self.named("sqrt", &[inner], scope),
            UnaryOperator::PGCubeRoot => self.named("cbrt", &[inner], scope),
            UnaryOperator::BitwiseNot => {
                // all bits of -1 are set
                let ones = Expr::Literal(Scalar::Int(-1));
                let value = self.lower(inner, scope)?;
                self.check_argument("~", functions::Takes::Int, inner, &value)?;
                Ok(Expr::Call(ScalarFn::Of(&functions::BIT_XOR), vec![value, ones]))
            }
            other => Err(unsupported(start_of(inner), &format!("the operator {other}"), "")),
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
        let arith = match op {
            Op::Plus => ArithOp::Add,
            Op::Minus => ArithOp::Sub,
            Op::Multiply => ArithOp::Mul,
            Op::Divide => ArithOp::Div,
            Op::Modulo => ArithOp::Rem,
            Op::Eq => return self.compare(CompareOp::Eq, left, right, scope),
            Op::NotEq => return self.compare(CompareOp::NotEq, left, right, scope),
            Op::Lt => return self.compare(CompareOp::Lt, left, right, scope),
            Op::LtEq => return self.compare(CompareOp::LtEq, left, right, scope),
            Op::Gt => return self.compare(CompareOp::Gt, left, right, scope),
            Op::GtEq => return self.compare(CompareOp::GtEq, left, right, scope),
            Op::And | Op::Or => {
                let left = Box::new(self.condition(left, scope)?);
                let right = Box::new(self.condition(right, scope)?);
                return Ok(if *op == Op::And {
                    Expr::And(left, right)
                } else {
                    Expr::Or(left, right)
                });
            }
            _ => return self.operator(whole, left, op, right, scope),
        };
        if let Some(shifted) = self.interval_arithmetic(arith, left, right, scope)? {
            return Ok(shifted);
        }
        let (a, b) = (self.number(left, scope)?, self.number(right, scope)?);
        let exact = arith == ArithOp::Div && scope == Scope::Group && !self.both_counts(&a, &b);
        let op = if exact { ArithOp::DivExact } else { arith };
        Ok(Expr::Arith(op, Box::new(a), Box::new(b)))
    }

    pub(super) fn compare(&mut self, op: CompareOp, left: &Sql, right: &Sql, scope: Scope) -> Refused<Expr> {
        let (a, b) = (self.lower(left, scope)?, self.lower(right, scope)?);
        let (a, b) = self.alike((left, a), (right, b))?;
        Ok(Expr::Compare(op, Box::new(a), Box::new(b)))
    }

    /// A function of the table that SQL spells otherwise.
    pub(super) fn named(&mut self, name: &str, args: &[&Sql], scope: Scope) -> Refused<Expr> {
        match Function::find(name) {
            Some(function) => self.plain_call(function, args, scope),
            None => Err(ViewError::new(
                args.first().map_or((1, 1), |sql| start_of(sql)),
                format!("there is no function {name}"),
                "",
            )),
        }
    }

    pub(super) fn both_counts(&self, left: &Expr, right: &Expr) -> bool {
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
    pub(super) fn number(&mut self, sql: &Sql, scope: Scope) -> Refused<Expr> {
        let expr = self.lower(sql, scope)?;
        let hint = match self.kind(&expr) {
            StaticKind::Time => {
                "move times by INTERVAL '1 hour'; extract(epoch FROM a) - extract(epoch FROM b) is their distance"
            }
            StaticKind::Text => "arithmetic needs numbers; texts are joined with ||",
            StaticKind::Bool => "arithmetic needs numbers; write CASE WHEN condition THEN 1 ELSE 0 END",
            _ => return Ok(expr),
        };
        let message = format!("{} is not a number", shorten(sql));
        Err(ViewError::new(start_of(sql), message, hint))
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

pub(super) fn not(expr: Expr) -> Expr {
    Expr::Not(Box::new(expr))
}

pub(super) fn negate(expr: Expr, negated: bool) -> Expr {
    if negated { not(expr) } else { expr }
}

/// What no view can say.
pub(super) fn unsupported(found: (u64, u64), what: &str, instead: &str) -> ViewError {
    ViewError::new(found, format!("{what} is not supported in views"), instead)
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
            | Sql::SimilarTo { expr: inner, .. }
            | Sql::IsUnknown(inner)
            | Sql::IsNotUnknown(inner)
            | Sql::IsDistinctFrom(inner, _)
            | Sql::IsNotDistinctFrom(inner, _)
            | Sql::AnyOp { left: inner, .. }
            | Sql::AllOp { left: inner, .. }
            | Sql::AtTimeZone { timestamp: inner, .. }
            | Sql::CompoundFieldAccess { root: inner, .. }
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
