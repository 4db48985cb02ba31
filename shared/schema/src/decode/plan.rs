//! What a schema means for one pass over a row: the fields, their columns, and the checks that can be made
//! while a value is read.
//!
//! A plan is **flat** when the root only names properties, `required` and `additionalProperties: bool`, and
//! no property refers elsewhere. Then passing the field checks proves that a row is valid. Any other schema
//! is judged by the whole validator; its plan only says where values go.

use jsonschema::Draft;
use serde_json::{Map, Value};
use tributary_shared::wire::batch::{EVENT_TIME_COLUMN, EXTRA_COLUMN, SCHEMA_ID_COLUMN};

use super::check::{self, Checks};
use super::infer::{kind_of, resolve};
use super::keys::FieldNo;
use super::kind::Kind;
use super::messages::SchemaError;

/// The most columns of a schema, and of a batch without one.
pub(super) const MAX_COLUMNS: usize = 512;
/// The event-time field of a stream whose schema marks none.
pub(super) const DEFAULT_EVENT_TIME: &str = "ts";
/// How deep properties are looked for through references and `allOf` at the root.
const ROOT_DEPTH: u32 = 8;

/// A key that rows may have.
#[derive(Debug)]
pub(super) struct Field {
    pub name: Box<str>,
    /// Place among the columns; `None` for a field that stays in `_extra`.
    pub column: Option<usize>,
    pub kind: Kind,
    pub required: bool,
    pub checks: Checks,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub fields: Vec<Field>,
    /// How many fields are required.
    pub required: u32,
    /// Unknown fields make a row invalid.
    pub closed: bool,
    /// Passing the checks proves a row valid.
    pub flat: bool,
    pub event_time: Option<FieldNo>,
    /// The schema marks the event-time field, so that a value that is no time makes the row invalid.
    pub event_time_marked: bool,
    /// The fields that the schema marks with `x-key`.
    pub keys: Vec<String>,
}

impl Plan {
    /// `kinds` overrule what the schema's own keywords say about columns.
    ///
    /// # Errors
    /// [`SchemaError::TooManyProperties`], [`SchemaError::TwoEventTimes`].
    pub(super) fn build(root: &Value, draft: Draft, kinds: &[(String, Kind)]) -> Result<Self, SchemaError> {
        let mut properties = Vec::new();
        collect_properties(root, root, ROOT_DEPTH, &mut properties);
        if properties.len() > MAX_COLUMNS {
            return Err(SchemaError::TooManyProperties {
                count: properties.len(),
                limit: MAX_COLUMNS,
            });
        }
        let mut plan = Self {
            fields: Vec::with_capacity(properties.len() + 1),
            required: 0,
            closed: false,
            flat: is_flat(root, draft),
            event_time: None,
            event_time_marked: false,
            keys: Vec::new(),
        };
        for (name, schema) in properties {
            let kind = kinds.iter().find(|(known, _)| known == name);
            let kind = kind.map_or_else(|| kind_of(schema, root), |(_, kind)| *kind);
            plan.add_property(name, (schema, kind), draft)?;
        }
        if plan.event_time.is_none() {
            plan.event_time = Some(plan.find_or_add(DEFAULT_EVENT_TIME));
        }
        if plan.flat {
            plan.close(root);
        }
        Ok(plan)
    }

    /// Columns in order, as (name, kind).
    pub(super) fn columns(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.fields
            .iter()
            .filter(|field| field.column.is_some())
            .map(|field| (field.name.as_ref(), field.kind))
    }

    fn add_property(
        &mut self,
        name: &str,
        (schema, kind): (&Value, Kind),
        draft: Draft,
    ) -> Result<(), SchemaError> {
        if schema.get("x-event-time") == Some(&Value::Bool(true)) {
            if let Some(other) = self.event_time {
                return Err(SchemaError::TwoEventTimes(
                    self.fields[other].name.to_string(),
                    name.to_owned(),
                ));
            }
            self.event_time = Some(self.fields.len());
            self.event_time_marked = true;
        }
        if schema.get("x-key") == Some(&Value::Bool(true)) {
            self.keys.push(name.to_owned());
        }
        let reserved = is_reserved(name);
        let checks = if self.flat {
            check::compile(schema, kind, reserved, draft)
        } else {
            None
        };
        // without checks of its own for each property, only the whole validator can tell
        self.flat &= checks.is_some();
        let column = (!reserved).then(|| self.columns().count());
        let checks = checks.unwrap_or_default();
        self.fields.push(Field {
            name: name.into(),
            column,
            kind,
            required: false,
            checks,
        });
        Ok(())
    }

    /// Takes over what a flat root says besides its properties.
    fn close(&mut self, root: &Value) {
        let open = root.get("additionalProperties") != Some(&Value::Bool(false));
        self.closed = !open;
        let names: Vec<&str> = root
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let known = root.get("properties").and_then(Value::as_object);
        for name in names {
            let field = self.find_or_add(name);
            self.fields[field].required = true;
        }
        self.required = self.fields.iter().filter(|field| field.required).count() as u32;
        for field in &mut self.fields {
            // a field that is here only as event time or because it is required
            field.checks.forbidden =
                self.closed && !known.is_some_and(|known| known.contains_key(field.name.as_ref()));
        }
    }

    fn find_or_add(&mut self, name: &str) -> FieldNo {
        if let Some(found) = self.fields.iter().position(|field| field.name.as_ref() == name) {
            return found;
        }
        let checks = Checks::default();
        self.fields.push(Field {
            name: name.into(),
            column: None,
            kind: Kind::Json,
            required: false,
            checks,
        });
        self.fields.len() - 1
    }
}

/// A name that a column of ours has: such a field stays in `_extra`.
pub(super) fn is_reserved(name: &str) -> bool {
    name == EVENT_TIME_COLUMN || name == EXTRA_COLUMN || name == SCHEMA_ID_COLUMN
}

/// The properties of the root, also where generators hide them behind a reference or in `allOf`. The first
/// schema of a name counts for its column.
fn collect_properties<'v>(
    schema: &'v Value,
    root: &'v Value,
    depth: u32,
    found: &mut Vec<(&'v str, &'v Value)>,
) {
    if depth == 0 || found.len() > MAX_COLUMNS {
        return;
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            if !found.iter().any(|(known, _)| known == name) {
                found.push((name, property));
            }
        }
    }
    if let Some(target) = schema.get("$ref").and_then(|reference| resolve(reference, root)) {
        collect_properties(target, root, depth - 1, found);
    }
    for branch in schema
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        collect_properties(branch, root, depth - 1, found);
    }
}

fn is_flat(root: &Value, draft: Draft) -> bool {
    // before draft 6, 1.0 is no integer and exclusiveMinimum is a boolean
    let modern = matches!(
        draft,
        Draft::Draft6 | Draft::Draft7 | Draft::Draft201909 | Draft::Draft202012
    );
    let keyword = |(name, value): (&String, &Value)| match name.as_str() {
        "type" => {
            value == "object"
                || value
                    .as_array()
                    .is_some_and(|types| types.iter().any(|name| name == "object"))
        }
        "properties" => value.is_object(),
        "required" => value
            .as_array()
            .is_some_and(|names| names.iter().all(Value::is_string)),
        "additionalProperties" => value.is_boolean(),
        // definitions count only when something refers to them, and then a property is not flat
        "$schema" | "$id" | "$defs" | "definitions" => true,
        other => check::is_annotation(other),
    };
    modern
        && root
            .as_object()
            .is_some_and(|root: &Map<String, Value>| root.iter().all(keyword))
}
