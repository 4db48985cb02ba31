//! Whether an event's fields have the values that are looked for. Pure.

use arrow_array::RecordBatch;
use serde_json::Value;
use tributary_shared::time::{Millis, parse_rfc3339};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;

use super::messages::FieldIs;
use crate::view::{Picked, Scalar};

/// The looked-for columns of one entry.
pub struct Fields<'a> {
    wanted: &'a [FieldIs],
    /// The event time; then for each field its own column, and that of its first part.
    picked: Picked,
}

impl<'a> Fields<'a> {
    pub fn of(records: &RecordBatch, wanted: &'a [FieldIs]) -> Self {
        let names = wanted.iter().flat_map(|is| [is.field.as_str(), head(&is.field)]);
        let picked = Picked::bind(records, std::iter::once(EVENT_TIME_COLUMN).chain(names));
        Self { wanted, picked }
    }

    /// The event time of a row whose fields are all as wanted.
    pub fn matches(&self, row: usize) -> Option<Millis> {
        let as_wanted = self.wanted.iter().enumerate().all(|(nth, is)| {
            let own = self.picked.value(1 + 2 * nth, row);
            if own.is_null() && is.field.contains('.') {
                let object = self.picked.value(2 + 2 * nth, row);
                return within(&object, is);
            }
            own.matches_text(&is.value)
        });
        match self.picked.value(0, row) {
            Scalar::Time(at) if as_wanted => Some(at),
            _ => None,
        }
    }
}

fn head(field: &str) -> &str {
    field.split_once('.').map_or(field, |(head, _)| head)
}

/// Looks into a column whose values are JSON texts.
fn within(object: &Scalar, is: &FieldIs) -> bool {
    let Scalar::Text(text) = object else { return false };
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let mut rest = is.field.split('.').skip(1);
    let found = rest.try_fold(&value, |value, part| value.get(part));
    found.is_some_and(|found| json_is(found, &is.value))
}

fn json_is(value: &Value, text: &str) -> bool {
    let scalar = match value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Scalar::Int(value),
            (None, Some(value)) => Scalar::Float(value),
            (None, None) => return false,
        },
        Value::String(value) => Scalar::Text(value.as_str().into()),
        // nobody types those
        Value::Array(_) | Value::Object(_) => return false,
    };
    scalar.matches_text(text)
}

/// The same for the payload of a dead letter, where it is a JSON object: its time, if it says one as `ts`.
pub fn payload_matches(payload: &[u8], wanted: &[FieldIs]) -> Option<Option<Millis>> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let object = value.as_object()?;
    let as_wanted = wanted.iter().all(|is| {
        if let Some(own) = object.get(&is.field) {
            return json_is(own, &is.value);
        }
        let mut parts = is.field.split('.');
        let found = parts.try_fold(&value, |value, part| value.get(part));
        found.is_some_and(|found| json_is(found, &is.value))
    });
    let time = match object.get("ts") {
        Some(Value::String(text)) => parse_rfc3339(text),
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    };
    as_wanted.then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(field: &str, value: &str) -> FieldIs {
        FieldIs {
            field: field.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn a_payload_is_matched_by_all_of_its_fields() {
        let payload =
            br#"{"ts":1000,"order":{"id":17,"lines":[{"sku":"a"}]},"a.b":"dotted","ok":true,"x":1.5}"#;
        let found = |wanted: &[FieldIs]| payload_matches(payload, wanted);
        assert_eq!(found(&[is("order.id", "17")]), Some(Some(1000)));
        assert_eq!(
            found(&[is("order.id", "17"), is("ok", "true"), is("x", "1.5")]),
            Some(Some(1000))
        );
        assert_eq!(found(&[is("a.b", "dotted")]), Some(Some(1000)));
        assert_eq!(found(&[is("order.id", "17"), is("ok", "false")]), None);
        assert_eq!(found(&[is("order", "17")]), None, "an object is no value");
        assert_eq!(found(&[is("nowhere", "")]), None);
        assert_eq!(payload_matches(b"\xff", &[is("x", "1")]), None);
        assert_eq!(
            payload_matches(br#"{"x":1}"#, &[is("x", "1")]),
            Some(None),
            "says no time"
        );
    }
}
