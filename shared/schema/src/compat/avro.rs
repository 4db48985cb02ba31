//! Can an Avro reader's schema read all data of a writer's? The rules are the specification's section
//! "Schema Resolution", with names compared in full, as the registry does.

use hashbrown::{HashMap, HashSet};

use super::messages::Incompatibility;
use super::pairs::{Known, Pairs};
use crate::language::{AvroKind, AvroSchema, Field, LogicalType, Named, Record, TypeId};

pub(super) fn can_read(reader: &AvroSchema, writer: &AvroSchema) -> Vec<Incompatibility> {
    let mut check = Check {
        reader,
        writer,
        pairs: Pairs::new(),
    };
    let mut found = Vec::new();
    check.pair(reader.root_id(), writer.root_id(), "", &mut found);
    found
}

struct Check<'a> {
    reader: &'a AvroSchema,
    writer: &'a AvroSchema,
    /// Of records, through which types are recursive.
    pairs: Pairs<(TypeId, TypeId)>,
}

fn add(found: &mut Vec<Incompatibility>, kind: &'static str, path: &str, message: String) {
    let path = if path.is_empty() { "/" } else { path };
    found.push(Incompatibility::new(kind, path.to_owned(), message));
}

impl Check<'_> {
    /// Compares two types; `path` is a JSON Pointer into the reader's schema.
    fn pair(&mut self, reader: TypeId, writer: TypeId, path: &str, found: &mut Vec<Incompatibility>) {
        if self.pairs.enter(path, found) {
            self.kinds(reader, writer, path, found);
            self.pairs.leave();
        }
    }

    fn kinds(&mut self, reader: TypeId, writer: TypeId, path: &str, found: &mut Vec<Incompatibility>) {
        let (to, from) = (
            &self.reader.type_of(reader).kind,
            &self.writer.type_of(writer).kind,
        );
        match (to, from) {
            (_, AvroKind::Union(branches)) => self.writer_union(reader, branches, path, found),
            (AvroKind::Union(branches), _) => self.reader_union(branches, writer, path, found),
            (AvroKind::Array(to), AvroKind::Array(from)) => {
                self.pair(*to, *from, &format!("{path}/items"), found)
            }
            (AvroKind::Map(to), AvroKind::Map(from)) => {
                self.pair(*to, *from, &format!("{path}/values"), found)
            }
            (AvroKind::Record(to), AvroKind::Record(from)) => {
                self.records((reader, writer), to, from, path, found);
            }
            (AvroKind::Enum(to), AvroKind::Enum(from)) => {
                names(&to.name, &from.name, path, found);
                let known: HashSet<&String> = to.symbols.iter().collect();
                let missing: Vec<&str> = from
                    .symbols
                    .iter()
                    .filter(|symbol| !known.contains(symbol))
                    .map(String::as_str)
                    .collect();
                if !missing.is_empty() && to.default.is_none() {
                    let message = format!(
                        "the enum {:?} lacks the symbols {missing:?} that the writer may use, and has no default",
                        to.name.full_name
                    );
                    add(found, "MISSING_ENUM_SYMBOLS", &format!("{path}/symbols"), message);
                }
            }
            (AvroKind::Fixed(to), AvroKind::Fixed(from)) => {
                names(&to.name, &from.name, path, found);
                if to.size != from.size {
                    let message = format!(
                        "the fixed {:?} has {} bytes for the reader and {} for the writer",
                        to.name.full_name, to.size, from.size
                    );
                    add(found, "FIXED_SIZE_MISMATCH", &format!("{path}/size"), message);
                }
                self.decimals(reader, writer, path, found);
            }
            (to, from) if promotes(from, to) => self.decimals(reader, writer, path, found),
            (to, from) => {
                let message = format!(
                    "the reader expects {}, the writer has {}, which is not promoted to it",
                    describe(to),
                    describe(from)
                );
                add(found, "TYPE_MISMATCH", path, message);
            }
        }
    }

    /// Decimals match when precision and scale do (section "Decimal"): the bytes alone do not tell them.
    fn decimals(&self, reader: TypeId, writer: TypeId, path: &str, found: &mut Vec<Incompatibility>) {
        let to = self.reader.type_of(reader).logical_type();
        let from = self.writer.type_of(writer).logical_type();
        if let (Some(LogicalType::Decimal { .. }), Some(LogicalType::Decimal { .. })) = (to, from)
            && to != from
        {
            let message = format!("the reader's {to:?} is not the writer's {from:?}");
            add(found, "DECIMAL_MISMATCH", path, message);
        }
    }

    fn writer_union(
        &mut self,
        reader: TypeId,
        branches: &[TypeId],
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let reads_union = matches!(self.reader.type_of(reader).kind, AvroKind::Union(_));
        for (index, branch) in branches.iter().enumerate() {
            if self.pairs.is_spent() {
                break;
            }
            let at = if reads_union {
                format!("{path}/{index}")
            } else {
                path.to_owned()
            };
            self.pair(reader, *branch, &at, found);
        }
    }

    fn reader_union(
        &mut self,
        branches: &[TypeId],
        writer: TypeId,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let mut nearest: Option<Vec<Incompatibility>> = None;
        for branch in branches {
            if self.pairs.is_spent() {
                break;
            }
            let mut inside = Vec::new();
            self.pair(*branch, writer, path, &mut inside);
            if inside.is_empty() {
                return;
            }
            // a record of the same name says more than "no such branch"
            let same_name = match (
                &self.reader.type_of(*branch).kind,
                &self.writer.type_of(writer).kind,
            ) {
                (AvroKind::Record(to), AvroKind::Record(from)) => same_name(&to.name, &from.name),
                _ => false,
            };
            if same_name {
                nearest = Some(inside);
            }
        }
        let from = describe(&self.writer.type_of(writer).kind);
        let message = format!("the reader's union has no branch that reads the writer's {from}");
        add(found, "MISSING_UNION_BRANCH", path, message);
        found.extend(nearest.into_iter().flatten());
    }

    fn records(
        &mut self,
        pair: (TypeId, TypeId),
        to: &Record,
        from: &Record,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let (known, place) = self.pairs.begin(&pair);
        match known {
            Known::Holds => {}
            Known::Broken => {
                let message = format!(
                    "the record {:?} is not compatible, as said elsewhere",
                    to.name.full_name
                );
                add(found, "TYPE_MISMATCH", path, message);
            }
            Known::New => {
                let before = found.len();
                names(&to.name, &from.name, path, found);
                self.record(to, from, path, found);
                self.pairs.end(pair, place, found.len() == before);
            }
        }
    }

    fn record(&mut self, to: &Record, from: &Record, path: &str, found: &mut Vec<Incompatibility>) {
        let written: HashMap<&str, &Field> = from
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field))
            .collect();
        for (index, field) in to.fields.iter().enumerate() {
            let path = format!("{path}/fields/{index}");
            match writer_field(field, &written) {
                Some(written) => {
                    self.pair(field.type_id, written.type_id, &format!("{path}/type"), found);
                }
                None if field.has_default() => {}
                None => {
                    let message = format!(
                        "the field {:?} of {:?} has no default and is missing in the writer's schema",
                        field.name, to.name.full_name
                    );
                    add(found, "READER_FIELD_MISSING_DEFAULT_VALUE", &path, message);
                }
            }
        }
    }
}

