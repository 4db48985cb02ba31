//! Bounds and multiples.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::add;
use super::site::{Kind, Part, Site};
use crate::compat::messages::Incompatibility;

/// A keyword and the kinds for "is added" and "became stricter".
pub type Rule<'a> = (&'a str, [&'static str; 2]);

fn number<'r>(site: &Site<'r>, keyword: &str) -> Option<&'r Number> {
    match site.map()?.get(keyword)? {
        Value::Number(number) => Some(number),
        _ => None,
    }
}

/// Whole numbers exactly, others as doubles.
fn order(one: &Number, other: &Number) -> Ordering {
    let whole = |number: &Number| {
        number
            .as_i64()
            .map(i128::from)
            .or(number.as_u64().map(i128::from))
    };
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one
            .as_f64()
            .unwrap_or(f64::NAN)
            .total_cmp(&other.as_f64().unwrap_or(f64::NAN)),
    }
}

/// An upper bound of a count.
pub fn at_most(
    reader: &Site<'_>,
    writer: &Site<'_>,
    (keyword, kinds): Rule<'_>,
    path: &str,
    found: &mut Vec<Incompatibility>,
) {
    bound(reader, writer, (keyword, kinds), Ordering::Less, path, found);
}

/// A lower bound of a count; 0 is none.
pub fn at_least(
    reader: &Site<'_>,
    writer: &Site<'_>,
    (keyword, kinds): Rule<'_>,
    path: &str,
    found: &mut Vec<Incompatibility>,
) {
    if number(reader, keyword).is_some_and(|least| least.as_f64() == Some(0.0)) {
        return;
    }
    bound(reader, writer, (keyword, kinds), Ordering::Greater, path, found);
}

fn bound(
    reader: &Site<'_>,
    writer: &Site<'_>,
    (keyword, [added, stricter]): Rule<'_>,
    is_stricter: Ordering,
    path: &str,
    found: &mut Vec<Incompatibility>,
) {
    let Some(to) = number(reader, keyword) else { return };
    let path = format!("{path}/{keyword}");
    match number(writer, keyword) {
        None => add(
            found,
            added,
            &path,
            format!("the reader has {keyword} {to}, the writer has none"),
        ),
        Some(from) if order(to, from) == is_stricter => {
            add(
                found,
                stricter,
                &path,
                format!("the reader has {keyword} {to}, the writer {from}"),
            );
        }
        Some(_) => {}
    }
}

/// One end of a range.
#[derive(Debug, Clone, Copy)]
struct End<'r> {
    at: &'r Number,
    is_open: bool,
}

/// The stricter one of an inclusive and an exclusive keyword; in draft 4 the exclusive one is a flag.
fn end<'r>(site: &Site<'r>, inclusive: &str, exclusive: &str, stricter: Ordering) -> Option<End<'r>> {
    let flag = site
        .map()
        .and_then(|map| map.get(exclusive))
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let closed = number(site, inclusive).map(|at| End { at, is_open: flag });
    let open = number(site, exclusive).map(|at| End { at, is_open: true });
    match (closed, open) {
        (Some(closed), Some(open)) if order(closed.at, open.at) == stricter => Some(closed),
        (_, Some(open)) => Some(open),
        (closed, None) => closed,
    }
}

