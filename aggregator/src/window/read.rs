//! Reading windows.

use std::sync::Arc;

use tributary_shared::time::Millis;

use super::clocks::Progress;
use super::engine::Engine;
use super::filter::{Filters, Looked};
use super::gather::Wanted;
use super::messages::{
    QueryError, ScanPage, ScanPlace, WindowChange, WindowPage, WindowProgress, WindowQuery, WindowRow,
    WindowScan,
};
use super::pinned::Pinned;
use super::place::{self, PagePlace};
use super::row::{RowRef, time};
use super::state::ViewState;
use crate::view::{Column, ColumnType, Scalar};

/// Windows of a page that are told who has reported; more are not read by anybody.
const MAX_PROGRESS: usize = 1_000;

/// The filters of a query, with what the rows' clocks say.
struct Sieve<'a> {
    progress: Progress,
    filters: Filters<'a>,
}

impl Sieve<'_> {
    fn keeps(&self, row: &RowRef<'_>) -> bool {
        row.is_shown() && self.filters.keep(|looked| self.looked_at(looked, row))
    }

    /// As much of the filters as can be told before a row is made.
    fn wanted(&self, state: &ViewState) -> Wanted<'_> {
        let keys = self.filters.on_keys(&state.plan);
        Wanted {
            pinned: Pinned::of(&state.groups, &keys),
            keys,
            ..Wanted::default()
        }
    }

    fn looked_at(&self, looked: Looked, row: &RowRef<'_>) -> Scalar {
        match looked {
            Looked::Output(column) => row.output(column),
            Looked::WindowStart => time(row.window_start()),
            Looked::WindowEnd => time(row.window_end()),
            Looked::Revision => Scalar::Int(row.revision().cast_signed()),
            Looked::Final => Scalar::Bool(row.window_end().is_some_and(|end| self.progress.is_final(end))),
        }
    }
}

