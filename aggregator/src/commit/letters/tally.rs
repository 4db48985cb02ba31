//! The counts by lane, state and rule, moved in the transactions that move letters.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, params};
use tributary_shared::ids::LaneNo;
use tributary_shared::wire::Reason;

use super::super::messages::CommitError;
use super::messages::LetterState;

/// Changes of counts, summed before they are written.
#[derive(Debug, Default)]
pub(super) struct Tally {
    changes: HashMap<(LaneNo, LetterState, String), (i64, i64)>,
}

impl Tally {
    /// A letter came into a state (`by` 1) or left it (`by` -1). The empty rule counts each letter once.
    pub fn count(&mut self, lane: LaneNo, state: LetterState, reasons: &[Reason], payload: usize, by: i64) {
        let rules: BTreeSet<&str> = reasons.iter().map(|reason| reason.rule.as_str()).collect();
        for rule in rules.into_iter().filter(|rule| !rule.is_empty()) {
            self.changes.entry((lane, state, rule.to_owned())).or_default().0 += by;
        }
        let all = self.changes.entry((lane, state, String::new())).or_default();
        all.0 += by;
        // payloads are far below 2^63
        all.1 += by * payload as i64;
    }

    pub fn write(self, db: &Connection) -> Result<(), CommitError> {
        let mut upsert = db.prepare_cached(
            "INSERT INTO dead_letter_counts (lane, state, rule, count, bytes) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET count = count + ?4, bytes = bytes + ?5",
        )?;
        for ((lane, state, rule), (count, bytes)) in self.changes {
            upsert.execute(params![lane.0, state.tag(), rule, count, bytes])?;
        }
        Ok(())
    }
}
