//! Changed rows to whoever watches.

use super::actor::Runner;
use super::live::LiveRows;
use super::place;
use super::stamp::{EventId, in_order};

/// Why watchers of a view that serves another definition from now on read it again.
pub(super) const REPLACED: &str = "the view was replaced";

impl Runner {
    /// Tells the watchers the newest state of every row that changed, in the order of the changes.
    pub(super) fn publish(&mut self) {
        for change in self.changes.take() {
            if !self.live.is_watched(&change.view) {
                continue;
            }
            if LiveRows::is_flood(change.groups.len()) {
                self.live.flood(&change.view, change.groups.len());
                continue;
            }
            let definition = self
                .engine
                .view(&change.view)
                .map(|plan| place::definition(&plan.sql));
            let is_live = self.engine.stats(&change.view).is_some_and(|stats| stats.live);
            for (stamp, row) in in_order(self.engine.rows(&change), true) {
                let id = EventId { stamp, definition };
                match serde_json::to_string(&row) {
                    Ok(json) => self
                        .live
                        .row(&change.view, is_live.then_some(id), row.changed_at, json),
                    Err(error) => tracing::warn!(view = %change.view, %error, "a row cannot be shown"),
                }
            }
        }
    }
}
