//! What format 3 added, and every statement on it: which processes numbered a lane's seqs, and lanes that are gone.
//!
//! ```text
//! lanes.writers  a text for each lane: `FROM:WRITER`, the writer in hexadecimal, in the order of seqs
//! retired        the newest lanes that were let go of, in the order in which that happened
//! ```

use std::sync::Arc;

use rusqlite::{Row, params};
use tributary_shared::ids::{Epoch, Seq, StreamName};
use tributary_shared::protocol::{MAX_RETIRED_LANES, RetiredLane};
use tributary_shared::wire::{History, Tenure};

use super::store::{Result, Store, seq, to_db};

/// What format 3 adds. Added last, like what format 2 added.
pub(super) const TABLES_OF_FORMAT_3: &str = "
ALTER TABLE lanes ADD COLUMN writers TEXT NOT NULL DEFAULT '';
CREATE TABLE retired(
  no INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, epoch INTEGER NOT NULL,
  committed_seq INTEGER NOT NULL, writers TEXT NOT NULL, UNIQUE(stream, epoch));
";

/// As the column holds it.
pub(super) fn writers_text(history: &History) -> String {
    let tenures = history.tenures().iter();
    let texts: Vec<_> = tenures
        .map(|tenure| format!("{}:{:x}", tenure.from, tenure.writer))
        .collect();
    texts.join(" ")
}

pub(super) fn writers_of(row: &Row<'_>, column: usize) -> rusqlite::Result<History> {
    let text: String = row.get(column)?;
    let tenure = |word: &str| {
        let (from, writer) = word.split_once(':')?;
        Some(Tenure {
            from: from.parse().ok()?,
            writer: u64::from_str_radix(writer, 16).ok()?,
        })
    };
    let tenures: Option<Vec<_>> = text.split_ascii_whitespace().map(tenure).collect();
    let damaged = || rusqlite::Error::InvalidColumnType(column, text.clone(), rusqlite::types::Type::Text);
    Ok(tenures.ok_or_else(damaged)?.into())
}

impl Store {
    /// Remembers that all of a lane was committed up to this seq, and forgets the oldest beyond
    /// [`MAX_RETIRED_LANES`]. A lane that never had an event leaves nothing.
    pub(super) fn retire(
        &self,
        stream: &StreamName,
        epoch: Epoch,
        committed_seq: Seq,
        history: &History,
    ) -> Result<()> {
        if committed_seq == 0 {
            return Ok(());
        }
        self.conn
            .prepare_cached(
                "INSERT OR REPLACE INTO retired(stream, epoch, committed_seq, writers) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                stream.as_str(),
                to_db(epoch.0),
                to_db(committed_seq),
                writers_text(history)
            ])?;
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

    /// The retired lane of this number is known up to this seq only.
    pub(super) fn shorten_retired(&self, no: u64, committed_seq: Seq) -> Result<()> {
        let mut statement = self
            .conn
            .prepare_cached("UPDATE retired SET committed_seq = ?2 WHERE no = ?1")?;
        statement.execute([to_db(no), to_db(committed_seq)])?;
        Ok(())
    }

    /// All of them, ascending.
    pub(super) fn retired(&self) -> Result<Arc<[RetiredLane]>> {
        let sql = "SELECT no, stream, epoch, committed_seq, writers FROM retired ORDER BY no";
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map([], retired_lane)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Columns `no, stream, epoch, committed_seq, writers`.
pub(super) fn retired_lane(row: &Row<'_>) -> rusqlite::Result<RetiredLane> {
    let stream: String = row.get(1)?;
    let stream = StreamName::new(&stream)
        .map_err(|_| rusqlite::Error::InvalidColumnType(1, stream, rusqlite::types::Type::Text))?;
    Ok(RetiredLane {
        no: seq(row, 0)?,
        stream,
        epoch: Epoch(seq(row, 2)?),
        committed_seq: seq(row, 3)?,
        history: writers_of(row, 4)?,
    })
}
