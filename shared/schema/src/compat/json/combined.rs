//! Combinations: all of several conditions, any or one of several alternatives.

use super::site::{Kind, Shape, Site, Sum};
use super::{Check, add, describe};
use crate::compat::messages::Incompatibility;

impl Check {
    /// One of several conditions of the reader: some condition of the writer must imply it.
    pub(super) fn part(
        &mut self,
        part: &Site<'_>,
        parts: usize,
        writer: &Site<'_>,
        from: &Shape<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let path = format!("{path}{}", part.step);
        let class = class(&part.shape());
        let candidates = match from {
            Shape::All(candidates) => candidates.as_slice(),
            _ => std::slice::from_ref(writer),
        };
        let mut near = Vec::new();
        for candidate in candidates {
            if self.pairs.is_spent() {
                break;
            }
            let inside = self.probe(part, candidate, &path);
            if inside.is_empty() {
                return;
            }
            if class == self::class(&candidate.shape()) {
                near.push(inside);
            }
        }
        let is_product = matches!(from, Shape::All(_));
        if is_product && class == Class::All && self.probe(part, writer, &path).is_empty() {
            return;
        }
        if near.len() == 1 {
            found.extend(near.remove(0));
        } else if parts > candidates.len() {
            let message = format!("the reader asks for {} too", describe(&part.shape()));
            add(found, "PRODUCT_TYPE_EXTENDED", &path, message);
        } else {
            let message = format!(
                "nothing of the writer implies that it is {}",
                describe(&part.shape())
            );
            add(found, "COMBINED_TYPE_SUBSCHEMAS_CHANGED", &path, message);
        }
    }

    /// Several conditions of the writer: one of them is enough to imply the reader's.
    pub(super) fn writer_product(
        &mut self,
        reader: &Site<'_>,
        to: &Shape<'_>,
        parts: &[Site<'_>],
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let mut near = Vec::new();
        for part in parts {
            if self.pairs.is_spent() {
                break;
            }
            let inside = self.probe(reader, part, path);
            if inside.is_empty() {
                return;
            }
            if class(to) == class(&part.shape()) {
                near.push(inside);
            }
        }
        if near.len() == 1 {
            found.extend(near.remove(0));
            return;
        }
        let message = format!("nothing of the writer implies that it is {}", describe(to));
        add(found, "COMBINED_TYPE_SUBSCHEMAS_CHANGED", path, message);
    }

    /// The reader takes several alternatives, the writer is none: one must take it.
    pub(super) fn reader_sum(
        &mut self,
        branches: &[Site<'_>],
        writer: &Site<'_>,
        from: &Shape<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let mut near = Vec::new();
        for branch in branches {
            if self.pairs.is_spent() {
                break;
            }
            let inside = self.probe(branch, writer, path);
            if inside.is_empty() {
                return;
            }
            if class(from) == class(&branch.shape()) {
                near.push(inside);
            }
        }
        if near.len() == 1 {
            found.extend(near.remove(0));
            return;
        }
        let message = format!("none of the reader's alternatives takes {}", describe(from));
        add(found, "TYPE_CHANGED", path, message);
    }

    pub(super) fn sums(
        &mut self,
        (to, readers): (Sum, &[Site<'_>]),
        (from, writers): (Sum, &[Site<'_>]),
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        if to == Sum::OneOf && from == Sum::AnyOf {
            let message =
                "anyOf becomes oneOf: what holds for two alternatives is no longer taken".to_owned();
            add(found, "COMBINED_TYPE_CHANGED", path, message);
            return;
        }
        let mut edges = Vec::with_capacity(writers.len());
        let mut failed = false;
        for writer in writers {
            if self.pairs.is_spent() {
                break;
            }
            let path = format!("{path}{}", writer.step);
            let mut near = Vec::new();
            let mut fits = Vec::new();
            for (index, reader) in readers.iter().enumerate() {
                if self.pairs.is_spent() {
                    break;
                }
                let inside = self.probe(reader, writer, &path);
                if inside.is_empty() {
                    fits.push(index);
                } else if class(&reader.shape()) == class(&writer.shape()) {
                    near.push(inside);
                }
            }
            if fits.is_empty() {
                failed = true;
                self.lost_branch(readers, writers, writer, near, &path, found);
            }
            edges.push(fits);
        }
        if !failed && to == Sum::OneOf && !matches_all(&edges, readers.len()) {
            let message = "two of the writer's alternatives fall into one of the reader's".to_owned();
            add(found, "COMBINED_TYPE_SUBSCHEMAS_CHANGED", path, message);
        }
    }

    fn lost_branch(
        &self,
        readers: &[Site<'_>],
        writers: &[Site<'_>],
        writer: &Site<'_>,
        mut near: Vec<Vec<Incompatibility>>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let lost = describe(&writer.shape());
        if readers.len() < writers.len() {
            let message = format!("the reader no longer takes {lost}");
            add(found, "SUM_TYPE_NARROWED", path, message);
        } else if near.len() == 1 {
            found.extend(near.remove(0));
        } else {
            let message = format!("none of the reader's alternatives takes {lost}");
            add(found, "COMBINED_TYPE_SUBSCHEMAS_CHANGED", path, message);
        }
    }
}

/// What shapes must have in common to be named against each other in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Kind(Kind),
    Values,
    Not,
    Condition,
    All,
    Sum,
    Whole,
}

fn class(shape: &Shape<'_>) -> Class {
    match shape {
        Shape::Any | Shape::Never => Class::Whole,
        Shape::Named(kind, _) | Shape::Implied(kind, _) => Class::Kind(kind.family()),
        Shape::Values(_) => Class::Values,
        Shape::Not(_) => Class::Not,
        Shape::Condition(_) => Class::Condition,
        Shape::All(_) => Class::All,
        Shape::Sum(..) => Class::Sum,
    }
}

/// Can every writer have a reader of its own? (Kuhn's algorithm; `edges` lists the readers that fit.)
fn matches_all(edges: &[Vec<usize>], readers: usize) -> bool {
    let mut owner: Vec<Option<usize>> = vec![None; readers];
    (0..edges.len()).all(|writer| claim(writer, edges, &mut owner, &mut vec![false; readers]))
}

/// As deep as there are branches at most, and those are bounded by the comparisons.
fn claim(writer: usize, edges: &[Vec<usize>], owner: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for &reader in &edges[writer] {
        if std::mem::replace(&mut tried[reader], true) {
            continue;
        }
        let free = match owner[reader] {
            None => true,
            Some(other) => claim(other, edges, owner, tried),
        };
        if free {
            owner[reader] = Some(writer);
            return true;
        }
    }
    false
}
