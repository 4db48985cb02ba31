//! Tables as SQLite sees them: one module of virtual tables for all of them.
//!
//! Times are texts in the form of the API, `2026-01-31T12:00:00.000Z`. Their columns compare by the collation [`TIME`]: any
//! way to write an instant is that instant, so `window_start >= '2026-01-31 12:00'` means what it says.

// SQLite reads the first field of both types as its own: that is what the traits are unsafe for.
#![allow(unsafe_code)]

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::{CStr, CString, c_int};
use std::fmt::Write;
use std::marker::PhantomData;
use std::sync::Arc;

use chrono::{NaiveDate, NaiveDateTime};
use rusqlite::ffi;
use rusqlite::types::ValueRef;
use rusqlite::vtab::{
    Context, CreateVTab, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor,
    VTabKind, escape_double_quote,
};
use tributary_shared::time::{Millis, parse_rfc3339, to_rfc3339};

use super::table::{Catalog, Chunk, Narrow, Scan, Table};
use crate::view::{Column, ColumnType, Scalar};

pub const MODULE: &str = "tributary";
/// The schema of streams, beside `main`, which has the views.
pub const EVENTS: &str = "events";
/// The collation of time columns.
pub const TIME: &str = "TIME";
const MODULE_OF_ROWS: Module<'static, Rows> = Module::read_only_module();

/// Rows that a whole table is thought to have, for SQLite's choice of a plan.
const GUESSED_ROWS: i64 = 1_000_000;

/// Makes the tables of a catalog in a connection.
///
/// # Errors
/// Those of SQLite.
pub fn create(db: &rusqlite::Connection, catalog: Catalog) -> rusqlite::Result<()> {
    db.create_collation(TIME, compare_times)?;
    db.execute_batch(&format!("ATTACH ':memory:' AS {EVENTS}"))?;
    let named = |names: Vec<&String>, schema: &str| -> String {
        names.iter().fold(String::new(), |mut all, name| {
            // writing to a string does not fail
            let _ = write!(
                all,
                "CREATE VIRTUAL TABLE {schema}.\"{}\" USING {MODULE};",
                escape_double_quote(name)
            );
            all
        })
    };
    let tables =
        named(catalog.views.keys().collect(), "main") + &named(catalog.events.keys().collect(), EVENTS);
    db.create_module(MODULE, &MODULE_OF_ROWS, Some(catalog))?;
    db.execute_batch(&tables)
}

/// As SQLite declares a column; the answer's types are read from it again.
#[must_use]
pub fn declared(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Timestamp => "TIMESTAMP",
        ColumnType::Integer => "INTEGER",
        ColumnType::Number => "REAL",
        ColumnType::Text | ColumnType::Json => "TEXT",
        ColumnType::Boolean => "BOOLEAN",
        ColumnType::Any => "",
    }
}

fn declaration(columns: &[Column]) -> String {
    let columns = columns.iter().map(|column| {
        let collation = match column.kind {
            ColumnType::Timestamp => format!(" COLLATE {TIME}"),
            _ => String::new(),
        };
        let name = escape_double_quote(&column.name);
        format!("\"{name}\" {}{collation}", declared(column.kind))
    });
    format!("CREATE TABLE rows ({})", columns.collect::<Vec<_>>().join(", "))
}

/// Any way to write an instant that people use: RFC 3339, or a date with or without a time of day, in UTC.
fn instant(text: &str) -> Option<Millis> {
    let local = |format| NaiveDateTime::parse_from_str(text, format).ok();
    parse_rfc3339(text).or_else(|| {
        local("%Y-%m-%d %H:%M:%S%.f")
            .or_else(|| local("%Y-%m-%dT%H:%M:%S%.f"))
            .or_else(|| local("%Y-%m-%d %H:%M"))
            .or_else(|| local("%Y-%m-%dT%H:%M"))
            .or_else(|| {
                NaiveDate::parse_from_str(text, "%Y-%m-%d")
                    .ok()?
                    .and_hms_opt(0, 0, 0)
            })
            .map(|time| time.and_utc().timestamp_millis())
    })
}

fn compare_times(a: &str, b: &str) -> Ordering {
    // the API's own form sorts as text
    let canonical = |text: &str| text.len() == 24 && text.ends_with('Z');
    if !(canonical(a) && canonical(b))
        && let (Some(a), Some(b)) = (instant(a), instant(b))
    {
        return a.cmp(&b);
    }
    a.cmp(b)
}

