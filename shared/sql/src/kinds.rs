//! What is known of an expression's values before there are any, and what cannot go together.

use std::collections::BTreeMap;

use sqlparser::ast::{Expr as Sql, Ident};
use tributary_shared::wire::batch::{EVENT_TIME_COLUMN, EXTRA_COLUMN, SCHEMA_ID_COLUMN};

use super::aggregate::Aggregate;
use super::expr::{CastType, Expr, Leaf, ScalarFn};
use super::functions::Takes;
use super::lower::{Lowering, Refused, shorten, start_of};
use super::messages::ViewError;
use super::rowwise::read_like;
use super::scalar::Scalar;

/// What is known of an expression's values without data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaticKind {
    Unknown,
    Null,
    Bool,
    /// PostgreSQL's bigint: division truncates.
    Count,
    Number,
    Text,
    Time,
}

impl StaticKind {
    fn is_number(self) -> bool {
        matches!(self, Self::Count | Self::Number)
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Unknown | Self::Null)
    }

    /// As it stands in a message.
    fn word(self) -> &'static str {
        match self {
            Self::Unknown => "anything",
            Self::Null => "NULL",
            Self::Bool => "a boolean",
            Self::Count => "an integer",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Time => "a time",
        }
    }

    /// Any value of this kind.
    fn sample(self) -> Scalar {
        match self {
            Self::Count | Self::Number => Scalar::Int(0),
            Self::Bool => Scalar::Bool(false),
            Self::Time => Scalar::Time(0),
            Self::Unknown | Self::Null | Self::Text => Scalar::Null,
        }
    }
}

/// The columns of a stream that has a schema.
#[derive(Debug, Clone, Default)]
pub struct KnownColumns {
    pub kinds: BTreeMap<String, StaticKind>,
    /// No event has any other.
    pub closed: bool,
}

impl KnownColumns {
    /// Refuses a name that no event has.
    pub(super) fn check(&self, name: &str, found: (u64, u64)) -> Refused<()> {
        if !self.closed || self.kinds.contains_key(name) {
            return Ok(());
        }
        let same = |known: &&String| known.eq_ignore_ascii_case(name);
        let hint = match self.kinds.keys().find(same) {
            Some(known) => format!("names are case-sensitive: write \"{known}\""),
            None => {
                let named = self.kinds.keys().filter(|name| !OURS.contains(&name.as_str()));
                format!("its columns are {}", listed(named))
            }
        };
        Err(ViewError::new(
            found,
            format!("the stream's schema has no column {name:?}"),
            hint,
        ))
    }
}

/// What the mesh adds to each event. Nobody is told to read it.
const OURS: [&str; 3] = [EVENT_TIME_COLUMN, EXTRA_COLUMN, SCHEMA_ID_COLUMN];

impl KnownColumns {
    /// Refuses a time column that no event has, or that surely holds no times.
    pub(super) fn check_time(&self, time: &Ident) -> Refused<()> {
        // these two always name the event time
        if time.value == "ts" || time.value == EVENT_TIME_COLUMN {
            return Ok(());
        }
        let found = (time.span.start.line, time.span.start.column);
        self.check(&time.value, found)?;
        match self.kinds.get(&time.value) {
            Some(kind @ (StaticKind::Bool | StaticKind::Number)) => Err(ViewError::new(
                found,
                format!("{} is {}, and windows are cut by times", time.value, kind.word()),
                "times are RFC 3339 texts or integer Unix milliseconds; ts is always the event's time",
            )),
            _ => Ok(()),
        }
    }
}

/// Names in a hint: not all of very many.
fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let list = names.join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}

