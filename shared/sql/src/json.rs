//! Fields inside JSON texts.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::scalar::Scalar;

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Field(String),
    /// From 0 on; negative counts from the end.
    Index(i64),
}

impl Step {
    /// How PostgreSQL reads the words of `#>` and of `jsonb_extract_path`: an index where there is an array.
    fn index(&self) -> Option<i64> {
        match self {
            Self::Index(at) => Some(*at),
            Self::Field(name) => name.parse().ok(),
        }
    }
}

/// What stands in a JSON text behind these steps. `None` when the text is no JSON, or has nothing there.
pub(super) fn pick(text: &str, steps: &[Step]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let picked = Pick(steps).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    picked
}

/// Reads one value and passes over everything beside the way to it.
struct Pick<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return serde::Deserialize::deserialize(from).map(Some);
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<Value>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (step, rest) = (&self.0[0], &self.0[1..]);
        let mut picked = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match step {
                // of equal names the last one counts
                Step::Field(name) if *name == key => picked = map.next_value_seed(Pick(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(picked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (at, rest) = (self.0[0].index(), &self.0[1..]);
        let mut tail = Vec::new();
        let mut picked = None;
        let mut index = 0;
        loop {
            if at.is_some_and(|at| at < 0) {
                match items.next_element::<Value>()? {
                    Some(item) => tail.push(item),
                    None => break,
                }
            } else if at == Some(index) {
                match items.next_element_seed(Pick(rest))? {
                    Some(item) => picked = item,
                    None => break,
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
            index += 1;
        }
        let from_end = at.filter(|at| *at < 0).and_then(|at| usize::try_from(-at).ok());
        match from_end.and_then(|back| tail.len().checked_sub(back)) {
            Some(at) => Ok(walk(tail.swap_remove(at), rest)),
            None => Ok(picked),
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

fn walk(value: Value, steps: &[Step]) -> Option<Value> {
    steps.iter().try_fold(value, |value, step| match value {
        Value::Object(mut fields) => match step {
            Step::Field(name) => fields.remove(name),
            Step::Index(_) => None,
        },
        Value::Array(mut items) => {
            let at = step.index()?;
            let at = if at < 0 { at + items.len() as i64 } else { at };
            let at = usize::try_from(at).ok().filter(|at| *at < items.len())?;
            Some(items.swap_remove(at))
        }
        _ => None,
    })
}

/// The value of a field. Objects and arrays are their JSON text.
pub(super) fn from_json(value: &Value) -> Scalar {
    match value {
        Value::Null => Scalar::Null,
        Value::Bool(value) => Scalar::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Scalar::Int(value),
            None => number.as_f64().and_then(Scalar::finite).unwrap_or_default(),
        },
        Value::String(text) => text.as_str().into(),
        other => other.to_string().as_str().into(),
    }
}

/// The field as a text, as `->>` gives it.
pub(super) fn to_text(value: &Value) -> Scalar {
    match value {
        Value::Null => Scalar::Null,
        Value::String(text) => text.as_str().into(),
        other => other.to_string().as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_lead_to_one_value() {
        let text = r#"{"a": {"b": [1, {"c": "x"}, 3]}, "n": null, "d": 1, "d": 2, "e": "s", "0": "zero"}"#;
        let field = |name: &str| Step::Field(name.to_owned());
        for (steps, found) in [
            (vec![], Some(serde_json::from_str(text).expect("JSON"))),
            (vec![field("a"), field("b"), Step::Index(0)], Some(json!(1))),
            (vec![field("a"), field("b"), Step::Index(-1)], Some(json!(3))),
            (
                vec![field("a"), field("b"), Step::Index(-2), field("c")],
                Some(json!("x")),
            ),
            (
                vec![field("a"), field("b"), field("1"), field("c")],
                Some(json!("x")),
            ),
            (vec![field("a"), field("b"), Step::Index(3)], None),
            (vec![field("a"), field("b"), Step::Index(-4)], None),
            (vec![field("a"), field("b"), field("c")], None),
            (vec![field("a"), Step::Index(0)], None),
            (vec![field("n")], Some(json!(null))),
            (vec![field("n"), field("x")], None),
            (vec![field("d")], Some(json!(2))),
            (vec![field("e"), field("s")], None),
            (vec![field("0")], Some(json!("zero"))),
            (vec![field("missing")], None),
        ] {
            assert_eq!(pick(text, &steps), found, "{steps:?}");
            let whole = serde_json::from_str(text).expect("JSON");
            assert_eq!(walk(whole, &steps), found, "{steps:?}, walked");
        }
        for text in ["", "x", "{\"a\": 1", "{\"a\": 1} x", "[1]"] {
            assert_eq!(pick(text, &[field("a")]), None, "{text}");
        }
    }
}
