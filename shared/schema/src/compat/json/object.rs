//! Objects: properties, and what else an object may hold (its content model).
//!
//! *Open*: anything. *Closed*: nothing. *Partially open*: what patterns or a schema say.

use hashbrown::{HashMap, HashSet};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::number::{at_least, at_most};
use super::site::{Shape, Site};
use super::{Check, add, step};
use crate::compat::messages::Incompatibility;
use crate::language::MAX_PATTERN_BYTES;

/// What an object schema says of properties.
struct Model<'r> {
    site: Site<'r>,
    properties: Option<&'r Map<String, Value>>,
    required: HashSet<&'r str>,
    patterns: Vec<(&'r str, Option<Regex>, Site<'r>)>,
    /// For what no property and no pattern names; `None` takes everything.
    rest: Option<Site<'r>>,
}

impl<'r> Model<'r> {
    fn new(site: &Site<'r>) -> Self {
        let get = |keyword: &str| site.map().and_then(|map| map.get(keyword));
        let patterns = get("patternProperties").and_then(Value::as_object);
        let required = get("required").and_then(Value::as_array);
        let rest = site
            .child("additionalProperties")
            .or_else(|| site.child("unevaluatedProperties"));
        Self {
            properties: get("properties").and_then(Value::as_object),
            required: required.into_iter().flatten().filter_map(Value::as_str).collect(),
            patterns: patterns
                .into_iter()
                .flatten()
                .map(|(pattern, value)| {
                    let at = format!("/patternProperties{}", step(pattern));
                    (pattern.as_str(), compiled(pattern), site.inside(value, at))
                })
                .collect(),
            rest: rest.filter(|rest| !matches!(rest.shape(), Shape::Any)),
            site: site.clone(),
        }
    }

    fn property(&self, name: &str) -> Option<Site<'r>> {
        let value = self.properties?.get(name)?;
        Some(self.site.inside(value, format!("/properties{}", step(name))))
    }

    fn names(&self) -> impl Iterator<Item = &'r String> {
        self.properties.into_iter().flat_map(Map::keys)
    }

    fn is_open(&self) -> bool {
        self.patterns.is_empty() && self.rest.is_none()
    }

    /// Everything that holds for a property that is not named. A pattern that the engine does not know is
    /// taken to concern every name.
    fn unnamed(&self, name: &str) -> Vec<Site<'r>> {
        let concerned =
            |pattern: &Option<Regex>| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name));
        let by_pattern = self.patterns.iter().filter(|(_, pattern, _)| concerned(pattern));
        let sites: Vec<Site<'r>> = by_pattern.map(|(_, _, site)| site.clone()).collect();
        if sites.is_empty() {
            return vec![self.rest.clone().unwrap_or_else(|| self.site.any())];
        }
        sites
    }

    fn is_closed(&self) -> bool {
        self.rest
            .as_ref()
            .is_some_and(|rest| matches!(rest.shape(), Shape::Never))
    }
}

/// As registration compiled it already.
fn compiled(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN_BYTES)
        .build()
        .ok()
}

impl Check {
    pub(super) fn objects(
        &mut self,
        reader: &Site<'_>,
        writer: &Site<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let (to, from) = (Model::new(reader), Model::new(writer));
        self.pairs.cost(to.patterns.len() * from.patterns.len());
        required(&to, &from, path, found);
        for name in from.names() {
            let path = format!("{path}/properties{}", step(name));
            let Some(before) = from.property(name) else {
                continue;
            };
            match to.property(name) {
                Some(now) => self.pair(&now, &before, &path, found),
                None => self.removed(name, &before, &to, &path, found),
            }
        }
        for name in to.names() {
            if from.property(name).is_none()
                && let Some(now) = to.property(name)
            {
                let path = format!("{path}/properties{}", step(name));
                self.added(name, &now, (&to, &from), &path, found);
            }
        }
        self.patterns(&to, &from, path, found);
        self.additional(&to, &from, path, found);
        self.property_names(reader, writer, path, found);
        let most = (
            "maxProperties",
            ["MAX_PROPERTIES_ADDED", "MAX_PROPERTIES_DECREASED"],
        );
        at_most(reader, writer, most, path, found);
        let least = (
            "minProperties",
            ["MIN_PROPERTIES_ADDED", "MIN_PROPERTIES_INCREASED"],
        );
        at_least(reader, writer, least, path, found);
        self.dependencies(reader, writer, path, found);
    }

