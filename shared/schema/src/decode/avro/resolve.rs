//! Writer and reader laid over each other, as the Avro specification's schema resolution says, once for each
//! pair of schemas. Two things differ on purpose, because nothing may be lost: a field that the reader does
//! not have keeps its own name (and so ends in `_extra`), and a timestamp that changes its unit is converted.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::fit::{best_branch, fitness};
use super::logical::{write_base64, write_decimal, write_duration, write_uuid};
use super::model::{AvroSchema, BytesMeaning, Field, IntMeaning, LongMeaning, Type, TypeId};
use super::read::{NumberAs, write_text};
use crate::decode::kind::Kind;
use crate::decode::time::TimeUnit;

/// Defaults within defaults; a record that holds itself by default would have no end.
const DEFAULT_DEPTH: u32 = 32;

/// Position in [`Resolution::nodes`].
pub(super) type NodeId = usize;

/// How the bytes of one schema become the JSON text that another describes.
#[derive(Debug)]
pub(in super::super) struct Resolution {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

/// What stands in the bytes, and what is written for it.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    /// `int` and `long` look the same but for their range.
    Int(NumberAs),
    Long(NumberAs),
    Float,
    Double,
    Bytes(BytesAs),
    Fixed(usize, BytesAs),
    Text(TextAs),
    /// The JSON text of each symbol; `None` for one that the reader does not have.
    Enum(Vec<Result<String, String>>),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
    Record {
        steps: Vec<Step>,
        /// Members that the reader fills in.
        defaults: String,
    },
    /// The reader cannot take it.
    Mismatch(String),
}

/// A field of the writer.
#[derive(Debug)]
pub(super) struct Step {
    pub name: String,
    /// `"name":`, escaped.
    pub key: String,
    pub node: NodeId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BytesAs {
    Base64,
    Decimal(u32),
    Uuid,
    Duration,
    /// Bytes that the reader calls text.
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextAs {
    Text,
    /// Text that the reader calls bytes.
    Base64,
}

/// The type that a writer's is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Target {
    Reader(TypeId),
    /// No type of the reader stands for it: it is read as what it is.
    Own(TypeId),
}

impl Target {
    /// A type within this one.
    fn with(self, ty: TypeId) -> Self {
        match self {
            Self::Reader(_) => Self::Reader(ty),
            Self::Own(_) => Self::Own(ty),
        }
    }
}

/// One pair of types, in a column of times or anywhere else.
type Pair = (TypeId, Target, Option<TimeUnit>);

struct Resolver<'s> {
    writer: &'s AvroSchema,
    reader: &'s AvroSchema,
    nodes: Vec<Node>,
    known: HashMap<Pair, NodeId>,
    /// Pairs that have a place and no node yet: a loop instead of recursion, which schemas could make deep.
    open: Vec<(NodeId, Pair)>,
}

impl Resolution {
    /// `kinds` are the columns of the reader's fields; none when the reader's columns are not those of this
    /// schema.
    pub(in super::super) fn new(writer: &AvroSchema, reader: &AvroSchema, kinds: &[(String, Kind)]) -> Self {
        let mut resolver = Resolver {
            writer,
            reader,
            nodes: Vec::new(),
            known: HashMap::new(),
            open: Vec::new(),
        };
        let root = resolver.nodes.len();
        resolver.nodes.push(Node::Null);
        resolver.nodes[root] = resolver.record(writer.root, Target::Reader(reader.root), kinds);
        while let Some((id, (writer, target, unit))) = resolver.open.pop() {
            resolver.nodes[id] = resolver.node(writer, target, unit);
        }
        Self {
            nodes: resolver.nodes,
            root,
        }
    }
}

