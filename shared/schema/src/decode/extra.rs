//! The `_extra` column: what a row has beside its columns, as the text of one JSON object.

use super::keys::KeySet;
use super::scan::Text;
use super::text::TextColumn;

#[derive(Debug)]
pub(super) struct Extra {
    pub column: TextColumn,
    /// The object of the row at hand, without its closing brace; empty when it has no member yet.
    object: String,
    /// Keys of the row that are no field: fields are watched by their number.
    unknown: KeySet,
}

impl Extra {
    pub(super) fn new() -> Self {
        Self {
            column: TextColumn::plain(),
            object: String::new(),
            unknown: KeySet::default(),
        }
    }

    pub(super) fn start_row(&mut self) {
        if !self.object.is_empty() {
            self.object.clear();
            self.unknown.clear();
        }
    }

    /// Adds a member whose key is no field; `false` when the row has had the key already.
    pub(super) fn add_unknown(&mut self, key: Text<'_>, value: &str) -> bool {
        let new = self.unknown.insert(key);
        if new {
            self.add_raw(key.raw, value);
        }
        new
    }

    /// Adds a field that has no column.
    pub(super) fn add_field(&mut self, name: &str, value: &str) {
        self.open();
        // writing a string to memory as JSON cannot fail
        self.object.push_str(&serde_json::Value::from(name).to_string());
        self.object.push(':');
        self.object.push_str(value);
    }

    fn add_raw(&mut self, key: &str, value: &str) {
        self.open();
        self.object.push('"');
        self.object.push_str(key);
        self.object.push_str("\":");
        self.object.push_str(value);
    }

    fn open(&mut self) {
        self.object.push(if self.object.is_empty() { '{' } else { ',' });
    }

    /// Stores the row's object, when it has one.
    pub(super) fn end_row(&mut self, row: usize) {
        if !self.object.is_empty() {
            self.object.push('}');
            self.column.push(row, &self.object, || true);
        }
    }
}
