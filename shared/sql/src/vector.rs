//! Evaluation of expressions over whole columns by typed Arrow kernels.

use std::sync::Arc;

use arrow_arith::boolean::{and_kleene, is_null, not, or_kleene};
use arrow_arith::numeric;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Datum, Float64Array, Int64Array, NullArray, StringArray,
    TimestampMillisecondArray,
};
use arrow_ord::cmp;
use arrow_schema::{ArrowError, DataType};
use arrow_select::filter::prep_null_mask_filter;
use arrow_select::zip::zip;
use arrow_string::like::{ilike, like};

use super::bind::{Bound, Frame, Mode, Vector, finite};
use super::convert::{ints_to_floats, texts};
use super::expr::{ArithOp, CastType, CompareOp, Expr, Leaf, ScalarFn};
use super::rowwise::read_like;
use super::scalar::Scalar;
use super::times::in_range;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Bool,
    Int,
    Float,
    Text,
    Time,
}

/// A column, or one value for all rows.
struct Col {
    array: ArrayRef,
    scalar: bool,
    kind: Kind,
}

impl Datum for Col {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.scalar)
    }
}

impl Col {
    fn rows(array: ArrayRef, kind: Kind) -> Self {
        Self {
            array,
            scalar: false,
            kind,
        }
    }

    fn null() -> Self {
        Self {
            array: Arc::new(NullArray::new(1)),
            scalar: true,
            kind: Kind::Null,
        }
    }

    fn literal(value: &Scalar) -> Self {
        let (array, kind): (ArrayRef, Kind) = match value {
            Scalar::Null => return Self::null(),
            Scalar::Bool(value) => (Arc::new(BooleanArray::from(vec![*value])), Kind::Bool),
            Scalar::Int(value) => (Arc::new(Int64Array::from(vec![*value])), Kind::Int),
            Scalar::Float(value) => (Arc::new(Float64Array::from(vec![*value])), Kind::Float),
            Scalar::Text(value) => (Arc::new(StringArray::from(vec![value.as_ref()])), Kind::Text),
            Scalar::Time(value) => (
                Arc::new(TimestampMillisecondArray::from(vec![*value])),
                Kind::Time,
            ),
        };
        Self {
            array,
            scalar: true,
            kind,
        }
    }

    fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Int | Kind::Float)
    }

    fn to_float(&self) -> Result<Self, ArrowError> {
        let array = match self.kind {
            Kind::Float => Arc::clone(&self.array),
            Kind::Int => Arc::new(ints_to_floats(self.array.as_primitive::<Int64Type>())),
            _ => return Err(by_row()),
        };
        Ok(Self {
            array,
            scalar: self.scalar,
            kind: Kind::Float,
        })
    }

    /// One boolean for each row; NULL where this is no boolean.
    fn to_bools(&self, rows: usize) -> BooleanArray {
        match (self.kind, self.scalar) {
            (Kind::Bool, false) => self.array.as_boolean().clone(),
            (Kind::Bool, true) if self.array.is_valid(0) => {
                BooleanArray::from(vec![self.array.as_boolean().value(0); rows])
            }
            _ => BooleanArray::new_null(rows),
        }
    }
}

/// Whether kernels can evaluate the expression over this batch: every column has one type, and there is no
/// operation that only exists by row.
pub(super) fn fits(expr: &Expr, frame: &Frame) -> bool {
    match expr {
        Expr::Literal(_) => true,
        Expr::Leaf(Leaf::Column(at)) => {
            matches!(&frame.columns[*at], Bound::Plain(column) if !matches!(column, Vector::Scalars(_)))
        }
        Expr::Leaf(_) | Expr::Regex { .. } | Expr::Path { .. } => false,
        Expr::Cast(a, to) => match (to, a.as_ref()) {
            (CastType::Float, Expr::Leaf(Leaf::Column(at))) => is_numeric(frame, *at),
            (CastType::Float, Expr::Literal(Scalar::Int(_) | Scalar::Float(_))) => true,
            (CastType::Time, Expr::Leaf(Leaf::Column(at))) => is_time(frame, *at),
            _ => false,
        },
        Expr::Call(ScalarFn::Coalesce | ScalarFn::DateTrunc(_) | ScalarFn::DatePart(_), args) => {
            args.iter().all(|arg| fits(arg, frame))
        }
        Expr::Call(..) => false,
        Expr::Arith(..)
        | Expr::Compare(..)
        | Expr::And(..)
        | Expr::Or(..)
        | Expr::Not(_)
        | Expr::IsNull(_)
        | Expr::In(..)
        | Expr::Like { .. }
        | Expr::Shift(..)
        | Expr::Case { .. } => expr.children().into_iter().all(|child| fits(child, frame)),
    }
}

