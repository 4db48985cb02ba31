//! Which rows a reader wants: `COLUMN=VALUE` and `COLUMN.OPERATOR=VALUE`.
//!
//! Several values of one column and operator are alternatives (for `ne`: none of them), different columns and
//! operators must all hold. NULL equals nothing but NULL, which is written `null` or as no text, and is neither less
//! nor greater than anything.

use std::cmp::Ordering;

use tributary_shared::time::{Millis, parse_rfc3339};

use super::messages::QueryError;
use crate::view::{ColumnType, Expr, Leaf, Scalar, ViewPlan};

/// From here on floats do not tell neighbouring integers apart.
const EXACT_IN_FLOAT: f64 = 9_007_199_254_740_992.0;
/// Values of all filters of one query.
const MAX_VALUES: usize = 1_000;

/// What a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    Output(usize),
    WindowStart,
    WindowEnd,
    Revision,
    Final,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Prefix,
}

const OPERATORS: [(&str, Operator); 7] = [
    ("eq", Operator::Equal),
    ("ne", Operator::NotEqual),
    ("lt", Operator::Less),
    ("lte", Operator::LessOrEqual),
    ("gt", Operator::Greater),
    ("gte", Operator::GreaterOrEqual),
    ("prefix", Operator::Prefix),
];

/// A text of a query, and what it is as a number and as a time.
#[derive(Debug)]
struct Wanted<'a> {
    text: &'a str,
    number: Option<Scalar>,
    time: Option<Millis>,
}

#[derive(Debug)]
pub(super) struct Filter<'a> {
    looked: Looked,
    operator: Operator,
    values: Vec<Wanted<'a>>,
}

/// The filters of one query.
#[derive(Debug)]
pub(super) struct Filters<'a> {
    all: Vec<Filter<'a>>,
}

impl<'a> Filters<'a> {
    /// Reads the filters of a query over a view.
    ///
    /// # Errors
    /// [`QueryError`] names the filter that cannot be.
    pub fn read(plan: &ViewPlan, asked: &'a [(String, String)]) -> Result<Self, QueryError> {
        let mut all: Vec<Filter<'a>> = Vec::new();
        let refuse = |parameter: &str, problem: String| QueryError::BadFilter {
            parameter: parameter.to_owned(),
            problem,
        };
        if asked.len() > MAX_VALUES {
            let problem = format!("is one of {} filters, the limit is {MAX_VALUES}", asked.len());
            return Err(refuse(&asked[MAX_VALUES].0, problem));
        }
        for (name, text) in asked {
            let (looked, kind, operator) = named(plan, name).ok_or_else(|| unknown(plan, name))?;
            let wanted = Wanted::read(text);
            if let Some(problem) = wanted.problem(kind, operator) {
                return Err(refuse(name, problem));
            }
            match all
                .iter_mut()
                .find(|filter| filter.looked == looked && filter.operator == operator)
            {
                Some(filter) => filter.values.push(wanted),
                None => all.push(Filter {
                    looked,
                    operator,
                    values: vec![wanted],
                }),
            }
        }
        Ok(Self { all })
    }

    /// The filters that look at keys of the groups, each with the key's number.
    pub fn on_keys(&self, plan: &ViewPlan) -> Vec<(usize, &Filter<'a>)> {
        let key = |filter: &Filter<'_>| match filter.looked {
            Looked::Output(column) => match plan.outputs[column] {
                Expr::Leaf(Leaf::Key(key)) => Some(key),
                _ => None,
            },
            _ => None,
        };
        self.all
            .iter()
            .filter_map(|filter| Some((key(filter)?, filter)))
            .collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether a row is wanted, of which `value` gives what a filter looks at.
    pub fn keep(&self, value: impl Fn(Looked) -> Scalar) -> bool {
        self.all.iter().all(|filter| filter.keeps(&value(filter.looked)))
    }
}

impl Filter<'_> {
    /// The only values that may pass, where they can be told.
    pub fn candidates(&self) -> Option<Vec<Scalar>> {
        if self.operator != Operator::Equal {
            return None;
        }
        let mut all = Vec::new();
        for wanted in &self.values {
            all.extend(wanted.candidates()?);
        }
        Some(all)
    }

    pub fn keeps(&self, value: &Scalar) -> bool {
        match self.operator {
            Operator::NotEqual => !self.values.iter().any(|wanted| value.matches_text(wanted.text)),
            operator => self.values.iter().any(|wanted| wanted.holds(operator, value)),
        }
    }
}

