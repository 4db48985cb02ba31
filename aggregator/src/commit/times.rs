//! Finding entries by the times of their events: table `entry_times` of log.db.

use rusqlite::{Connection, Row, params};
use tributary_shared::ids::{LaneNo, StreamName};
use tributary_shared::time::Millis;

use super::body::EventTimes;
use super::messages::{CommitError, EntryAt, LogPos};

/// Entries whose events lie so far apart are in an index of their own; `lineage.sql` says it too.
const WIDE: Millis = 3_600_000;

/// Writes down when the events of an entry happened; nothing without valid rows.
pub(super) fn insert(
    db: &Connection,
    pos: LogPos,
    lane: LaneNo,
    times: Option<EventTimes>,
) -> Result<(), CommitError> {
    let Some(EventTimes { min, max }) = times else {
        return Ok(());
    };
    db.prepare_cached("INSERT INTO entry_times (pos, lane, min_time, max_time) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![pos.0, lane.0, min, max])?;
    Ok(())
}

/// Forgets the times of entries that are deleted.
pub(super) fn delete_upto(db: &Connection, upto: LogPos) -> Result<(), CommitError> {
    db.prepare_cached("DELETE FROM entry_times WHERE pos <= ?1")?
        .execute([upto.0])?;
    Ok(())
}

/// Event times `from <= time < to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    pub from: Millis,
    pub to: Millis,
}

impl TimeRange {
    #[must_use]
    pub fn contains(&self, at: Millis) -> bool {
        (self.from..self.to).contains(&at)
    }
}

/// Two searches, by span. The first ends an hour behind the range, because nothing that it looks for is wider.
pub(super) const BETWEEN: &str = "
    SELECT pos, lane, min_time, max_time FROM entry_times INDEXED BY entry_times_by_time
        WHERE max_time >= ?1 AND max_time < ?3 AND min_time < ?2 AND max_time - min_time < 3600000 AND pos > ?4
            AND lane IN (SELECT no FROM lanes WHERE stream = ?5)
    UNION ALL
    SELECT pos, lane, min_time, max_time FROM entry_times INDEXED BY entry_times_wide
        WHERE max_time - min_time >= 3600000 AND max_time >= ?1 AND min_time < ?2 AND pos > ?4
            AND lane IN (SELECT no FROM lanes WHERE stream = ?5)
    ORDER BY pos LIMIT ?6";

fn found(row: &Row<'_>) -> rusqlite::Result<EntryAt> {
    Ok(EntryAt {
        pos: row.get(0)?,
        lane: LaneNo(row.get(1)?),
        times: EventTimes {
            min: row.get(2)?,
            max: row.get(3)?,
        },
    })
}

/// The kept entries of a stream whose times overlap a range, after a position, in log order; at most `limit`.
pub(super) fn entries_between(
    db: &Connection,
    stream: &StreamName,
    range: TimeRange,
    after: LogPos,
    limit: usize,
) -> Result<Vec<EntryAt>, CommitError> {
    let TimeRange { from, to } = range;
    if from >= to {
        return Ok(Vec::new());
    }
    let mut select = db.prepare_cached(BETWEEN)?;
    let after = after.0.min(i64::MAX.unsigned_abs());
    let values = params![from, to, to.saturating_add(WIDE), after, stream.as_str(), limit];
    let rows = select.query_map(values, found)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