fn is_time(frame: &Frame, column: usize) -> bool {
    matches!(
        frame.columns[column],
        Bound::Plain(Vector::Time(_) | Vector::Int(_))
    )
}

fn is_numeric(frame: &Frame, column: usize) -> bool {
    matches!(
        frame.columns[column],
        Bound::Plain(Vector::Int(_) | Vector::Float(_))
    )
}

/// The expression's values, and how many of its operations gave NULL for want of a result.
///
/// # Errors
/// When a kernel refuses the batch, as integer kernels do on overflow and division by zero.
pub(super) fn evaluate(expr: &Expr, frame: &Frame) -> Result<(Vector, u64), ArrowError> {
    let mut kernels = Kernels { frame, failures: 0 };
    let col = kernels.eval(expr)?;
    Ok((spread(&col, frame.rows), kernels.failures))
}

/// One value for each row.
fn spread(col: &Col, rows: usize) -> Vector {
    if !col.scalar {
        return match col.kind {
            Kind::Null => Vector::Null,
            Kind::Bool => Vector::Bool(col.array.as_boolean().clone()),
            Kind::Int => Vector::Int(col.array.as_primitive::<Int64Type>().clone()),
            Kind::Float => Vector::Float(col.array.as_primitive::<Float64Type>().clone()),
            Kind::Text => Vector::Text(Arc::clone(&col.array)),
            Kind::Time => Vector::Time(col.array.as_primitive::<TimestampMillisecondType>().clone()),
        };
    }
    if col.kind == Kind::Null || col.array.is_null(0) {
        return Vector::Null;
    }
    match col.kind {
        Kind::Null => Vector::Null,
        Kind::Bool => Vector::Bool(col.to_bools(rows)),
        Kind::Int => Vector::Int(vec![col.array.as_primitive::<Int64Type>().value(0); rows].into()),
        Kind::Float => Vector::Float(vec![col.array.as_primitive::<Float64Type>().value(0); rows].into()),
        Kind::Text => {
            let text = col.array.as_string::<i32>().value(0);
            Vector::Text(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                text, rows,
            ))))
        }
        Kind::Time => {
            let time = col.array.as_primitive::<TimestampMillisecondType>().value(0);
            Vector::Time(vec![time; rows].into())
        }
    }
}

struct Kernels<'a> {
    frame: &'a Frame,
    failures: u64,
}

