//! Places in a JSON Schema, and what each of them asks of a value.
//!
//! A schema object mixes conditions freely: a type, bounds of several types, an enum, combinations. Comparing
//! needs them apart, so a place is taken as one [`Shape`]: a single condition, all of several, or any of
//! several.

use hashbrown::HashSet;
use jsonschema::{Draft, Registry};
use referencing::Resolver;
use serde_json::{Map, Value};

use crate::language::JsonSchema;

/// How many `$ref`s may lead to each other without anything between; the parser allows no circles.
const MAX_HOPS: usize = 1000;

static ANY: Value = Value::Bool(true);
static NEVER: Value = Value::Bool(false);

/// A JSON type; `integer` is a part of `number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    Array,
    Object,
}

impl Kind {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "string" => Self::Text,
            "array" => Self::Array,
            "object" => Self::Object,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Text => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// With integers as numbers: the keywords are the same.
    pub fn family(self) -> Self {
        if self == Self::Integer { Self::Number } else { self }
    }

    /// The keywords that ask something of values of this kind.
    pub fn keywords(self) -> &'static [&'static str] {
        match self.family() {
            Self::Text => &["minLength", "maxLength", "pattern", "format"],
            Self::Number => &[
                "minimum",
                "maximum",
                "exclusiveMinimum",
                "exclusiveMaximum",
                "multipleOf",
            ],
            Self::Array => &[
                "items",
                "prefixItems",
                "additionalItems",
                "unevaluatedItems",
                "minItems",
                "maxItems",
                "uniqueItems",
                "contains",
            ],
            Self::Object => &[
                "properties",
                "patternProperties",
                "additionalProperties",
                "unevaluatedProperties",
                "propertyNames",
                "required",
                "minProperties",
                "maxProperties",
                "dependencies",
                "dependentRequired",
                "dependentSchemas",
            ],
            _ => &[],
        }
    }

    pub fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Null, Value::Null)
            | (Self::Boolean, Value::Bool(_))
            | (Self::Number, Value::Number(_))
            | (Self::Text, Value::String(_))
            | (Self::Array, Value::Array(_))
            | (Self::Object, Value::Object(_)) => true,
            (Self::Integer, Value::Number(number)) => {
                number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
            }
            _ => false,
        }
    }
}

/// Which conditions of a schema object a place stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Whole,
    /// The type that is named, or one of those.
    Named(Kind),
    /// The keywords of a type that is not named: other types are not concerned.
    Implied(Kind),
    Types,
    Values,
    Not,
    AnyOf,
    OneOf,
    Condition,
    Reference,
}

/// A place in a schema; cheap to clone.
#[derive(Debug, Clone)]
pub struct Site<'r> {
    pub value: &'r Value,
    resolver: Resolver<'r>,
    pub draft: Draft,
    pub part: Part,
    /// How the place is reached from the one before: `/anyOf/0`.
    pub step: String,
}

/// Whether one or any branch must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    AnyOf,
    OneOf,
    /// A list of types: no two of them hold together.
    Types,
}

