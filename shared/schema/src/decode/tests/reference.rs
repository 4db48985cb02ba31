//! The slow reference: `serde_json` to a tree, `jsonschema` over the tree, cells out of the tree. It shares no
//! code with the decoder except the event time's slow parser and the column kinds, which it is told.

use std::collections::HashSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use tributary_shared::time::{MAX_MILLIS, MIN_MILLIS, parse_rfc3339};

use super::{COLLECTED_AT, Row};

/// How the reference stores a property.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stored {
    Int,
    Float,
    Other,
}

/// The rule that a row breaks first; `schema` stands for any keyword.
pub(super) type Verdict = Result<Row, &'static str>;

pub(super) fn judge(
    payload: &[u8],
    validator: &jsonschema::Validator,
    properties: &[(String, Stored)],
    marked: Option<&str>,
) -> Verdict {
    let row = object(payload)?;
    if !validator.is_valid(&Value::Object(row.clone())) {
        return Err("schema");
    }
    let event_time = match row.get(marked.unwrap_or("ts")) {
        None | Some(Value::Null) => COLLECTED_AT,
        Some(value) => match (time(value), marked) {
            (Some(millis), _) => millis,
            (None, Some(_)) => return Err("event_time"),
            (None, None) => COLLECTED_AT,
        },
    };
    let (mut cells, mut extra) = (Map::new(), Map::new());
    for (name, value) in row {
        match properties.iter().find(|(known, _)| *known == name) {
            None => drop(extra.insert(name, value)),
            Some((_, stored)) if !value.is_null() => drop(cells.insert(name, store(&value, *stored)?)),
            Some(_) => {}
        }
    }
    Ok(Row {
        event_time,
        cells,
        extra,
    })
}

/// The payload as an object with distinct keys and finite numbers.
pub(super) fn object(payload: &[u8]) -> Result<Map<String, Value>, &'static str> {
    let row: Map<String, Value> = serde_json::from_slice(payload).map_err(|error| {
        if error.to_string().starts_with("number out of range") {
            "out_of_range"
        } else {
            "malformed"
        }
    })?;
    if has_duplicates(payload) {
        Err("duplicate_key")
    } else {
        Ok(row)
    }
}

fn store(value: &Value, stored: Stored) -> Result<Value, &'static str> {
    match (stored, value) {
        (Stored::Int, Value::Number(number)) => match number.as_i64() {
            Some(value) => Ok(value.into()),
            None => {
                let float = number.as_f64().expect("finite");
                let exact = format!("{float:.0}").parse::<i64>();
                exact.map(Value::from).map_err(|_| "out_of_range")
            }
        },
        (Stored::Float, Value::Number(number)) => Ok(number.as_f64().expect("finite").into()),
        _ => Ok(value.clone()),
    }
}

fn time(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => parse_rfc3339(text),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|value| value.fract() == 0.0)?;
            let millis = number.as_i64().or_else(|| format!("{whole:.0}").parse().ok())?;
            (MIN_MILLIS..=MAX_MILLIS).contains(&millis).then_some(millis)
        }
        _ => None,
    }
}

fn has_duplicates(payload: &[u8]) -> bool {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let (mut keys, mut twice) = (HashSet::new(), false);
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                twice |= !keys.insert(key);
            }
            Ok(twice)
        }
    }
    serde_json::Deserializer::from_slice(payload)
        .deserialize_map(Keys)
        .expect("an object")
}
