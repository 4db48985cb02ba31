//! Schemas as they travel.

use actix_web::web::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tributary_schema::language::SchemaFormat;

use super::{Refusal, bare};
use crate::registry::{NewSchema, ReferenceAsked, RegistryError, StoredSchema, SubjectVersion, Version};

/// A body as it arrived, or why it did not.
pub type Arrived = Result<Bytes, actix_web::Error>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    schema: Option<String>,
    schema_type: Option<String>,
    references: Option<Vec<AskedReference>>,
    metadata: Option<Value>,
    rule_set: Option<Value>,
    id: Option<i64>,
    version: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct AskedReference {
    name: String,
    subject: String,
    version: i64,
}

/// Reads the JSON of a body. As bytes, because clients send any of four content types, and curl a fifth.
pub fn json<T: for<'a> Deserialize<'a>>(body: Arrived, example: &str) -> Result<T, Refusal> {
    let body = body.map_err(|error| Refusal::unreadable(&error))?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::plain(400, format!("the body is not like {example}: {error}")))
}

/// Reads a schema that is to be registered, found or checked.
pub fn schema(body: Arrived, normalize: bool) -> Result<NewSchema, Refusal> {
    let example = r#"{"schema":"...","schemaType":"JSON"}"#;
    let asked: Asked = json(body, example)?;
    let text = asked
        .schema
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Refusal::new(42201, format!("the body has no schema; write {example}")))?;
    // what the reference says a body without schemaType means
    let format = asked
        .schema_type
        .map_or(Ok(SchemaFormat::Avro), |name| name.parse());
    let references = asked.references.unwrap_or_default();
    let references = references.into_iter().map(reference).collect::<Result<_, _>>()?;
    // 0 and -1 are what some clients send for nothing
    let number = |asked: Option<i64>| asked.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    Ok(NewSchema {
        format: format.map_err(RegistryError::from)?,
        text,
        references,
        metadata: asked.metadata.filter(|value| !value.is_null()),
        rule_set: asked.rule_set.filter(|value| !value.is_null()),
        id: number(asked.id),
        version: number(asked.version),
        normalize,
    })
}

fn reference(asked: AskedReference) -> Result<ReferenceAsked, Refusal> {
    let AskedReference {
        name,
        subject,
        version,
    } = asked;
    let version = match version {
        -1 => Version::Latest,
        number => u32::try_from(number)
            .ok()
            .filter(|number| *number > 0)
            .map(Version::Number)
            .ok_or_else(|| Refusal::new(42202, format!("reference {name:?}: {number} is not a version")))?,
    };
    Ok(ReferenceAsked {
        name,
        subject: bare(&subject).to_owned(),
        version,
    })
}

/// A schema without its place. What is not there, and the type AVRO, is left out, as clients expect.
pub fn shown(schema: &StoredSchema) -> Map<String, Value> {
    let mut shown = Map::new();
    if schema.format != SchemaFormat::Avro {
        shown.insert("schemaType".to_owned(), schema.format.as_str().into());
    }
    shown.insert("schema".to_owned(), schema.text.as_str().into());
    if !schema.references.is_empty() {
        shown.insert("references".to_owned(), json!(schema.references));
    }
    for (name, value) in [("metadata", &schema.metadata), ("ruleSet", &schema.rule_set)] {
        if let Some(value) = value {
            shown.insert(name.to_owned(), value.clone());
        }
    }
    shown
}

/// A version with its schema.
pub fn shown_version(found: &SubjectVersion) -> Map<String, Value> {
    let mut shown = shown(&found.schema);
    shown.insert("subject".to_owned(), found.subject.as_str().into());
    shown.insert("version".to_owned(), found.version.into());
    shown.insert("id".to_owned(), found.schema.id.into());
    shown
}
