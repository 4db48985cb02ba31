//! The rows whose events are looked for, and which of them an event is in.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use tributary_shared::time::Millis;

/// Rows by key and time. A row may be wanted several times over: then its events count so often.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    /// By key as stored and start: the end, exclusive, and how often the row is wanted.
    by_key: HashMap<Vec<u8>, BTreeMap<Millis, (Millis, u64)>>,
    /// All rows lie within.
    pub from: Millis,
    pub to: Millis,
    /// Rows of one key overlap.
    overlap: bool,
    longest: Millis,
}

impl Targets {
    pub fn new(overlap: bool) -> Self {
        Self {
            by_key: HashMap::new(),
            from: Millis::MAX,
            to: Millis::MIN,
            overlap,
            longest: 0,
        }
    }

    /// Wants the row of a key that holds the events of `[start, end)`.
    pub fn add(&mut self, key: Vec<u8>, (start, end): (Millis, Millis), often: u64) {
        self.from = self.from.min(start);
        self.to = self.to.max(end);
        self.longest = self.longest.max(end.saturating_sub(start));
        let row = self
            .by_key
            .entry(key)
            .or_default()
            .entry(start)
            .or_insert((end, 0));
        row.1 += often;
    }

    /// How often an event counts in these rows.
    pub fn times(&self, key: &[u8], time: Millis) -> u64 {
        let Some(rows) = self.by_key.get(key) else {
            return 0;
        };
        let near = rows.range(..=time).rev();
        let near = near.take_while(|(start, _)| time.saturating_sub(**start) < self.longest);
        // of rows that do not overlap only the newest one can hold it
        let near = near.take(if self.overlap { usize::MAX } else { 1 });
        near.filter(|(_, (end, _))| time < *end)
            .map(|(_, (_, often))| often)
            .sum()
    }
}
