//! What was seen of one field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value, json};

use super::text::Formats;

/// Fields of one object that are told apart; more are a map, not a record.
const MAX_FIELDS: usize = 500;
/// Objects and lists are looked into so deep.
const MAX_DEPTH: usize = 16;
/// Texts of one field that are told apart.
const MAX_DISTINCT: usize = 64;
/// A field with so few texts, each seen often, is an enumeration.
const MAX_ENUM: usize = 8;
/// How often each text of an enumeration was seen, on average: less may be chance.
const ENUM_TIMES: u64 = 25;
/// Longer texts are no names of anything.
const MAX_NAME: usize = 64;

/// What was seen of one field.
#[derive(Debug, Clone, Default)]
pub(super) struct Field {
    pub seen: u64,
    nulls: u64,
    booleans: u64,
    integers: u64,
    floats: u64,
    pub texts: u64,
    lists: u64,
    pub objects: u64,
    range: Option<(Number, Number)>,
    formats: Option<Formats>,
    /// `None` once there are more than [`MAX_DISTINCT`].
    distinct: Option<BTreeSet<String>>,
    items: Option<Box<Field>>,
    pub fields: BTreeMap<String, Field>,
    /// There were more fields than [`MAX_FIELDS`].
    crowded: bool,
}

impl Field {
    pub fn see(&mut self, value: &Value, depth: usize) {
        self.seen += 1;
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) => self.number(number),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                self.lists += 1;
                if depth < MAX_DEPTH {
                    let field = self.items.get_or_insert_default();
                    items.iter().for_each(|item| field.see(item, depth + 1));
                }
            }
            Value::Object(entries) => {
                self.objects += 1;
                if depth < MAX_DEPTH {
                    self.entries(entries, depth);
                }
            }
        }
    }

    fn entries(&mut self, entries: &Map<String, Value>, depth: usize) {
        for (name, value) in entries {
            if let Some(field) = self.fields.get_mut(name) {
                field.see(value, depth + 1);
            } else if self.fields.len() < MAX_FIELDS {
                let mut field = Self::default();
                field.see(value, depth + 1);
                self.fields.insert(name.clone(), field);
            } else {
                self.crowded = true;
            }
        }
    }

    fn number(&mut self, number: &Number) {
        // as JSON Schema has it: 1.0 is an integer
        let integral = number.as_f64().is_some_and(|value| value.fract() == 0.0);
        if number.is_f64() && !integral {
            self.floats += 1
        } else {
            self.integers += 1
        }
        let less = |a: &Number, b: &Number| a.as_f64() < b.as_f64();
        self.range = Some(match self.range.take() {
            None => (number.clone(), number.clone()),
            Some((least, most)) => (
                if less(number, &least) {
                    number.clone()
                } else {
                    least
                },
                if less(&most, number) { number.clone() } else { most },
            ),
        });
    }

    fn text(&mut self, text: &str) {
        let first = self.texts == 0;
        self.texts += 1;
        self.formats.get_or_insert_default().see(text);
        if first {
            self.distinct = Some(BTreeSet::new());
        }
        if let Some(distinct) = &mut self.distinct {
            if text.len() <= MAX_NAME {
                distinct.insert(text.to_owned());
            }
            if text.len() > MAX_NAME || distinct.len() > MAX_DISTINCT {
                self.distinct = None;
            }
        }
    }

    /// The format that every text has.
    pub fn format(&self) -> Option<&'static str> {
        self.formats.as_ref()?.found()
    }

    /// Whether each value is of one simple type: what a key or a time can be.
    pub fn only_texts(&self) -> bool {
        self.texts > 0 && self.texts + self.nulls == self.seen
    }

    pub fn only_integers(&self) -> bool {
        self.integers > 0 && self.integers + self.nulls == self.seen
    }

    pub fn range(&self) -> Option<(f64, f64)> {
        let (least, most) = self.range.as_ref()?;
        least.as_f64().zip(most.as_f64())
    }

    /// How many texts were told apart; `None` when they were too many.
    pub fn distinct(&self) -> Option<usize> {
        self.distinct.as_ref().map(BTreeSet::len)
    }

    fn enumeration(&self) -> Option<&BTreeSet<String>> {
        let distinct = self.distinct.as_ref()?;
        let often = self.texts >= ENUM_TIMES * distinct.len() as u64;
        (self.only_texts() && self.format().is_none() && (2..=MAX_ENUM).contains(&distinct.len()) && often)
            .then_some(distinct)
    }

    fn types(&self) -> Vec<&'static str> {
        let number = if self.floats > 0 { "number" } else { "integer" };
        let seen = [
            (self.booleans, "boolean"),
            (self.integers + self.floats, number),
            (self.texts, "string"),
            (self.lists, "array"),
            (self.objects, "object"),
            (self.nulls, "null"),
        ];
        let seen = seen.into_iter().filter(|(times, _)| *times > 0);
        seen.map(|(_, name)| name).collect()
    }

    /// The schema that accepts what was seen. `ranges`: numbers must stay within what was seen.
    pub fn propose(&self, ranges: bool) -> Map<String, Value> {
        let mut schema = Map::new();
        match self.types().as_slice() {
            [] => {}
            [one] => drop(schema.insert("type".to_owned(), json!(one))),
            several => drop(schema.insert("type".to_owned(), json!(several))),
        }
        if let Some((least, most)) = &self.range {
            if ranges {
                schema.insert("minimum".to_owned(), json!(least));
                schema.insert("maximum".to_owned(), json!(most));
            } else {
                schema.insert(
                    "x-observed".to_owned(),
                    json!({ "minimum": least, "maximum": most }),
                );
            }
        }
        if let Some(format) = self.format().filter(|_| self.texts > 0) {
            schema.insert("format".to_owned(), json!(format));
        }
        if let Some(names) = self.enumeration() {
            let mut names: Vec<Value> = names.iter().map(|name| json!(name)).collect();
            if self.nulls > 0 {
                names.push(Value::Null);
            }
            schema.insert("enum".to_owned(), Value::Array(names));
        }
        if let Some(items) = self.items.as_ref().filter(|items| items.seen > 0) {
            schema.insert("items".to_owned(), Value::Object(items.propose(ranges)));
        }
        if self.objects > 0 {
            self.propose_fields(&mut schema, ranges);
        }
        schema
    }

    fn propose_fields(&self, schema: &mut Map<String, Value>, ranges: bool) {
        let properties: Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, field)| (name.clone(), Value::Object(field.propose(ranges))))
            .collect();
        schema.insert("properties".to_owned(), Value::Object(properties));
        // a field that every event had
        let required: Vec<&String> = self
            .fields
            .iter()
            .filter(|(_, field)| field.seen == self.objects)
            .map(|(name, _)| name)
            .collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if self.crowded {
            let comment = format!("more than {MAX_FIELDS} fields were seen; the first are listed");
            schema.insert("$comment".to_owned(), json!(comment));
        }
    }
}