/// What a constraint that SQLite offers becomes; each is one character and perhaps a column in the index string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    From,
    To,
    At,
    Equal(usize),
}

impl Use {
    fn of(table: &dyn Table, column: usize, operator: &IndexConstraintOp) -> Option<Self> {
        use IndexConstraintOp as Op;
        let time = table.time_column() == Some(column);
        match operator {
            Op::SQLITE_INDEX_CONSTRAINT_GE | Op::SQLITE_INDEX_CONSTRAINT_GT if time => Some(Self::From),
            Op::SQLITE_INDEX_CONSTRAINT_LE | Op::SQLITE_INDEX_CONSTRAINT_LT if time => Some(Self::To),
            Op::SQLITE_INDEX_CONSTRAINT_EQ if time => Some(Self::At),
            Op::SQLITE_INDEX_CONSTRAINT_EQ if table.narrows_by(column) => Some(Self::Equal(column)),
            _ => None,
        }
    }

    /// What part of the rows is left, as a guess.
    fn part(self) -> f64 {
        match self {
            Self::From | Self::To => 0.25,
            Self::At | Self::Equal(_) => 0.01,
        }
    }

    fn write(self) -> String {
        match self {
            Self::From => "f".to_owned(),
            Self::To => "t".to_owned(),
            Self::At => "a".to_owned(),
            Self::Equal(column) => format!("e{column}"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "f" => Some(Self::From),
            "t" => Some(Self::To),
            "a" => Some(Self::At),
            _ => text.strip_prefix('e')?.parse().ok().map(Self::Equal),
        }
    }

    /// SQLite tests every row again, so that reading too many is never wrong.
    fn narrow(self, value: ValueRef<'_>, narrow: &mut Narrow) {
        let Ok(text) = value.as_str() else { return };
        match (self, instant(text)) {
            (Self::Equal(column), _) => narrow.equal.push((column, text.to_owned())),
            (Self::From, Some(time)) => narrow.from = narrow.from.max(Some(time)),
            (Self::To, Some(time)) => narrow.to = earlier(narrow.to, time.saturating_add(1)),
            (Self::At, Some(time)) => {
                narrow.from = narrow.from.max(Some(time));
                narrow.to = earlier(narrow.to, time.saturating_add(1));
            }
            (Self::From | Self::To | Self::At, None) => {}
        }
    }
}

fn earlier(known: Option<Millis>, time: Millis) -> Option<Millis> {
    Some(known.map_or(time, |known| known.min(time)))
}

/// A table in a connection.
#[derive(Debug)]
#[repr(C)]
struct Rows {
    /// First, because SQLite reads it.
    base: ffi::sqlite3_vtab,
    table: Arc<dyn Table>,
    name: String,
}

// SAFETY: `base` is the first field of a `repr(C)` type.
unsafe impl<'vtab> VTab<'vtab> for Rows {
    type Aux = Catalog;
    type Cursor = Cursor<'vtab>;

    fn connect(
        _db: &mut VTabConnection,
        catalog: Option<&Catalog>,
        _module: &[u8],
        schema: &[u8],
        name: &[u8],
        _arguments: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let name = String::from_utf8_lossy(name).into_owned();
        let tables = catalog.map(|catalog| match schema == EVENTS.as_bytes() {
            true => &catalog.events,
            false => &catalog.views,
        });
        let table = tables.and_then(|tables| tables.get(&name)).map(Arc::clone);
        let table = table.ok_or_else(|| rusqlite::Error::ModuleError(format!("there is no {name:?}")))?;
        let declaration = CString::new(declaration(table.columns())).map_err(|_| {
            rusqlite::Error::ModuleError(format!("{name:?} has a column with a NUL in its name"))
        })?;
        let base = ffi::sqlite3_vtab::default();
        Ok((Cow::Owned(declaration), Self { base, table, name }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let offered = info
            .constraints()
            .enumerate()
            .filter(|(_, offer)| offer.is_usable());
        let used: Vec<(usize, Use)> = offered
            .filter_map(|(at, offer)| {
                // -1 is the row's number, which narrows nothing
                let column = usize::try_from(offer.column()).ok()?;
                Some((at, Use::of(&*self.table, column, &offer.operator())?))
            })
            .collect();
        let mut part = 1.0;
        for (argument, (at, narrows)) in (1..).zip(&used) {
            info.constraint_usage(*at).set_argv_index(argument);
            part *= narrows.part();
        }
        let names: Vec<String> = used.iter().map(|(_, narrows)| narrows.write()).collect();
        info.set_idx_str(&names.join(","));
        info.set_estimated_cost(GUESSED_ROWS as f64 * part);
        info.set_estimated_rows(((GUESSED_ROWS as f64 * part) as i64).max(1));
        Ok(true)
    }

    fn open(&'vtab mut self) -> rusqlite::Result<Cursor<'vtab>> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            table: Arc::clone(&self.table),
            name: self.name.clone(),
            scan: None,
            chunk: None,
            row: 0,
            number: 0,
            lives: PhantomData,
        })
    }
}

impl CreateVTab<'_> for Rows {
    const KIND: VTabKind = VTabKind::Default;
}

