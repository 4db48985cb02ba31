//! How the places of a JSON Schema lead to each other. Two shapes of it would be the end of whoever validates:
//! a place that leads to itself without a step into the document, and chains of references so long that
//! following them exhausts the stack.

use hashbrown::HashMap;
use jsonschema::Draft;
use referencing::Resolver;
use serde_json::Value;

use super::messages::LanguageError;

/// How long a chain of schemas inside and behind each other may be. Compilers and validators recurse by it.
pub const MAX_CHAIN: usize = 400;

/// Keywords whose schemas concern the same value.
const IN_PLACE: [&str; 9] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];
/// Keywords whose schemas concern a part of it.
const BELOW: [&str; 10] = [
    "properties",
    "patternProperties",
    "items",
    "prefixItems",
    "additionalItems",
    "additionalProperties",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that lead elsewhere.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Keywords that hold schemas by name.
const BY_NAME: [&str; 4] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
];

#[derive(Debug, Clone)]
struct Place<'r> {
    value: &'r Value,
    resolver: Resolver<'r>,
    draft: Draft,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    to: usize,
    in_place: bool,
}

/// Checks the schema at `value` and everything that it leads to.
///
/// # Errors
/// [`LanguageError::Invalid`].
pub fn check<'r>(value: &'r Value, resolver: Resolver<'r>, draft: Draft) -> Result<(), LanguageError> {
    let edges = explore(Place {
        value,
        resolver,
        draft,
    });
    if leads_to_itself(&edges) {
        let message = "the schema leads to itself without a step into the document (by $ref, allOf, anyOf, oneOf, \
                       not or if), so that no validation of it would end";
        return Err(invalid(message.to_owned()));
    }
    let longest = longest_chain(&edges);
    if longest > MAX_CHAIN {
        let message = format!("its schemas refer to each other {longest} deep; {MAX_CHAIN} is the limit");
        return Err(invalid(message));
    }
    Ok(())
}

fn invalid(message: String) -> LanguageError {
    LanguageError::Invalid {
        path: String::new(),
        message,
    }
}

/// All places that can be reached, and where each leads.
fn explore(root: Place<'_>) -> Vec<Vec<Edge>> {
    let mut known: HashMap<*const Value, usize> = HashMap::new();
    known.insert(root.value, 0);
    let mut edges: Vec<Vec<Edge>> = vec![Vec::new()];
    let mut open = vec![(0, root)];
    while let Some((from, place)) = open.pop() {
        for (in_place, next) in neighbours(&place) {
            let pointer: *const Value = next.value;
            let to = *known.entry(pointer).or_insert(edges.len());
            if to == edges.len() {
                edges.push(Vec::new());
                open.push((to, next));
            }
            edges[from].push(Edge { to, in_place });
        }
    }
    edges
}

fn neighbours<'r>(place: &Place<'r>) -> Vec<(bool, Place<'r>)> {
    let Value::Object(map) = place.value else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for keyword in REFERENCES {
        let Some(Value::String(reference)) = map.get(keyword) else {
            continue;
        };
        if let Ok(resolved) = place.resolver.lookup(reference) {
            let (value, resolver, draft) = resolved.into_inner();
            found.push((
                true,
                Place {
                    value,
                    resolver,
                    draft,
                },
            ));
        }
    }
    let keywords = IN_PLACE.iter().map(|keyword| (true, *keyword));
    for (in_place, keyword) in keywords.chain(BELOW.iter().map(|keyword| (false, *keyword))) {
        match map.get(keyword) {
            Some(Value::Array(schemas)) => {
                found.extend(schemas.iter().map(|schema| (in_place, place.inside(schema))));
            }
            Some(Value::Object(schemas)) if BY_NAME.contains(&keyword) => {
                found.extend(schemas.values().map(|schema| (in_place, place.inside(schema))));
            }
            Some(schema @ Value::Object(_)) => found.push((in_place, place.inside(schema))),
            _ => {}
        }
    }
    found
}

impl<'r> Place<'r> {
    fn inside(&self, value: &'r Value) -> Self {
        let resolver = self
            .resolver
            .in_subresource(self.draft.create_resource_ref(value));
        Self {
            value,
            resolver: resolver.unwrap_or_else(|_| self.resolver.clone()),
            draft: self.draft,
        }
    }
}

/// Is there a circle of edges that stay in place? (Kahn's algorithm.)
fn leads_to_itself(edges: &[Vec<Edge>]) -> bool {
    let mut arriving = vec![0usize; edges.len()];
    let in_place = |from: usize| {
        edges[from]
            .iter()
            .filter(|edge| edge.in_place)
            .map(|edge| edge.to)
    };
    for from in 0..edges.len() {
        in_place(from).for_each(|to| arriving[to] += 1);
    }
    let mut free: Vec<usize> = (0..edges.len()).filter(|place| arriving[*place] == 0).collect();
    let mut removed = 0;
    while let Some(from) = free.pop() {
        removed += 1;
        for to in in_place(from) {
            arriving[to] -= 1;
            if arriving[to] == 0 {
                free.push(to);
            }
        }
    }
    removed < edges.len()
}

/// The longest chain from the root that meets no place twice, as a depth-first search finds it: exact without
/// circles, and with them what a recursive compiler does that stops at places it is in the midst of.
fn longest_chain(edges: &[Vec<Edge>]) -> usize {
    let mut length: Vec<Option<usize>> = vec![None; edges.len()];
    let mut is_open = vec![false; edges.len()];
    let mut path = vec![(0usize, 0usize)];
    let mut longest = 1;
    is_open[0] = true;
    while let Some((place, next)) = path.last_mut() {
        let place = *place;
        let Some(edge) = edges[place].get(*next) else {
            let below = edges[place].iter().filter_map(|edge| length[edge.to]).max();
            length[place] = Some(1 + below.unwrap_or(0));
            is_open[place] = false;
            path.pop();
            longest = longest.max(path.len() + length[place].unwrap_or(1));
            continue;
        };
        *next += 1;
        match length[edge.to] {
            Some(below) => longest = longest.max(path.len() + below),
            None if is_open[edge.to] => {}
            None => {
                is_open[edge.to] = true;
                path.push((edge.to, 0));
            }
        }
    }
    longest
}
