//! Can a JSON Schema reader take every document that a writer's schema takes?
//!
//! The rules are those of the Confluent registry: content models, `required` with defaults, unions, widening.
//! Where that registry looks at less than validation does (`patternProperties`, `format`, `if`, names in
//! `required` that are no properties), this check is stricter, because a gateway judges events by all of it;
//! where it refuses what loses nothing (an `allOf` of which one part already implies the reader), it is not.

mod array;
mod combined;
mod number;
mod object;
mod scalar;
mod site;

use serde_json::Value;

use super::messages::Incompatibility;
use super::pairs::{Known, Pairs};
use crate::language::JsonSchema;
use scalar::{enums, texts};
use site::{Kind, Part, Shape, Site, Sum};

pub(super) fn can_read(reader: &JsonSchema, writer: &JsonSchema) -> Vec<Incompatibility> {
    let unresolved = |message: String| {
        let message = format!("the schema's references cannot be resolved: {message}");
        vec![Incompatibility::new(
            "UNRESOLVED_REFERENCE",
            "#/".to_owned(),
            message,
        )]
    };
    let (to, from) = match (reader.registry(), writer.registry()) {
        (Ok(to), Ok(from)) => (to, from),
        (Err(message), _) | (_, Err(message)) => return unresolved(message),
    };
    let (to, from) = match (site::root(reader, &to), site::root(writer, &from)) {
        (Ok(to), Ok(from)) => (to, from),
        (Err(message), _) | (_, Err(message)) => return unresolved(message),
    };
    let mut check = Check {
        pairs: Pairs::new(),
        swapped: false,
    };
    let mut found = Vec::new();
    check.pair(&to, &from, "#", &mut found);
    found
}

/// A reader's place and a writer's, and whether the roles are swapped (inside `not`).
type Pair = ((usize, Part), (usize, Part), bool);

struct Check {
    pairs: Pairs<Pair>,
    swapped: bool,
}

fn add(found: &mut Vec<Incompatibility>, kind: &'static str, path: &str, message: String) {
    let path = if path == "#" { "#/" } else { path };
    found.push(Incompatibility::new(kind, path.to_owned(), message));
}

/// A name as a step of a JSON Pointer.
fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

impl Check {
    /// Does `reader` take everything that `writer` takes?
    fn pair(&mut self, reader: &Site<'_>, writer: &Site<'_>, path: &str, found: &mut Vec<Incompatibility>) {
        let pair = (reader.key(), writer.key(), self.swapped);
        let (known, place) = self.pairs.begin(&pair);
        match known {
            Known::Holds => {}
            Known::Broken => {
                let message = "the reader takes less here, as said elsewhere".to_owned();
                add(found, "TYPE_CHANGED", path, message);
            }
            Known::New => {
                let before = found.len();
                if self.pairs.enter(path, found) {
                    self.shapes(reader, writer, path, found);
                    self.pairs.leave();
                }
                self.pairs.end(pair, place, found.len() == before);
            }
        }
    }

    fn probe(&mut self, reader: &Site<'_>, writer: &Site<'_>, path: &str) -> Vec<Incompatibility> {
        let mut found = Vec::new();
        self.pair(reader, writer, path, &mut found);
        found
    }

    fn shapes(&mut self, reader: &Site<'_>, writer: &Site<'_>, path: &str, found: &mut Vec<Incompatibility>) {
        let (to, from) = (reader.shape(), writer.shape());
        match (&to, &from) {
            (Shape::Any, _) | (_, Shape::Never) => {}
            (Shape::Never, _) => {
                add(
                    found,
                    "TYPE_CHANGED",
                    path,
                    "the reader takes no value here".to_owned(),
                );
            }
            (Shape::All(parts), _) => {
                for part in parts {
                    if self.pairs.is_spent() {
                        break;
                    }
                    self.part(part, parts.len(), writer, &from, path, found);
                }
            }
            (_, Shape::All(parts)) => self.writer_product(reader, &to, parts, path, found),
            (Shape::Sum(to, readers), Shape::Sum(from, writers)) => {
                self.sums((*to, readers), (*from, writers), path, found);
            }
            (Shape::Sum(_, branches), _) => self.reader_sum(branches, writer, &from, path, found),
            (_, Shape::Sum(_, branches)) => {
                for branch in branches {
                    let inside = self.probe(reader, branch, path);
                    if !inside.is_empty() {
                        let message = format!("the reader no longer takes {}", describe(&branch.shape()));
                        add(found, "SUM_TYPE_NARROWED", path, message);
                        found.extend(inside);
                    }
                }
            }
            _ => self.single(&to, &from, path, found),
        }
    }