struct Range {
    inclusive: &'static str,
    exclusive: &'static str,
    stricter: Ordering,
    /// Added and stricter, for the inclusive keyword and for the exclusive one.
    kinds: [[&'static str; 2]; 2],
}

const RANGES: [Range; 2] = [
    Range {
        inclusive: "minimum",
        exclusive: "exclusiveMinimum",
        stricter: Ordering::Greater,
        kinds: [
            ["MINIMUM_ADDED", "MINIMUM_INCREASED"],
            ["EXCLUSIVE_MINIMUM_ADDED", "EXCLUSIVE_MINIMUM_INCREASED"],
        ],
    },
    Range {
        inclusive: "maximum",
        exclusive: "exclusiveMaximum",
        stricter: Ordering::Less,
        kinds: [
            ["MAXIMUM_ADDED", "MAXIMUM_DECREASED"],
            ["EXCLUSIVE_MAXIMUM_ADDED", "EXCLUSIVE_MAXIMUM_DECREASED"],
        ],
    },
];

/// Compares the keywords of numbers.
pub fn compare(reader: &Site<'_>, writer: &Site<'_>, path: &str, found: &mut Vec<Incompatibility>) {
    for range in &RANGES {
        let ends = |site| end(site, range.inclusive, range.exclusive, range.stricter);
        let Some(to) = ends(reader) else { continue };
        let (keyword, [added, stricter]) = if to.is_open {
            (range.exclusive, range.kinds[1])
        } else {
            (range.inclusive, range.kinds[0])
        };
        let path = format!("{path}/{keyword}");
        match ends(writer) {
            None => add(
                found,
                added,
                &path,
                format!("the reader has {keyword} {}, the writer has none", to.at),
            ),
            Some(from) => {
                let order = order(to.at, from.at);
                if order == range.stricter || (order == Ordering::Equal && to.is_open && !from.is_open) {
                    let message = format!("the reader has {keyword} {}, the writer {}", to.at, from.at);
                    add(found, stricter, &path, message);
                }
            }
        }
    }
    multiples(reader, writer, path, found);
}

fn multiples(reader: &Site<'_>, writer: &Site<'_>, path: &str, found: &mut Vec<Incompatibility>) {
    let Some(to) = number(reader, "multipleOf") else {
        return;
    };
    let path = format!("{path}/multipleOf");
    let Some(from) = number(writer, "multipleOf") else {
        let whole = matches!(writer.part, Part::Named(Kind::Integer)) || is_integer(writer);
        if !(whole && to.as_f64() == Some(1.0)) {
            add(
                found,
                "MULTIPLE_OF_ADDED",
                &path,
                format!("the reader takes multiples of {to} only"),
            );
        }
        return;
    };
    if is_multiple(from, to) {
        return;
    }
    let kind = if is_multiple(to, from) {
        "MULTIPLE_OF_EXPANDED"
    } else {
        "MULTIPLE_OF_CHANGED"
    };
    add(
        found,
        kind,
        &path,
        format!("the reader takes multiples of {to}, the writer has multiples of {from}"),
    );
}

fn is_integer(site: &Site<'_>) -> bool {
    site.map().and_then(|map| map.get("type")).and_then(Value::as_str) == Some("integer")
}

/// Is `one` a whole multiple of `unit`? Exact on decimals, as people write them.
fn is_multiple(one: &Number, unit: &Number) -> bool {
    if one == unit {
        return true;
    }
    let (Some((mut one, one_scale)), Some((mut unit, unit_scale))) = (decimal(one), decimal(unit)) else {
        return false;
    };
    let scale = one_scale.max(unit_scale);
    let lift = |value: &mut i128, from: u32| {
        10i128
            .checked_pow(scale - from)
            .and_then(|factor| value.checked_mul(factor))
            .map(|lifted| *value = lifted)
    };
    lift(&mut one, one_scale).is_some()
        && lift(&mut unit, unit_scale).is_some()
        && unit != 0
        && one % unit == 0
}

/// A number as a whole number and a count of decimals; `None` when it does not fit.
fn decimal(number: &Number) -> Option<(i128, u32)> {
    let text = number.to_string();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa.to_owned(), exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((&mantissa, ""));
    let digits: i128 = format!("{whole}{decimals}").parse().ok()?;
    let scale = i32::try_from(decimals.len()).ok()? - exponent;
    match u32::try_from(scale) {
        Ok(scale) => Some((digits, scale)),
        Err(_) => Some((digits.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?, 0)),
    }
}
