//! Rows that changed since the watchers were last told.

use std::collections::HashMap;
use std::sync::Arc;

use super::messages::WindowChange;

/// Changes of many batches, a row once for each view.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_view: HashMap<Arc<str>, WindowChange>,
}

impl Changes {
    /// Adds what one batch changed. Rows of an older version of the view are forgotten.
    pub fn add(&mut self, change: WindowChange) {
        match self.by_view.get_mut(&change.view) {
            Some(known) if known.generation == change.generation => {
                known.groups.extend(change.groups);
                known.windows.extend(change.windows);
                known.since = known.since.min(change.since);
                known.gone.extend(change.gone);
            }
            _ => {
                self.by_view.insert(Arc::clone(&change.view), change);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_view.is_empty()
    }

    /// What there is, each row once; nothing is left.
    pub fn take(&mut self) -> Vec<WindowChange> {
        let mut all: Vec<WindowChange> = self.by_view.drain().map(|(_, change)| change).collect();
        for change in &mut all {
            change.groups.sort_unstable();
            change.groups.dedup();
            change.windows.sort_unstable();
            change.windows.dedup();
        }
        all
    }
}
