//! Arrays: the items that have a place of their own, and the rest.

use serde_json::Value;

use super::number::{at_least, at_most};
use super::site::{Shape, Site};
use super::{Check, add};
use crate::compat::messages::Incompatibility;

/// What an array schema says of items.
struct Items<'r> {
    /// By place.
    prefix: Vec<Site<'r>>,
    /// All after those; `None` when nothing is said, which takes everything.
    rest: Option<Site<'r>>,
    /// The keyword of `rest`.
    keyword: &'static str,
}

fn items<'r>(site: &Site<'r>) -> Items<'r> {
    let listed = site
        .map()
        .is_some_and(|map| map.get("items").is_some_and(Value::is_array));
    let mut items = if listed {
        Items {
            prefix: site.children("items"),
            rest: site.child("additionalItems"),
            keyword: "additionalItems",
        }
    } else {
        let prefix = site.children("prefixItems");
        Items {
            keyword: "items",
            rest: site.child("items"),
            prefix,
        }
    };
    if items.rest.is_none() {
        items.rest = site.child("unevaluatedItems");
    }
    items
}

impl Check {
    pub(super) fn arrays(
        &mut self,
        reader: &Site<'_>,
        writer: &Site<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let (to, from) = (items(reader), items(writer));
        let both = to.prefix.len().min(from.prefix.len());
        for index in 0..both {
            let path = format!("{path}{}", to.prefix[index].step);
            self.pair(&to.prefix[index], &from.prefix[index], &path, found);
        }
        for removed in &from.prefix[both..] {
            self.removed_item(removed, reader, &to, path, found);
        }
        for added in &to.prefix[both..] {
            self.added_item(added, writer, &from, path, found);
        }
        self.rest(&to, (writer, &from), path, found);
        at_most(
            reader,
            writer,
            ("maxItems", ["MAX_ITEMS_ADDED", "MAX_ITEMS_DECREASED"]),
            path,
            found,
        );
        at_least(
            reader,
            writer,
            ("minItems", ["MIN_ITEMS_ADDED", "MIN_ITEMS_INCREASED"]),
            path,
            found,
        );
        let unique = |site: &Site<'_>| {
            site.map()
                .and_then(|map| map.get("uniqueItems"))
                .and_then(Value::as_bool)
                .unwrap_or(false)
        };
        if unique(reader) && !unique(writer) {
            let message = "the reader asks for items that differ from each other".to_owned();
            add(
                found,
                "UNIQUE_ITEMS_ADDED",
                &format!("{path}/uniqueItems"),
                message,
            );
        }
        self.contains(reader, writer, path, found);
    }

    /// An item that has a place in the writer's schema only.
    fn removed_item(
        &mut self,
        removed: &Site<'_>,
        reader: &Site<'_>,
        to: &Items<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let path = format!("{path}{}", removed.step);
        let rest = to.rest.clone().unwrap_or_else(|| reader.any());
        let inside = self.probe(&rest, removed, &path);
        if inside.is_empty() {
            return;
        }
        let (kind, why) = if matches!(rest.shape(), Shape::Never) {
            (
                "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL",
                "the reader takes no item here",
            )
        } else {
            let why = "the reader's schema for further items does not take the item here";
            ("ITEM_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL", why)
        };
        add(found, kind, &path, why.to_owned());
        if !matches!(rest.shape(), Shape::Never) {
            found.extend(inside);
        }
    }

    /// An item that has a place in the reader's schema only.
    fn added_item(
        &mut self,
        added: &Site<'_>,
        writer: &Site<'_>,
        from: &Items<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let path = format!("{path}{}", added.step);
        let rest = from.rest.clone().unwrap_or_else(|| writer.any());
        let inside = self.probe(added, &rest, &path);
        if inside.is_empty() {
            return;
        }
        if matches!(rest.shape(), Shape::Any) {
            let why = "the writer takes any item here (open content model), the reader does not";
            add(found, "ITEM_ADDED_TO_OPEN_CONTENT_MODEL", &path, why.to_owned());
        } else {
            let why = "the item here does not take what the writer's schema for further items takes";
            add(
                found,
                "ITEM_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
                &path,
                why.to_owned(),
            );
            found.extend(inside);
        }
    }

    fn rest(
        &mut self,
        to: &Items<'_>,
        (writer, from): (&Site<'_>, &Items<'_>),
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let Some(rest) = &to.rest else { return };
        let before = from.rest.clone().unwrap_or_else(|| writer.any());
        let path = format!("{path}/{}", to.keyword);
        let inside = self.probe(rest, &before, &path);
        if inside.is_empty() {
            return;
        }
        let simple = to.prefix.is_empty() && from.prefix.is_empty();
        match (before.shape(), rest.shape()) {
            (Shape::Any, Shape::Never) => {
                let message = "the reader takes no further items".to_owned();
                add(found, "ADDITIONAL_ITEMS_REMOVED", &path, message);
            }
            (Shape::Any, _) if simple && from.rest.is_none() => {
                let message = "the reader has a schema for items, the writer has none".to_owned();
                add(found, "SCHEMA_ADDED", &path, message);
            }
            (Shape::Any, _) => {
                let message = "the reader takes further items of one schema only".to_owned();
                add(found, "ADDITIONAL_ITEMS_NARROWED", &path, message);
            }
            _ => found.extend(inside),
        }
    }

    fn contains(
        &mut self,
        reader: &Site<'_>,
        writer: &Site<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let Some(to) = reader.child("contains") else {
            return;
        };
        let at = format!("{path}/contains");
        let Some(from) = writer.child("contains") else {
            let message = "the reader asks for an item that the writer need not write".to_owned();
            add(found, "CONTAINS_ADDED", &at, message);
            return;
        };
        // an item that the writer counts must count for the reader, or there may be too few
        let inside = self.probe(&to, &from, &at);
        if !inside.is_empty() {
            add(
                found,
                "CONTAINS_CHANGED",
                &at,
                "an item that counts for the writer may not count".to_owned(),
            );
            found.extend(inside);
        }
        let least = |site: &Site<'_>| {
            let number = site
                .map()
                .and_then(|map| map.get("minContains"))
                .and_then(Value::as_u64);
            number.unwrap_or(1)
        };
        if least(reader) > least(writer) {
            let message = format!(
                "the reader asks for {} such items, the writer for {}",
                least(reader),
                least(writer)
            );
            add(
                found,
                "MIN_CONTAINS_INCREASED",
                &format!("{path}/minContains"),
                message,
            );
        }
        let most = ("maxContains", ["MAX_CONTAINS_ADDED", "MAX_CONTAINS_DECREASED"]);
        at_most(reader, writer, most, path, found);
        if reader.map().is_some_and(|map| map.contains_key("maxContains")) && to.value != from.value {
            let message = "with maxContains, \"contains\" may not change".to_owned();
            add(found, "CONTAINS_CHANGED", &at, message);
        }
    }
}
