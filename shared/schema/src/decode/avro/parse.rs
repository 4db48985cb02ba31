//! From a schema's text to its types. What the registry registered is a schema; this reads it without trust.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tributary_shared::wire::NamedText;

use super::model::{AvroSchema, BytesMeaning, Field, IntMeaning, LongMeaning, Type, TypeId};
use crate::decode::time::TimeUnit;

/// Types of one schema, with all that it refers to.
const MAX_TYPES: usize = 100_000;

/// Why a text is no Avro schema of events: where, and what.
pub(in super::super) type Refused = (String, String);

impl AvroSchema {
    /// Reads a schema; `references` hold the named types that it uses, each after those that it needs.
    ///
    /// # Errors
    /// The place as a JSON Pointer, and what is wrong there.
    pub(in super::super) fn parse(text: &str, references: &[NamedText]) -> Result<Self, Refused> {
        let mut parser = Parser::default();
        for reference in references {
            parser.document(&reference.text).map_err(|(path, message)| {
                (path, format!("in the reference {:?}: {message}", reference.name))
            })?;
        }
        let root = parser.document(text)?;
        if !matches!(parser.types[root], Type::Record { .. }) {
            return Err((String::new(), "an event's schema must be a record".to_owned()));
        }
        Ok(Self {
            types: parser.types,
            root,
        })
    }
}

#[derive(Debug, Default)]
struct Parser {
    types: Vec<Type>,
    /// By full name.
    named: HashMap<String, TypeId>,
}

/// Where the parser stands.
#[derive(Debug, Clone, Copy)]
struct Place<'p> {
    path: &'p str,
    namespace: &'p str,
}

impl Place<'_> {
    fn refuse<T>(self, message: impl Into<String>) -> Result<T, Refused> {
        Err((self.path.to_owned(), message.into()))
    }
}

impl Parser {
    fn document(&mut self, text: &str) -> Result<TypeId, Refused> {
        let place = Place {
            path: "",
            namespace: "",
        };
        // a name alone stands for its type
        match serde_json::from_str(text) {
            Ok(value) => self.read(&value, place),
            Err(error) => place.refuse(format!("the schema is not JSON: {error}")),
        }
    }

    fn add(&mut self, ty: Type, place: Place<'_>) -> Result<TypeId, Refused> {
        if self.types.len() >= MAX_TYPES {
            return place.refuse(format!("more than {MAX_TYPES} types"));
        }
        self.types.push(ty);
        Ok(self.types.len() - 1)
    }

    fn read(&mut self, value: &Value, place: Place<'_>) -> Result<TypeId, Refused> {
        match value {
            Value::String(name) => self.name(name, None, place),
            Value::Array(branches) => {
                let mut ids = Vec::with_capacity(branches.len());
                for (at, branch) in branches.iter().enumerate() {
                    let path = format!("{}/{at}", place.path);
                    let id = self.read(branch, Place { path: &path, ..place })?;
                    if matches!(self.types[id], Type::Union(_)) {
                        return place.refuse("a union within a union");
                    }
                    ids.push(id);
                }
                self.add(Type::Union(ids), place)
            }
            Value::Object(map) => self.object(map, place),
            _ => place.refuse("expected a type: a name, an object, or an array of types"),
        }
    }

