//! What the newest schema of a subject says of the fields of events.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tributary_schema::decode::{FieldKind, RuleText, SchemaField, StreamSchema};
use tributary_shared::wire::SchemaInfo;
use tributary_shared::wire::batch::{EVENT_TIME_COLUMN, EXTRA_COLUMN, SCHEMA_ID_COLUMN};
use tributary_sql::{KnownColumns, StaticKind};

/// Schemas whose fields are remembered; then it begins anew. To compile one takes about a millisecond.
const MAX_KEPT: usize = 1_024;

/// A version's schema, as far as it is about fields.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaFacts {
    pub id: u32,
    pub version: u32,
    pub format: String,
    /// Names of the schemas that it refers to, as subjects.
    pub refers_to: Vec<String>,
    pub fields: Vec<SchemaField>,
    /// Events have these fields and no others.
    pub closed: bool,
    pub rules: Vec<RuleText>,
    /// Why no gateway can judge events by it.
    pub unusable: Option<String>,
}

impl SchemaFacts {
    /// Reads a registered schema.
    #[must_use]
    pub fn read(info: &SchemaInfo, refers_to: Vec<String>) -> Self {
        let compiled = StreamSchema::compile(info);
        let schema = compiled.as_ref().ok();
        Self {
            id: info.id,
            version: info.version,
            format: info.format.clone(),
            refers_to,
            fields: schema.map(StreamSchema::fields).unwrap_or_default(),
            closed: schema.is_some_and(StreamSchema::is_closed),
            rules: schema.map(StreamSchema::rules).unwrap_or_default(),
            unusable: compiled.as_ref().err().map(ToString::to_string),
        }
    }

    #[must_use]
    pub fn field(&self, name: &str) -> Option<&SchemaField> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The fields as the API lists them.
    #[must_use]
    pub fn listed(&self) -> Vec<Value> {
        self.fields.iter().map(listed).collect()
    }
}

pub(super) fn listed(field: &SchemaField) -> Value {
    json!({
        "name": field.name,
        "type": field.kind.as_str(),
        "required": field.required,
        "key": field.key,
        "event_time": field.event_time,
    })
}

/// The fields as views are checked against them.
#[must_use]
pub fn known_columns(schema: &StreamSchema) -> Arc<KnownColumns> {
    let kind = |kind: FieldKind| match kind {
        FieldKind::Integer => StaticKind::Count,
        FieldKind::Number => StaticKind::Number,
        FieldKind::Boolean => StaticKind::Bool,
        FieldKind::Text => StaticKind::Text,
        FieldKind::Timestamp => StaticKind::Time,
        FieldKind::Unsigned | FieldKind::Json => StaticKind::Unknown,
    };
    let fields = schema.fields();
    let mut kinds: BTreeMap<String, StaticKind> = fields
        .into_iter()
        .map(|field| (field.name, kind(field.kind)))
        .collect();
    let closed = schema.is_closed() && !kinds.is_empty();
    // what the mesh adds to each event
    for ours in [EVENT_TIME_COLUMN, EXTRA_COLUMN, SCHEMA_ID_COLUMN] {
        kinds.insert(ours.to_owned(), StaticKind::Unknown);
    }
    Arc::new(KnownColumns { kinds, closed })
}

/// By schema id and version: a schema never changes.
#[derive(Debug, Default)]
pub(super) struct FactsCache(Mutex<HashMap<(u32, u32), Arc<SchemaFacts>>>);

impl FactsCache {
    pub(super) fn get(&self, key: (u32, u32)) -> Option<Arc<SchemaFacts>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&key).cloned()
    }

    pub(super) fn put(&self, facts: &Arc<SchemaFacts>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert((facts.id, facts.version), Arc::clone(facts));
    }
}
