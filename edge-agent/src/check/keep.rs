//! Schemas in the spool's database, and what may be kept there. Pure but for the types.

use std::collections::BTreeMap;

use tributary_shared::ids::StreamName;
use tributary_shared::wire::SchemaInfo;

use crate::spool::InputPosition;

/// More streams have their schemas told anew with each session.
pub const MAX_KEPT_SCHEMAS: usize = 256;
/// Bytes of all schema texts together: less than the spool's smallest limit leaves for events.
pub const MAX_KEPT_BYTES: usize = 4 << 20;
/// The longest schema that a gateway may push.
pub const MAX_TEXT: usize = 1 << 20;
/// The beginning of the keys.
pub(super) const PREFIX: &str = "schema/";

/// What is on disk: id and length of each stream's schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shelf {
    kept: BTreeMap<StreamName, (u32, usize)>,
}

impl Shelf {
    /// Makes room for a stream's new schema; `false`: there is none, and the stream has nothing on disk any more.
    pub(super) fn put(&mut self, stream: &StreamName, schema: Option<&SchemaInfo>) -> bool {
        self.kept.remove(stream);
        let Some(schema) = schema else { return false };
        let bytes: usize = self.kept.values().map(|(_, len)| len).sum();
        let fits = schema.bytes() <= MAX_TEXT
            && self.kept.len() < MAX_KEPT_SCHEMAS
            && bytes + schema.bytes() <= MAX_KEPT_BYTES;
        if fits {
            self.kept.insert(stream.clone(), (schema.id, schema.bytes()));
        }
        fits
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (StreamName, u32)> {
        self.kept.iter().map(|(stream, (id, _))| (stream.clone(), *id))
    }
}

/// As it is stored. Without a schema the value is empty: a deletion would take another way into the database, and
/// could be overtaken by what came before it.
pub(super) fn stored(stream: &StreamName, schema: Option<&SchemaInfo>) -> InputPosition {
    // a struct of texts and numbers always serializes
    let value = schema.map_or_else(Vec::new, |schema| serde_json::to_vec(schema).unwrap_or_default());
    InputPosition {
        key: format!("{PREFIX}{stream}"),
        value,
    }
}

/// Reads it back; `None` for what says that there is no schema, and for what cannot be read, which is told anew.
pub(super) fn read(stored: &InputPosition) -> Option<(StreamName, SchemaInfo)> {
    if stored.value.is_empty() {
        return None;
    }
    let stream = stored.key.strip_prefix(PREFIX)?.parse().ok()?;
    match serde_json::from_slice(&stored.value) {
        Ok(schema) => Some((stream, schema)),
        Err(error) => {
            tracing::warn!(%stream, %error, "a kept schema cannot be read: it is asked for again");
            None
        }
    }
}