impl<'a> Wanted<'a> {
    fn read(text: &'a str) -> Self {
        let float = || text.parse().ok().and_then(Scalar::finite);
        Self {
            text,
            number: text.parse().ok().map(Scalar::Int).or_else(float),
            // in a query string a plus that nobody escaped arrives as a space
            time: parse_rfc3339(text)
                .or_else(|| parse_rfc3339(&text.replace(' ', "+")))
                .or_else(|| text.parse().ok()),
        }
    }

    /// The values that equal it, whatever kind they are of. `None` where several integers are near the same float.
    fn candidates(&self) -> Option<impl Iterator<Item = Scalar>> {
        let number = self.number.clone().map(Scalar::normalised);
        if number
            .as_ref()
            .and_then(Scalar::as_f64)
            .is_some_and(|number| number.abs() >= EXACT_IN_FLOAT)
        {
            return None;
        }
        let literal = match self.text {
            "true" => Some(Scalar::Bool(true)),
            "false" => Some(Scalar::Bool(false)),
            "" | "null" => Some(Scalar::Null),
            _ => None,
        };
        let others = [number, self.time.map(Scalar::Time), literal];
        Some(others.into_iter().flatten().chain([Scalar::from(self.text)]))
    }

    /// Why a column of this kind can never be like that.
    fn problem(&self, kind: ColumnType, operator: Operator) -> Option<String> {
        let text = self.text;
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        if equality && (text.is_empty() || text == "null") {
            return None;
        }
        match kind {
            ColumnType::Boolean if !equality => {
                Some("compares a boolean; there are only = and .ne= for it".to_owned())
            }
            ColumnType::Boolean if text != "true" && text != "false" => {
                Some(format!("{text:?} is no boolean; write true or false"))
            }
            ColumnType::Integer | ColumnType::Number | ColumnType::Timestamp
                if operator == Operator::Prefix =>
            {
                Some("looks for the beginning of a text, and the column has none".to_owned())
            }
            ColumnType::Integer | ColumnType::Number if self.number.is_none() => {
                Some(format!("{text:?} is not a number, and the column has numbers"))
            }
            ColumnType::Timestamp if self.time.is_none() => Some(format!(
                "{text:?} is not a time; write RFC 3339 (2026-01-31T12:00:00Z) or Unix milliseconds"
            )),
            _ => None,
        }
    }

    fn holds(&self, operator: Operator, value: &Scalar) -> bool {
        let order = || match value {
            Scalar::Int(_) | Scalar::Float(_) => value.compare(self.number.as_ref()?),
            Scalar::Time(time) => Some(time.cmp(&self.time?)),
            Scalar::Text(text) => Some((**text).cmp(self.text)),
            Scalar::Null | Scalar::Bool(_) => None,
        };
        match operator {
            Operator::Equal => match (value, self.time) {
                (Scalar::Time(time), Some(wanted)) => *time == wanted,
                _ => value.matches_text(self.text),
            },
            Operator::NotEqual => !value.matches_text(self.text),
            Operator::Less => order() == Some(Ordering::Less),
            Operator::LessOrEqual => order().is_some_and(Ordering::is_le),
            Operator::Greater => order() == Some(Ordering::Greater),
            Operator::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
            Operator::Prefix => matches!(value, Scalar::Text(text) if text.starts_with(self.text)),
        }
    }
}

/// What a parameter's name means: a column, or a column with an operator behind its last dot.
fn named(plan: &ViewPlan, name: &str) -> Option<(Looked, ColumnType, Operator)> {
    if let Some((looked, kind)) = column(plan, name) {
        return Some((looked, kind, Operator::Equal));
    }
    let (name, operator) = name.rsplit_once('.')?;
    let (_, operator) = OPERATORS.iter().find(|(known, _)| *known == operator)?;
    let (looked, kind) = column(plan, name)?;
    Some((looked, kind, *operator))
}

fn column(plan: &ViewPlan, name: &str) -> Option<(Looked, ColumnType)> {
    if let Some(at) = plan.shown.iter().position(|shown| shown.name == name) {
        return Some((Looked::Output(at), plan.shown[at].kind));
    }
    match name {
        "window_start" => Some((Looked::WindowStart, ColumnType::Timestamp)),
        "window_end" => Some((Looked::WindowEnd, ColumnType::Timestamp)),
        "revision" => Some((Looked::Revision, ColumnType::Integer)),
        "final" => Some((Looked::Final, ColumnType::Boolean)),
        _ => None,
    }
}

fn unknown(plan: &ViewPlan, name: &str) -> QueryError {
    let known: Vec<&str> = plan.shown.iter().map(|column| column.name.as_str()).collect();
    QueryError::UnknownColumn {
        view: plan.name().to_owned(),
        column: name.to_owned(),
        known: known.join(", "),
    }
}
