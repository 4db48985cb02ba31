//! Schema files.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use tributary_schema::language::{MAX_TEXT_BYTES, SchemaFormat};

use super::call::Refused;
use super::cli::{FileArgs, Type};

impl From<Type> for SchemaFormat {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Json => Self::Json,
            Type::Avro => Self::Avro,
            Type::Protobuf => Self::Protobuf,
        }
    }
}

fn wrong(message: String) -> anyhow::Error {
    Refused {
        message,
        usage: true,
        status: 0,
    }
    .into()
}

/// The language, by option or by the file's name.
pub fn format(file: &Path, kind: Option<Type>) -> anyhow::Result<SchemaFormat> {
    if let Some(kind) = kind {
        return Ok(kind.into());
    }
    let ending = file.extension().and_then(|ending| ending.to_str());
    match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("json") => Ok(SchemaFormat::Json),
        Some("avsc") => Ok(SchemaFormat::Avro),
        Some("proto") => Ok(SchemaFormat::Protobuf),
        _ => Err(wrong(format!(
            "{}: neither .json, .avsc nor .proto; say --type json, avro or protobuf",
            file.display()
        ))),
    }
}

/// The text, of bounded size.
pub fn read(file: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .len();
    if length > MAX_TEXT_BYTES as u64 {
        let message = format!(
            "{} has {length} bytes, the limit is {MAX_TEXT_BYTES}",
            file.display()
        );
        return Err(wrong(message));
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// What the registry is asked with.
pub fn body(args: &FileArgs) -> anyhow::Result<Value> {
    let references: Vec<Value> = args
        .references
        .iter()
        .map(|reference| {
            json!({ "name": reference.name, "subject": reference.subject, "version": reference.version })
        })
        .collect();
    Ok(json!({
        "schema": read(&args.file)?,
        "schemaType": format(&args.file, args.kind)?.as_str(),
        "references": references,
    }))
}

/// A version's schema as a person reads it.
pub fn pretty(found: &Value) -> String {
    let text = found["schema"].as_str().unwrap_or_default();
    // keys stay in their order: only what has no layout of its own is laid out
    match serde_json::from_str::<Value>(text) {
        Ok(value) if !text.contains('\n') => {
            serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned())
        }
        _ => text.to_owned(),
    }
}