impl Kernels<'_> {
    fn eval(&mut self, expr: &Expr) -> Result<Col, ArrowError> {
        let rows = self.frame.rows;
        let bools = |array: BooleanArray| Ok(Col::rows(Arc::new(array), Kind::Bool));
        match expr {
            Expr::Literal(value) => Ok(Col::literal(value)),
            Expr::Leaf(Leaf::Column(at)) => Ok(self.column(*at)),
            Expr::Arith(op, left, right) => {
                let (left, right) = (self.eval(left)?, self.eval(right)?);
                self.arith(*op, &left, &right)
            }
            Expr::Compare(op, left, right) => {
                let (a, b) = (self.eval(left)?, self.eval(right)?);
                let (a, b) = match (left.as_ref(), right.as_ref()) {
                    (Expr::Literal(_), Expr::Literal(_)) => (a, b),
                    (Expr::Literal(Scalar::Text(text)), _) => (read_as(text, b.kind), b),
                    (_, Expr::Literal(Scalar::Text(text))) => {
                        let read = read_as(text, a.kind);
                        (a, read)
                    }
                    _ => (a, b),
                };
                bools(compare(*op, &a, &b, rows)?)
            }
            Expr::And(left, right) => {
                let (left, right) = (self.eval(left)?.to_bools(rows), self.eval(right)?.to_bools(rows));
                bools(and_kleene(&left, &right)?)
            }
            Expr::Or(left, right) => {
                let (left, right) = (self.eval(left)?.to_bools(rows), self.eval(right)?.to_bools(rows));
                bools(or_kleene(&left, &right)?)
            }
            Expr::Not(inner) => bools(not(&self.eval(inner)?.to_bools(rows))?),
            Expr::IsNull(inner) => {
                let inner = self.eval(inner)?;
                let scalar_null = inner.kind == Kind::Null || (inner.scalar && inner.array.is_null(0));
                if inner.scalar || scalar_null {
                    return bools(BooleanArray::from(vec![scalar_null; rows]));
                }
                bools(is_null(&inner.array)?)
            }
            Expr::In(operand, list) => {
                let operand = self.eval(operand)?;
                let mut any = BooleanArray::from(vec![false; rows]);
                for item in list {
                    let item = match item {
                        Scalar::Text(text) => read_as(text, operand.kind),
                        other => Col::literal(other),
                    };
                    any = or_kleene(&any, &compare(CompareOp::Eq, &operand, &item, rows)?)?;
                }
                bools(any)
            }
            Expr::Like {
                text,
                pattern,
                ignore_case,
            } => {
                let text = self.eval(text)?;
                if text.kind != Kind::Text {
                    return Ok(Col::null());
                }
                let pattern = StringArray::new_scalar(pattern);
                let matched = if *ignore_case {
                    ilike(&text, &pattern)?
                } else {
                    like(&text, &pattern)?
                };
                Ok(Col {
                    array: Arc::new(matched),
                    scalar: text.scalar,
                    kind: Kind::Bool,
                })
            }
            Expr::Cast(inner, CastType::Time) => {
                let col = self.eval(inner)?;
                self.time_column(col)
            }
            Expr::Cast(inner, _) => self.eval(inner)?.to_float(),
            Expr::Shift(time, span) => {
                let time = self.eval(time)?;
                self.of_times(time, |time| span.shift(time))
            }
            Expr::Case { arms, otherwise } => self.exactly(|this| this.case(arms, otherwise)),
            Expr::Call(ScalarFn::Coalesce, args) => self.exactly(|this| this.coalesce(args)),
            Expr::Call(ScalarFn::DateTrunc(unit), args) => {
                let time = self.eval(&args[0])?;
                self.of_times(time, |time| unit.truncate(time))
            }
            Expr::Call(ScalarFn::DatePart(unit), args) => {
                let time = self.eval(&args[0])?;
                self.parts(time, |time| unit.part(time))
            }
            Expr::Leaf(_) | Expr::Regex { .. } | Expr::Path { .. } | Expr::Call(..) => Err(by_row()),
        }
    }

    /// Branches are evaluated for all rows here, also those that take another one. That makes no difference unless
    /// one of them has no result for such a row, which only counts by row.
    fn exactly(
        &mut self,
        branches: impl FnOnce(&mut Self) -> Result<Col, ArrowError>,
    ) -> Result<Col, ArrowError> {
        let before = self.failures;
        let col = branches(self)?;
        if self.failures > before {
            return Err(by_row());
        }
        Ok(col)
    }

    fn case(&mut self, arms: &[(Expr, Expr)], otherwise: &Expr) -> Result<Col, ArrowError> {
        let rows = self.frame.rows;
        let mut results = Vec::with_capacity(arms.len() + 1);
        let mut masks = Vec::with_capacity(arms.len());
        for (when, then) in arms {
            let mask = self.eval(when)?.to_bools(rows);
            masks.push(if mask.null_count() > 0 {
                prep_null_mask_filter(&mask)
            } else {
                mask
            });
            results.push(self.eval(then)?);
        }
        results.push(self.eval(otherwise)?);
        let Some((kind, mut results)) = unify(results)? else {
            return Ok(Col::null());
        };
        let mut chosen = match results.pop() {
            Some(last) => last,
            None => return Err(by_row()),
        };
        for (mask, then) in masks.iter().zip(results).rev() {
            chosen = Col::rows(zip(mask, &then, &chosen)?, kind);
        }
        Ok(chosen)
    }

    fn coalesce(&mut self, args: &[Expr]) -> Result<Col, ArrowError> {
        let cols = args.iter().map(|arg| self.eval(arg));
        let cols = cols.collect::<Result<Vec<Col>, ArrowError>>()?;
        let Some((kind, mut cols)) = unify(cols)? else {
            return Ok(Col::null());
        };
        let mut chosen = match cols.pop() {
            Some(last) => last,
            None => return Err(by_row()),
        };
        for col in cols.into_iter().rev() {
            if col.scalar {
                if col.array.is_valid(0) {
                    chosen = col;
                }
                continue;
            }
            let present = not(&is_null(&col.array)?)?;
            chosen = Col::rows(zip(&present, &col, &chosen)?, kind);
        }
        Ok(chosen)
    }

    /// Times as they are, and integers as Unix milliseconds. Texts are read by row.
    fn time_column(&mut self, col: Col) -> Result<Col, ArrowError> {
        match col.kind {
            Kind::Null | Kind::Time => Ok(col),
            Kind::Int => {
                let ints = col.array.as_primitive::<Int64Type>();
                let times: TimestampMillisecondArray = ints.unary_opt(in_range);
                Ok(self.replaced(&col, Arc::new(times), Kind::Time))
            }
            Kind::Bool | Kind::Float | Kind::Text => Err(by_row()),
        }
    }

    fn of_times(&mut self, col: Col, map: impl Fn(i64) -> Option<i64>) -> Result<Col, ArrowError> {
        let col = self.time_column(col)?;
        if col.kind == Kind::Null {
            return Ok(col);
        }
        let times = col.array.as_primitive::<TimestampMillisecondType>();
        let moved: TimestampMillisecondArray = times.unary_opt(map);
        Ok(self.replaced(&col, Arc::new(moved), Kind::Time))
    }

    fn parts(&mut self, col: Col, map: impl Fn(i64) -> Option<f64>) -> Result<Col, ArrowError> {
        let col = self.time_column(col)?;
        if col.kind == Kind::Null {
            return Ok(col);
        }
        let times = col.array.as_primitive::<TimestampMillisecondType>();
        let parts: Float64Array = times.unary_opt(map);
        Ok(self.replaced(&col, Arc::new(parts), Kind::Float))
    }

    /// A column made of another one; what became NULL is counted.
    fn replaced(&mut self, col: &Col, array: ArrayRef, kind: Kind) -> Col {
        let lost = (array.null_count() - col.array.null_count()) as u64;
        self.failures += if col.scalar {
            lost * self.frame.rows as u64
        } else {
            lost
        };
        Col {
            array,
            scalar: col.scalar,
            kind,
        }
    }

    fn column(&self, at: usize) -> Col {
        match &self.frame.columns[at] {
            Bound::Plain(vector) => match vector {
                Vector::Bool(array) => Col::rows(Arc::new(array.clone()), Kind::Bool),
                Vector::Int(array) => Col::rows(Arc::new(array.clone()), Kind::Int),
                Vector::Float(array) => Col::rows(Arc::new(array.clone()), Kind::Float),
                Vector::Text(array) => Col::rows(Arc::clone(array), Kind::Text),
                Vector::Time(array) => Col::rows(Arc::new(array.clone()), Kind::Time),
                Vector::Null | Vector::Scalars(_) => Col::null(),
            },
            Bound::JsonText(_) | Bound::Extra(..) => Col::null(),
        }
    }

    fn arith(&mut self, op: ArithOp, left: &Col, right: &Col) -> Result<Col, ArrowError> {
        if !left.is_number() || !right.is_number() {
            return Ok(Col::null());
        }
        let scalar = left.scalar && right.scalar;
        let ints = left.kind == Kind::Int && right.kind == Kind::Int;
        if ints && self.frame.mode == Mode::Typed && op != ArithOp::DivExact {
            let array = apply(op, left, right)?;
            return Ok(Col {
                array,
                scalar,
                kind: Kind::Int,
            });
        }
        let array = apply(op, &left.to_float()?, &right.to_float()?)?;
        let (array, lost) = finite(array.as_primitive::<Float64Type>());
        // one literal's failure is every row's
        self.failures += if scalar {
            lost * self.frame.rows as u64
        } else {
            lost
        };
        Ok(Col {
            array: Arc::new(array),
            scalar,
            kind: Kind::Float,
        })
    }
}

