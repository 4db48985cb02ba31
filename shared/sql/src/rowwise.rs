//! Evaluation of expressions value by value. It defines what an expression means; the kernels in
//! [`super::vector`] are its fast form for whole columns and must agree with it.

use std::cell::Cell;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::{Array, BooleanArray, StringArray};

use super::bind::{Frame, Mode, Vector};
use super::expr::{ArithOp, CastType, CompareOp, Expr, Leaf, ScalarFn};
use super::json;
use super::scalar::Scalar;
use super::times::{as_time, in_range, parse_time};
use super::{memo, promote, texts, vector};

/// Where the leaves of an expression get their values.
pub trait Env {
    fn leaf(&self, leaf: Leaf) -> Scalar;
}

/// Evaluates expressions and counts the operations that gave NULL for want of a result.
#[derive(Debug)]
pub struct Evaluator {
    pub mode: Mode,
    failures: Cell<u64>,
}

struct Row<'a> {
    frame: &'a Frame,
    row: usize,
}

impl Env for Row<'_> {
    fn leaf(&self, leaf: Leaf) -> Scalar {
        match leaf {
            Leaf::Column(column) => self.frame.scalar(column, self.row),
            // the lowering puts no other leaf into an expression over rows
            Leaf::Key(_) | Leaf::Aggregate(_) | Leaf::WindowStart | Leaf::WindowEnd => Scalar::Null,
        }
    }
}

