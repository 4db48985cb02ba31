//! Reading windows.

use std::sync::Arc;

use super::clocks::Progress;
use super::engine::Engine;
use super::messages::{
    QueryError, ScanPage, ScanPlace, WindowChange, WindowPage, WindowQuery, WindowRow, WindowScan,
};
use super::state::ViewState;
use crate::view::{Column, ColumnType, Scalar};

/// What a filter of a query looks at.
#[derive(Debug, Clone, Copy)]
enum Looked {
    Output(usize),
    WindowStart,
    WindowEnd,
    Revision,
    Final,
}

impl Engine {
    /// Reads the newest rows that a query asks for.
    ///
    /// # Errors
    /// [`QueryError`] when there is no such view, or it has no such column.
    pub fn windows(&self, view: &str, query: &WindowQuery) -> Result<WindowPage, QueryError> {
        let state = self
            .views
            .get(view)
            .ok_or_else(|| QueryError::UnknownView(view.to_owned()))?;
        let filters = filters(state, &query.filters)?;
        let progress = self.clocks.progress(&state.plan.stream, &self.config);
        let matches = |slot: u32| {
            let asked = |(looked, text): &(Looked, &str)| {
                self.looked_at(state, &progress, *looked, slot).matches_text(text)
            };
            state.is_shown(slot) && filters.iter().all(asked)
        };
        let mut rows = Vec::new();
        let mut truncated = false;
        for (_, slots) in state.groups.windows_between(query.from, query.to).rev() {
            let mut slots: Vec<u32> = slots.iter().copied().filter(|slot| matches(*slot)).collect();
            slots.sort_unstable_by(|a, b| compare_keys(state, *a, *b));
            let room = query.limit - rows.len();
            truncated |= slots.len() > room;
            rows.extend(
                slots
                    .iter()
                    .take(room)
                    .map(|slot| self.row(state, &progress, *slot)),
            );
            if truncated {
                break;
            }
        }
        let columns = typed(&state.plan.shown, &rows);
        Ok(WindowPage {
            view: Arc::clone(&state.plan.name),
            columns,
            rows,
            truncated,
        })
    }

    /// Reads the next page of a view's rows. Pages of one scan may see different states of a row, each row once: rows
    /// that begin behind the scan's place are not read.
    ///
    /// # Errors
    /// [`QueryError`] when there is no such view or column, or the view is another one than in the page before.
    pub fn scan(&self, view: &str, scan: &WindowScan) -> Result<ScanPage, QueryError> {
        let unknown = || QueryError::UnknownView(view.to_owned());
        let state = self.views.get(view).ok_or_else(unknown)?;
        if scan
            .after
            .is_some_and(|place| place.generation != state.generation)
        {
            return Err(QueryError::Replaced(view.to_owned()));
        }
        let filters = filters(state, &scan.filters)?;
        let progress = self.clocks.progress(&state.plan.stream, &self.config);
        let matches = |slot: u32| {
            let asked = |(looked, text): &(Looked, &str)| {
                self.looked_at(state, &progress, *looked, slot).matches_text(text)
            };
            state.is_shown(slot) && filters.iter().all(asked)
        };
        let from = scan.after.map_or(scan.from, |place| Some(place.window_start));
        let mut skip = scan.after.map_or(0, |place| place.rows);
        let mut room = scan.limit;
        let mut rows = Vec::new();
        for (window_start, slots) in state.groups.windows_between(from, scan.to) {
            // a window's slots are only ever added to
            let slots = slots.get(skip..).unwrap_or_default();
            let looked = slots.len().min(room);
            let wanted = slots[..looked].iter().filter(|slot| matches(**slot));
            rows.extend(wanted.map(|slot| self.row(state, &progress, *slot)));
            if looked < slots.len() {
                let place = ScanPlace {
                    window_start,
                    rows: skip + looked,
                    generation: state.generation,
                };
                return Ok(ScanPage {
                    rows,
                    next: Some(place),
                });
            }
            (skip, room) = (0, room - looked);
        }
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
        let progress = self.clocks.progress(&state.plan.stream, &self.config);
        let slots = change
            .groups
            .iter()
            .map(|group| group.0)
            .filter(|slot| state.groups.contains(*slot) && state.is_shown(*slot));
        slots.map(|slot| self.row(state, &progress, slot)).collect()
    }

    fn row(&self, state: &ViewState, progress: &Progress, slot: u32) -> WindowRow {
        let window_start = state.groups.window(slot);
        let window_end = state.window_end(window_start);
        WindowRow {
            columns: Arc::clone(&state.plan.shown),
            values: (0..state.plan.outputs.len())
                .map(|column| state.output(column, slot))
                .collect(),
            window_start,
            window_end,
            revision: state.groups.revision(slot),
            is_final: self.is_final(progress, window_end),
            completeness: progress.completeness(window_end),
        }
    }

    fn is_final(&self, progress: &Progress, window_end: i64) -> bool {
        let final_at = window_end.saturating_add(self.config.allowed_lateness);
        progress
            .watermark()
            .is_some_and(|watermark| watermark >= final_at)
    }

    fn looked_at(&self, state: &ViewState, progress: &Progress, looked: Looked, slot: u32) -> Scalar {
        let start = state.groups.window(slot);
        match looked {
            Looked::Output(column) => state.output(column, slot),
            Looked::WindowStart => Scalar::Time(start),
            Looked::WindowEnd => Scalar::Time(state.window_end(start)),
            Looked::Revision => Scalar::Int(state.groups.revision(slot).cast_signed()),
            Looked::Final => Scalar::Bool(self.is_final(progress, state.window_end(start))),
        }
    }
}

fn filters<'a>(
    state: &ViewState,
    filters: &'a [(String, String)],
) -> Result<Vec<(Looked, &'a str)>, QueryError> {
    let looked = |column: &str| match state.plan.shown.iter().position(|shown| shown.name == column) {
        Some(at) => Some(Looked::Output(at)),
        None => match column {
            "window_start" => Some(Looked::WindowStart),
            "window_end" => Some(Looked::WindowEnd),
            "revision" => Some(Looked::Revision),
            "final" => Some(Looked::Final),
            _ => None,
        },
    };
    let filter = |(column, text): &'a (String, String)| match looked(column) {
        Some(looked) => Ok((looked, text.as_str())),
        None => Err(QueryError::UnknownColumn {
            view: state.plan.name().to_owned(),
            column: column.clone(),
            known: state
                .plan
                .shown
                .iter()
                .map(|c| c.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        }),
    };
    filters.iter().map(filter).collect()
}

fn compare_keys(state: &ViewState, a: u32, b: u32) -> std::cmp::Ordering {
    let key = |slot, at| state.groups.key(slot, at);
    (0..state.plan.keys.len())
        .map(|at| key(a, at).total_cmp(key(b, at)))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| a.cmp(&b))
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
            name: column.name.clone(),
            kind: seen(at).unwrap_or(ColumnType::Any),
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
