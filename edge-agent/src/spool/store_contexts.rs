//! What format 4 added, and every statement on it: the trace contexts that requests brought.
//!
//! ```text
//! contexts  which seqs came with which `traceparent`; ranges of a lane are apart, and lie above what is committed
//! ```
//!
//! They are for people, and no event depends on them: what a damaged file held of them is not salvaged.

use rusqlite::params;
use tributary_shared::ids::{Seq, SeqRange};
use tributary_shared::wire::Context;

use super::messages::LaneId;
use super::store::{Result, Store, range, to_db};

/// What format 4 adds. Added last, like what format 2 and 3 added.
pub(super) const TABLES_OF_FORMAT_4: &str = "
CREATE TABLE contexts(
  lane INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, traceparent TEXT NOT NULL,
  PRIMARY KEY(lane, first_seq)) WITHOUT ROWID;
";

/// What a row costs at most, rounded up.
pub(super) const CONTEXT_BYTES: u64 = 128;

impl Store {
    pub(super) fn insert_context(&self, lane: LaneId, range: SeqRange, traceparent: &str) -> Result<()> {
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO contexts(lane, first_seq, last_seq, traceparent) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![lane.0, to_db(range.first), to_db(range.last), traceparent])?;
        Ok(())
    }

    /// Those that overlap the range, ascending.
    pub(super) fn contexts(&self, lane: LaneId, within: SeqRange) -> Result<Vec<Context>> {
        let sql = "SELECT first_seq, last_seq, traceparent FROM contexts
                   WHERE lane = ?1 AND last_seq >= ?2 AND first_seq <= ?3
                     AND first_seq >= coalesce((SELECT max(first_seq) FROM contexts WHERE lane = ?1 AND first_seq <= ?2), 0)
                   ORDER BY first_seq";
        let bounds = [lane.0, to_db(within.first), to_db(within.last)];
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(bounds, |row| {
            let SeqRange { first, last } = range(row, 0)?;
            Ok(Context {
                first_seq: first,
                last_seq: last,
                traceparent: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets what the mark covers; of one that lies across it, the rest stays.
    pub(super) fn forget_contexts(&self, lane: LaneId, mark: Seq) -> Result<()> {
        self.delete_contexts(lane, SeqRange { first: 0, last: mark })?;
        self.conn
            .prepare_cached("UPDATE contexts SET first_seq = ?2 + 1 WHERE lane = ?1 AND first_seq <= ?2")?
            .execute([lane.0, to_db(mark)])?;
        Ok(())
    }

    /// Forgets those that lie wholly within the range.
    pub(super) fn delete_contexts(&self, lane: LaneId, within: SeqRange) -> Result<()> {
        self.conn
            .prepare_cached(
                "DELETE FROM contexts WHERE lane = ?1 AND first_seq >= ?2 AND first_seq <= ?3 AND last_seq <= ?3",
            )?
            .execute([lane.0, to_db(within.first), to_db(within.last)])?;
        Ok(())
    }
}
