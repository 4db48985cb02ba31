//! From types to JSON, in the order of attributes that registries compare by.

use hashbrown::HashSet;
use serde_json::Number;

use super::super::node::Node;
use super::{AvroKind, AvroSchema, Field, Named, TypeId};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Properties and aliases as they came.
    Canonical,
    /// Properties and aliases in the order of their names.
    Normalized,
}

pub fn print(schema: &AvroSchema, form: Form) -> String {
    let mut printer = Printer {
        schema,
        form,
        known: HashSet::new(),
    };
    // what a reference defines is printed as its name
    for (name, id) in &schema.names {
        if *id < schema.own_from {
            printer.known.insert(name.clone());
        }
    }
    printer.node(schema.root, "").to_string()
}

struct Printer<'a> {
    schema: &'a AvroSchema,
    form: Form,
    known: HashSet<String>,
}

type Entries = Vec<(String, Node)>;

fn text(value: &str) -> Node {
    Node::Text(value.to_owned())
}

fn put(entries: &mut Entries, key: &str, value: Node) {
    entries.push((key.to_owned(), value));
}

impl Printer<'_> {
    /// Nests as deeply as the text did: a named type is printed once.
    fn node(&mut self, id: TypeId, namespace: &str) -> Node {
        let ty = self.schema.type_of(id);
        if let Some(named) = ty.kind.named()
            && self.known.contains(&named.full_name)
        {
            let (space, short) = split(&named.full_name);
            return text(if space == namespace {
                short
            } else {
                &named.full_name
            });
        }
        if let AvroKind::Union(branches) = &ty.kind {
            return Node::List(
                branches
                    .iter()
                    .map(|branch| self.node(*branch, namespace))
                    .collect(),
            );
        }
        let mut entries = vec![("type".to_owned(), text(ty.kind.type_name()))];
        let mut aliases = None;
        match &ty.kind {
            AvroKind::Array(inner) => put(&mut entries, "items", self.node(*inner, namespace)),
            AvroKind::Map(inner) => put(&mut entries, "values", self.node(*inner, namespace)),
            AvroKind::Record(record) => {
                if record.is_error {
                    entries[0].1 = text("error");
                }
                self.name(&record.name, namespace, &mut entries);
                let inside = split(&record.name.full_name).0;
                let fields = record
                    .fields
                    .iter()
                    .map(|field| self.field(field, inside))
                    .collect();
                put(&mut entries, "fields", Node::List(fields));
                aliases = Some(&record.name);
            }
            AvroKind::Enum(enumeration) => {
                self.name(&enumeration.name, namespace, &mut entries);
                let symbols = enumeration.symbols.iter().map(|symbol| text(symbol)).collect();
                put(&mut entries, "symbols", Node::List(symbols));
                if let Some(default) = &enumeration.default {
                    put(&mut entries, "default", text(default));
                }
                aliases = Some(&enumeration.name);
            }
            AvroKind::Fixed(fixed) => {
                self.name(&fixed.name, namespace, &mut entries);
                put(&mut entries, "size", Node::Number(Number::from(fixed.size)));
                aliases = Some(&fixed.name);
            }
            _ if ty.properties.is_empty() => return text(ty.kind.type_name()),
            _ => {}
        }
        self.properties(&ty.properties, &mut entries);
        if let Some(named) = aliases {
            let inside = split(&named.full_name).0;
            let short = |alias: &String| match split(alias) {
                (space, short) if space == inside => short.to_owned(),
                _ => alias.clone(),
            };
            self.aliases(named.aliases.iter().map(short).collect(), &mut entries);
        }
        Node::Object(entries)
    }

    fn name(&mut self, named: &Named, namespace: &str, entries: &mut Entries) {
        self.known.insert(named.full_name.clone());
        let (space, short) = split(&named.full_name);
        put(entries, "name", text(short));
        if space != namespace {
            put(entries, "namespace", text(space));
        }
        if let Some(doc) = &named.doc {
            put(entries, "doc", text(doc));
        }
    }

    fn field(&mut self, field: &Field, namespace: &str) -> Node {
        let mut entries = vec![("name".to_owned(), text(&field.name))];
        put(&mut entries, "type", self.node(field.type_id, namespace));
        if let Some(doc) = &field.doc {
            put(&mut entries, "doc", text(doc));
        }
        if let Some(default) = &field.default {
            put(&mut entries, "default", default.clone());
        }
        if let Some(order) = field.order.as_deref().filter(|order| *order != "ascending") {
            put(&mut entries, "order", text(order));
        }
        self.aliases(field.aliases.clone(), &mut entries);
        self.properties(&field.properties, &mut entries);
        Node::Object(entries)
    }

    fn aliases(&self, mut aliases: Vec<String>, entries: &mut Entries) {
        if self.form == Form::Normalized {
            aliases.sort();
        }
        if !aliases.is_empty() {
            put(
                entries,
                "aliases",
                Node::List(aliases.iter().map(|alias| text(alias)).collect()),
            );
        }
    }

    fn properties(&self, properties: &[(String, Node)], entries: &mut Entries) {
        let from = entries.len();
        entries.extend_from_slice(properties);
        if self.form == Form::Normalized {
            entries[from..].sort_by(|(one, _), (other, _)| one.cmp(other));
        }
    }
}

/// Namespace and short name.
fn split(full_name: &str) -> (&str, &str) {
    full_name.rsplit_once('.').unwrap_or(("", full_name))
}
