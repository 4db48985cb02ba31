//! May a new version of a schema follow the old ones? Pure, and the same rules as the Confluent Schema
//! Registry documents.
//!
//! A *writer*'s schema is the one that data was written by, a *reader*'s the one that it is read by. BACKWARD
//! lets new readers read old data, FORWARD lets old readers read new data.

mod avro;
mod diff;
mod json;
mod messages;
mod pairs;
mod protobuf;

pub use diff::{Change, diff};
pub use messages::{CompatibilityLevel, Incompatibility, UnknownLevel};

use crate::language::{Language, ParsedSchema};

/// Everything that keeps `reader` from reading all data of `writer`; empty when nothing does.
#[must_use]
pub fn can_read(reader: &ParsedSchema, writer: &ParsedSchema) -> Vec<Incompatibility> {
    let mut found = match (&reader.language, &writer.language) {
        (Language::Avro(reader), Language::Avro(writer)) => avro::can_read(reader, writer),
        (Language::Json(reader), Language::Json(writer)) => json::can_read(reader, writer),
        (Language::Protobuf(reader), Language::Protobuf(writer)) => protobuf::can_read(reader, writer),
        _ => {
            let message = format!(
                "the schema type changes from {} to {}; a subject keeps one type",
                writer.format().as_str(),
                reader.format().as_str()
            );
            vec![Incompatibility::new(
                "SCHEMA_TYPE_CHANGED",
                String::new(),
                message,
            )]
        }
    };
    found.truncate(pairs::MAX_FOUND);
    found
}

/// Judges a new version by a level: what is wrong, by the index of the old version that it breaks with. Empty
/// when the version may be registered. The levels that are not transitive look at the newest old version only.
#[must_use]
pub fn check(
    level: CompatibilityLevel,
    new: &ParsedSchema,
    old_versions_oldest_first: &[ParsedSchema],
) -> Vec<(usize, Vec<Incompatibility>)> {
    let newest = old_versions_oldest_first.len().saturating_sub(1);
    let first = if level.is_transitive() { 0 } else { newest };
    let mut broken = Vec::new();
    for (index, old) in old_versions_oldest_first.iter().enumerate().skip(first) {
        let mut found = Vec::new();
        if level.is_backward() {
            found.extend(can_read(new, old));
        }
        if level.is_forward() {
            for incompatibility in can_read(old, new) {
                if !found.contains(&incompatibility) {
                    found.push(incompatibility);
                }
            }
        }
        if !found.is_empty() {
            broken.push((index, found));
        }
    }
    broken
}
