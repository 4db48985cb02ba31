//! Does a field's default fit its type?

use hashbrown::{HashMap, HashSet};

use super::super::messages::LanguageError;
use super::super::node::Node;
use super::{AvroKind, AvroSchema, TypeId};

/// Checks the defaults of all fields that the schema's own text defines.
pub fn check(schema: &AvroSchema, own_from: TypeId) -> Result<(), LanguageError> {
    let mut symbols: HashMap<TypeId, HashSet<&str>> = HashMap::new();
    for (id, ty) in schema.types.iter().enumerate() {
        if let AvroKind::Enum(enumeration) = &ty.kind {
            symbols.insert(id, enumeration.symbols.iter().map(String::as_str).collect());
        }
    }
    let check = Check { schema, symbols };
    for ty in &schema.types[own_from..] {
        let AvroKind::Record(record) = &ty.kind else {
            continue;
        };
        for field in &record.fields {
            let Some(default) = &field.default else { continue };
            if check.fits(field.type_id, default) {
                continue;
            }
            let kind = schema.type_of(field.type_id).kind.type_name();
            return Err(LanguageError::Invalid {
                path: format!("{}.{}", record.name.full_name, field.name),
                message: format!(
                    "the default {default} is no value of its type ({kind}); change the default, or the type"
                ),
            });
        }
    }
    Ok(())
}

struct Check<'a> {
    schema: &'a AvroSchema,
    symbols: HashMap<TypeId, HashSet<&'a str>>,
}

impl Check<'_> {
    /// The default nests no deeper than the text did, so the recursion is bounded by it.
    fn fits(&self, id: TypeId, value: &Node) -> bool {
        match (&self.schema.type_of(id).kind, value) {
            (AvroKind::Null, Node::Null)
            | (AvroKind::Boolean, Node::Bool(_))
            | (AvroKind::String, Node::Text(_)) => true,
            (AvroKind::Int, Node::Number(number)) => {
                number.as_i64().is_some_and(|n| i32::try_from(n).is_ok())
            }
            (AvroKind::Long, Node::Number(number)) => number.as_i64().is_some(),
            (AvroKind::Float | AvroKind::Double, Node::Number(_)) => true,
            (AvroKind::Bytes, Node::Text(text)) => is_bytes(text),
            (AvroKind::Fixed(fixed), Node::Text(text)) => {
                is_bytes(text) && text.chars().count() == fixed.size
            }
            (AvroKind::Enum(_), Node::Text(text)) => self
                .symbols
                .get(&id)
                .is_some_and(|symbols| symbols.contains(text.as_str())),
            (AvroKind::Array(items), Node::List(values)) => {
                values.iter().all(|value| self.fits(*items, value))
            }
            (AvroKind::Map(inner), Node::Object(entries)) => {
                entries.iter().all(|(_, value)| self.fits(*inner, value))
            }
            // since 1.12 any branch may give the default
            (AvroKind::Union(branches), value) => branches.iter().any(|branch| self.fits(*branch, value)),
            (AvroKind::Record(record), Node::Object(_)) => record.fields.iter().all(|field| {
                value
                    .get(&field.name)
                    .map_or(field.has_default(), |value| self.fits(field.type_id, value))
            }),
            _ => false,
        }
    }
}

fn is_bytes(text: &str) -> bool {
    text.chars().all(|char| u32::from(char) <= 0xff)
}
