//! What a schema says of an event's fields, for people, for lineage, and for the check of views.

use serde_json::Value;

use super::kind::Kind;
use super::plan::Plan;
use super::schema::StreamSchema;

/// How deep `required` is looked for through references and `allOf` at the root.
const DEPTH: u32 = 8;

/// What a field's values are, as far as one column can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Integer,
    /// Of 64 bits without sign: some batches have texts for it.
    Unsigned,
    Number,
    Boolean,
    Text,
    Timestamp,
    /// Objects, arrays, and values of differing types.
    Json,
}

impl FieldKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integer | Self::Unsigned => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
        }
    }
}

impl From<Kind> for FieldKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Integer,
            Kind::Unsigned => Self::Unsigned,
            Kind::Float => Self::Number,
            Kind::Bool => Self::Boolean,
            Kind::Text => Self::Text,
            Kind::Time(_) => Self::Timestamp,
            Kind::Json => Self::Json,
        }
    }
}

/// A field at the top of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaField {
    pub name: String,
    pub kind: FieldKind,
    /// An event without it is a dead letter.
    pub required: bool,
    /// Marked with `x-key`.
    pub key: bool,
    /// Marked as the event's time.
    pub event_time: bool,
}

/// A condition over several fields.
#[cfg(feature = "columns")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleText {
    pub name: String,
    pub sql: String,
    /// The fields that it reads.
    pub columns: Vec<String>,
}

/// What the whole validator asks for, whatever the plan checks by itself.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Fields that every event must have.
    required: Vec<String>,
    /// No event has fields that the root does not name.
    closed: bool,
}

impl Asked {
    pub(super) fn of(root: &Value) -> Self {
        let mut required = Vec::new();
        collect_required(root, root, DEPTH, &mut required);
        let closed = root.get("additionalProperties") == Some(&Value::Bool(false))
            && root.get("patternProperties").is_none();
        Self { required, closed }
    }
}

fn collect_required(schema: &Value, root: &Value, depth: u32, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    found.extend(list("required").filter_map(Value::as_str).map(str::to_owned));
    if let Some(target) = schema
        .get("$ref")
        .and_then(|reference| super::infer::resolve(reference, root))
    {
        collect_required(target, root, depth - 1, found);
    }
    for branch in list("allOf") {
        collect_required(branch, root, depth - 1, found);
    }
}

impl StreamSchema {
    /// The fields that become columns, in order. None without a schema.
    #[must_use]
    pub fn fields(&self) -> Vec<SchemaField> {
        let Some(judged) = &self.judged else {
            return Vec::new();
        };
        let plan: &Plan = &judged.plan;
        let marked = self.event_time();
        plan.columns()
            .map(|(name, kind)| SchemaField {
                name: name.to_owned(),
                kind: kind.into(),
                required: judged.asked.required.iter().any(|known| known == name),
                key: plan.keys.iter().any(|known| known == name),
                event_time: marked == Some(name),
            })
            .collect()
    }

    /// Whether events have the fields of [`fields`](Self::fields) and no others.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.judged.as_ref().is_some_and(|judged| judged.asked.closed)
    }

    /// The rules that the schema brings.
    #[cfg(feature = "columns")]
    #[must_use]
    pub fn rules(&self) -> Vec<RuleText> {
        self.rules.iter().map(super::rules::Rule::text).collect()
    }
}

#[cfg(all(test, feature = "columns"))]
mod tests {
    use serde_json::json;
    use tributary_shared::wire::SchemaInfo;

    use super::*;

    fn compiled(root: &Value) -> StreamSchema {
        let info = SchemaInfo {
            id: 1,
            version: 1,
            format: "JSON".to_owned(),
            text: root.to_string(),
            references: Vec::new(),
        };
        StreamSchema::compile(&info).expect("a schema")
    }

    #[test]
    fn fields_say_what_an_event_must_have() {
        let schema = compiled(&json!({
            "type": "object", "additionalProperties": false, "required": ["at", "low"],
            "properties": {
                "at": { "type": "string", "x-event-time": true }, "low": { "type": "number" },
                "high": { "type": ["number", "null"] }, "site": { "type": "string", "x-key": true },
                "more": { "type": "object" },
            },
            "x-rules": [{ "name": "range", "sql": "low <= high" }],
        }));
        let fields = schema.fields();
        let mut shown: Vec<_> = fields
            .iter()
            .map(|field| (field.name.as_str(), field.kind.as_str(), field.required))
            .collect();
        shown.sort_unstable();
        assert_eq!(
            shown,
            [
                ("at", "text", true),
                ("high", "number", false),
                ("low", "number", true),
                ("more", "json", false),
                ("site", "text", false),
            ]
        );
        let named = |of: fn(&SchemaField) -> bool| {
            let named = fields.iter().find(|field| of(field));
            named.map(|field| field.name.as_str())
        };
        assert_eq!(named(|field| field.event_time), Some("at"));
        assert_eq!(named(|field| field.key), Some("site"));
        assert!(schema.is_closed());
        let rule = &schema.rules()[0];
        assert_eq!((rule.name.as_str(), rule.sql.as_str()), ("range", "low <= high"));
        assert_eq!(rule.columns, ["low", "high"]);
    }

    #[test]
    fn what_is_required_is_found_behind_references_too() {
        let schema = compiled(&json!({
            "$ref": "#/$defs/event", "allOf": [{ "required": ["b"] }],
            "$defs": { "event": {
                "type": "object", "required": ["a"],
                "properties": { "a": { "type": "integer" }, "b": { "type": "boolean" }, "c": {} },
            } },
        }));
        let mut required: Vec<String> = schema
            .fields()
            .into_iter()
            .filter(|field| field.required)
            .map(|field| field.name)
            .collect();
        required.sort();
        assert_eq!(required, ["a", "b"]);
        assert!(!schema.is_closed());
        assert!(StreamSchema::schemaless().fields().is_empty());
    }
}
