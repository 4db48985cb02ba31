//! Expressions of a view after the parse: names resolved to numbers, SQL's many spellings reduced to few.

use std::sync::Arc;

use super::functions::Function;
use super::json::Step;
use super::regexes::{Pattern, RegexJob};
use super::scalar::Scalar;
use super::times::{Span, Unit};

/// An expression over one row of a batch (leaves are columns), or over one group of a window (leaves are
/// group keys, aggregates and the window's bounds).
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Literal(Scalar),
    Leaf(Leaf),
    Arith(ArithOp, Box<Expr>, Box<Expr>),
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>),
    /// Equal to any of the literals. Three-valued, as the chain of ORs that it stands for.
    In(Box<Expr>, Vec<Scalar>),
    Like {
        text: Box<Expr>,
        pattern: String,
        ignore_case: bool,
    },
    /// NULL for what is no text.
    Regex {
        text: Box<Expr>,
        pattern: Arc<Pattern>,
        job: RegexJob,
    },
    /// A field inside a JSON object or array.
    Path {
        of: Box<Expr>,
        steps: Arc<[Step]>,
        /// As `->>` has it: texts without quotes, everything else as JSON.
        as_text: bool,
    },
    /// A time moved by an interval.
    Shift(Box<Expr>, Span),
    /// The first arm whose condition is true.
    Case {
        arms: Vec<(Expr, Expr)>,
        otherwise: Box<Expr>,
    },
    Cast(Box<Expr>, CastType),
    Call(ScalarFn, Vec<Expr>),
}

impl Expr {
    /// The expressions that this one is made of.
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Literal(_) | Self::Leaf(_) => Vec::new(),
            Self::Arith(_, a, b) | Self::Compare(_, a, b) | Self::And(a, b) | Self::Or(a, b) => vec![a, b],
            Self::Not(a) | Self::IsNull(a) | Self::In(a, _) | Self::Cast(a, _) | Self::Shift(a, _) => vec![a],
            Self::Like { text: a, .. } | Self::Regex { text: a, .. } | Self::Path { of: a, .. } => vec![a],
            Self::Case { arms, otherwise } => {
                let arms = arms.iter().flat_map(|(when, then)| [when, then]);
                arms.chain([otherwise.as_ref()]).collect()
            }
            Self::Call(_, args) => args.iter().collect(),
        }
    }

    /// The same, to be changed.
    pub fn children_mut(&mut self) -> Vec<&mut Self> {
        match self {
            Self::Literal(_) | Self::Leaf(_) => Vec::new(),
            Self::Arith(_, a, b) | Self::Compare(_, a, b) | Self::And(a, b) | Self::Or(a, b) => vec![a, b],
            Self::Not(a) | Self::IsNull(a) | Self::In(a, _) | Self::Cast(a, _) | Self::Shift(a, _) => vec![a],
            Self::Like { text: a, .. } | Self::Regex { text: a, .. } | Self::Path { of: a, .. } => vec![a],
            Self::Case { arms, otherwise } => {
                let arms = arms.iter_mut().flat_map(|(when, then)| [when, then]);
                arms.chain([otherwise.as_mut()]).collect()
            }
            Self::Call(_, args) => args.iter_mut().collect(),
        }
    }

    /// Adds the columns that the expression reads.
    pub fn columns(&self, found: &mut Vec<usize>) {
        if let Self::Leaf(Leaf::Column(at)) = self {
            found.push(*at);
        }
        for child in self.children() {
            child.columns(found);
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    /// Index into the plan's columns.
    Column(usize),
    /// Index into the plan's keys.
    Key(usize),
    /// Index into the plan's aggregates.
    Aggregate(usize),
    WindowStart,
    WindowEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithOp {
    Add,
    Sub,
    Mul,
    /// Of two integers: truncated, as in PostgreSQL.
    Div,
    /// Never truncated.
    DivExact,
    Rem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    Eq,
    NotEq,
    Lt,
    LtEq,
    Gt,
    GtEq,
    /// Never NULL: two NULLs are not distinct.
    Distinct,
    NotDistinct,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CastType {
    Int,
    Float,
    Text,
    Bool,
    Time,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScalarFn {
    Coalesce,
    NullIf,
    Greatest,
    Least,
    DateTrunc(Unit),
    DatePart(Unit),
    /// The start of the bin of so many milliseconds, counted from the origin, that a time falls into.
    DateBin(i64),
    /// What needs nothing but its arguments' values.
    Of(&'static Function),
}