impl Evaluator {
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            failures: Cell::new(0),
        }
    }

    /// Operations that gave NULL so far.
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }

    /// The expression's values over a batch. By kernels where the columns have one type each, else by row; a
    /// kernel that refuses a whole batch for one value (overflow, division by zero) is redone by row as well.
    pub fn values(&self, expr: &Expr, frame: &Frame) -> Vector {
        let promoted = self.promoted(expr, frame);
        let expr = promoted.as_ref().unwrap_or(expr);
        if vector::fits(expr, frame)
            && let Ok((values, failures)) = vector::evaluate(expr, frame)
        {
            self.failures.set(self.failures.get() + failures);
            return values;
        }
        if let Some((values, failures)) = memo::by_value(self, expr, frame) {
            self.failures.set(self.failures.get() + failures);
            return values;
        }
        Vector::Scalars(self.each(expr, frame))
    }

    fn promoted(&self, expr: &Expr, frame: &Frame) -> Option<Expr> {
        match self.mode {
            Mode::Typed => promote::promote(expr, frame),
            Mode::Json => None,
        }
    }

    fn each(&self, expr: &Expr, frame: &Frame) -> Vec<Scalar> {
        let rows = 0..frame.rows;
        rows.map(|row| self.value(expr, &Row { frame, row })).collect()
    }

    /// The values as they are defined, without any short cut.
    #[cfg(test)]
    pub(super) fn by_row(&self, expr: &Expr, frame: &Frame) -> Vec<Scalar> {
        let promoted = self.promoted(expr, frame);
        self.each(promoted.as_ref().unwrap_or(expr), frame)
    }

    /// The rows for which a condition is true.
    pub fn mask(&self, condition: &Expr, frame: &Frame) -> BooleanArray {
        match self.values(condition, frame) {
            Vector::Bool(mask) if mask.nulls().is_none() => mask,
            Vector::Bool(mask) => arrow_select::filter::prep_null_mask_filter(&mask),
            Vector::Scalars(values) => values.iter().map(|v| Some(*v == Scalar::Bool(true))).collect(),
            // neither true nor false
            Vector::Null | Vector::Int(_) | Vector::Float(_) | Vector::Text(_) | Vector::Time(_) => {
                BooleanArray::from(vec![false; frame.rows])
            }
        }
    }

    /// The expression's value in an environment.
    pub fn value(&self, expr: &Expr, env: &dyn Env) -> Scalar {
        match expr {
            Expr::Literal(value) => value.clone(),
            Expr::Leaf(leaf) => env.leaf(*leaf),
            Expr::Arith(op, left, right) => self.arith(*op, &self.value(left, env), &self.value(right, env)),
            Expr::Compare(op, left, right) => {
                let (a, b) = (self.value(left, env), self.value(right, env));
                let (a, b) = match (left.as_ref(), right.as_ref()) {
                    (Expr::Literal(_), Expr::Literal(_)) => (a, b),
                    (Expr::Literal(Scalar::Text(text)), _) => (read_like(text, &b), b),
                    (_, Expr::Literal(Scalar::Text(text))) => {
                        let read = read_like(text, &a);
                        (a, read)
                    }
                    _ => (a, b),
                };
                compare(*op, &a, &b)
            }
            Expr::And(left, right) => {
                match (as_bool(&self.value(left, env)), as_bool(&self.value(right, env))) {
                    (Some(false), _) | (_, Some(false)) => Scalar::Bool(false),
                    (Some(true), Some(true)) => Scalar::Bool(true),
                    _ => Scalar::Null,
                }
            }
            Expr::Or(left, right) => {
                match (as_bool(&self.value(left, env)), as_bool(&self.value(right, env))) {
                    (Some(true), _) | (_, Some(true)) => Scalar::Bool(true),
                    (Some(false), Some(false)) => Scalar::Bool(false),
                    _ => Scalar::Null,
                }
            }
            Expr::Not(inner) => as_bool(&self.value(inner, env)).map_or(Scalar::Null, |v| Scalar::Bool(!v)),
            Expr::IsNull(inner) => Scalar::Bool(self.value(inner, env).is_null()),
            Expr::In(operand, list) => is_in(&self.value(operand, env), list),
            Expr::Like {
                text,
                pattern,
                ignore_case,
            } => match self.value(text, env) {
                Scalar::Text(text) => like(&text, pattern, *ignore_case),
                _ => Scalar::Null,
            },
            Expr::Regex { text, pattern, job } => match self.value(text, env) {
                Scalar::Text(text) => self.or_failure(pattern.apply(job, &text)),
                _ => Scalar::Null,
            },
            Expr::Path { of, steps, as_text } => match self.value(of, env) {
                Scalar::Text(text) => json::pick(&text, steps).map_or(Scalar::Null, |value| {
                    if *as_text {
                        json::to_text(&value)
                    } else {
                        self.or_failure(Some(json::from_json(&value)))
                    }
                }),
                _ => Scalar::Null,
            },
            Expr::Shift(time, span) => {
                self.at_time(&self.value(time, env), |time| span.shift(time).map(Scalar::Time))
            }
            Expr::Case { arms, otherwise } => {
                let hit = arms
                    .iter()
                    .find(|(when, _)| self.value(when, env) == Scalar::Bool(true));
                self.value(hit.map_or(otherwise.as_ref(), |(_, then)| then), env)
            }
            Expr::Cast(inner, to) => self.cast(&self.value(inner, env), *to),
            Expr::Call(function, args) => self.call(*function, args, env),
        }
    }

    /// What becomes of a time; NULL when the value says none.
    fn at_time(&self, value: &Scalar, map: impl FnOnce(i64) -> Option<Scalar>) -> Scalar {
        match as_time(value) {
            Ok(None) => Scalar::Null,
            Ok(Some(time)) => self.or_failure(map(time)),
            Err(_) => self.or_failure(None),
        }
    }

    fn or_failure(&self, value: Option<Scalar>) -> Scalar {
        match value {
            Some(value) if self.mode == Mode::Json => value.normalised(),
            Some(value) => value,
            None => {
                self.failures.set(self.failures.get() + 1);
                Scalar::Null
            }
        }
    }

    fn arith(&self, op: ArithOp, left: &Scalar, right: &Scalar) -> Scalar {
        if let (Scalar::Int(a), Scalar::Int(b), Mode::Typed) = (left, right, self.mode)
            && op != ArithOp::DivExact
        {
            let value = match op {
                ArithOp::Add => a.checked_add(*b),
                ArithOp::Sub => a.checked_sub(*b),
                ArithOp::Mul => a.checked_mul(*b),
                ArithOp::Div | ArithOp::DivExact => a.checked_div(*b),
                // the remainder of the one overflowing division is 0
                ArithOp::Rem => (*b != 0).then(|| a.wrapping_rem(*b)),
            };
            return self.or_failure(value.map(Scalar::Int));
        }
        let (Some(a), Some(b)) = (left.as_f64(), right.as_f64()) else {
            return Scalar::Null;
        };
        let value = match op {
            ArithOp::Add => a + b,
            ArithOp::Sub => a - b,
            ArithOp::Mul => a * b,
            ArithOp::Div | ArithOp::DivExact => a / b,
            ArithOp::Rem => a % b,
        };
        self.or_failure(Scalar::finite(value))
    }

    fn cast(&self, value: &Scalar, to: CastType) -> Scalar {
        let cast = match (to, value) {
            (_, Scalar::Null) => return Scalar::Null,
            (CastType::Int, Scalar::Int(_))
            | (CastType::Float, Scalar::Float(_))
            | (CastType::Bool, Scalar::Bool(_)) => Some(value.clone()),
            (CastType::Int, Scalar::Float(value)) => to_int(value.round_ties_even()),
            (CastType::Int, Scalar::Text(text)) => text.trim().parse().ok().map(Scalar::Int),
            (CastType::Int, Scalar::Bool(value)) => Some(Scalar::Int(i64::from(*value))),
            (CastType::Float, Scalar::Int(value)) => Some(Scalar::Float(*value as f64)),
            (CastType::Float, Scalar::Text(text)) => text.trim().parse().ok().and_then(Scalar::finite),
            (CastType::Text, value) => Some(texts::written(value)),
            (CastType::Time, value) => return self.at_time(value, |time| Some(Scalar::Time(time))),
            (CastType::Bool, Scalar::Int(value)) => Some(Scalar::Bool(*value != 0)),
            (CastType::Bool, Scalar::Text(text)) => read_bool(text).map(Scalar::Bool),
            (CastType::Int | CastType::Float | CastType::Bool, _) => None,
        };
        self.or_failure(cast)
    }

    fn call(&self, function: ScalarFn, args: &[Expr], env: &dyn Env) -> Scalar {
        let arg = |at: usize| args.get(at).map_or(Scalar::Null, |expr| self.value(expr, env));
        let present = || {
            args.iter()
                .map(|expr| self.value(expr, env))
                .filter(|value| !value.is_null())
        };
        match function {
            ScalarFn::Coalesce => present().next().unwrap_or_default(),
            ScalarFn::NullIf => {
                let value = arg(0);
                if value.compare(&arg(1)) == Some(Ordering::Equal) {
                    Scalar::Null
                } else {
                    value
                }
            }
            ScalarFn::Greatest => present().max_by(Scalar::total_cmp).unwrap_or_default(),
            ScalarFn::Least => present().min_by(Scalar::total_cmp).unwrap_or_default(),
            ScalarFn::DateTrunc(unit) => self.at_time(&arg(0), |time| unit.truncate(time).map(Scalar::Time)),
            ScalarFn::DatePart(unit) => {
                self.at_time(&arg(0), |time| unit.part(time).and_then(Scalar::finite))
            }
            ScalarFn::DateBin(width) => match as_time(&arg(1)) {
                Ok(Some(origin)) => self.at_time(&arg(0), |time| {
                    in_range(time - (time - origin).rem_euclid(width)).map(Scalar::Time)
                }),
                Ok(None) => Scalar::Null,
                Err(_) => self.or_failure(None),
            },
            ScalarFn::Of(function) => {
                let args: Vec<Scalar> = args.iter().map(|expr| self.value(expr, env)).collect();
                self.or_failure(function.call(&args))
            }
        }
    }
}