/// What a place asks of a value.
#[derive(Debug, Clone)]
pub enum Shape<'r> {
    Any,
    Never,
    /// The site is where the keywords stand.
    Named(Kind, Site<'r>),
    Implied(Kind, Site<'r>),
    /// `enum` and `const`.
    Values(Vec<&'r Value>),
    Not(Site<'r>),
    Condition(Site<'r>),
    All(Vec<Site<'r>>),
    Sum(Sum, Vec<Site<'r>>),
}

/// The top of a schema.
pub fn root<'r>(schema: &'r JsonSchema, registry: &'r Registry<'_>) -> Result<Site<'r>, String> {
    Ok(Site {
        value: &schema.root,
        resolver: schema.resolver(registry)?,
        draft: schema.draft(),
        part: Part::Whole,
        step: String::new(),
    })
}

impl<'r> Site<'r> {
    /// Tells places apart; a reference is the place that it leads to.
    pub fn key(&self) -> (usize, Part) {
        let site = self.followed();
        (std::ptr::from_ref(site.value) as usize, site.part)
    }

    fn part(&self, part: Part) -> Self {
        Self {
            part,
            step: String::new(),
            ..self.clone()
        }
    }

    /// A place inside this one.
    pub fn inside(&self, value: &'r Value, step: String) -> Self {
        let resource = self.draft.create_resource_ref(value);
        let resolver = self.resolver.in_subresource(resource);
        Self {
            value,
            resolver: resolver.unwrap_or_else(|_| self.resolver.clone()),
            draft: self.draft,
            part: Part::Whole,
            step,
        }
    }

    pub fn map(&self) -> Option<&'r Map<String, Value>> {
        self.value.as_object()
    }

    /// The schema under a keyword.
    pub fn child(&self, keyword: &str) -> Option<Self> {
        let value = self.map()?.get(keyword)?;
        is_schema(value).then(|| self.inside(value, format!("/{keyword}")))
    }

    /// The schemas of an array under a keyword.
    pub fn children(&self, keyword: &str) -> Vec<Self> {
        let items = self
            .map()
            .and_then(|map| map.get(keyword))
            .and_then(Value::as_array);
        let items = items.into_iter().flatten().enumerate();
        items
            .map(|(index, value)| self.inside(value, format!("/{keyword}/{index}")))
            .collect()
    }

    /// A place that takes every value.
    pub fn any(&self) -> Self {
        self.inside(&ANY, String::new())
    }

    /// The place that the references here lead to, when they are all there is.
    pub fn followed(&self) -> Self {
        let mut site = self.clone();
        for _ in 0..MAX_HOPS {
            let Some(map) = site.map() else { break };
            let Some((keyword, reference)) = reference_of(map) else {
                break;
            };
            let follows = match site.part {
                Part::Whole => is_alone(site.draft, map),
                part => part == Part::Reference,
            };
            if !follows {
                break;
            }
            let resolved = if keyword == "$recursiveRef" {
                site.resolver.lookup("#")
            } else {
                site.resolver.lookup(reference)
            };
            let Ok(resolved) = resolved else { break };
            let (value, resolver, draft) = resolved.into_inner();
            site = Self {
                value,
                resolver,
                draft,
                part: Part::Whole,
                step: site.step,
            };
        }
        site
    }

    /// Does the schema here, or the one that it refers to, give a default?
    pub fn has_default(&self) -> bool {
        let has = |site: &Self| site.map().is_some_and(|map| map.contains_key("default"));
        has(self) || has(&self.followed())
    }

    pub fn shape(&self) -> Shape<'r> {
        let site = self.followed();
        let Value::Object(map) = site.value else {
            return if site.value == &NEVER {
                Shape::Never
            } else {
                Shape::Any
            };
        };
        match site.part {
            Part::Whole | Part::Reference => site.whole(map),
            Part::Named(kind) => Shape::Named(kind, site),
            Part::Implied(kind) => Shape::Implied(kind, site),
            Part::Types => {
                let kinds = types(map).into_iter().map(|kind| site.part(Part::Named(kind)));
                Shape::Sum(Sum::Types, kinds.collect())
            }
            Part::Values => Shape::Values(values(map)),
            Part::Not => site.child("not").map_or(Shape::Any, Shape::Not),
            Part::AnyOf => Shape::Sum(Sum::AnyOf, distinct(site.children("anyOf"))),
            Part::OneOf => Shape::Sum(Sum::OneOf, site.children("oneOf")),
            Part::Condition => Shape::Condition(site.part(Part::Whole)),
        }
    }

    fn whole(&self, map: &'r Map<String, Value>) -> Shape<'r> {
        let mut parts = distinct(self.parts(map));
        match parts.len() {
            0 => Shape::Any,
            1 if parts[0].part == Part::Whole => parts.remove(0).shape(),
            1 => parts[0].shape(),
            _ => Shape::All(parts),
        }
    }

    /// Every condition of a schema object on its own.
    fn parts(&self, map: &'r Map<String, Value>) -> Vec<Self> {
        let mut parts = Vec::new();
        if reference_of(map).is_some() {
            parts.push(self.part(Part::Reference));
        }
        match types(map).as_slice() {
            [] => {
                for kind in [Kind::Text, Kind::Number, Kind::Array, Kind::Object] {
                    if kind.keywords().iter().any(|keyword| map.contains_key(*keyword)) {
                        parts.push(self.part(Part::Implied(kind)));
                    }
                }
            }
            [kind] => parts.push(self.part(Part::Named(*kind))),
            _ => parts.push(self.part(Part::Types)),
        }
        if map.contains_key("enum") || map.contains_key("const") {
            parts.push(self.part(Part::Values));
        }
        if map.contains_key("not") {
            parts.push(self.part(Part::Not));
        }
        if map.contains_key("if") && (map.contains_key("then") || map.contains_key("else")) {
            parts.push(self.part(Part::Condition));
        }
        parts.extend(self.children("allOf"));
        for (keyword, part) in [("anyOf", Part::AnyOf), ("oneOf", Part::OneOf)] {
            let mut branches = self.children(keyword);
            match branches.len() {
                0 => {}
                1 => parts.push(branches.remove(0)),
                _ => parts.push(self.part(part)),
            }
        }
        parts
    }
}

fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

fn reference_of(map: &Map<String, Value>) -> Option<(&'static str, &str)> {
    ["$ref", "$dynamicRef", "$recursiveRef"]
        .into_iter()
        .find_map(|keyword| {
            map.get(keyword)
                .and_then(Value::as_str)
                .map(|reference| (keyword, reference))
        })
}

/// Up to draft 7, what stands beside a `$ref` counts for nothing.
fn is_alone(draft: Draft, map: &Map<String, Value>) -> bool {
    if matches!(draft, Draft::Draft4 | Draft::Draft6 | Draft::Draft7) {
        return true;
    }
    let kinds = [Kind::Text, Kind::Number, Kind::Array, Kind::Object];
    let mut asking = kinds.iter().flat_map(|kind| kind.keywords());
    let other = ["type", "enum", "const", "not", "if", "allOf", "anyOf", "oneOf"];
    !asking.any(|keyword| map.contains_key(*keyword))
        && !other.iter().any(|keyword| map.contains_key(*keyword))
}

fn types(map: &Map<String, Value>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = match map.get("type") {
        Some(Value::String(name)) => Kind::parse(name).into_iter().collect(),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(|name| Kind::parse(name.as_str()?))
            .collect(),
        _ => Vec::new(),
    };
    if kinds.contains(&Kind::Number) {
        kinds.retain(|kind| *kind != Kind::Integer);
    }
    kinds
}

fn values(map: &Map<String, Value>) -> Vec<&Value> {
    let listed = map.get("enum").and_then(Value::as_array);
    match (map.get("const"), listed) {
        (Some(constant), None) => vec![constant],
        (Some(constant), Some(listed)) if listed.contains(constant) => vec![constant],
        (Some(_), Some(_)) => Vec::new(),
        (None, listed) => listed.into_iter().flatten().collect(),
    }
}

/// Equal schemas ask the same: one of them is enough.
fn distinct(sites: Vec<Site<'_>>) -> Vec<Site<'_>> {
    let mut known = HashSet::new();
    sites
        .into_iter()
        .filter(|site| known.insert((site.part, site.value)))
        .collect()
}
