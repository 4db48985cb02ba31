//! Rules over several fields, kept with a schema:
//!
//! ```json
//! "x-rules": [{"name": "range", "sql": "low <= high", "message": "low must not be above high"}]
//! ```
//!
//! at the top of a JSON Schema, or of an Avro record (there also as `rules`). A rule is a condition in the SQL of
//! views, over the event's columns, and means what a CHECK constraint means: only an event for which it is false
//! breaks it. Rows are held against the rules of the schema that wrote them, all rows of a batch at once.

use arrow_array::{BooleanArray, RecordBatch};
use serde_json::Value;
use tributary_shared::wire::Reason;
use tributary_sql::Predicate;

use super::fields::RuleText;
use super::messages::SchemaError;
use super::reasons::{MAX_REASONS, pointer, reason};

/// The most rules of one schema.
const MAX_RULES: usize = 64;
/// The longest name of a rule, in bytes.
const MAX_NAME: usize = 64;

/// A rule, compiled.
#[derive(Debug)]
pub(super) struct Rule {
    name: String,
    message: String,
    predicate: Predicate,
}

impl Rule {
    pub(super) fn text(&self) -> RuleText {
        RuleText {
            name: self.name.clone(),
            sql: self.predicate.sql().to_owned(),
            columns: self.predicate.columns().to_vec(),
        }
    }
}

/// Checks the rules that a schema text brings, for whoever registers it. A text without rules passes, whatever
/// else is wrong with it.
///
/// # Errors
/// [`SchemaError::Rule`] with the place.
pub fn check_rules(format: &str, text: &str) -> Result<(), SchemaError> {
    match serde_json::from_str::<Value>(text) {
        Ok(root) => compile(format, &root, None).map(drop),
        Err(_) => Ok(()),
    }
}

/// `fields` are the columns that the schema names.
///
/// # Errors
/// [`SchemaError::Rule`] with the place.
pub(super) fn compile(format: &str, root: &Value, fields: Option<&[&str]>) -> Result<Vec<Rule>, SchemaError> {
    let names: &[&str] = if format == "AVRO" {
        &["x-rules", "rules"]
    } else {
        &["x-rules"]
    };
    let Some((key, list)) = names.iter().find_map(|key| Some((*key, root.get(*key)?))) else {
        return Ok(Vec::new());
    };
    let refuse = |place: String, message: String| SchemaError::Rule { path: place, message };
    let Some(list) = list.as_array() else {
        // an attribute of this name that is no list of ours belongs to somebody else
        return if key == "rules" {
            Ok(Vec::new())
        } else {
            Err(refuse(format!("/{key}"), "expected an array of rules".to_owned()))
        };
    };
    if list.len() > MAX_RULES {
        let message = format!("{} rules; the limit is {MAX_RULES}", list.len());
        return Err(refuse(format!("/{key}"), message));
    }
    let mut rules: Vec<Rule> = Vec::with_capacity(list.len());
    for (at, entry) in list.iter().enumerate() {
        let place = format!("/{key}/{at}");
        let rule = one(entry, &place, fields)?;
        if rules.iter().any(|known| known.name == rule.name) {
            return Err(refuse(place, format!("a second rule {:?}", rule.name)));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn one(entry: &Value, place: &str, fields: Option<&[&str]>) -> Result<Rule, SchemaError> {
    let refuse = |part: &str, message: String| SchemaError::Rule {
        path: format!("{place}{part}"),
        message,
    };
    let text = |part: &str| entry.get(part).and_then(Value::as_str);
    let name = text("name").filter(|name| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(word)
    });
    let Some(name) = name else {
        return Err(refuse(
            "/name",
            "a rule needs a name: letters, digits, and . _ -".to_owned(),
        ));
    };
    let Some(sql) = text("sql") else {
        return Err(refuse(
            "/sql",
            "a rule needs a condition, as in \"low <= high\"".to_owned(),
        ));
    };
    let predicate = Predicate::compile(sql).map_err(|error| refuse("/sql", error.to_string()))?;
    let unknown = |column: &&String| fields.is_some_and(|fields| !fields.contains(&column.as_str()));
    if let Some(column) = predicate.columns().iter().find(unknown) {
        return Err(refuse("/sql", format!("the schema has no field {column:?}")));
    }
    let message = text("message").map_or_else(|| format!("the rule {sql} does not hold"), str::to_owned);
    Ok(Rule {
        name: name.to_owned(),
        message,
        predicate,
    })
}

/// The rules for the rows of a batch: runs of rows, each with those of its writer.
#[derive(Debug, Default)]
pub(super) struct RuleBook<'r>(Vec<(&'r [Rule], usize)>);

impl<'r> RuleBook<'r> {
    pub(super) fn push(&mut self, rules: &'r [Rule], rows: usize) {
        match self.0.last_mut() {
            Some((last, len)) if std::ptr::eq(*last, rules) => *len += rows,
            _ => self.0.push((rules, rows)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|(rules, _)| rules.is_empty())
    }

    /// The rows that break a rule, ascending, each with its reasons.
    pub(super) fn broken_by(&self, batch: &RecordBatch) -> Vec<(usize, Vec<Reason>)> {
        let mut broken: Vec<(usize, Vec<Reason>)> = Vec::new();
        let mut start = 0;
        for (rules, len) in &self.0 {
            let rows = batch.slice(start, (*len).min(batch.num_rows() - start));
            let masks: Vec<BooleanArray> = rules.iter().map(|rule| rule.predicate.broken_by(&rows)).collect();
            for row in 0..rows.num_rows() {
                let breaks = rules.iter().zip(&masks).filter(|(_, mask)| mask.value(row));
                let mut reasons: Vec<Reason> = breaks.flat_map(|(rule, _)| rule.reasons()).collect();
                if !reasons.is_empty() {
                    reasons.truncate(MAX_REASONS);
                    broken.push((start + row, reasons));
                }
            }
            start += rows.num_rows();
        }
        broken
    }
}

impl Rule {
    /// One for each field that the condition names.
    fn reasons(&self) -> Vec<Reason> {
        let columns = self.predicate.columns();
        if columns.is_empty() {
            return vec![reason(String::new(), &self.name, self.message.as_str())];
        }
        columns
            .iter()
            .map(|column| reason(pointer(column), &self.name, self.message.as_str()))
            .collect()
    }
}
