//! Changed rows to whoever watches.

use serde_json::{Map, Value, json};
use tributary_shared::time::to_rfc3339;

use super::actor::Runner;
use super::live::LiveRows;
use super::messages::WindowChange;
use super::place;
use super::since::HiddenRow;
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

    /// Rows that are no more, or that are hidden now, with their keys as the windows call shows them.
    fn tell_gone(&self, change: &WindowChange) {
        let gone = change.gone.iter().map(|gone| HiddenRow {
            window_start: Some(gone.window_start),
            window_end: Some(gone.window_end),
            key: gone.key.clone(),
        });
        let Some(plan) = self.engine.view(&change.view) else {
            return;
        };
        for gone in gone.chain(self.engine.hidden(change)) {
            let keys = plan.key_names.iter().zip(&gone.key);
            let mut row: Map<String, Value> = keys.map(|(name, key)| (name.clone(), json!(key))).collect();
            row.insert(
                "window_start".to_owned(),
                json!(gone.window_start.map(to_rfc3339)),
            );
            row.insert("window_end".to_owned(), json!(gone.window_end.map(to_rfc3339)));
            self.live.gone(&change.view, Value::Object(row).to_string());
        }
    }
}