impl Engine {
    /// Reads the newest rows that a query asks for, from its place on.
    ///
    /// # Errors
    /// [`QueryError`] when there is no such view, it has no such column, or the place belongs to another view.
    pub fn windows(&self, view: &str, query: &WindowQuery) -> Result<WindowPage, QueryError> {
        let state = self.state(view)?;
        let sieve = self.sieve(state, &query.filters)?;
        let early = sieve.wanted(state);
        let definition = place::definition(&state.plan.sql);
        let after = query.after.as_ref();
        if after.is_some_and(|place| place.definition != definition) {
            return Err(QueryError::Replaced(view.to_owned()));
        }
        let behind = after.map(|place| place.window_start.saturating_add(1));
        let to = [query.to, behind].into_iter().flatten().min();
        let is_behind = |row: &RowRef<'_>| {
            after.is_none_or(|place| {
                row.pane_start() < place.window_start || row.compare_key(&place.key).is_gt()
            })
        };
        let (mut rows, mut next, mut truncated) = (Vec::new(), None, false);
        for start in self.window_starts(state, query.from, to).rev() {
            let window = self.window_rows(state, start, &early);
            let wanted = |row: &RowRef<'_>| is_behind(row) && sieve.keeps(row);
            let mut found: Vec<RowRef<'_>> = window.rows().filter(wanted).collect();
            found.sort_unstable_by(RowRef::compare);
            let room = query.limit - rows.len();
            let shown = found.len().min(room);
            rows.extend(found[..shown].iter().map(|row| self.row(&sieve.progress, row)));
            if let Some(last) = found[..shown].last() {
                next = Some((last.pane_start(), last.place_key()));
            }
            if found.len() > room {
                truncated = true;
                break;
            }
        }
        self.check_read()?;
        let columns = typed(&state.plan.shown, &rows);
        let spans = rows
            .iter()
            .filter_map(|row| Some((row.window_start?, row.window_end?)));
        let mut windows: Vec<WindowProgress> = Vec::new();
        for (start, end) in spans {
            // rows of a window stand together
            let known = windows
                .last()
                .is_some_and(|last| (last.window_start, last.window_end) == (start, end));
            if !known && windows.len() < MAX_PROGRESS {
                windows.push(sieve.progress.of_window(start, end));
            }
        }
        Ok(WindowPage {
            windows,
            view: Arc::clone(&state.plan.name),
            columns,
            rows,
            truncated,
            next: next.filter(|_| truncated).map(|(window_start, key)| PagePlace {
                window_start,
                key,
                definition,
            }),
        })
    }

    /// Reads the next page of a view's rows. Pages of one scan may see different states of a row, each row once: rows
    /// that begin behind the scan's place are not read.
    ///
    /// # Errors
    /// [`QueryError`] when there is no such view or column, or the view is another one than in the page before.
    pub fn scan(&self, view: &str, scan: &WindowScan) -> Result<ScanPage, QueryError> {
        let state = self.state(view)?;
        let after = scan.after.as_ref();
        if after.is_some_and(|place| place.generation != state.generation) {
            return Err(QueryError::Replaced(view.to_owned()));
        }
        let sieve = self.sieve(state, &scan.filters)?;
        let (from, to) = bounds(scan.from, scan.to);
        let from = after.map_or(from, |place| place.window_start);
        let mut room = scan.limit;
        let mut rows = Vec::new();
        let keys = sieve.filters.on_keys(&state.plan);
        let pinned = Pinned::of(&state.groups, &keys);
        for window_start in self.window_starts(state, Some(from), Some(to)) {
            let behind = after
                .filter(|place| place.window_start == window_start)
                .map(|place| &*place.key);
            let wanted = Wanted {
                keys: keys.clone(),
                pinned: pinned.clone(),
                behind,
                most: Some(room),
                ..Wanted::default()
            };
            let window = self.window_rows(state, window_start, &wanted);
            let (found, more) = window.page(behind, room);
            rows.extend(
                found
                    .iter()
                    .filter(|(_, row)| sieve.keeps(row))
                    .map(|(_, row)| self.row(&sieve.progress, row)),
            );
            self.check_read()?;
            if more {
                // before every key there is the empty one
                let last = found
                    .last()
                    .map_or(behind.unwrap_or_default(), |(key, _)| key.as_slice());
                let key = Arc::from(last);
                let place = ScanPlace {
                    window_start,
                    key,
                    generation: state.generation,
                };
                return Ok(ScanPage {
                    rows,
                    next: Some(place),
                });
            }
            room -= found.len();
        }
        self.check_read()?;
        Ok(ScanPage { rows, next: None })
    }

    /// The rows that a batch changed, as they are now. None when the view was replaced or dropped since.
    #[must_use]
    pub fn rows(&self, change: &WindowChange) -> Vec<WindowRow> {
        let Some(state) = self
            .views
            .get(&change.view)
            .filter(|state| state.generation == change.generation)
        else {
            return Vec::new();
        };
        let progress = self.progress(state);
        let slots = change
            .groups
            .iter()
            .map(|group| group.0)
            .filter(|slot| state.groups.contains(*slot));
        let (plan, groups) = (state.plan.as_ref(), &state.groups);
        let mut rows: Vec<WindowRow> = slots
            .map(|slot| RowRef { plan, groups, slot })
            .filter(RowRef::is_shown)
            .map(|row| self.row(&progress, &row))
            .collect();
        let wanted = Wanted {
            since: Some(change.since),
            ..Wanted::default()
        };
        for start in &change.windows {
            let window = self.window_rows(state, *start, &wanted);
            let shown = window.rows().filter(RowRef::is_shown);
            rows.extend(shown.map(|row| self.row(&progress, &row)));
        }
        rows
    }

    pub(super) fn state(&self, view: &str) -> Result<&ViewState, QueryError> {
        let unknown = || QueryError::UnknownView(view.to_owned());
        self.views.get(view).ok_or_else(unknown)
    }

    pub(super) fn progress(&self, state: &ViewState) -> Progress {
        self.clocks
            .progress(&state.plan.stream, &self.config, state.options.allowed_lateness)
    }

    fn sieve<'a>(
        &'a self,
        state: &ViewState,
        asked: &'a [(String, String)],
    ) -> Result<Sieve<'a>, QueryError> {
        Ok(Sieve {
            progress: self.progress(state),
            filters: Filters::read(&state.plan, asked)?,
        })
    }

    pub(super) fn row(&self, progress: &Progress, row: &RowRef<'_>) -> WindowRow {
        let window_end = row.window_end();
        let columns = 0..row.plan.outputs.len();
        WindowRow {
            columns: Arc::clone(&row.plan.shown),
            values: columns.map(|column| row.output(column)).collect(),
            window_start: row.window_start(),
            window_end,
            revision: row.revision(),
            changed_at: row.changed_at(),
            approximate: row.approximate(),
            key: row.key_hash(),
            overflow: row.groups.is_overflow(row.slot),
            is_final: window_end.is_some_and(|end| progress.is_final(end)),
            completeness: window_end.map_or(1.0, |end| progress.completeness(end)),
        }
    }
}

fn bounds(from: Option<Millis>, to: Option<Millis>) -> (Millis, Millis) {
    let from = from.unwrap_or(Millis::MIN);
    (from, to.unwrap_or(Millis::MAX).max(from))
}

/// Types of columns that only the data can tell, as far as these rows agree.
fn typed(columns: &Arc<[Column]>, rows: &[WindowRow]) -> Arc<[Column]> {
    if columns.iter().all(|column| column.kind != ColumnType::Any) {
        return Arc::clone(columns);
    }
    let seen = |at: usize| {
        let kinds = rows.iter().filter_map(|row| kind_of(&row.values[at]));
        kinds.reduce(|all, kind| match (all, kind) {
            (a, b) if a == b => a,
            (ColumnType::Integer | ColumnType::Number, ColumnType::Integer | ColumnType::Number) => {
                ColumnType::Number
            }
            _ => ColumnType::Any,
        })
    };
    let typed = columns.iter().enumerate().map(|(at, column)| match column.kind {
        ColumnType::Any => Column {
            kind: seen(at).unwrap_or(ColumnType::Any),
            ..column.clone()
        },
        _ => column.clone(),
    });
    typed.collect()
}

fn kind_of(value: &Scalar) -> Option<ColumnType> {
    match value {
        Scalar::Null => None,
        Scalar::Bool(_) => Some(ColumnType::Boolean),
        Scalar::Int(_) => Some(ColumnType::Integer),
        Scalar::Float(_) => Some(ColumnType::Number),
        Scalar::Text(_) => Some(ColumnType::Text),
        Scalar::Time(_) => Some(ColumnType::Timestamp),
    }
}