fn apply(op: ArithOp, left: &Col, right: &Col) -> Result<ArrayRef, ArrowError> {
    match op {
        ArithOp::Add => numeric::add(left, right),
        ArithOp::Sub => numeric::sub(left, right),
        ArithOp::Mul => numeric::mul(left, right),
        ArithOp::Div | ArithOp::DivExact => numeric::div(left, right),
        ArithOp::Rem => numeric::rem(left, right),
    }
}

/// What kernels leave to the evaluation by row.
fn by_row() -> ArrowError {
    ArrowError::NotYetImplemented("evaluated by row".to_owned())
}

/// Columns of one kind and layout. `None` when all of them are nothing but NULL.
fn unify(cols: Vec<Col>) -> Result<Option<(Kind, Vec<Col>)>, ArrowError> {
    let mut kinds = cols.iter().map(|col| col.kind).filter(|kind| *kind != Kind::Null);
    let Some(kind) = kinds.next() else {
        return Ok(None);
    };
    if kinds.any(|other| other != kind) {
        return Err(by_row());
    }
    let layout = match kind {
        Kind::Text => DataType::Utf8,
        _ => cols
            .iter()
            .find(|col| col.kind == kind)
            .map_or(DataType::Null, |col| col.array.data_type().clone()),
    };
    let cols = cols.into_iter().map(|col| {
        if col.kind == Kind::Null {
            return Ok(Col {
                array: arrow_array::new_null_array(&layout, 1),
                scalar: true,
                kind,
            });
        }
        // of the other kinds there is one layout
        let array: ArrayRef = match kind {
            Kind::Text => Arc::new(texts(&col.array).ok_or_else(by_row)?),
            _ => col.array,
        };
        Ok(Col { array, ..col })
    });
    Ok(Some((kind, cols.collect::<Result<_, ArrowError>>()?)))
}

