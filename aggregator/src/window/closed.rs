//! The newest window of a view that its stream's watermark has passed: for readers who want one number now.

use std::sync::Arc;

use tributary_shared::time::Millis;

use super::engine::Engine;
use super::messages::{QueryError, WindowQuery, WindowRow};
use crate::view::Column;

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
        let Some(passed) = self.watermark_of(view)? else {
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
        let Some(start) = newest.rows.first().map(|row| row.window_start) else {
            return Ok(None);
        };
        let page = self.windows(view, &closed(limit, Some((start, start.saturating_add(1)))))?;
        let all = match page.truncated {
            true => self.count_rows(view, start)?,
            false => page.rows.len(),
        };
        Ok(Some(ClosedWindow {
            columns: page.columns,
            rows: page.rows,
            all,
        }))
    }
}
