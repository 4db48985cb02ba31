//! A schema that was read.

use serde_json::Value;

use super::avro::AvroSchema;
use super::json::JsonSchema;
use super::messages::SchemaFormat;
use super::protobuf::ProtobufSchema;

/// A schema of any language, valid and with everything that it refers to. Immutable; share it by `Arc`.
#[derive(Debug, Clone)]
pub struct ParsedSchema {
    pub(crate) language: Language,
}

/// One variant a language.
#[derive(Debug, Clone)]
pub(crate) enum Language {
    Avro(Box<AvroSchema>),
    Json(Box<JsonSchema>),
    Protobuf(Box<ProtobufSchema>),
}

impl From<AvroSchema> for ParsedSchema {
    fn from(schema: AvroSchema) -> Self {
        Self {
            language: Language::Avro(Box::new(schema)),
        }
    }
}

impl From<ProtobufSchema> for ParsedSchema {
    fn from(schema: ProtobufSchema) -> Self {
        Self {
            language: Language::Protobuf(Box::new(schema)),
        }
    }
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
            Language::Avro(_) => SchemaFormat::Avro,
            Language::Json(_) => SchemaFormat::Json,
            Language::Protobuf(_) => SchemaFormat::Protobuf,
        }
    }

    /// The text that the registry stores, returns and compares while `normalize` is off.
    #[must_use]
    pub fn canonical(&self) -> &str {
        match &self.language {
            Language::Avro(schema) => schema.canonical(),
            Language::Json(schema) => &schema.canonical,
            Language::Protobuf(schema) => schema.canonical(),
        }
    }

    /// The text that is compared with `normalize=true`: equal for schemas that differ in order only.
    #[must_use]
    pub fn normalized(&self) -> String {
        match &self.language {
            Language::Avro(schema) => schema.normalized(),
            Language::Json(schema) => schema.root.to_string(),
            Language::Protobuf(schema) => schema.normalized(),
        }
    }

    /// The names of the records or messages that it defines, the one of the whole schema first: full names in
    /// AVRO and PROTOBUF, the `title` in JSON. The record name strategies of serializers use them.
    #[must_use]
    pub fn record_names(&self) -> Vec<String> {
        match &self.language {
            Language::Avro(schema) => schema.record_names(),
            Language::Protobuf(schema) => schema.message_names(),
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
            _ => None,
        }
    }

    /// An Avro schema's types.
    #[must_use]
    pub fn avro(&self) -> Option<&AvroSchema> {
        match &self.language {
            Language::Avro(schema) => Some(schema),
            _ => None,
        }
    }

    /// A Protobuf schema's descriptors.
    #[must_use]
    pub fn protobuf(&self) -> Option<&ProtobufSchema> {
        match &self.language {
            Language::Protobuf(schema) => Some(schema),
            _ => None,
        }
    }
}