impl<'s> Resolver<'s> {
    fn target(&self, target: Target) -> &'s Type {
        match target {
            Target::Reader(ty) => self.reader.get(ty),
            Target::Own(ty) => self.writer.get(ty),
        }
    }

    fn place(&mut self, pair: Pair) -> NodeId {
        if let Some(id) = self.known.get(&pair) {
            return *id;
        }
        let id = self.nodes.len();
        self.nodes.push(Node::Null);
        self.known.insert(pair, id);
        self.open.push((id, pair));
        id
    }

    fn node(&mut self, writer: TypeId, target: Target, unit: Option<TimeUnit>) -> Node {
        use Type as T;
        let (from, to) = (self.writer.get(writer), self.target(target));
        match (from, to) {
            (T::Union(branches), _) => {
                // each branch of a union that nothing stands for is what it is
                let target = |branch: TypeId| match target {
                    Target::Reader(_) => target,
                    Target::Own(_) => Target::Own(branch),
                };
                let branches = branches
                    .iter()
                    .map(|branch| self.place((*branch, target(*branch), unit)));
                Node::Union(branches.collect())
            }
            (_, T::Union(branches)) => {
                let fitness = |branch: TypeId| fitness(from, self.target(target.with(branch)));
                match best_branch(branches, fitness) {
                    Some(branch) => self.node(writer, target.with(branch), unit),
                    None => mismatch(from, to),
                }
            }
            (T::Array(from), T::Array(to)) => Node::Array(self.place((*from, target.with(*to), None))),
            (T::Map(from), T::Map(to)) => Node::Map(self.place((*from, target.with(*to), None))),
            (T::Record { .. }, T::Record { .. }) => self.record(writer, target, &[]),
            _ => scalar(from, to, unit),
        }
    }

    fn record(&mut self, writer: TypeId, target: Target, kinds: &[(String, Kind)]) -> Node {
        let (Type::Record { fields: from, .. }, Type::Record { fields: to, .. }) =
            (self.writer.get(writer), self.target(target))
        else {
            return mismatch(self.writer.get(writer), self.target(target));
        };
        let units: HashMap<&str, TimeUnit> = kinds
            .iter()
            .filter_map(|(name, kind)| match kind {
                Kind::Time(unit) => Some((name.as_str(), *unit)),
                _ => None,
            })
            .collect();
        let unit_of = |field: &Field| units.get(field.name.as_str()).copied();
        let pairs = pair_fields(from, to);
        let filled: HashSet<&str> = pairs.iter().flatten().map(|at| to[*at].name.as_str()).collect();
        let mut steps = Vec::with_capacity(from.len());
        for (field, pair) in from.iter().zip(&pairs) {
            let (name, node) = match pair.map(|at| &to[at]) {
                Some(known) => {
                    let pair = (field.ty, target.with(known.ty), unit_of(known));
                    (known.name.clone(), self.place(pair))
                }
                // the reader calls another field of the writer by this name
                None if filled.contains(field.name.as_str()) => (
                    format!("{}.writer", field.name),
                    self.place((field.ty, Target::Own(field.ty), None)),
                ),
                None => (
                    field.name.clone(),
                    self.place((field.ty, Target::Own(field.ty), None)),
                ),
            };
            let key = key_text(&name);
            steps.push(Step { name, key, node });
        }
        let missing = to.iter().filter(|field| !filled.contains(field.name.as_str()));
        match self.defaults(missing.map(|field| (field, unit_of(field)))) {
            Ok(defaults) => Node::Record { steps, defaults },
            Err(message) => Node::Mismatch(message),
        }
    }

    /// The members that the reader fills in. A field that may be null and has no default stays out.
    fn defaults<'f>(
        &self,
        missing: impl Iterator<Item = (&'f Field, Option<TimeUnit>)>,
    ) -> Result<String, String> {
        let mut defaults = String::new();
        for (field, unit) in missing {
            let Some(default) = &field.default else {
                if optional(self.reader, field.ty) {
                    continue;
                }
                return Err(format!(
                    "the writer's schema has no field {:?}, which has no default",
                    field.name
                ));
            };
            if !defaults.is_empty() {
                defaults.push(',');
            }
            defaults.push_str(&key_text(&field.name));
            self.default((field.ty, unit), default, &mut defaults, DEFAULT_DEPTH)
                .ok_or_else(|| {
                    format!(
                        "the default of the field {:?} is no value of its type",
                        field.name
                    )
                })?;
        }
        Ok(defaults)
    }

    /// Writes a default value as the JSON text of its type; `None` when it is no value of it.
    fn default(
        &self,
        (ty, unit): (TypeId, Option<TimeUnit>),
        value: &Value,
        out: &mut String,
        depth: u32,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match (self.reader.get(ty), value) {
            (Type::Union(branches), _) => {
                let start = out.len();
                return branches.iter().find_map(|branch| {
                    out.truncate(start);
                    self.default((*branch, unit), value, out, depth)
                });
            }
            (Type::Null, Value::Null)
            | (Type::Boolean, Value::Bool(_))
            | (Type::Float | Type::Double, Value::Number(_)) => out.push_str(&value.to_string()),
            (Type::Int(meaning), Value::Number(number)) => {
                let number = number.as_i64().filter(|number| i32::try_from(*number).is_ok())?;
                int_as(*meaning).write(out, number)?;
            }
            (Type::Long(meaning), Value::Number(number)) => {
                long_as(*meaning, *meaning, unit).write(out, number.as_i64()?)?;
            }
            (Type::Text, Value::String(text)) => write_text(out, text),
            (Type::Enum { symbols, .. }, Value::String(symbol)) if symbols.contains(symbol) => {
                write_text(out, symbol);
            }
            (Type::Bytes(meaning) | Type::Fixed { meaning, .. }, Value::String(text)) => {
                let bytes = text.chars().map(|char| u8::try_from(u32::from(char)).ok());
                bytes_as(*meaning, *meaning).write(out, &bytes.collect::<Option<Vec<u8>>>()?)?;
            }
            (Type::Array(items), Value::Array(values)) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { "," });
                    self.default((*items, None), value, out, depth)?;
                }
                out.push(']');
            }
            (Type::Map(values), Value::Object(map)) => {
                let members = map.iter().map(|(name, value)| (name.as_str(), *values, value));
                self.default_members(members, out, depth)?;
            }
            (Type::Record { fields, .. }, Value::Object(map)) => {
                let mut members = Vec::with_capacity(fields.len());
                for field in fields {
                    let value = map.get(&field.name).or(field.default.as_ref())?;
                    members.push((field.name.as_str(), field.ty, value));
                }
                self.default_members(members.into_iter(), out, depth)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn default_members<'m>(
        &self,
        members: impl Iterator<Item = (&'m str, TypeId, &'m Value)>,
        out: &mut String,
        depth: u32,
    ) -> Option<()> {
        out.push('{');
        for (at, (name, ty, value)) in members.enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            out.push_str(&key_text(name));
            self.default((ty, None), value, out, depth)?;
        }
        out.push('}');
        Some(())
    }
}

