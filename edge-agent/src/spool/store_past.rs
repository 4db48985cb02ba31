//! The table that format 3 added, and every statement on it: lanes that are drained and gone.
//!
//! ```text
//! retired  the newest lanes that were let go of, in the order in which that happened
//! ```

use std::sync::Arc;

use rusqlite::{Row, params};
use tributary_shared::ids::{Epoch, Seq, StreamName};
use tributary_shared::protocol::{MAX_RETIRED_LANES, RetiredLane};

use super::store::{Result, Store, seq, to_db};

/// What format 3 adds. Added last, like what format 2 added.
pub(super) const TABLES_OF_FORMAT_3: &str = "
CREATE TABLE retired(
  no INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, epoch INTEGER NOT NULL,
  committed_seq INTEGER NOT NULL, UNIQUE(stream, epoch));
";

impl Store {
    /// Remembers that all of a lane was committed up to this seq, and forgets the oldest beyond
    /// [`MAX_RETIRED_LANES`]. A lane that never had an event leaves nothing.
    pub(super) fn retire(&self, stream: &StreamName, epoch: Epoch, committed_seq: Seq) -> Result<()> {
        if committed_seq == 0 {
            return Ok(());
        }
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO retired(stream, epoch, committed_seq) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![stream.as_str(), to_db(epoch.0), to_db(committed_seq)])?;
        self.prune_retired()
    }

    pub(super) fn prune_retired(&self) -> Result<()> {
        self.conn
            .prepare_cached(
                "DELETE FROM retired WHERE no <= (SELECT no FROM retired ORDER BY no DESC LIMIT 1 OFFSET ?1)",
            )?
            .execute([to_db(MAX_RETIRED_LANES as u64)])?;
        Ok(())
    }

    /// All of them, ascending.
    pub(super) fn retired(&self) -> Result<Arc<[RetiredLane]>> {
        let sql = "SELECT no, stream, epoch, committed_seq FROM retired ORDER BY no";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([], retired_lane)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Columns `no, stream, epoch, committed_seq`.
pub(super) fn retired_lane(row: &Row<'_>) -> rusqlite::Result<RetiredLane> {
    let stream: String = row.get(1)?;
    let stream = StreamName::new(&stream)
        .map_err(|_| rusqlite::Error::InvalidColumnType(1, stream, rusqlite::types::Type::Text))?;
    Ok(RetiredLane {
        no: seq(row, 0)?,
        stream,
        epoch: Epoch(seq(row, 2)?),
        committed_seq: seq(row, 3)?,
    })
}