/// [`read_like`] by a column's kind.
fn read_as(text: &Arc<str>, kind: Kind) -> Col {
    let like = match kind {
        Kind::Int | Kind::Float => Scalar::Int(0),
        Kind::Bool => Scalar::Bool(false),
        Kind::Time => Scalar::Time(0),
        Kind::Text | Kind::Null => Scalar::Null,
    };
    Col::literal(&read_like(text, &like))
}

fn compare(op: CompareOp, left: &Col, right: &Col, rows: usize) -> Result<BooleanArray, ArrowError> {
    let result = if left.kind == right.kind && left.kind != Kind::Null {
        kernel(op, left, right)?
    } else if left.is_number() && right.is_number() {
        kernel(op, &left.to_float()?, &right.to_float()?)?
    } else if matches!(op, CompareOp::Distinct | CompareOp::NotDistinct) {
        return Err(by_row());
    } else {
        return Ok(BooleanArray::new_null(rows));
    };
    if left.scalar && right.scalar {
        let literal = Col {
            array: Arc::new(result),
            scalar: true,
            kind: Kind::Bool,
        };
        return Ok(literal.to_bools(rows));
    }
    Ok(result)
}

fn kernel(op: CompareOp, left: &Col, right: &Col) -> Result<BooleanArray, ArrowError> {
    match op {
        CompareOp::Eq => cmp::eq(left, right),
        CompareOp::NotEq => cmp::neq(left, right),
        CompareOp::Lt => cmp::lt(left, right),
        CompareOp::LtEq => cmp::lt_eq(left, right),
        CompareOp::Gt => cmp::gt(left, right),
        CompareOp::GtEq => cmp::gt_eq(left, right),
        CompareOp::Distinct => cmp::distinct(left, right),
        CompareOp::NotDistinct => cmp::not_distinct(left, right),
    }
}