/// One reading of a table.
#[derive(Debug)]
#[repr(C)]
struct Cursor<'vtab> {
    /// First, because SQLite reads it.
    base: ffi::sqlite3_vtab_cursor,
    table: Arc<dyn Table>,
    name: String,
    scan: Option<Box<dyn Scan>>,
    /// `None` after the last row.
    chunk: Option<Box<dyn Chunk>>,
    row: usize,
    number: i64,
    lives: PhantomData<&'vtab Rows>,
}

impl Cursor<'_> {
    fn next_chunk(&mut self) -> rusqlite::Result<()> {
        self.row = 0;
        self.chunk = None;
        if let Some(scan) = &mut self.scan {
            self.chunk = scan
                .next_chunk()
                .map_err(|error| rusqlite::Error::ModuleError(format!("reading {:?}: {error}", self.name)))?;
        }
        Ok(())
    }
}

// SAFETY: `base` is the first field of a `repr(C)` type.
unsafe impl VTabCursor for Cursor<'_> {
    fn filter(&mut self, _number: c_int, uses: Option<&str>, values: &Filters<'_>) -> rusqlite::Result<()> {
        let mut narrow = Narrow::default();
        let uses = uses.unwrap_or_default().split(',').filter_map(Use::read);
        for (narrows, value) in uses.zip(values.iter()) {
            narrows.narrow(value, &mut narrow);
        }
        self.number = 0;
        self.scan = Some(self.table.scan(narrow));
        self.next_chunk()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.row += 1;
        self.number += 1;
        match &self.chunk {
            Some(chunk) if self.row < chunk.rows() => Ok(()),
            _ => self.next_chunk(),
        }
    }

    fn eof(&self) -> bool {
        self.chunk.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        let value = self
            .chunk
            .as_ref()
            .map_or(Scalar::Null, |chunk| chunk.value(self.row, column));
        match value {
            Scalar::Null => context.set_result(rusqlite::types::Null),
            Scalar::Bool(value) => context.set_result(value),
            Scalar::Int(value) => context.set_result(value),
            Scalar::Float(value) => context.set_result(value),
            Scalar::Text(value) => context.set_result(&*value),
            Scalar::Time(value) => context.set_result(to_rfc3339(value)),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_instant_is_that_instant() {
        let noon = Some(1_769_860_800_000);
        for text in [
            "2026-01-31T12:00:00.000Z",
            "2026-01-31T12:00:00Z",
            "2026-01-31T13:00:00+01:00",
            "2026-01-31 12:00:00",
            "2026-01-31T12:00",
            "2026-01-31 12:00",
        ] {
            assert_eq!(instant(text), noon, "{text}");
            assert_eq!(
                compare_times("2026-01-31T12:00:00.000Z", text),
                Ordering::Equal,
                "{text}"
            );
        }
        assert_eq!(
            compare_times("2026-01-31T12:00:00.000Z", "2026-02-01"),
            Ordering::Less
        );
        // the beginning of a time is no instant, and sorts as text
        assert_eq!(
            compare_times("2026-01-31T12:00:00.000Z", "2026-01-31T12"),
            Ordering::Greater
        );
    }

    #[test]
    fn uses_survive_their_text() {
        for narrows in [Use::From, Use::To, Use::At, Use::Equal(0), Use::Equal(17)] {
            assert_eq!(Use::read(&narrows.write()), Some(narrows));
        }
        assert_eq!(Use::read("x"), None);
    }
}
