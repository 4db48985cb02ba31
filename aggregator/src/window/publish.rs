//! Changed rows to whoever watches.

use serde_json::{Value, json};
use tributary_shared::time::to_rfc3339;

use super::actor::Runner;
use super::live::LiveRows;
use super::messages::WindowChange;
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
            self.tell_gone(&change);
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

    /// Rows that are no more, with their keys as the windows call shows them.
    fn tell_gone(&self, change: &WindowChange) {
        let Some(plan) = self.engine.view(&change.view) else {
            return;
        };
        for gone in &change.gone {
            let mut row = serde_json::Map::new();
            for (name, key) in plan.key_names.iter().zip(&gone.key) {
                row.insert(name.clone(), json!(key));
            }
            row.insert("window_start".to_owned(), to_rfc3339(gone.window_start).into());
            row.insert("window_end".to_owned(), to_rfc3339(gone.window_end).into());
            self.live.gone(&change.view, Value::Object(row).to_string());
        }
    }
}
