//! What makes two schemas the same, and parsed schemas kept for the next check.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use serde_json::Value;
use tributary_schema::decode::{SchemaError, StreamSchema, check_rules};
use tributary_schema::language::{Dependency, LanguageError, ParsedSchema, SchemaFormat, parse};
use tributary_shared::wire::{NamedText, SchemaInfo};

use super::messages::Reference;

/// Bytes of schema text whose parsed form is kept: every version of a subject that is checked against all of
/// them, up to what a few hundred usual schemas have.
const KEPT_BYTES: usize = 4 << 20;

/// The key of a schema: equal exactly when canonical text, references, metadata and rule set are.
pub fn key(
    format: SchemaFormat,
    canonical: &str,
    references: &[Reference],
    metadata: Option<&Value>,
    rule_set: Option<&Value>,
) -> Vec<u8> {
    let mut sorted = references.to_vec();
    sorted.sort();
    let parts = serde_json::json!([format.as_str(), canonical, sorted, metadata, rule_set]);
    sha256(parts.to_string().as_bytes())
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// The key of a schema that format 1 of the database holds. One that this program would refuse counts by its
/// very text.
pub fn key_of_old(format: &str, text: &str) -> Vec<u8> {
    let parsed = format
        .parse()
        .ok()
        .and_then(|format| Some((format, parse(format, text, &[]).ok()?)));
    match parsed {
        Some((format, parsed)) => key(format, parsed.canonical(), &[], None, None),
        None => sha256(text.as_bytes()),
    }
}

/// A key for a schema that is not found by its text: another id has it.
pub fn key_of_spelling(id: u32, text: &str) -> Vec<u8> {
    sha256(format!("spelling {id} {text}").as_bytes())
}

/// Whether a text is a compiled Protobuf file in base64, which some clients register. People and other clients
/// get the source for it. What has neither mark is no source.
pub fn is_descriptor(format: SchemaFormat, text: &str) -> bool {
    format == SchemaFormat::Protobuf && !text.contains([';', '{'])
}

/// Parses a text with all that it refers to.
///
/// # Errors
/// [`LanguageError`] naming the place.
pub fn read(
    format: SchemaFormat,
    text: &str,
    references: &[NamedText],
) -> Result<ParsedSchema, LanguageError> {
    let dependencies: Vec<Dependency<'_>> = references
        .iter()
        .map(|reference| Dependency {
            name: &reference.name,
            text: &reference.text,
        })
        .collect();
    let parsed = parse(format, text, &dependencies)?;
    check_rules(format.as_str(), text).map_err(|error| match error {
        SchemaError::Rule { path, message } => LanguageError::Invalid { path, message },
        other => LanguageError::Invalid {
            path: String::new(),
            message: other.to_string(),
        },
    })?;
    Ok(parsed)
}

/// A rule may name only fields that the schema has, and which those are, a gateway's own reading says.
///
/// # Errors
/// [`LanguageError::Invalid`] at the rule. What else a gateway could not use of a schema is no reason to refuse it:
/// other programs may keep schemas here, too.
pub fn check_fields_of_rules(
    format: SchemaFormat,
    text: &str,
    references: &[NamedText],
) -> Result<(), LanguageError> {
    // most schemas have none, and to compile one takes about a millisecond
    if !text.contains("rules") {
        return Ok(());
    }
    let info = SchemaInfo {
        id: 0,
        version: 0,
        format: format.as_str().to_owned(),
        text: text.to_owned(),
        references: references.to_vec(),
    };
    match StreamSchema::compile(&info) {
        Err(SchemaError::Rule { path, message }) => Err(LanguageError::Invalid { path, message }),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Parsed schemas by id. Begins anew when it is full.
#[derive(Debug, Default)]
pub struct ParsedCache(Mutex<(HashMap<u32, Arc<ParsedSchema>>, usize)>);

impl ParsedCache {
    pub fn get(&self, id: u32) -> Option<Arc<ParsedSchema>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.get(&id).cloned()
    }

    /// `bytes` of text stand for what the parsed form holds.
    pub fn put(&self, id: u32, parsed: Arc<ParsedSchema>, bytes: usize) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.1 + bytes > KEPT_BYTES {
            *kept = Default::default();
        }
        kept.1 += bytes;
        kept.0.insert(id, parsed);
    }

    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_tells_apart_what_differs_and_nothing_else() {
        let reference = |name: &str| Reference {
            name: name.to_owned(),
            subject: "s".to_owned(),
            version: 1,
        };
        let (a, b) = (reference("a"), reference("b"));
        let of = |text: &str, references: &[Reference], metadata: Option<Value>| {
            key(SchemaFormat::Json, text, references, metadata.as_ref(), None)
        };
        let plain = of("x", &[], None);
        assert_eq!(plain, of("x", &[], None));
        assert_eq!(
            of("x", &[a.clone(), b.clone()], None),
            of("x", &[b.clone(), a.clone()], None)
        );
        let others = [
            of("y", &[], None),
            of("x", &[a], None),
            of("x", &[], Some(json!({}))),
            key(SchemaFormat::Avro, "x", &[], None, None),
            key(SchemaFormat::Json, "x", &[], None, Some(&json!({}))),
        ];
        assert!(others.iter().all(|other| *other != plain));
    }
}
