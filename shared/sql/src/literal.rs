//! Literals, types of casts, and intervals.

use std::sync::Arc;

use sqlparser::ast::{DataType, ExactNumberInfo, Expr as Sql, Interval, Value};

use super::expr::{CastType, Expr, ScalarFn};
use super::functions::Function;
use super::lower::{Refused, start_of};
use super::messages::ViewError;
use super::scalar::Scalar;
use super::times::{Span, Unit, parse_time};

/// # Errors
/// What is wrong with it, in words.
pub(super) fn literal(value: &Value) -> Result<Scalar, String> {
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

/// `TIMESTAMP '...'` and `DATE '...'`.
pub(super) fn typed(sql: &Sql, data_type: &DataType, value: &Value) -> Refused<Expr> {
    let text = match value {
        Value::SingleQuotedString(text) => text,
        _ => "",
    };
    let time = match data_type {
        DataType::Timestamp(..) => parse_time(text),
        DataType::Date => parse_time(text).and_then(|time| Unit::Day.truncate(time)),
        _ => {
            return Err(ViewError::new(
                start_of(sql),
                format!("a literal of type {data_type} is not supported"),
                "write TIMESTAMP '...', or cast: '...'::type",
            ));
        }
    };
    time.map(|millis| Expr::Literal(Scalar::Time(millis)))
        .ok_or_else(|| {
            ViewError::new(
                start_of(sql),
                format!("'{text}' is not a time"),
                "write it like '2026-01-31T12:00:00Z'",
            )
        })
}

const TYPES: &str = "cast to bigint, double precision, numeric, text, boolean, timestamp or date";

/// The value as the named type.
pub(super) fn cast(sql: &Sql, value: Expr, to: &DataType) -> Refused<Expr> {
    let refuse = |why: String, hint: &str| Err(ViewError::new(start_of(sql), why, hint));
    let plain = |to| Ok(Expr::Cast(Box::new(value.clone()), to));
    match to {
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
            let number = Expr::Cast(Box::new(value), CastType::Float);
            match info {
                ExactNumberInfo::None => Ok(number),
                ExactNumberInfo::Precision(_) => Ok(rounded(number, 0)),
                ExactNumberInfo::PrecisionAndScale(_, scale) => Ok(rounded(number, *scale)),
            }
        }
        DataType::Date => {
            let time = Expr::Cast(Box::new(value), CastType::Time);
            Ok(Expr::Call(ScalarFn::DateTrunc(Unit::Day), vec![time]))
        }
        DataType::Timestamp(..) => plain(CastType::Time),
        // a field inside JSON is read from text and JSON alike
        DataType::JSON | DataType::JSONB => Ok(value),
        DataType::Interval { .. } => refuse(
            format!("there is no cast to {to}"),
            "write INTERVAL '1 minute' beside + or - of a time",
        ),
        DataType::Varchar(Some(_)) | DataType::CharacterVarying(Some(_)) => refuse(
            format!("there is no cast to {to}"),
            "cast to text, and cut it with left(x, n)",
        ),
        other => match other.to_string().to_ascii_lowercase().as_str() {
            "smallint" | "int2" | "int" | "integer" | "bigint" | "int8" | "int4" => plain(CastType::Int),
            "float" | "float4" | "float8" | "double" | "double precision" | "real" => plain(CastType::Float),
            "text" | "varchar" | "character varying" => plain(CastType::Text),
            "bool" | "boolean" => plain(CastType::Bool),
            _ => refuse(format!("there is no cast to {to}"), TYPES),
        },
    }
}

fn rounded(number: Expr, digits: i64) -> Expr {
    match Function::find("round") {
        Some(round) => {
            let digits = Expr::Literal(Scalar::Int(digits));
            Expr::Call(ScalarFn::Of(round), vec![number, digits])
        }
        None => number,
    }
}

/// What an `INTERVAL '...'` says.
pub(super) fn span(sql: &Sql, interval: &Interval) -> Refused<Span> {
    let refuse = |why: String| {
        Err(ViewError::new(
            start_of(sql),
            why,
            "write it like INTERVAL '1 hour 30 minutes'",
        ))
    };
    let text = match interval.value.as_ref() {
        Sql::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => text,
            _ => return refuse("an interval is a text".to_owned()),
        },
        _ => return refuse("an interval is a text".to_owned()),
    };
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return refuse("an interval of several fields is not supported".to_owned());
    }
    let unit = interval.leading_field.as_ref().map(ToString::to_string);
    Span::parse(text, unit.as_deref()).or_else(refuse)
}

/// A LIKE pattern with backslash as its escape.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn like_pattern(pattern: &str, escape: Option<&str>) -> Result<String, String> {
    let escape = match escape {
        None => Some('\\'),
        Some(text) => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (escape, None) => escape,
                _ => return Err("ESCAPE takes one character".to_owned()),
            }
        }
    };
    let mut ours = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let Some(next) = chars.next() else {
                return Err("the pattern ends with its escape character".to_owned());
            };
            ours.extend(['\\', next]);
        } else if c == '\\' {
            ours.push_str(r"\\");
        } else {
            ours.push(c);
        }
    }
    Ok(ours)
}
