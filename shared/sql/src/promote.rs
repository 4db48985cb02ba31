//! Integers and floats that meet in one expression are floats, as in PostgreSQL: `coalesce(i, f) / 2` does not
//! truncate. Without a schema there is one kind of number, and nothing to do.

use super::bind::{Bound, Frame, Vector};
use super::expr::{ArithOp, CastType, Expr, Leaf, ScalarFn};
use super::kinds::StaticKind;
use super::scalar::Scalar;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Int,
    Float,
    /// Something else, or known by row only.
    Other,
}

/// The expression with casts where its branches differ; `None` when none do.
pub(super) fn promote(expr: &Expr, frame: &Frame) -> Option<Expr> {
    if !has_branches(expr) {
        return None;
    }
    let mut changed = expr.clone();
    rewrite(&mut changed, frame);
    (changed != *expr).then_some(changed)
}

fn has_branches(expr: &Expr) -> bool {
    let branches = matches!(
        expr,
        Expr::Case { .. } | Expr::Call(ScalarFn::Coalesce | ScalarFn::Greatest | ScalarFn::Least, _)
    );
    branches || expr.children().into_iter().any(has_branches)
}

fn rewrite(expr: &mut Expr, frame: &Frame) {
    for child in expr.children_mut() {
        rewrite(child, frame);
    }
    let mut branches: Vec<&mut Expr> = match expr {
        Expr::Case { arms, otherwise } => arms
            .iter_mut()
            .map(|(_, then)| then)
            .chain([otherwise.as_mut()])
            .collect(),
        Expr::Call(ScalarFn::Coalesce | ScalarFn::Greatest | ScalarFn::Least, args) => {
            args.iter_mut().collect()
        }
        _ => return,
    };
    let kinds: Vec<Number> = branches.iter().map(|branch| number(branch, frame)).collect();
    if !kinds.contains(&Number::Float) {
        return;
    }
    for (branch, kind) in branches.iter_mut().zip(kinds) {
        if kind == Number::Int {
            let inner = std::mem::replace(*branch, Expr::Literal(Scalar::Null));
            **branch = Expr::Cast(Box::new(inner), CastType::Float);
        }
    }
}

fn number(expr: &Expr, frame: &Frame) -> Number {
    match expr {
        Expr::Literal(Scalar::Int(_)) | Expr::Cast(_, CastType::Int) => Number::Int,
        Expr::Literal(Scalar::Float(_)) | Expr::Cast(_, CastType::Float) => Number::Float,
        Expr::Leaf(Leaf::Column(at)) => match &frame.columns[*at] {
            Bound::Plain(Vector::Int(_)) => Number::Int,
            Bound::Plain(Vector::Float(_)) => Number::Float,
            _ => Number::Other,
        },
        Expr::Arith(ArithOp::DivExact, ..) => Number::Float,
        Expr::Arith(_, a, b) => match (number(a, frame), number(b, frame)) {
            (Number::Int, Number::Int) => Number::Int,
            (Number::Other, _) | (_, Number::Other) => Number::Other,
            _ => Number::Float,
        },
        Expr::Case { arms, otherwise } => common(
            arms.iter().map(|(_, then)| then).chain([otherwise.as_ref()]),
            frame,
        ),
        Expr::Call(function, args) => match function {
            ScalarFn::NullIf => args.first().map_or(Number::Other, |arg| number(arg, frame)),
            ScalarFn::Coalesce | ScalarFn::Greatest | ScalarFn::Least => common(args.iter(), frame),
            ScalarFn::DatePart(_) => Number::Float,
            ScalarFn::DateTrunc(_) | ScalarFn::DateBin(_) => Number::Other,
            ScalarFn::Of(function) => match function.gives {
                Some(StaticKind::Count) => Number::Int,
                // these give an integer for an integer
                Some(StaticKind::Number)
                    if matches!(function.name, "ceil" | "ceiling" | "floor" | "round" | "trunc") =>
                {
                    args.first().map_or(Number::Other, |arg| number(arg, frame))
                }
                Some(StaticKind::Number) => Number::Float,
                Some(_) => Number::Other,
                None => args.first().map_or(Number::Other, |arg| number(arg, frame)),
            },
        },
        _ => Number::Other,
    }
}

/// Float as soon as one branch is; NULLs say nothing.
fn common<'a>(branches: impl Iterator<Item = &'a Expr>, frame: &Frame) -> Number {
    let mut all = None;
    for branch in branches.filter(|branch| !matches!(branch, Expr::Literal(Scalar::Null))) {
        let kind = number(branch, frame);
        all = Some(match (all, kind) {
            (None, kind) => kind,
            (Some(Number::Float), _) | (_, Number::Float) => Number::Float,
            (Some(a), b) if a == b => a,
            _ => Number::Other,
        });
    }
    all.unwrap_or(Number::Other)
}
