//! Schemas in the three languages of the registry: is a text a schema, what is its canonical form, what does
//! it refer to. Pure: nothing is ever read from a disk or fetched from a network.
//!
//! [`parse`] is the only way in. What a schema refers to is handed over with it, as [`Dependency`] texts; a
//! reference to anything else is an error. Limits hold before anything is allocated by them.

mod avro;
mod json;
mod json_graph;
mod messages;
mod node;
mod parsed;
mod protobuf;

pub(crate) use crate::decode::validation_options;
pub use avro::{
    AvroKind, AvroSchema, AvroType, Enumeration, Field, Fixed, LogicalType, Named, Record, TypeId,
};
pub(crate) use json::{JsonSchema, MAX_PATTERN_BYTES};
pub use messages::{
    Dependency, LanguageError, MAX_DEPENDENCIES, MAX_DEPENDENCY_BYTES, MAX_DEPTH, MAX_TEXT_BYTES,
    SchemaFormat, UnknownFormat,
};
pub(crate) use parsed::Language;
pub use parsed::ParsedSchema;
pub use protobuf::ProtobufSchema;

/// Reads a schema with everything that it refers to.
///
/// `dependencies` hold the texts of all references, transitive ones included, each after those that it needs
/// itself.
///
/// # Errors
/// [`LanguageError`] with the place of the mistake.
pub fn parse(
    format: SchemaFormat,
    text: &str,
    dependencies: &[Dependency<'_>],
) -> Result<ParsedSchema, LanguageError> {
    messages::check_limits(text, dependencies)?;
    match format {
        SchemaFormat::Json => json::parse(text, dependencies).map(ParsedSchema::from),
        SchemaFormat::Avro => avro::parse(text, dependencies).map(ParsedSchema::from),
        SchemaFormat::Protobuf => protobuf::parse(text, dependencies).map(ParsedSchema::from),
    }
}
