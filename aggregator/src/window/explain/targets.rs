//! The rows whose events are looked for, and whether an event is in one of them.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tributary_shared::time::Millis;

/// Rows by key and time.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    /// By key as stored and start: the end, exclusive. An event counts once in what is explained: of windows that overlap
    /// one is asked for, and no view reads such windows.
    by_key: HashMap<Vec<u8>, BTreeMap<Millis, Millis>>,
    /// All rows lie within.
    pub from: Millis,
    pub to: Millis,
}

impl Targets {
    pub fn new() -> Self {
        Self {
            by_key: HashMap::new(),
            from: Millis::MAX,
            to: Millis::MIN,
        }
    }

    /// Wants the row of a key that holds the events of `[start, end)`.
    pub fn add(&mut self, key: Vec<u8>, (start, end): (Millis, Millis)) {
        self.from = self.from.min(start);
        self.to = self.to.max(end);
        self.by_key.entry(key).or_default().insert(start, end);
    }

    /// Whether an event is in one of these rows.
    pub fn hold(&self, key: &[u8], time: Millis) -> bool {
        let rows = self.by_key.get(key);
        let newest = rows.and_then(|rows| rows.range(..=time).next_back());
        newest.is_some_and(|(_, end)| time < *end)
    }
}