impl Lowering {
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
            Expr::Leaf(leaf) => self.kind_of_leaf(*leaf),
            Expr::Arith(_, left, right) if self.both_counts(left, right) => StaticKind::Count,
            Expr::Arith(..) => StaticKind::Number,
            Expr::Compare(..) | Expr::And(..) | Expr::Or(..) | Expr::Not(_) => StaticKind::Bool,
            Expr::IsNull(_) | Expr::In(..) | Expr::Like { .. } => StaticKind::Bool,
            Expr::Regex { job, .. } => job.kind(),
            Expr::Path { as_text: true, .. } => StaticKind::Text,
            Expr::Path { as_text: false, .. } => StaticKind::Unknown,
            Expr::Shift(..) => StaticKind::Time,
            Expr::Case { arms, otherwise } => {
                self.common(arms.iter().map(|(_, then)| then).chain([otherwise.as_ref()]))
            }
            Expr::Cast(_, to) => match to {
                CastType::Int => StaticKind::Count,
                CastType::Float => StaticKind::Number,
                CastType::Text => StaticKind::Text,
                CastType::Bool => StaticKind::Bool,
                CastType::Time => StaticKind::Time,
            },
            Expr::Call(function, args) => {
                let first = || args.first().map_or(StaticKind::Null, |arg| self.kind(arg));
                match function {
                    ScalarFn::NullIf => first(),
                    ScalarFn::Coalesce | ScalarFn::Greatest | ScalarFn::Least => self.common(args.iter()),
                    ScalarFn::DateTrunc(_) | ScalarFn::DateBin(_) => StaticKind::Time,
                    ScalarFn::DatePart(_) => StaticKind::Number,
                    ScalarFn::Of(function) => function.gives.unwrap_or_else(first),
                }
            }
        }
    }

    fn kind_of_leaf(&self, leaf: Leaf) -> StaticKind {
        match leaf {
            Leaf::WindowStart | Leaf::WindowEnd => StaticKind::Time,
            Leaf::Aggregate(at) => Aggregate::kind(self.aggregates[at]),
            // a key is what its expression is
            Leaf::Key(at) => self.kind(&self.keys[at]),
            Leaf::Column(at) => {
                let known = self.known.as_ref();
                let kind = known.and_then(|known| known.kinds.get(&self.columns[at]));
                kind.copied().unwrap_or(StaticKind::Unknown)
            }
        }
    }

    pub(super) fn common<'a>(&self, exprs: impl Iterator<Item = &'a Expr>) -> StaticKind {
        exprs
            .map(|expr| self.kind(expr))
            .fold(StaticKind::Null, |all, one| match (all, one) {
                (StaticKind::Null, kind) | (kind, StaticKind::Null) => kind,
                (a, b) if a == b => a,
                (a, b) if a.is_number() && b.is_number() => StaticKind::Number,
                _ => StaticKind::Unknown,
            })
    }

    /// Refuses results of one CASE, COALESCE and the like that are surely of different types.
    pub(super) fn check_common(&self, what: &str, parts: &[(&Sql, &Expr)]) -> Refused<()> {
        let mut all: Option<StaticKind> = None;
        for (sql, expr) in parts {
            let kind = self.kind(expr);
            if kind.is_open() {
                continue;
            }
            match all {
                Some(known) if known != kind && !(known.is_number() && kind.is_number()) => {
                    return Err(ViewError::new(
                        start_of(sql),
                        format!("{what} gives {} and {}", known.word(), kind.word()),
                        format!("give all of them one type, as in {}::text", shorten(sql)),
                    ));
                }
                _ => all = Some(kind),
            }
        }
        Ok(())
    }

    /// The two sides of a comparison, such that they can be compared: what stands beside a time is read as one.
    ///
    /// # Errors
    /// When they surely never can.
    pub(super) fn alike(&self, (left, a): (&Sql, Expr), (right, b): (&Sql, Expr)) -> Refused<(Expr, Expr)> {
        let (ka, kb) = (self.kind(&a), self.kind(&b));
        match (ka, kb) {
            (StaticKind::Time, StaticKind::Time) => Ok((a, b)),
            (StaticKind::Time, StaticKind::Unknown | StaticKind::Text) if !is_literal(&b) => {
                Ok((a, timed(b)))
            }
            (StaticKind::Unknown | StaticKind::Text, StaticKind::Time) if !is_literal(&a) => {
                Ok((timed(a), b))
            }
            _ if ka == kb || ka.is_open() || kb.is_open() || (ka.is_number() && kb.is_number()) => Ok((a, b)),
            _ => {
                if let Some(read) = literal_as(right, &b, ka) {
                    return read.map(|read| (a, Expr::Literal(read)));
                }
                if let Some(read) = literal_as(left, &a, kb) {
                    return read.map(|read| (Expr::Literal(read), b));
                }
                let hint = if ka == StaticKind::Time || kb == StaticKind::Time {
                    "compare times with TIMESTAMP '2026-01-31T12:00:00Z' or to_timestamp(seconds)".to_owned()
                } else {
                    format!("cast one of them, as in {}::text", shorten(right))
                };
                Err(ViewError::new(
                    start_of(right),
                    format!(
                        "{} is {} and {} is {}: they cannot be compared",
                        shorten(left),
                        ka.word(),
                        shorten(right),
                        kb.word()
                    ),
                    hint,
                ))
            }
        }
    }

    /// Refuses an argument that is surely of the wrong type.
    pub(super) fn check_argument(&self, name: &str, takes: Takes, sql: &Sql, expr: &Expr) -> Refused<()> {
        let kind = self.kind(expr);
        let (fits, wanted, hint) = match takes {
            Takes::Any => (true, "", ""),
            Takes::Text => (kind == StaticKind::Text, "a text", "cast it: x::text"),
            Takes::Number => (kind.is_number(), "a number", "cast it: x::double precision"),
            // a computed number may be an integer: only the data can tell
            Takes::Int => (
                kind.is_number() && !matches!(expr, Expr::Literal(Scalar::Float(_))),
                "an integer",
                "cast it: x::bigint",
            ),
            Takes::Time => match expr {
                Expr::Literal(value) => (
                    super::times::as_time(value).is_ok(),
                    "a time",
                    "write it like '2026-01-31T12:00:00Z'",
                ),
                _ => (
                    matches!(kind, StaticKind::Time | StaticKind::Text | StaticKind::Count),
                    "a time",
                    "times are RFC 3339 texts or integer Unix milliseconds",
                ),
            },
        };
        if fits || kind.is_open() {
            return Ok(());
        }
        let message = format!(
            "{name} takes {wanted} here, and {} is {}",
            shorten(sql),
            kind.word()
        );
        Err(ViewError::new(start_of(sql), message, hint))
    }
}

/// What a text literal says as a value of this kind; `None` when it is no such literal.
fn literal_as(sql: &Sql, expr: &Expr, kind: StaticKind) -> Option<Refused<Scalar>> {
    let Expr::Literal(Scalar::Text(text)) = expr else {
        return None;
    };
    Some(match read_like(text, &kind.sample()) {
        Scalar::Null => Err(ViewError::new(
            start_of(sql),
            format!("'{text}' is not {}", kind.word()),
            format!("what it is compared with is {}", kind.word()),
        )),
        read => Ok(read),
    })
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(_))
}

fn timed(expr: Expr) -> Expr {
    Expr::Cast(Box::new(expr), CastType::Time)
}