    fn removed(
        &mut self,
        name: &str,
        before: &Site<'_>,
        to: &Model<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        self.pairs.cost(to.patterns.len());
        if self.pairs.is_spent() {
            return;
        }
        for now in to.unnamed(name) {
            let inside = self.probe(&now, before, path);
            if inside.is_empty() {
                continue;
            }
            if matches!(now.shape(), Shape::Never) {
                let message =
                    format!("the property {name:?} is removed, and the reader takes no unnamed properties");
                add(found, "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL", path, message);
            } else {
                let kind = "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL";
                let message =
                    format!("the property {name:?} is removed, and what the reader takes instead is less");
                add(found, kind, path, message);
                found.extend(inside);
            }
        }
    }

    fn added(
        &mut self,
        name: &str,
        now: &Site<'_>,
        (to, from): (&Model<'_>, &Model<'_>),
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        if from.is_open() {
            if !matches!(now.shape(), Shape::Any) {
                let message = format!(
                    "the property {name:?} is added, and the writer takes anything by that name; close the content model (additionalProperties: false) or give it the schema true"
                );
                add(found, "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL", path, message);
                return;
            }
        } else {
            // what every one of the writer's schemas takes must be taken: one of them that implies it is enough
            self.pairs.cost(from.patterns.len());
            let before = if self.pairs.is_spent() {
                Vec::new()
            } else {
                from.unnamed(name)
            };
            let probes: Vec<_> = before
                .iter()
                .map(|before| self.probe(now, before, path))
                .collect();
            if !probes.iter().any(Vec::is_empty) {
                let kind = "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL";
                let message =
                    format!("the property {name:?} is added, and takes less than the writer's content model");
                add(found, kind, path, message);
                found.extend(probes.into_iter().next().into_iter().flatten());
            }
        }
        let newly = to.required.contains(&name) && !from.required.contains(&name);
        if newly && !now.has_default() {
            let message = format!("the property {name:?} is added, required, and has no default");
            add(
                found,
                "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL",
                path,
                message,
            );
        }
    }

    fn patterns(&mut self, to: &Model<'_>, from: &Model<'_>, path: &str, found: &mut Vec<Incompatibility>) {
        for (pattern, _, before) in &from.patterns {
            let path = format!("{path}{}", before.step);
            if let Some((_, _, now)) = to.patterns.iter().find(|(other, _, _)| other == pattern) {
                self.pair(now, before, &path, found);
            } else if let Some(rest) = &to.rest
                && !self.probe(rest, before, &path).is_empty()
            {
                let message = format!(
                    "the pattern {pattern:?} is removed, and the reader takes less of such properties"
                );
                add(found, "PATTERN_PROPERTY_REMOVED", &path, message);
            }
        }
        for (pattern, regex, now) in &to.patterns {
            if from.patterns.iter().any(|(other, _, _)| other == pattern) {
                continue;
            }
            self.pairs.cost(from.properties.map_or(0, Map::len));
            if self.pairs.is_spent() {
                break;
            }
            // all that could be written by such a name: unnamed, by other patterns, and as named properties
            let mut before: Vec<Site<'_>> = from.patterns.iter().map(|(_, _, site)| site.clone()).collect();
            before.push(from.rest.clone().unwrap_or_else(|| from.site.any()));
            let concerned = |name: &str| regex.as_ref().is_none_or(|regex| regex.is_match(name));
            let named = from
                .names()
                .filter(|name| concerned(name))
                .filter_map(|name| from.property(name));
            before.extend(named);
            let path = format!("{path}{}", now.step);
            if before
                .iter()
                .any(|before| !self.probe(now, before, &path).is_empty())
            {
                let message =
                    format!("the pattern {pattern:?} is added, and takes less than the writer by such names");
                add(found, "PATTERN_PROPERTY_ADDED", &path, message);
            }
        }
    }

