//! CSV as RFC 4180 has it: a header line, fields that need it in double quotes, lines ending in CR LF.
//!
//! NULL is nothing between two commas, the empty text is `""`. Times are RFC 3339 in UTC.

use std::fmt::Write as _;

use bytes::Bytes;
use tributary_shared::time::to_rfc3339;

use super::sheet::{ExportError, Sheet};
use crate::view::Scalar;

/// Rows of one piece: some 100 KiB.
const PIECE: usize = 1_000;

/// A sheet on its way.
#[derive(Debug)]
pub struct CsvPieces {
    sheet: Sheet,
    /// The header has gone.
    begun: bool,
    row: usize,
}

impl CsvPieces {
    pub fn new(sheet: Sheet) -> Self {
        Self {
            sheet,
            begun: false,
            row: 0,
        }
    }
}

impl Iterator for CsvPieces {
    type Item = Result<Bytes, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            line(&mut text, self.sheet.columns.iter(), |text, column| {
                put_text(text, &column.name);
            });
        }
        let end = self.sheet.rows.len().min(self.row + PIECE);
        for row in &self.sheet.rows[self.row..end] {
            line(&mut text, row.iter(), put);
        }
        self.row = end;
        (!text.is_empty()).then(|| Ok(Bytes::from(text)))
    }
}

fn line<T>(text: &mut String, fields: impl Iterator<Item = T>, put: impl Fn(&mut String, T)) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            text.push(',');
        }
        put(text, field);
    }
    text.push_str("\r\n");
}

fn put(text: &mut String, value: &Scalar) {
    match value {
        Scalar::Text(value) => put_text(text, value),
        // nothing else holds a comma, a quote or the end of a line
        other => text.push_str(&plain(other)),
    }
}

fn put_text(text: &mut String, value: &str) {
    let quoted = value.is_empty() || value.contains(['"', ',', '\r', '\n']);
    if !quoted {
        text.push_str(value);
        return;
    }
    text.push('"');
    for part in value.split_inclusive('"') {
        text.push_str(part);
        if part.ends_with('"') {
            text.push('"');
        }
    }
    text.push('"');
}

/// A value as text: empty for NULL, floats with as many digits as tell them apart.
pub fn plain(value: &Scalar) -> String {
    let mut text = String::new();
    // writing to a string does not fail
    let _ = match value {
        Scalar::Null => Ok(()),
        Scalar::Bool(value) => write!(text, "{value}"),
        Scalar::Int(value) => write!(text, "{value}"),
        Scalar::Float(value) => write!(text, "{value:?}"),
        Scalar::Text(value) => write!(text, "{value}"),
        Scalar::Time(value) => write!(text, "{}", to_rfc3339(*value)),
    };
    text
}
