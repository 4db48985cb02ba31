//! Expressions of a view after the parse: names resolved to numbers, SQL's many spellings reduced to few.

use super::scalar::Scalar;

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
    /// The first arm whose condition is true.
    Case {
        arms: Vec<(Expr, Expr)>,
        otherwise: Box<Expr>,
    },
    Cast(Box<Expr>, CastType),
    Call(ScalarFn, Vec<Expr>),
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CastType {
    Int,
    Float,
    Text,
    Bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarFn {
    Abs,
    Ceil,
    Floor,
    /// One or two arguments.
    Round,
    Lower,
    Upper,
    Length,
    Coalesce,
    NullIf,
    Greatest,
    Least,
}

impl ScalarFn {
    /// Name, and the least and greatest number of arguments.
    pub const ALL: [(&'static str, Self, usize, usize); 11] = [
        ("abs", Self::Abs, 1, 1),
        ("ceil", Self::Ceil, 1, 1),
        ("floor", Self::Floor, 1, 1),
        ("round", Self::Round, 1, 2),
        ("lower", Self::Lower, 1, 1),
        ("upper", Self::Upper, 1, 1),
        ("length", Self::Length, 1, 1),
        ("coalesce", Self::Coalesce, 1, 32),
        ("nullif", Self::NullIf, 2, 2),
        ("greatest", Self::Greatest, 1, 32),
        ("least", Self::Least, 1, 32),
    ];
}