    fn additional(&mut self, to: &Model<'_>, from: &Model<'_>, path: &str, found: &mut Vec<Incompatibility>) {
        let Some(now) = &to.rest else { return };
        let path = format!("{path}/additionalProperties");
        let before = from.rest.clone().unwrap_or_else(|| from.site.any());
        let inside = self.probe(now, &before, &path);
        if inside.is_empty() {
            return;
        }
        if to.is_closed() {
            let message = "the reader takes no unnamed properties, the writer does".to_owned();
            add(found, "ADDITIONAL_PROPERTIES_REMOVED", &path, message);
        } else if from.rest.is_none() {
            let message = "the reader takes unnamed properties of one schema only, the writer any".to_owned();
            add(found, "ADDITIONAL_PROPERTIES_NARROWED", &path, message);
        } else {
            found.extend(inside);
        }
    }

    fn property_names(
        &mut self,
        reader: &Site<'_>,
        writer: &Site<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let Some(now) = reader.child("propertyNames") else {
            return;
        };
        let path = format!("{path}/propertyNames");
        match writer.child("propertyNames") {
            Some(before) => self.pair(&now, &before, &path, found),
            None if matches!(now.shape(), Shape::Any) => {}
            None => {
                let message = "the reader has a rule for the names of properties".to_owned();
                add(found, "PROPERTY_NAMES_ADDED", &path, message);
            }
        }
    }

    fn dependencies(
        &mut self,
        reader: &Site<'_>,
        writer: &Site<'_>,
        path: &str,
        found: &mut Vec<Incompatibility>,
    ) {
        let mut written: HashMap<&str, Vec<&Value>> = HashMap::new();
        for (_, name, rule) in dependencies(writer) {
            written.entry(name).or_default().push(rule);
        }
        for (keyword, name, now) in dependencies(reader) {
            let path = format!("{path}/{keyword}{}", step(name));
            let before = written.get(name).map_or(&[][..], Vec::as_slice);
            match now {
                Value::Array(_) => dependent_names(name, now, before, &path, found),
                now => {
                    let now = reader.inside(now, String::new());
                    let before = before.iter().find(|before| !before.is_array());
                    match before {
                        Some(before) => self.pair(&now, &writer.inside(before, String::new()), &path, found),
                        None if matches!(now.shape(), Shape::Any) => {}
                        None => {
                            let message = format!("the reader has a rule for objects with {name:?}");
                            add(found, "DEPENDENCY_SCHEMA_ADDED", &path, message);
                        }
                    }
                }
            }
        }
    }
}

/// Keyword, property and rule: names that must be there too, or a schema.
fn dependencies<'r>(site: &Site<'r>) -> Vec<(&'static str, &'r str, &'r Value)> {
    let mut found = Vec::new();
    for keyword in ["dependencies", "dependentRequired", "dependentSchemas"] {
        let rules = site
            .map()
            .and_then(|map| map.get(keyword))
            .and_then(Value::as_object);
        for (name, rule) in rules.into_iter().flatten() {
            found.push((keyword, name.as_str(), rule));
        }
    }
    found
}

fn dependent_names(name: &str, now: &Value, before: &[&Value], path: &str, found: &mut Vec<Incompatibility>) {
    let names = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let now = names(now);
    let Some(before) = before.iter().find(|before| before.is_array()) else {
        if !now.is_empty() {
            let message = format!("the reader asks for {now:?} in objects with {name:?}");
            add(found, "DEPENDENCY_ARRAY_ADDED", path, message);
        }
        return;
    };
    let before = names(before);
    let more: Vec<&String> = now.iter().filter(|name| !before.contains(name)).collect();
    if more.is_empty() {
        return;
    }
    let extended = before.iter().all(|name| now.contains(name));
    let kind = if extended {
        "DEPENDENCY_ARRAY_EXTENDED"
    } else {
        "DEPENDENCY_ARRAY_CHANGED"
    };
    add(
        found,
        kind,
        path,
        format!("the reader asks for {more:?} too in objects with {name:?}"),
    );
}

/// Names that become required; those of added properties are judged with them.
fn required(to: &Model<'_>, from: &Model<'_>, path: &str, found: &mut Vec<Incompatibility>) {
    let mut newly: Vec<&str> = to.required.difference(&from.required).copied().collect();
    newly.sort_unstable();
    for name in newly {
        let now = to.property(name);
        if now.is_some() && from.property(name).is_none() && !from.is_open() {
            continue;
        }
        if now.is_some_and(|now| now.has_default()) {
            continue;
        }
        let message = format!("the property {name:?} becomes required, and has no default");
        add(
            found,
            "REQUIRED_ATTRIBUTE_ADDED",
            &format!("{path}/required{}", step(name)),
            message,
        );
    }
}
