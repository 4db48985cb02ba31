//! May a new version of a schema follow the old ones? Pure, and the same rules as the Confluent Schema
//! Registry documents.
//!
//! A *writer*'s schema is the one that data was written by, a *reader*'s the one that it is read by. BACKWARD
//! lets new readers read old data, FORWARD lets old readers read new data.

mod messages;

pub use messages::{CompatibilityLevel, Incompatibility, UnknownLevel};

use crate::language::ParsedSchema;

/// Everything that keeps `reader` from reading all data of `writer`; empty when nothing does.
#[must_use]
pub fn can_read(reader: &ParsedSchema, writer: &ParsedSchema) -> Vec<Incompatibility> {
    if reader.format() != writer.format() {
        let message = format!(
            "the schema type changes from {} to {}; a subject keeps one type",
            writer.format().as_str(),
            reader.format().as_str()
        );
        return vec![Incompatibility::new(
            "SCHEMA_TYPE_CHANGED",
            String::new(),
            message,
        )];
    }
    if reader.canonical() == writer.canonical() {
        return Vec::new();
    }
    let message = format!(
        "changes of {} schemas cannot be judged by this version",
        reader.format().as_str()
    );
    vec![Incompatibility::new("NOT_JUDGED", String::new(), message)]
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
