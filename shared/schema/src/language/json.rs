//! JSON Schema: drafts 4, 6, 7, 2019-09 and 2020-12.

use jsonschema::{Draft, PatternOptions, Registry};
use referencing::Resolver;
use serde_json::Value;

use super::json_graph;
use super::messages::{Dependency, LanguageError};
use super::node::{Node, minified};
use crate::decode::{MAX_BACKTRACKS, validation_options};

/// The longest program that a pattern may compile to, in bytes.
pub(crate) const MAX_PATTERN_BYTES: usize = 1 << 20;

/// What `$schema` may name: the drafts whose meta-schemas are built in.
const DRAFTS: [&str; 5] = [
    "json-schema.org/draft-04/schema",
    "json-schema.org/draft-06/schema",
    "json-schema.org/draft-07/schema",
    "json-schema.org/draft/2019-09/schema",
    "json-schema.org/draft/2020-12/schema",
];

/// A JSON Schema that compiles.
#[derive(Debug, Clone)]
pub(crate) struct JsonSchema {
    pub canonical: String,
    pub root: Value,
    /// What the schema refers to, by the URI that it uses.
    pub dependencies: Vec<(String, Value)>,
}

/// The URI of a schema that has none of its own.
const OWN_URI: &str = "json-schema:///tributary-own";
/// What all patterns of one schema may compile to, in bytes.
const PATTERN_BUDGET: usize = 32 << 20;

impl JsonSchema {
    pub fn draft(&self) -> Draft {
        Draft::default().detect(&self.root)
    }

    fn own_uri(&self) -> String {
        let resource = self.draft().create_resource_ref(&self.root);
        resource.id().unwrap_or(OWN_URI).to_owned()
    }

    /// The schema and all that it refers to, by URI.
    pub fn registry(&self) -> Result<Registry<'_>, String> {
        let own = self.own_uri();
        let mut builder = Registry::new().draft(self.draft());
        for (name, value) in &self.dependencies {
            builder = builder.add(name, value).map_err(|error| error.to_string())?;
        }
        let builder = builder.add(own, &self.root).map_err(|error| error.to_string())?;
        builder.prepare().map_err(|error| error.to_string())
    }

    /// Where the references of the schema's top begin.
    pub fn resolver<'r>(&self, registry: &'r Registry<'_>) -> Result<Resolver<'r>, String> {
        let uri = jsonschema::uri::from_str(&self.own_uri()).map_err(|error| error.to_string())?;
        Ok(registry.resolver(uri))
    }
}

pub(super) fn parse(text: &str, dependencies: &[Dependency<'_>]) -> Result<JsonSchema, LanguageError> {
    let node = Node::parse(text)?;
    let root = node.to_value();
    check_root(&root)?;
    let mut read = Vec::with_capacity(dependencies.len());
    for dependency in dependencies {
        let value = read_dependency(dependency)?;
        // a reference may be meant relative to the schema's own URI
        if let Some(absolute) = relative_to(&root, dependency.name) {
            read.push((absolute, value.clone()));
        }
        read.push((dependency.name.to_owned(), value));
    }
    let schema = JsonSchema {
        canonical: minified(text),
        root,
        dependencies: read,
    };
    compile(&schema)?;
    Ok(schema)
}

fn relative_to(root: &Value, name: &str) -> Option<String> {
    let resource = Draft::default().detect(root).create_resource_ref(root);
    let base = jsonschema::uri::from_str(resource.id()?).ok()?;
    let absolute = jsonschema::uri::resolve_against(&base.borrow(), name).ok()?;
    (absolute.as_str() != name).then(|| absolute.as_str().to_owned())
}

fn invalid(path: &str, message: String) -> LanguageError {
    LanguageError::Invalid {
        path: path.to_owned(),
        message: message.chars().take(400).collect(),
    }
}

fn read_dependency(dependency: &Dependency<'_>) -> Result<Value, LanguageError> {
    let wrong = |error: LanguageError| LanguageError::Reference {
        name: dependency.name.to_owned(),
        message: error.to_string(),
    };
    let value = Node::parse(dependency.text).map_err(wrong)?.to_value();
    check_root(&value).map_err(wrong)?;
    Ok(value)
}

/// Checks the draft and its meta-schema.
fn check_root(root: &Value) -> Result<(), LanguageError> {
    if !root.is_object() && !root.is_boolean() {
        return Err(invalid("", "expected an object, true or false".to_owned()));
    }
    check_draft(root)?;
    jsonschema::meta::validate(root)
        .map_err(|error| invalid(error.instance_path().as_str(), error.to_string()))
}

fn check_draft(schema: &Value) -> Result<(), LanguageError> {
    let uri = match schema.get("$schema") {
        None => return Ok(()),
        Some(Value::String(uri)) => uri,
        Some(_) => return Err(invalid("/$schema", "expected text".to_owned())),
    };
    let bare = uri.trim_end_matches('#');
    let bare = bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))
        .unwrap_or(bare);
    if DRAFTS.contains(&bare) {
        return Ok(());
    }
    let message =
        format!("{uri:?} is not a known draft; use \"https://json-schema.org/draft/2020-12/schema\"");
    Err(invalid("/$schema", message))
}

/// Compiles the schema with its references, after what compiling could not bear.
fn compile(schema: &JsonSchema) -> Result<(), LanguageError> {
    let unresolved = |message: String| {
        let message = format!("{message} (only references that are registered with the schema work)");
        invalid("", message)
    };
    let registry = schema.registry().map_err(unresolved)?;
    let resolver = schema.resolver(&registry).map_err(unresolved)?;
    json_graph::check(&schema.root, resolver, schema.draft())?;
    let texts = schema
        .dependencies
        .iter()
        .map(|(_, value)| value)
        .chain([&schema.root]);
    let patterns: usize = texts.map(count_patterns).sum();
    let limit = (PATTERN_BUDGET / patterns.max(1)).min(MAX_PATTERN_BYTES);
    let options = || validation_options().with_registry(&registry);
    // as gateways do it: in linear time, or with a bound on the steps
    let linear = PatternOptions::regex().size_limit(limit);
    let bounded = PatternOptions::fancy_regex()
        .size_limit(limit)
        .backtrack_limit(MAX_BACKTRACKS);
    let built = options()
        .with_pattern_options(linear)
        .build(&schema.root)
        .or_else(|_| options().with_pattern_options(bounded).build(&schema.root));
    built.map(|_| ()).map_err(|error| {
        let message = error.to_string();
        let hint = if message.contains("Unresolvable") || message.contains("retriev") {
            " (only references that are registered with the schema work)"
        } else if message.contains("regex") {
            " (or the schema's patterns are too large)"
        } else {
            ""
        };
        invalid(error.instance_path().as_str(), format!("{message}{hint}"))
    })
}

/// How many patterns a schema has, or a little more: a property may be called so too.
fn count_patterns(schema: &Value) -> usize {
    match schema {
        Value::Array(items) => items.iter().map(count_patterns).sum(),
        Value::Object(map) => {
            let own = usize::from(map.contains_key("pattern"));
            let named = map
                .get("patternProperties")
                .and_then(Value::as_object)
                .map_or(0, serde_json::Map::len);
            own + named + map.values().map(count_patterns).sum::<usize>()
        }
        _ => 0,
    }
}