/// For each field of the writer the reader's: the one of its own name, else the one that has it as an alias.
fn pair_fields(from: &[Field], to: &[Field]) -> Vec<Option<usize>> {
    let by_name: HashMap<&str, usize> = from
        .iter()
        .enumerate()
        .map(|(at, field)| (field.name.as_str(), at))
        .collect();
    let mut pairs = vec![None; from.len()];
    for (at, field) in to.iter().enumerate() {
        let names = std::iter::once(&field.name).chain(&field.aliases);
        let mut found = names.filter_map(|name| by_name.get(name.as_str()).copied());
        if let Some(found) = found.find(|found| pairs[*found].is_none()) {
            pairs[found] = Some(at);
        }
    }
    pairs
}

/// Types without types in them.
fn scalar(from: &Type, to: &Type, unit: Option<TimeUnit>) -> Node {
    use Type as T;
    match (from, to) {
        (T::Null, T::Null) => Node::Null,
        (T::Boolean, T::Boolean) => Node::Boolean,
        (T::Int(_), T::Int(meaning)) => Node::Int(int_as(*meaning)),
        (T::Int(_), T::Long(meaning)) => Node::Int(long_as(LongMeaning::Number, *meaning, unit)),
        (T::Long(from), T::Long(to)) => Node::Long(long_as(*from, *to, unit)),
        (T::Int(_), T::Float | T::Double) => Node::Int(NumberAs::Number),
        (T::Long(_), T::Float | T::Double) => Node::Long(NumberAs::Number),
        (T::Float, T::Float | T::Double) => Node::Float,
        (T::Double, T::Double) => Node::Double,
        (T::Text, T::Text) => Node::Text(TextAs::Text),
        (T::Text, T::Bytes(_)) => Node::Text(TextAs::Base64),
        (T::Bytes(_), T::Text) => Node::Bytes(BytesAs::Text),
        (T::Bytes(from), T::Bytes(to)) => Node::Bytes(bytes_as(*from, *to)),
        (
            T::Fixed {
                size, meaning: from, ..
            },
            T::Fixed {
                size: expected,
                meaning: to,
                ..
            },
        ) if size == expected => Node::Fixed(*size, bytes_as(*from, *to)),
        (
            T::Enum { symbols, .. },
            T::Enum {
                symbols: known,
                default,
                name,
            },
        ) => Node::Enum(
            symbols
                .iter()
                .map(|symbol| symbol_text(symbol, known, default.as_deref(), name))
                .collect(),
        ),
        _ => mismatch(from, to),
    }
}

