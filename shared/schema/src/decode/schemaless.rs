//! Rows of a stream without a schema: every well-formed object is valid, and each batch's columns follow from
//! the values in it. First every value's place and type is noted, then each column is built as what all its
//! values are.

use std::collections::HashMap;

use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use tributary_shared::time::{MAX_MILLIS, MIN_MILLIS, Millis};
use tributary_shared::wire::batch::SCHEMALESS_METADATA;
use tributary_shared::wire::{Reason, WireError};

use super::column::Column;
use super::extra::Extra;
use super::ipc::{Columns, encode_error, write};
use super::keys::{FieldNo, KeyTable, Member};
use super::kind::Kind;
use super::number::Number;
use super::plan::{DEFAULT_EVENT_TIME, MAX_COLUMNS, is_reserved};
use super::reasons::{judge, malformed, reason};
use super::scan::{Cursor, ScanError};
use super::time::EventTime;

/// Types that a cell or a column may have, as bits.
const INT: u8 = 1;
const FLOAT: u8 = 2;
const BOOL: u8 = 4;
const TEXT: u8 = 8;
const NESTED: u8 = 16;

/// A value in its row's text.
#[derive(Debug, Clone, Copy)]
struct Cell<'a> {
    row: u32,
    kind: u8,
    raw: &'a str,
}

#[derive(Debug)]
struct Noted<'a> {
    name: Box<str>,
    cells: Vec<Cell<'a>>,
    /// The last try at a row that had the field.
    seen: u64,
}

/// One batch. The rows' texts outlive it.
#[derive(Debug)]
pub(super) struct SchemalessRows<'a> {
    keys: KeyTable,
    columns: Vec<Noted<'a>>,
    event_time: FieldNo,
    tries: u64,
    event_times: Vec<Millis>,
    extra: Extra,
    scratch: String,
}

/// A row that the quick pass does not take. The slow one finds out why.
struct Refused;

impl From<ScanError> for Refused {
    fn from(_: ScanError) -> Self {
        Self
    }
}

impl<'a> SchemalessRows<'a> {
    pub(super) fn new() -> Self {
        let mut rows = Self {
            keys: KeyTable::new(std::iter::empty()),
            columns: Vec::new(),
            event_time: 0,
            tries: 0,
            event_times: Vec::new(),
            extra: Extra::new(),
            scratch: String::new(),
        };
        rows.event_time = rows.add_column(DEFAULT_EVENT_TIME);
        rows
    }

    fn add_column(&mut self, name: &str) -> FieldNo {
        self.columns.push(Noted {
            name: name.into(),
            cells: Vec::new(),
            seen: 0,
        });
        self.keys.add(name)
    }

    pub(super) fn rows(&self) -> usize {
        self.event_times.len()
    }

    /// Notes a row.
    ///
    /// # Errors
    /// The reasons why it is no event; the columns are then as before.
    pub(super) fn add(&mut self, text: &'a str, collected_at: Millis) -> Result<(), Vec<Reason>> {
        match self.note(text, collected_at) {
            Ok(()) => Ok(()),
            Err(Refused) => {
                let row = self.rows() as u32;
                for column in &mut self.columns {
                    column.cells.pop_if(|cell| cell.row == row);
                }
                judge(None, text)?;
                // both passes read the same grammar: only a key that both count differently could lead here
                Err(vec![reason(
                    String::new(),
                    "malformed",
                    "the event cannot be read",
                )])
            }
        }
    }