/// The writer's field that a reader's field takes its value from: by name, else by alias.
fn writer_field<'a>(field: &Field, written: &HashMap<&str, &'a Field>) -> Option<&'a Field> {
    let names = std::iter::once(&field.name).chain(&field.aliases);
    names
        .filter_map(|name| written.get(name.as_str()).copied())
        .next()
}

fn same_name(reader: &Named, writer: &Named) -> bool {
    reader.full_name == writer.full_name || reader.aliases.contains(&writer.full_name)
}

fn names(reader: &Named, writer: &Named, path: &str, found: &mut Vec<Incompatibility>) {
    if !same_name(reader, writer) {
        let message = format!(
            "the reader's {:?} is not the writer's {:?}, and has no alias for it",
            reader.full_name, writer.full_name
        );
        add(found, "NAME_MISMATCH", &format!("{path}/name"), message);
    }
}

fn promotes(from: &AvroKind, to: &AvroKind) -> bool {
    use AvroKind::{Bytes, Double, Float, Int, Long, String};
    let widens = matches!(
        (from, to),
        (Int, Long | Float | Double)
            | (Long, Float | Double)
            | (Float, Double)
            | (String, Bytes)
            | (Bytes, String)
    );
    widens || (from == to && from.named().is_none())
}

fn describe(kind: &AvroKind) -> String {
    match kind.named() {
        Some(named) => format!("{} {:?}", kind.type_name(), named.full_name),
        None => kind.type_name().to_owned(),
    }
}
