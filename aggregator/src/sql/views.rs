//! A view's windows as a table, read from the engine a page at a time.

use tributary_shared::time::Millis;

use super::table::{Chunk, Narrow, Scan, ScanError, Table};
use crate::view::{Column, ColumnType, Scalar};
use crate::window::{EngineHandle, ScanPlace, ViewInfo, WindowRow, WindowScan};

/// Rows that the engine looks at for one page: it applies no batch meanwhile, and this takes about as long as one.
const PAGE: usize = 4_096;

/// What every view has beside its own columns, as the windows API shows it.
const OF_EVERY_VIEW: [(&str, ColumnType); 5] = [
    ("window_start", ColumnType::Timestamp),
    ("window_end", ColumnType::Timestamp),
    ("revision", ColumnType::Integer),
    ("final", ColumnType::Boolean),
    ("completeness", ColumnType::Number),
];

/// Where a column's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Output(usize),
    WindowStart,
    WindowEnd,
    Revision,
    Final,
    Completeness,
}

/// A view.
#[derive(Debug)]
pub struct ViewTable {
    engine: EngineHandle,
    name: String,
    columns: Vec<Column>,
    places: Vec<Place>,
}

impl ViewTable {
    #[must_use]
    pub fn new(engine: EngineHandle, view: &ViewInfo) -> Self {
        let (mut columns, mut places) = (Vec::new(), Vec::new());
        for (at, column) in view.columns.iter().enumerate() {
            columns.push(column.clone());
            places.push(match column.name.as_str() {
                "window_start" => Place::WindowStart,
                "window_end" => Place::WindowEnd,
                _ => Place::Output(at),
            });
        }
        let always = [
            Place::WindowStart,
            Place::WindowEnd,
            Place::Revision,
            Place::Final,
            Place::Completeness,
        ];
        for ((name, kind), place) in OF_EVERY_VIEW.into_iter().zip(always) {
            if !columns.iter().any(|column| column.name == name) {
                columns.push(Column::new(name, kind));
                places.push(place);
            }
        }
        Self {
            engine,
            name: view.name.clone(),
            columns,
            places,
        }
    }
}

impl Table for ViewTable {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn time_column(&self) -> Option<usize> {
        self.places.iter().position(|place| *place == Place::WindowStart)
    }

    /// Texts only: of other types, SQLite's equality is not the engine's.
    fn narrows_by(&self, column: usize) -> bool {
        matches!(self.places[column], Place::Output(_)) && self.columns[column].kind == ColumnType::Text
    }

    fn scan(&self, narrow: Narrow) -> Box<dyn Scan> {
        let filter = |(column, text): (usize, String)| (self.columns[column].name.clone(), text);
        Box::new(ViewScan {
            engine: self.engine.clone(),
            view: self.name.clone(),
            places: self.places.clone(),
            from: narrow.from,
            to: narrow.to,
            filters: narrow.equal.into_iter().map(filter).collect(),
            next: Next::First,
        })
    }
}

#[derive(Debug)]
enum Next {
    First,
    After(ScanPlace),
    End,
}

#[derive(Debug)]
struct ViewScan {
    engine: EngineHandle,
    view: String,
    places: Vec<Place>,
    from: Option<Millis>,
    to: Option<Millis>,
    filters: Vec<(String, String)>,
    next: Next,
}

impl Scan for ViewScan {
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, ScanError> {
        loop {
            let after = match self.next {
                Next::First => None,
                Next::After(place) => Some(place),
                Next::End => return Ok(None),
            };
            let scan = WindowScan {
                from: self.from,
                to: self.to,
                filters: self.filters.clone(),
                after,
                limit: PAGE,
            };
            let page = self
                .engine
                .scan_blocking(self.view.clone(), scan)
                .map_err(|error| ScanError(error.to_string()))?;
            self.next = page.next.map_or(Next::End, Next::After);
            if !page.rows.is_empty() {
                let places = self.places.clone();
                return Ok(Some(Box::new(ViewRows {
                    places,
                    rows: page.rows,
                })));
            }
        }
    }
}

#[derive(Debug)]
struct ViewRows {
    places: Vec<Place>,
    rows: Vec<WindowRow>,
}

impl Chunk for ViewRows {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn value(&self, row: usize, column: usize) -> Scalar {
        let row = &self.rows[row];
        match self.places[column] {
            Place::Output(at) => row.values[at].clone(),
            Place::WindowStart => Scalar::Time(row.window_start),
            Place::WindowEnd => Scalar::Time(row.window_end),
            Place::Revision => Scalar::Int(row.revision.cast_signed()),
            Place::Final => Scalar::Bool(row.is_final),
            Place::Completeness => Scalar::Float(row.completeness),
        }
    }
}