    /// A primitive type, or one that was defined before.
    fn name(
        &mut self,
        name: &str,
        map: Option<&Map<String, Value>>,
        place: Place<'_>,
    ) -> Result<TypeId, Refused> {
        let logical = map
            .and_then(|map| map.get("logicalType"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        let primitive = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int(match logical {
                "date" => IntMeaning::Date,
                "time-millis" => IntMeaning::Time,
                _ => IntMeaning::Number,
            }),
            "long" => Type::Long(match logical {
                "time-micros" => LongMeaning::Time,
                "timestamp-millis" => LongMeaning::Timestamp(TimeUnit::Millis),
                "timestamp-micros" => LongMeaning::Timestamp(TimeUnit::Micros),
                "timestamp-nanos" => LongMeaning::Timestamp(TimeUnit::Nanos),
                "local-timestamp-millis" => LongMeaning::Local(TimeUnit::Millis),
                "local-timestamp-micros" => LongMeaning::Local(TimeUnit::Micros),
                "local-timestamp-nanos" => LongMeaning::Local(TimeUnit::Nanos),
                _ => LongMeaning::Number,
            }),
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes(decimal(map, logical)),
            "string" => Type::Text,
            _ => {
                let known = self.named.get(&full_name(name, place.namespace)).copied();
                // a name without a namespace may also be one of none
                let known = known.or_else(|| self.named.get(name).copied());
                return match known {
                    Some(id) => Ok(id),
                    None => place.refuse(format!("the type {name:?} is not defined before it is used")),
                };
            }
        };
        self.add(primitive, place)
    }

    fn object(&mut self, map: &Map<String, Value>, place: Place<'_>) -> Result<TypeId, Refused> {
        let under = |part: &str| format!("{}/{part}", place.path);
        match map.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "record" | "error" => self.record(map, place),
                "enum" => self.enumeration(map, place),
                "fixed" => self.fixed(map, place),
                "array" | "map" => {
                    let part = if kind == "array" { "items" } else { "values" };
                    let path = under(part);
                    let inner = self.read(
                        map.get(part).unwrap_or(&Value::Null),
                        Place { path: &path, ..place },
                    )?;
                    let ty = if kind == "array" {
                        Type::Array(inner)
                    } else {
                        Type::Map(inner)
                    };
                    self.add(ty, place)
                }
                name => self.name(name, Some(map), place),
            },
            Some(inner) => {
                let path = under("type");
                self.read(inner, Place { path: &path, ..place })
            }
            None => place.refuse("a type without \"type\""),
        }
    }

    /// Takes the place of a named type before its definition is read, so that it may name itself.
    fn define(&mut self, map: &Map<String, Value>, place: Place<'_>) -> Result<(TypeId, String), Refused> {
        let Some(name) = map
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
        else {
            return place.refuse("a record, enum or fixed without a name");
        };
        let namespace = map
            .get("namespace")
            .and_then(Value::as_str)
            .unwrap_or(place.namespace);
        let full = full_name(name, namespace);
        let id = self.add(Type::Unfinished, place)?;
        if self.named.insert(full.clone(), id).is_some() {
            return place.refuse(format!("the name {full:?} is defined twice"));
        }
        Ok((id, full))
    }

    fn record(&mut self, map: &Map<String, Value>, place: Place<'_>) -> Result<TypeId, Refused> {
        let (id, name) = self.define(map, place)?;
        let namespace = name
            .rsplit_once('.')
            .map_or("", |(namespace, _)| namespace)
            .to_owned();
        let Some(list) = map.get("fields").and_then(Value::as_array) else {
            return place.refuse("a record without \"fields\"");
        };
        let mut fields: Vec<Field> = Vec::with_capacity(list.len());
        for (at, field) in list.iter().enumerate() {
            let path = format!("{}/fields/{at}", place.path);
            let here = Place {
                path: &path,
                namespace: &namespace,
            };
            let Some(name) = field.get("name").and_then(Value::as_str) else {
                return here.refuse("a field without a name");
            };
            if fields.iter().any(|known| known.name == name) {
                return here.refuse(format!("the field {name:?} is defined twice"));
            }
            let type_path = format!("{path}/type");
            let ty = field.get("type").unwrap_or(&Value::Null);
            let ty = self.read(
                ty,
                Place {
                    path: &type_path,
                    ..here
                },
            )?;
            let marked = |mark: &str| field.get(mark) == Some(&Value::Bool(true));
            fields.push(Field {
                name: name.to_owned(),
                aliases: texts(field.get("aliases")),
                ty,
                default: field.get("default").cloned(),
                event_time: marked("x-event-time") || marked("event-time"),
                key: marked("x-key"),
            });
        }
        let aliases = texts(map.get("aliases"));
        self.types[id] = Type::Record {
            name,
            aliases,
            fields,
        };
        Ok(id)
    }

    fn enumeration(&mut self, map: &Map<String, Value>, place: Place<'_>) -> Result<TypeId, Refused> {
        let (id, name) = self.define(map, place)?;
        let symbols = texts(map.get("symbols"));
        if symbols.is_empty() {
            return place.refuse("an enum without symbols");
        }
        let default = map.get("default").and_then(Value::as_str).map(str::to_owned);
        self.types[id] = Type::Enum {
            name,
            symbols,
            default,
        };
        Ok(id)
    }

    fn fixed(&mut self, map: &Map<String, Value>, place: Place<'_>) -> Result<TypeId, Refused> {
        let (id, name) = self.define(map, place)?;
        let size = map
            .get("size")
            .and_then(Value::as_u64)
            .and_then(|size| u32::try_from(size).ok());
        let Some(size) = size.and_then(|size| usize::try_from(size).ok()) else {
            return place.refuse("a fixed without a size");
        };
        let logical = map.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        let meaning = match (logical, size) {
            ("duration", 12) => BytesMeaning::Duration,
            ("uuid", 16) => BytesMeaning::Uuid,
            _ => decimal(Some(map), logical),
        };
        self.types[id] = Type::Fixed { name, size, meaning };
        Ok(id)
    }
}

/// A logical type that is not understood, or not whole, is ignored, as Avro says.
fn decimal(map: Option<&Map<String, Value>>, logical: &str) -> BytesMeaning {
    let number = |key: &str| {
        let value = map.and_then(|map| map.get(key)).and_then(Value::as_u64);
        value.and_then(|value| u32::try_from(value).ok())
    };
    match (logical, number("precision")) {
        ("decimal", Some(precision)) => {
            let scale = number("scale").unwrap_or(0);
            if precision > 0 && scale <= precision {
                BytesMeaning::Decimal { precision, scale }
            } else {
                BytesMeaning::Bytes
            }
        }
        _ => BytesMeaning::Bytes,
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}
