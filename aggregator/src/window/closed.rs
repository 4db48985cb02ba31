//! The newest window of a view that its stream's watermark has passed: for readers who want one number now. Of a view
//! without windows, its rows.

use std::sync::Arc;

use tributary_shared::time::Millis;

use super::engine::Engine;
use super::gather::Wanted;
use super::messages::{QueryError, WindowPage, WindowQuery, WindowRow};
use crate::view::{Column, WindowKind};

/// Rows of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedWindow {
    pub columns: Arc<[Column]>,
    /// The first of them, by group.
    pub rows: Vec<WindowRow>,
    /// How many the window has in all.
    pub all: usize,
}

impl Engine {
    /// Reads it, at most `limit` rows. `None` while no window is closed. Late data still amends it.
    ///
    /// # Errors
    /// [`QueryError::UnknownView`].
    pub fn newest_closed(&self, view: &str, limit: usize) -> Result<Option<ClosedWindow>, QueryError> {
        let state = self.state(view)?;
        if state.plan.window == WindowKind::None {
            return self.running(view, limit);
        }
        let Some(passed) = self.progress(state).watermark() else {
            return Ok(None);
        };
        let closed = |limit, bounds: Option<(Millis, Millis)>| WindowQuery {
            from: bounds.map(|(from, _)| from),
            to: bounds.map(|(_, to)| to),
            limit,
            filters: vec![("window_end.lte".to_owned(), passed.to_string())],
            ..WindowQuery::default()
        };
        let newest = self.windows(view, &closed(1, None))?;
        let Some(start) = newest.rows.first().and_then(|row| row.window_start) else {
            return Ok(None);
        };
        let page = self.windows(view, &closed(limit, Some((start, start.saturating_add(1)))))?;
        self.counted(view, page, start)
    }

    /// Rows without windows are never closed, and always of now.
    fn running(&self, view: &str, limit: usize) -> Result<Option<ClosedWindow>, QueryError> {
        let query = WindowQuery {
            limit,
            ..WindowQuery::default()
        };
        let page = self.windows(view, &query)?;
        let state = self.state(view)?;
        let start = self.window_starts(state, None, None).next();
        start.map_or(Ok(None), |start| self.counted(view, page, start))
    }

    fn counted(
        &self,
        view: &str,
        page: WindowPage,
        start: Millis,
    ) -> Result<Option<ClosedWindow>, QueryError> {
        let all = match page.truncated {
            true => self
                .window_rows(self.state(view)?, start, &Wanted::default())
                .rows()
                .count(),
            false => page.rows.len(),
        };
        Ok(Some(ClosedWindow {
            columns: page.columns,
            rows: page.rows,
            all,
        }))
    }
}