fn as_bool(value: &Scalar) -> Option<bool> {
    match value {
        Scalar::Bool(value) => Some(*value),
        _ => None,
    }
}

fn compare(op: CompareOp, left: &Scalar, right: &Scalar) -> Scalar {
    if matches!(op, CompareOp::Distinct | CompareOp::NotDistinct) {
        let both = left.is_null() && right.is_null();
        let same = both || left.compare(right) == Some(Ordering::Equal);
        return Scalar::Bool(same == (op == CompareOp::NotDistinct));
    }
    left.compare(right).map_or(Scalar::Null, |order| {
        Scalar::Bool(match op {
            CompareOp::Eq | CompareOp::NotDistinct => order.is_eq(),
            CompareOp::NotEq | CompareOp::Distinct => order.is_ne(),
            CompareOp::Lt => order.is_lt(),
            CompareOp::LtEq => order.is_le(),
            CompareOp::Gt => order.is_gt(),
            CompareOp::GtEq => order.is_ge(),
        })
    })
}

fn is_in(value: &Scalar, list: &[Scalar]) -> Scalar {
    let mut unknown = false;
    for item in list {
        let item = match item {
            Scalar::Text(text) => read_like(text, value),
            other => other.clone(),
        };
        match value.compare(&item) {
            Some(Ordering::Equal) => return Scalar::Bool(true),
            Some(_) => {}
            None => unknown = true,
        }
    }
    if unknown {
        Scalar::Null
    } else {
        Scalar::Bool(false)
    }
}

/// A text literal that is compared with `other` is read as a value of its kind; NULL when it is none.
pub(super) fn read_like(text: &Arc<str>, other: &Scalar) -> Scalar {
    match other {
        Scalar::Int(_) | Scalar::Float(_) => {
            let float = || text.trim().parse().ok().and_then(Scalar::finite);
            text.trim()
                .parse()
                .ok()
                .map(Scalar::Int)
                .or_else(float)
                .unwrap_or_default()
        }
        Scalar::Bool(_) => read_bool(text).map_or(Scalar::Null, Scalar::Bool),
        Scalar::Time(_) => parse_time(text).map_or(Scalar::Null, Scalar::Time),
        Scalar::Text(_) | Scalar::Null => Scalar::Text(Arc::clone(text)),
    }
}

/// PostgreSQL's spellings of booleans.
fn read_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn to_int(value: f64) -> Option<Scalar> {
    // both bounds are exact as floats; the upper one is excluded
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&value)
        .then_some(Scalar::Int(value as i64))
}

fn like(text: &str, pattern: &str, ignore_case: bool) -> Scalar {
    let (text, pattern) = (StringArray::new_scalar(text), StringArray::new_scalar(pattern));
    let result = if ignore_case {
        arrow_string::like::ilike(&text, &pattern)
    } else {
        arrow_string::like::like(&text, &pattern)
    };
    // the kernel fails only on patterns beyond the regex size limit
    result.map_or(Scalar::Null, |matched| Scalar::Bool(matched.value(0)))
}