    fn note(&mut self, text: &'a str, collected_at: Millis) -> Result<(), Refused> {
        self.tries += 1;
        self.keys.start_row();
        self.extra.start_row();
        let mut cursor = Cursor::new(text);
        let mut event_time = None;
        let mut first = true;
        cursor.open_row()?;
        loop {
            let (field, key) = match self.keys.next(&mut cursor, first)? {
                Member::Field(field) => (Some(field), None),
                Member::Unknown(key) => {
                    let name = key.decode(&mut self.scratch);
                    let takes = self.columns.len() < MAX_COLUMNS && !is_reserved(name);
                    let name = takes.then(|| name.to_owned());
                    (name.map(|name| self.add_column(&name)), Some(key))
                }
                Member::End => break,
            };
            first = false;
            let start = cursor.at();
            let kind = skip_typed(&mut cursor)?;
            let raw = cursor.since(start);
            match (field, key) {
                (Some(field), _) => {
                    let column = &mut self.columns[field];
                    if std::mem::replace(&mut column.seen, self.tries) == self.tries {
                        return Err(Refused);
                    }
                    if kind != 0 {
                        column.cells.push(Cell {
                            row: self.event_times.len() as u32,
                            kind,
                            raw,
                        });
                        if field == self.event_time {
                            event_time = EventTime::of_value(raw, &mut self.scratch).millis();
                        }
                    }
                }
                (None, Some(key)) if self.extra.add_unknown(key, raw) => {}
                (None, _) => return Err(Refused),
            }
        }
        self.extra.end_row(self.rows());
        self.event_times
            .push(event_time.unwrap_or(collected_at.clamp(MIN_MILLIS, MAX_MILLIS)));
        Ok(())
    }

    /// The batch's columns as Arrow IPC. No bytes for no rows. A field that was only ever null has no column.
    ///
    /// # Errors
    /// [`WireError::Encode`] when arrow refuses the columns, which none of ours makes it do.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, WireError> {
        let rows = self.rows();
        if rows == 0 {
            return Ok(Vec::new());
        }
        let mut columns = Columns::new(Buffer::from_vec(self.event_times));
        for noted in &self.columns {
            if noted.cells.is_empty() {
                continue;
            }
            let kind = kind_of(&noted.cells);
            let (array, json) = build(&noted.cells, kind, rows, &mut self.scratch)?;
            columns.push(&noted.name, array, json);
        }
        let metadata = HashMap::from([(SCHEMALESS_METADATA.to_owned(), "true".to_owned())]);
        write(&columns.finish(&mut self.extra.column, metadata)?, 0)
    }
}

/// Steps over a value and says what it is; 0 for null.
fn skip_typed(cursor: &mut Cursor<'_>) -> Result<u8, ScanError> {
    Ok(match cursor.peek() {
        b'-' | b'0'..=b'9' => match cursor.number()? {
            Number::Int(_) => INT,
            Number::Float(_) => FLOAT,
        },
        first => {
            cursor.skip_value()?;
            match first {
                b'"' => TEXT,
                b't' | b'f' => BOOL,
                b'n' => 0,
                _ => NESTED,
            }
        }
    })
}

fn kind_of(cells: &[Cell<'_>]) -> Kind {
    match cells.iter().fold(0, |kinds, cell| kinds | cell.kind) {
        INT => Kind::Int,
        FLOAT => Kind::Float,
        kinds if kinds == INT | FLOAT => Kind::Float,
        BOOL => Kind::Bool,
        TEXT => Kind::Text,
        _ => Kind::Json,
    }
}

fn build(
    cells: &[Cell<'_>],
    kind: Kind,
    rows: usize,
    scratch: &mut String,
) -> Result<(ArrayRef, bool), WireError> {
    let mut column = Column::new(kind);
    for cell in cells {
        let row = cell.row as usize;
        let mut cursor = Cursor::new(cell.raw);
        let refused = |error| WireError::Inconsistent(malformed(error).message);
        match &mut column {
            Column::Int(column) => match cursor.number().map_err(refused)? {
                Number::Int(value) => column.push(row, value),
                Number::Float(value) => column.push(row, value as i64),
            },
            Column::Float(column) => column.push(row, cursor.number().map_err(refused)?.as_f64()),
            Column::Bool(column) => column.push(row, cell.raw == "true"),
            Column::Text(column) => {
                let text = cursor.string().map_err(refused)?;
                column.push(row, text.decode(scratch), || true);
            }
            // only a schema makes a column of the other kinds
            Column::Json(column) => {
                column.push(row, cell.raw, || true);
            }
            Column::Time(..) | Column::Unsigned(_) => {}
        }
    }
    column.finish(rows).map_err(encode_error)
}