fn mismatch(from: &Type, to: &Type) -> Node {
    Node::Mismatch(format!(
        "the writer's {} cannot be read as {}",
        from.words(),
        to.words()
    ))
}

fn optional(schema: &AvroSchema, ty: TypeId) -> bool {
    match schema.get(ty) {
        Type::Union(branches) => branches.iter().any(|branch| *schema.get(*branch) == Type::Null),
        ty => *ty == Type::Null,
    }
}

fn key_text(name: &str) -> String {
    let mut key = String::with_capacity(name.len() + 3);
    write_text(&mut key, name);
    key.push(':');
    key
}

fn symbol_text(symbol: &str, known: &[String], default: Option<&str>, name: &str) -> Result<String, String> {
    let read = if known.iter().any(|known| known == symbol) {
        symbol
    } else {
        default.ok_or_else(|| format!("the enum {name} has no symbol {symbol:?} any more"))?
    };
    let mut text = String::new();
    write_text(&mut text, read);
    Ok(text)
}

fn int_as(meaning: IntMeaning) -> NumberAs {
    match meaning {
        IntMeaning::Number => NumberAs::Number,
        IntMeaning::Date => NumberAs::Date,
        IntMeaning::Time => NumberAs::TimeOfDay(TimeUnit::Millis),
    }
}

/// `unit` is that of the column, when the value goes into one of times.
fn long_as(from: LongMeaning, to: LongMeaning, unit: Option<TimeUnit>) -> NumberAs {
    match to {
        LongMeaning::Number => NumberAs::Number,
        LongMeaning::Time => NumberAs::TimeOfDay(TimeUnit::Micros),
        LongMeaning::Local(unit) => NumberAs::Text { unit, local: true },
        LongMeaning::Timestamp(reader) => {
            let from = match from {
                LongMeaning::Timestamp(writer) => writer,
                _ => reader,
            };
            match unit {
                Some(to) => NumberAs::Stamp { from, to },
                None => NumberAs::Text {
                    unit: from,
                    local: false,
                },
            }
        }
    }
}

/// The scale of a decimal is the writer's, whatever the reader expects: it is what the digits mean.
fn bytes_as(from: BytesMeaning, to: BytesMeaning) -> BytesAs {
    match (from, to) {
        (BytesMeaning::Decimal { scale, .. }, _) | (_, BytesMeaning::Decimal { scale, .. }) => {
            BytesAs::Decimal(scale)
        }
        (_, BytesMeaning::Uuid) => BytesAs::Uuid,
        (_, BytesMeaning::Duration) => BytesAs::Duration,
        (_, BytesMeaning::Bytes) => BytesAs::Base64,
    }
}

impl BytesAs {
    /// `None` when the bytes do not say what they should.
    pub(super) fn write(self, out: &mut String, bytes: &[u8]) -> Option<()> {
        match self {
            Self::Base64 => write_base64(out, bytes),
            Self::Decimal(scale) => write_decimal(out, bytes, scale)?,
            Self::Uuid => write_uuid(out, bytes),
            Self::Duration => write_duration(out, bytes.try_into().ok()?),
            Self::Text => write_text(out, std::str::from_utf8(bytes).ok()?),
        }
        Some(())
    }
}
