//! A schema that was read.

use serde_json::Value;

use super::json::JsonSchema;
use super::messages::SchemaFormat;

/// A schema of any language, valid and with everything that it refers to. Immutable; share it by `Arc`.
#[derive(Debug, Clone)]
pub struct ParsedSchema {
    pub(crate) language: Language,
}

/// One variant a language.
#[derive(Debug, Clone)]
pub(crate) enum Language {
    Json(Box<JsonSchema>),
}

impl From<JsonSchema> for ParsedSchema {
    fn from(schema: JsonSchema) -> Self {
        Self {
            language: Language::Json(Box::new(schema)),
        }
    }
}

impl ParsedSchema {
    #[must_use]
    pub fn format(&self) -> SchemaFormat {
        match &self.language {
            Language::Json(_) => SchemaFormat::Json,
        }
    }

    /// The text that the registry stores, returns and compares while `normalize` is off.
    #[must_use]
    pub fn canonical(&self) -> &str {
        match &self.language {
            Language::Json(schema) => &schema.canonical,
        }
    }

    /// The text that is compared with `normalize=true`: equal for schemas that differ in order only.
    #[must_use]
    pub fn normalized(&self) -> String {
        match &self.language {
            Language::Json(schema) => schema.root.to_string(),
        }
    }

    /// The names of the records or messages that it defines, the one of the whole schema first: full names in
    /// AVRO and PROTOBUF, the `title` in JSON. The record name strategies of serializers use them.
    #[must_use]
    pub fn record_names(&self) -> Vec<String> {
        match &self.language {
            Language::Json(schema) => {
                let title = schema.root.get("title").and_then(Value::as_str);
                title.map(str::to_owned).into_iter().collect()
            }
        }
    }

    /// A JSON Schema's tree.
    #[must_use]
    pub fn json(&self) -> Option<&Value> {
        match &self.language {
            Language::Json(schema) => Some(&schema.root),
        }
    }
}
