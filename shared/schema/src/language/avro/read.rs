//! From JSON to types.

use hashbrown::{HashMap, HashSet};

use super::super::messages::{Dependency, LanguageError};
use super::super::node::Node;
use super::print::{Form, print};
use super::{AvroKind, AvroSchema, AvroType, Enumeration, Field, Fixed, Named, Record, TypeId, default};

const PRIMITIVES: [(&str, AvroKind); 8] = [
    ("null", AvroKind::Null),
    ("boolean", AvroKind::Boolean),
    ("int", AvroKind::Int),
    ("long", AvroKind::Long),
    ("float", AvroKind::Float),
    ("double", AvroKind::Double),
    ("bytes", AvroKind::Bytes),
    ("string", AvroKind::String),
];

/// Attributes of a field that are no properties.
const FIELD_KEYS: [&str; 6] = ["name", "type", "doc", "default", "order", "aliases"];

/// Reads a schema and, before it, those that it refers to.
pub fn parse(text: &str, dependencies: &[Dependency<'_>]) -> Result<AvroSchema, LanguageError> {
    let mut reader = Reader {
        types: Vec::new(),
        names: HashMap::new(),
    };
    for dependency in dependencies {
        reader
            .read_text(dependency.text)
            .map_err(|error| LanguageError::Reference {
                name: dependency.name.to_owned(),
                message: error.to_string(),
            })?;
    }
    let own_from = reader.types.len();
    let root = reader.read_text(text)?;
    let mut schema = AvroSchema {
        types: reader.types,
        root,
        names: reader.names,
        own_from,
        canonical: String::new(),
    };
    default::check(&schema, own_from)?;
    schema.canonical = print(&schema, Form::Canonical);
    Ok(schema)
}

fn invalid(path: &str, message: impl Into<String>) -> LanguageError {
    LanguageError::Invalid {
        path: path.to_owned(),
        message: message.into(),
    }
}

struct Reader {
    types: Vec<AvroType>,
    names: HashMap<String, TypeId>,
}

impl Reader {
    fn read_text(&mut self, text: &str) -> Result<TypeId, LanguageError> {
        // a bare name is a schema too, and some clients send it without quotes
        let node = match text.trim() {
            bare if is_full_name(bare) => Node::Text(bare.to_owned()),
            _ => Node::parse(text)?,
        };
        self.read(&node, "", "")
    }

    fn push(&mut self, kind: AvroKind, properties: Vec<(String, Node)>) -> TypeId {
        self.types.push(AvroType { kind, properties });
        self.types.len() - 1
    }

    /// Reads the type at `path`; names without a dot are of `namespace`.
    fn read(&mut self, node: &Node, namespace: &str, path: &str) -> Result<TypeId, LanguageError> {
        match node {
            Node::Text(name) => self.by_name(name, namespace, path),
            Node::List(branches) => self.union(branches, namespace, path),
            Node::Object(_) => self.object(node, namespace, path),
            _ => Err(invalid(
                path,
                "expected a type: a name, an object, or an array for a union",
            )),
        }
    }

    fn by_name(&mut self, name: &str, namespace: &str, path: &str) -> Result<TypeId, LanguageError> {
        if let Some(kind) = primitive(name) {
            return Ok(self.push(kind, Vec::new()));
        }
        let full = qualified(name, namespace);
        // the specification looks in the null namespace too, for the names of old schemas
        let found = self.names.get(&full).or_else(|| self.names.get(name));
        found.copied().ok_or_else(|| {
            let hint = "define it before it is used, or register it and refer to it";
            invalid(path, format!("the type {full:?} is not defined; {hint}"))
        })
    }

    fn union(&mut self, branches: &[Node], namespace: &str, path: &str) -> Result<TypeId, LanguageError> {
        let mut ids = Vec::with_capacity(branches.len());
        let mut known = HashSet::new();
        for (index, branch) in branches.iter().enumerate() {
            let path = format!("{path}/{index}");
            let id = self.read(branch, namespace, &path)?;
            let kind = &self.types[id].kind;
            if matches!(kind, AvroKind::Union(_)) {
                return Err(invalid(&path, "a union may not hold a union"));
            }
            let label = kind.named().map_or(kind.type_name(), |named| &named.full_name);
            if !known.insert(label.to_owned()) {
                return Err(invalid(&path, format!("the union holds {label:?} twice")));
            }
            ids.push(id);
        }
        if ids.is_empty() {
            return Err(invalid(path, "a union needs at least one type"));
        }
        Ok(self.push(AvroKind::Union(ids), Vec::new()))
    }

    fn object(&mut self, node: &Node, namespace: &str, path: &str) -> Result<TypeId, LanguageError> {
        let Some(kind) = node.get("type") else {
            return Err(invalid(path, "\"type\" is missing"));
        };
        let Some(name) = kind.as_text() else {
            // {"type": {"type": "string"}}: the inner type counts
            return self.read(kind, namespace, &format!("{path}/type"));
        };
        match name {
            "record" | "error" => self.record(node, namespace, path, name == "error"),
            "enum" => self.enumeration(node, namespace, path),
            "fixed" => self.fixed(node, namespace, path),
            "array" | "map" => {
                let key = if name == "array" { "items" } else { "values" };
                let Some(inner) = node.get(key) else {
                    return Err(invalid(path, format!("\"{key}\" is missing")));
                };
                let inner = self.read(inner, namespace, &format!("{path}/{key}"))?;
                let kind = if name == "array" {
                    AvroKind::Array
                } else {
                    AvroKind::Map
                };
                Ok(self.push(kind(inner), properties(node, &["type", key])))
            }
            _ => match primitive(name) {
                Some(kind) => Ok(self.push(kind, properties(node, &["type"]))),
                None => self.by_name(name, namespace, &format!("{path}/type")),
            },
        }
    }

    /// Takes the place of a named type, so that it may refer to itself.
    fn define(
        &mut self,
        kind: AvroKind,
        node: Vec<(String, Node)>,
        path: &str,
    ) -> Result<TypeId, LanguageError> {
        let full_name = kind
            .named()
            .map(|named| named.full_name.clone())
            .unwrap_or_default();
        let id = self.push(kind, node);
        if self.names.insert(full_name.clone(), id).is_some() {
            return Err(invalid(path, format!("the type {full_name:?} is defined twice")));
        }
        Ok(id)
    }

    fn record(
        &mut self,
        node: &Node,
        namespace: &str,
        path: &str,
        is_error: bool,
    ) -> Result<TypeId, LanguageError> {
        let (name, namespace) = read_name(node, namespace, path)?;
        let Some(fields) = node.get("fields").and_then(Node::as_list) else {
            return Err(invalid(
                path,
                format!("the record {:?} has no array \"fields\"", name.full_name),
            ));
        };
        let keys = ["type", "name", "namespace", "doc", "aliases", "fields"];
        let record = Record {
            name,
            fields: Vec::new(),
            is_error,
        };
        let id = self.define(AvroKind::Record(record), properties(node, &keys), path)?;
        let mut known = HashSet::new();
        let mut read = Vec::with_capacity(fields.len());
        for (index, field) in fields.iter().enumerate() {
            let path = format!("{path}/fields/{index}");
            let field = self.field(field, &namespace, &path)?;
            if !known.insert(field.name.clone()) {
                return Err(invalid(
                    &path,
                    format!("the field {:?} is there twice", field.name),
                ));
            }
            read.push(field);
        }
        if let AvroKind::Record(record) = &mut self.types[id].kind {
            record.fields = read;
        }
        Ok(id)
    }

    fn field(&mut self, node: &Node, namespace: &str, path: &str) -> Result<Field, LanguageError> {
        let name = text_at(node, "name", path)?.ok_or_else(|| invalid(path, "a field needs a \"name\""))?;
        if !is_name(name) {
            return Err(invalid(
                path,
                format!("{name:?} is no name for a field; {NAME_RULE}"),
            ));
        }
        let Some(inner) = node.get("type") else {
            return Err(invalid(path, format!("the field {name:?} has no \"type\"")));
        };
        let type_id = self.read(inner, namespace, &format!("{path}/type"))?;
        let order = text_at(node, "order", path)?.map(str::to_owned);
        if let Some(order) = &order
            && !["ascending", "descending", "ignore"].contains(&order.as_str())
        {
            let message = format!("{order:?} is no order; use ascending, descending or ignore");
            return Err(invalid(&format!("{path}/order"), message));
        }
        Ok(Field {
            name: name.to_owned(),
            aliases: names_at(node, "aliases", path)?,
            type_id,
            doc: text_at(node, "doc", path)?.map(str::to_owned),
            default: node.get("default").cloned(),
            order,
            properties: properties(node, &FIELD_KEYS),
        })
    }

    fn enumeration(&mut self, node: &Node, namespace: &str, path: &str) -> Result<TypeId, LanguageError> {
        let (name, _) = read_name(node, namespace, path)?;
        if node.get("symbols").and_then(Node::as_list).is_none() {
            return Err(invalid(
                path,
                format!("the enum {:?} has no array \"symbols\"", name.full_name),
            ));
        }
        let symbols = names_at(node, "symbols", path)?;
        let mut known = HashSet::new();
        for (index, symbol) in symbols.iter().enumerate() {
            let path = format!("{path}/symbols/{index}");
            if !is_name(symbol) {
                return Err(invalid(&path, format!("{symbol:?} is no symbol; {NAME_RULE}")));
            }
            if !known.insert(symbol.as_str()) {
                return Err(invalid(&path, format!("the symbol {symbol:?} is there twice")));
            }
        }
        drop(known);
        let default = text_at(node, "default", path)?.map(str::to_owned);
        if let Some(default) = &default
            && !symbols.contains(default)
        {
            let message = format!("{default:?} is none of the enum's symbols");
            return Err(invalid(&format!("{path}/default"), message));
        }
        let keys = [
            "type",
            "name",
            "namespace",
            "doc",
            "aliases",
            "symbols",
            "default",
        ];
        let enumeration = Enumeration {
            name,
            symbols,
            default,
        };
        self.define(AvroKind::Enum(enumeration), properties(node, &keys), path)
    }

    fn fixed(&mut self, node: &Node, namespace: &str, path: &str) -> Result<TypeId, LanguageError> {
        let (name, _) = read_name(node, namespace, path)?;
        let size = match node.get("size") {
            Some(Node::Number(size)) => size.as_u64().and_then(|size| i32::try_from(size).ok()),
            _ => None,
        };
        let Some(size) = size.and_then(|size| usize::try_from(size).ok()) else {
            let message = format!(
                "the fixed {:?} needs a \"size\" of 0 to {} bytes",
                name.full_name,
                i32::MAX
            );
            return Err(invalid(&format!("{path}/size"), message));
        };
        let keys = ["type", "name", "namespace", "doc", "aliases", "size"];
        self.define(
            AvroKind::Fixed(Fixed { name, size }),
            properties(node, &keys),
            path,
        )
    }
}

const NAME_RULE: &str = "it starts with a letter or _, and goes on with letters, digits and _";

fn primitive(name: &str) -> Option<AvroKind> {
    let found = PRIMITIVES.iter().find(|(known, _)| *known == name);
    found.map(|(_, kind)| kind.clone())
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_full_name(text: &str) -> bool {
    text.split('.').all(is_name)
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// The attributes beside the named ones.
fn properties(node: &Node, named: &[&str]) -> Vec<(String, Node)> {
    match node {
        Node::Object(entries) => {
            let mut rest = entries.clone();
            rest.retain(|(key, _)| !named.contains(&key.as_str()));
            rest
        }
        _ => Vec::new(),
    }
}

fn text_at<'a>(node: &'a Node, key: &str, path: &str) -> Result<Option<&'a str>, LanguageError> {
    match node.get(key) {
        None | Some(Node::Null) => Ok(None),
        Some(Node::Text(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(&format!("{path}/{key}"), "expected text")),
    }
}

fn names_at(node: &Node, key: &str, path: &str) -> Result<Vec<String>, LanguageError> {
    let Some(found) = node.get(key) else {
        return Ok(Vec::new());
    };
    let wrong = || invalid(&format!("{path}/{key}"), "expected an array of names");
    let items = found.as_list().ok_or_else(wrong)?;
    let names = items.iter().map(|item| item.as_text().map(str::to_owned));
    names.collect::<Option<_>>().ok_or_else(wrong)
}

/// The name of a type, and the namespace that holds inside it.
fn read_name(node: &Node, namespace: &str, path: &str) -> Result<(Named, String), LanguageError> {
    let name = text_at(node, "name", path)?.ok_or_else(|| invalid(path, "\"name\" is missing"))?;
    let namespace = text_at(node, "namespace", path)?.unwrap_or(namespace);
    let full_name = qualified(name, namespace);
    if !is_full_name(&full_name) {
        let message = format!("{full_name:?} is no name for a type; {NAME_RULE}");
        return Err(invalid(&format!("{path}/name"), message));
    }
    if primitive(&full_name).is_some() {
        let message = format!("{full_name:?} is the name of a built-in type");
        return Err(invalid(&format!("{path}/name"), message));
    }
    let namespace = full_name
        .rsplit_once('.')
        .map_or("", |(space, _)| space)
        .to_owned();
    let aliases = names_at(node, "aliases", path)?;
    let aliases = aliases.iter().map(|alias| qualified(alias, &namespace)).collect();
    let named = Named {
        full_name,
        aliases,
        doc: text_at(node, "doc", path)?.map(str::to_owned),
    };
    Ok((named, namespace))
}
