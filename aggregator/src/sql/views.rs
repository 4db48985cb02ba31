//! A view's windows as a table, read from the engine a page at a time.

use std::sync::Arc;
use std::time::Duration;

use tributary_shared::time::Millis;

use super::messages::Deadline;
use super::table::{Chunk, Narrow, Scan, ScanError, Table};
use crate::commit::LogPos;
use crate::export::RowColumns;
use crate::view::{Column, ColumnType, Scalar};
use crate::window::{EngineHandle, ScanPlace, TimedPage, ViewInfo, WindowRow, WindowScan};

/// Rows that the engine looks at for one page: it applies no batch meanwhile, and this takes about as long as one.
const PAGE: usize = 4_096;

/// What passes between two pages while events come in, in times that the page took.
const REST: u32 = 9;
/// However long a page took.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// A view.
#[derive(Debug)]
pub struct ViewTable {
    engine: EngineHandle,
    name: String,
    columns: Arc<RowColumns>,
    deadline: Arc<Deadline>,
}

impl ViewTable {
    #[must_use]
    pub fn new(engine: EngineHandle, view: &ViewInfo, deadline: Arc<Deadline>) -> Self {
        Self {
            engine,
            name: view.name.clone(),
            columns: Arc::new(RowColumns::of(&view.columns)),
            deadline,
        }
    }
}

impl Table for ViewTable {
    fn columns(&self) -> &[Column] {
        self.columns.columns()
    }

    fn time_column(&self) -> Option<usize> {
        self.columns.window_start()
    }

    /// Texts only: of other types, SQLite's equality is not the engine's.
    fn narrows_by(&self, column: usize) -> bool {
        self.columns.is_output(column) && self.columns.columns()[column].kind == ColumnType::Text
    }

    fn scan(&self, narrow: Narrow) -> Box<dyn Scan> {
        let filter = |(column, text): (usize, String)| (self.columns.columns()[column].name.clone(), text);
        Box::new(ViewScan {
            engine: self.engine.clone(),
            view: self.name.clone(),
            columns: Arc::clone(&self.columns),
            deadline: Arc::clone(&self.deadline),
            pace: Pace::default(),
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
    columns: Arc<RowColumns>,
    deadline: Arc<Deadline>,
    pace: Pace,
    from: Option<Millis>,
    to: Option<Millis>,
    filters: Vec<(String, String)>,
    next: Next,
}

impl Scan for ViewScan {
    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>, ScanError> {
        loop {
            let after = match &self.next {
                Next::First => None,
                Next::After(place) => Some(place.clone()),
                Next::End => return Ok(None),
            };
            let scan = WindowScan {
                from: self.from,
                to: self.to,
                filters: self.filters.clone(),
                after,
                limit: PAGE,
            };
            if self.deadline.is_over() {
                return Err(ScanError("the time is up".to_owned()));
            }
            self.pace.rest(self.engine.applied());
            let TimedPage { page, took } = self
                .engine
                .scan_blocking(self.view.clone(), scan)
                .map_err(|error| ScanError(error.to_string()))?;
            self.pace.took = took;
            self.next = page.next.map_or(Next::End, Next::After);
            if !page.rows.is_empty() {
                let columns = Arc::clone(&self.columns);
                return Ok(Some(Box::new(ViewRows {
                    columns,
                    rows: page.rows,
                })));
            }
        }
    }
}

/// Lets the engine do its own work between two pages.
#[derive(Debug, Default)]
struct Pace {
    /// How long the engine was at the last page; no time before the first.
    took: Duration,
    applied: LogPos,
}

impl Pace {
    /// Waits, if the engine has applied entries since the last page: then it has more to do than answer us.
    fn rest(&mut self, applied: LogPos) {
        if applied != std::mem::replace(&mut self.applied, applied) {
            std::thread::sleep((REST * self.took).min(LONGEST_REST));
        }
    }
}

#[derive(Debug)]
struct ViewRows {
    columns: Arc<RowColumns>,
    rows: Vec<WindowRow>,
}

impl Chunk for ViewRows {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn value(&self, row: usize, column: usize) -> Scalar {
        self.columns.value(&self.rows[row], column)
    }
}