    /// Two shapes that combine nothing.
    fn single(&mut self, to: &Shape<'_>, from: &Shape<'_>, path: &str, found: &mut Vec<Incompatibility>) {
        match (to, from) {
            (Shape::Named(to, reader), Shape::Named(from, writer)) if to.family() == from.family() => {
                if *to == Kind::Integer && *from == Kind::Number {
                    let message = "the reader takes integers only, the writer any number".to_owned();
                    add(found, "TYPE_NARROWED", path, message);
                }
                self.keywords(*to, reader, writer, path, found);
            }
            (Shape::Named(to, _), Shape::Implied(from, _)) if to.family() == from.family() => {
                let message = format!("the reader takes {} only, the writer names no type", to.name());
                add(found, "TYPE_NARROWED", path, message);
            }
            (Shape::Implied(to, reader), Shape::Named(from, writer) | Shape::Implied(from, writer))
                if to.family() == from.family() =>
            {
                self.keywords(*to, reader, writer, path, found);
            }
            // keywords of a type that the writer never writes
            (Shape::Implied(..), Shape::Named(..)) => {}
            (Shape::Implied(to, _), Shape::Values(values)) if !values.iter().any(|value| to.takes(value)) => {
            }
            (
                Shape::Implied(to, reader),
                Shape::Any | Shape::Implied(..) | Shape::Not(_) | Shape::Condition(_),
            ) => {
                self.keywords(*to, reader, &reader.any(), path, found);
            }
            (Shape::Named(kind, site), Shape::Values(values)) if takes_all(*kind, site, values) => {}
            (Shape::Values(to), Shape::Values(from)) => enums(to, from, path, found),
            (Shape::Values(to), Shape::Named(Kind::Null, _)) if to.contains(&&Value::Null) => {}
            (Shape::Not(to), Shape::Not(from)) => self.negations(to, from, path, found),
            (Shape::Not(to), Shape::Named(kind, _)) if is_other_kind(to, *kind) => {}
            (Shape::Condition(to), Shape::Condition(from)) => self.conditions(to, from, path, found),
            (Shape::Condition(_), _) => {
                let message = "the reader has an if/then/else that the writer has not".to_owned();
                add(found, "CONDITION_ADDED", path, message);
            }
            (Shape::Not(_), _) => {
                let message = "the reader has a \"not\" that the writer has not".to_owned();
                add(found, "NOT_TYPE_EXTENDED", &format!("{path}/not"), message);
            }
            (to, from) => {
                let message = format!("the reader takes {}, the writer {}", describe(to), describe(from));
                add(found, "TYPE_CHANGED", path, message);
            }
        }
    }

    /// What the reader forbids must have been forbidden already.
    fn negations(&mut self, to: &Site<'_>, from: &Site<'_>, path: &str, found: &mut Vec<Incompatibility>) {
        self.swapped = !self.swapped;
        let inside = self.probe(from, to, path);
        self.swapped = !self.swapped;
        if !inside.is_empty() {
            let message = format!(
                "the reader forbids {}, which is more than the writer does",
                describe(&to.shape())
            );
            add(found, "NOT_TYPE_EXTENDED", &format!("{path}/not"), message);
        }
    }

    /// The same condition, with wider consequences.
    fn conditions(&mut self, to: &Site<'_>, from: &Site<'_>, path: &str, found: &mut Vec<Incompatibility>) {
        let (Some(to_if), Some(from_if)) = (to.child("if"), from.child("if")) else {
            return;
        };
        let same = self.probe(&to_if, &from_if, path).is_empty() && {
            self.swapped = !self.swapped;
            let back = self.probe(&from_if, &to_if, path);
            self.swapped = !self.swapped;
            back.is_empty()
        };
        if !same {
            let message = "the reader's \"if\" is not the writer's".to_owned();
            add(found, "CONDITION_CHANGED", &format!("{path}/if"), message);
            return;
        }
        for keyword in ["then", "else"] {
            let reader = to.child(keyword).unwrap_or_else(|| to.any());
            let writer = from.child(keyword).unwrap_or_else(|| from.any());
            self.pair(&reader, &writer, &format!("{path}/{keyword}"), found);
        }
    }

    /// The keywords of one type.
    fn keywords(
        &mut self,
        kind: Kind,
        reader: &Site<'_>,
        writer: &Site<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        match kind.family() {
            Kind::Text => texts(reader, writer, path, found),
            Kind::Number => number::compare(reader, writer, path, found),
            Kind::Array => self.arrays(reader, writer, path, found),
            Kind::Object => self.objects(reader, writer, path, found),
            _ => {}
        }
    }
}

/// A shape in a message.
fn describe(shape: &Shape<'_>) -> String {
    match shape {
        Shape::Any => "any value".to_owned(),
        Shape::Never => "no value".to_owned(),
        Shape::Named(kind, _) => format!("type {}", kind.name()),
        Shape::Implied(kind, _) => format!("a {} of a kind", kind.name()),
        Shape::Values(values) => {
            let shown: Vec<String> = values.iter().take(5).map(ToString::to_string).collect();
            let more = if values.len() > 5 { ", …" } else { "" };
            format!(
                "one of [{}{more}]",
                shown.join(", ").chars().take(120).collect::<String>()
            )
        }
        Shape::Not(_) => "not a certain schema".to_owned(),
        Shape::Condition(_) => "an if/then/else".to_owned(),
        Shape::All(parts) => format!("all of {} schemas", parts.len()),
        Shape::Sum(Sum::Types, branches) => {
            let names = branches.iter().filter_map(|site| match site.part {
                Part::Named(kind) => Some(kind.name()),
                _ => None,
            });
            format!("types {}", names.collect::<Vec<_>>().join(", "))
        }
        Shape::Sum(Sum::AnyOf, branches) => format!("any of {} schemas", branches.len()),
        Shape::Sum(Sum::OneOf, branches) => format!("one of {} schemas", branches.len()),
    }
}

/// Are all values of a kind, and does it ask nothing more of them?
fn takes_all(kind: Kind, site: &Site<'_>, values: &[&Value]) -> bool {
    let asks = |keyword: &&str| site.map().is_some_and(|map| map.contains_key(*keyword));
    let asks_more = kind.keywords().iter().any(asks);
    !asks_more && values.iter().all(|value| kind.takes(value))
}

/// Does a `not` forbid a type that the writer never writes?
fn is_other_kind(forbidden: &Site<'_>, written: Kind) -> bool {
    matches!(forbidden.shape(), Shape::Named(kind, _) if kind.family() != written.family())
}
