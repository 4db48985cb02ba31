//! JSON Schema: drafts 4, 6, 7, 2019-09 and 2020-12.

use jsonschema::{PatternOptions, ValidationOptions};
use serde_json::Value;

use super::messages::{Dependency, LanguageError};
use super::node::{Node, minified};

/// The longest program that a pattern may compile to, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

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

/// The one place that says how JSON Schemas are read: nothing is ever fetched, formats are rules, and
/// patterns run in linear time. Lookaround and backreferences, which cannot, are refused when a schema is
/// registered.
#[must_use]
pub fn validation_options() -> ValidationOptions<'static> {
    jsonschema::options()
        .offline()
        .should_validate_formats(true)
        .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
}

pub(super) fn parse(text: &str, dependencies: &[Dependency<'_>]) -> Result<JsonSchema, LanguageError> {
    let node = Node::parse(text)?;
    let root = node.to_value();
    check_root(&root)?;
    let dependencies = dependencies
        .iter()
        .map(|dependency| read_dependency(dependency).map(|value| (dependency.name.to_owned(), value)))
        .collect::<Result<Vec<_>, _>>()?;
    compile(&root, &dependencies)?;
    Ok(JsonSchema {
        canonical: minified(text),
        root,
        dependencies,
    })
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

/// Compiles the schema with its references.
fn compile(root: &Value, dependencies: &[(String, Value)]) -> Result<(), LanguageError> {
    let refused = |error: String| LanguageError::Reference {
        name: dependencies
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(", "),
        message: error,
    };
    let mut registry = jsonschema::Registry::new();
    for (name, value) in dependencies {
        registry = registry
            .add(name.as_str(), value)
            .map_err(|error| refused(error.to_string()))?;
    }
    let registry = registry.prepare().map_err(|error| refused(error.to_string()))?;
    let built = validation_options().with_registry(&registry).build(root);
    built.map(|_| ()).map_err(|error| {
        let message = format!("{error} (only references that are registered with the schema work)");
        invalid(error.instance_path().as_str(), message)
    })
}
