//! Reading log.db: rows to types. Used by the write connection (at start) and by the read connections.

use std::collections::HashMap;
use std::str::FromStr;

use bytes::Bytes;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};
use serde::de::DeserializeOwned;
use tributary_shared::ids::{AgentId, Epoch, LaneKey, LaneNo, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{CommitHeader, History, Reason, SchemaRef, Tenure, WireError};

use super::lane::{Lane, LaneCounts};
use super::letters::ReplayHeader;
use super::messages::{CommitError, DroppedRange, EntryHeader, Hop, LaneRow, LogEntry, LogPos};

/// Keys of the table of single values.
pub(super) const FLOOR: &str = "floor";
/// Numbers up to this one are not given to new lanes.
pub(super) const LANE_FLOOR: &str = "lane_floor";
/// Dead letters up to this id are deleted.
pub(super) const LETTER_FLOOR: &str = "letter_floor";

/// Column `kind` of an entry that replays dead letters. It continues no lane: whoever follows a lane leaves it out.
pub(super) const KIND_REPLAY: i64 = 2;

/// A text column that holds an id; what is stored was checked when it came in.
struct Id<T>(T);

impl<T: TryFrom<String, Error: std::error::Error + Send + Sync + 'static>> FromSql for Id<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = String::column_result(value)?;
        T::try_from(text)
            .map(Self)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl FromSql for LogPos {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u64::column_result(value).map(Self)
    }
}

pub(super) fn encode_header(header: &CommitHeader) -> Result<Vec<u8>, WireError> {
    rmp_serde::to_vec_named(header).map_err(|error| WireError::Encode {
        what: "hop record",
        reason: error.to_string(),
    })
}

pub(super) fn encode_replay_header(header: &ReplayHeader) -> Result<Vec<u8>, WireError> {
    rmp_serde::to_vec_named(header).map_err(|error| WireError::Encode {
        what: "replay header",
        reason: error.to_string(),
    })
}

pub(super) fn encode_reasons(reasons: &[Reason]) -> Result<String, WireError> {
    serde_json::to_string(reasons).map_err(|error| WireError::Encode {
        what: "reasons",
        reason: error.to_string(),
    })
}

pub(super) fn decode_reasons(id: i64, text: &str) -> Result<Vec<Reason>, CommitError> {
    serde_json::from_str(text).map_err(|error| CommitError::Damaged {
        what: format!("the reasons of dead letter {id}: {error}"),
    })
}

/// Columns `agent, stream, epoch`, from column `at` on.
pub(super) fn lane_key(row: &Row<'_>, at: usize) -> rusqlite::Result<LaneKey> {
    Ok(LaneKey {
        agent: row.get::<_, Id<AgentId>>(at)?.0,
        stream: row.get::<_, Id<StreamName>>(at + 1)?.0,
        epoch: Epoch(row.get(at + 2)?),
    })
}

/// Columns `schema_id, schema_version`, from column `at` on.
pub(super) fn schema_ref(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<SchemaRef>> {
    let id: Option<u32> = row.get(at)?;
    let version: Option<u32> = row.get(at + 1)?;
    Ok(id.zip(version).map(|(id, version)| SchemaRef { id, version }))
}

/// Open letters of a lane.
const OPEN: &str =
    "coalesce((SELECT count FROM dead_letter_counts WHERE lane = no AND state = 0 AND rule = ''), 0)";
const LANE_COLUMNS: &str = "no, agent, stream, epoch, mark, valid, dead, dropped, opened_at, last_committed_at, floor_seq, OPEN FROM lanes";

fn lane_columns() -> String {
    LANE_COLUMNS.replace("OPEN", OPEN)
}

fn lane_row(row: &Row<'_>) -> rusqlite::Result<LaneRow> {
    Ok(LaneRow {
        lane_no: LaneNo(row.get(0)?),
        key: lane_key(row, 1)?,
        mark: row.get(4)?,
        valid: row.get(5)?,
        dead: row.get(6)?,
        dropped: row.get(7)?,
        opened_at: row.get(8)?,
        last_committed_at: row.get(9)?,
        floor_seq: row.get(10)?,
        open: row.get(11)?,
    })
}

pub(super) fn to_lane(row: LaneRow, history: History) -> Lane {
    let LaneRow {
        lane_no,
        key,
        mark,
        valid,
        dead,
        dropped,
        ..
    } = row;
    Lane {
        no: lane_no,
        key,
        counts: LaneCounts {
            mark,
            valid,
            dead,
            dropped,
        },
        history,
    }
}

/// Who numbered the seqs of each lane.
pub(super) fn histories(db: &Connection) -> Result<HashMap<LaneNo, History>, CommitError> {
    let mut select =
        db.prepare_cached("SELECT lane, from_seq, writer FROM tenures ORDER BY lane, from_seq")?;
    let mut rows = select.query([])?;
    let mut tenures: HashMap<LaneNo, Vec<Tenure>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let tenure = Tenure {
            from: row.get(1)?,
            writer: row.get(2)?,
        };
        tenures.entry(LaneNo(row.get(0)?)).or_default().push(tenure);
    }
    Ok(tenures.into_iter().map(|(no, all)| (no, all.into())).collect())
}

/// All lanes, by number.
pub(super) fn lanes(db: &Connection) -> Result<Vec<LaneRow>, CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {} ORDER BY no", lane_columns()))?;
    let rows = select.query_map([], lane_row)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// The same, of a file of any format that this program reads. What an old one does not say is what its upgrade begins
/// with: nothing was deleted before format 2, and no letter was settled before format 3.
pub(super) fn lanes_of_format(db: &Connection, format: i64) -> Result<Vec<LaneRow>, CommitError> {
    let columns = match format {
        1 => LANE_COLUMNS.replace("floor_seq", "0").replace("OPEN", "dead"),
        2 => LANE_COLUMNS.replace("OPEN", "dead"),
        _ => lane_columns(),
    };
    let mut select = db.prepare(&format!("SELECT {columns} ORDER BY no"))?;
    let rows = select.query_map([], lane_row)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

pub(crate) fn lane_by_no(db: &Connection, no: LaneNo) -> Result<Option<LaneRow>, CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {} WHERE no = ?1", lane_columns()))?;
    Ok(select.query_row([no.0], lane_row).optional()?)
}

pub(crate) fn lane_by_key(db: &Connection, key: &LaneKey) -> Result<Option<LaneRow>, CommitError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {} WHERE agent = ?1 AND stream = ?2 AND epoch = ?3",
        lane_columns()
    ))?;
    Ok(select
        .query_row(
            params![key.agent.as_str(), key.stream.as_str(), key.epoch.0],
            lane_row,
        )
        .optional()?)
}

/// A value of the table of single values.
pub(crate) fn meta(db: &Connection, key: &str) -> Result<Option<String>, CommitError> {
    let mut select = db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(select.query_row([key], |row| row.get(0)).optional()?)
}

/// The same, where it is a number; `None` when it was never set.
pub(super) fn meta_number<T: FromStr>(db: &Connection, key: &str) -> Result<Option<T>, CommitError> {
    let parse = |text: String| {
        text.parse().map_err(|_| CommitError::Damaged {
            what: format!("log.db's {key} is {text:?}, which is no number"),
        })
    };
    meta(db, key)?.map(parse).transpose()
}

pub(crate) fn set_meta(db: &Connection, key: &str, value: impl ToString) -> Result<(), CommitError> {
    db.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute([key, &value.to_string()])?;
    Ok(())
}

/// Retention has deleted the entries up to here; 0 when it has deleted none.
pub(crate) fn floor(db: &Connection) -> Result<LogPos, CommitError> {
    Ok(LogPos(meta_number(db, FLOOR)?.unwrap_or(0)))
}

/// Position of the newest entry, deleted or not; 0 when there was never one.
pub(super) fn newest(db: &Connection) -> Result<LogPos, CommitError> {
    let kept: LogPos = db.query_row("SELECT coalesce(max(pos), 0) FROM log", [], |row| row.get(0))?;
    Ok(kept.max(floor(db)?))
}

/// Where the newest entry of a lane ends.
pub(super) fn last_seq(db: &Connection, lane: LaneNo) -> Result<Option<Seq>, CommitError> {
    let mut select = db.prepare_cached("SELECT max(last_seq) FROM log WHERE lane = ?1 AND kind <> ?2")?;
    Ok(select.query_row(params![lane.0, KIND_REPLAY], |row| row.get(0))?)
}

/// All ranges of a lane, in log order.
pub(super) fn ranges(db: &Connection, lane: LaneNo) -> Result<Vec<SeqRange>, CommitError> {
    let mut select =
        db.prepare_cached("SELECT first_seq, last_seq FROM log WHERE lane = ?1 AND kind <> ?2 ORDER BY pos")?;
    let rows = select
        .query_map(params![lane.0, KIND_REPLAY], |row| {
            Ok(SeqRange {
                first: row.get(0)?,
                last: row.get(1)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

const DROP_COLUMNS: &str = "lane, first, last, reason, count FROM ledger";

fn dropped_range(row: &Row<'_>) -> rusqlite::Result<(LaneNo, DroppedRange)> {
    let range = SeqRange {
        first: row.get(1)?,
        last: row.get(2)?,
    };
    let run = DroppedRange {
        range,
        reason: row.get(3)?,
        count: row.get(4)?,
    };
    Ok((LaneNo(row.get(0)?), run))
}

/// The dropped ranges of all lanes, by lane and seq.
pub(super) fn dropped(db: &Connection) -> Result<Vec<(LaneNo, DroppedRange)>, CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {DROP_COLUMNS} ORDER BY lane, last"))?;
    let rows = select
        .query_map([], dropped_range)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// The dropped range that a seq of a lane lies in.
pub(super) fn dropped_at(
    db: &Connection,
    lane: LaneNo,
    seq: Seq,
) -> Result<Option<DroppedRange>, CommitError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {DROP_COLUMNS} WHERE lane = ?1 AND last >= ?2 ORDER BY last LIMIT 1"
    ))?;
    let found = select.query_row(params![lane.0, seq], dropped_range).optional()?;
    Ok(found.map(|(_, run)| run).filter(|run| run.range.contains(seq)))
}

const HOP_COLUMNS: &str = "pos, agent, stream, epoch, committed_at, header";

fn header<T: DeserializeOwned>(pos: LogPos, row: &Row<'_>) -> Result<T, CommitError> {
    let bytes = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
    rmp_serde::from_slice(bytes).map_err(|error| CommitError::Damaged {
        what: format!("the hop record of log entry {pos}: {error}"),
    })
}

fn hop(row: &Row<'_>) -> Result<Hop, CommitError> {
    let pos: LogPos = row.get(0)?;
    Ok(Hop {
        pos,
        key: lane_key(row, 1)?,
        header: header(pos, row)?,
        committed_at: row.get(4)?,
    })
}

/// The hop record of the entry that holds a seq of a lane.
pub(super) fn hop_of(db: &Connection, lane: LaneNo, seq: Seq) -> Result<Option<Hop>, CommitError> {
    hop_in(db, "log", lane, seq)
}

/// The hop record of the deleted entry that held a seq of a lane.
pub(super) fn kept_hop_of(db: &Connection, lane: LaneNo, seq: Seq) -> Result<Option<Hop>, CommitError> {
    hop_in(db, "lineage", lane, seq)
}

/// Both tables have the columns of a hop record, and an index by lane.
fn hop_in(db: &Connection, table: &str, lane: LaneNo, seq: Seq) -> Result<Option<Hop>, CommitError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {HOP_COLUMNS} FROM {table} JOIN lanes ON lanes.no = {table}.lane
         WHERE {table}.lane = ?1 AND last_seq >= ?2 AND kind <> ?3 ORDER BY last_seq LIMIT 1"
    ))?;
    let mut rows = select.query(params![lane.0, seq, KIND_REPLAY])?;
    let found = rows.next()?.map(hop).transpose()?;
    Ok(found.filter(|hop| hop.header.range().contains(seq)))
}

fn entry(row: &Row<'_>) -> Result<LogEntry, CommitError> {
    let pos: LogPos = row.get(0)?;
    let header = if row.get::<_, i64>(6)? == KIND_REPLAY {
        EntryHeader::Replay(header(pos, row)?)
    } else {
        EntryHeader::Batch(header(pos, row)?)
    };
    let columns = Bytes::copy_from_slice(row.get_ref(7)?.as_blob().map_err(rusqlite::Error::from)?);
    if checksum(&columns) != header.body_crc() {
        return Err(CommitError::Damaged {
            what: format!("the columns of log entry {pos} fail their checksum"),
        });
    }
    Ok(LogEntry {
        pos,
        key: lane_key(row, 1)?,
        header,
        columns,
        committed_at: row.get(4)?,
    })
}

/// Entries after a position, in order: at most `limit`, and no further one once `max_bytes` of columns are
/// reached. At least one, if there is one.
pub(super) fn entries(
    db: &Connection,
    after: LogPos,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<LogEntry>, CommitError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {HOP_COLUMNS}, kind, body FROM log JOIN lanes ON lanes.no = log.lane
         WHERE log.pos > ?1 ORDER BY log.pos LIMIT ?2"
    ))?;
    read_entries(select.query(params![after.0, limit])?, max_bytes)
}

/// One at least, where there is one.
fn read_entries(mut rows: Rows<'_>, max_bytes: usize) -> Result<Vec<LogEntry>, CommitError> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < max_bytes || found.is_empty() {
        let Some(row) = rows.next()? else { break };
        let entry = entry(row)?;
        bytes += entry.columns.len();
        found.push(entry);
    }
    Ok(found)
}

/// As [`entries`], of one stream only, and none without valid rows.
pub(super) fn stream_entries(
    db: &Connection,
    stream: &StreamName,
    after: LogPos,
    max_bytes: usize,
) -> Result<Vec<LogEntry>, CommitError> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {HOP_COLUMNS}, kind, body FROM log JOIN lanes ON lanes.no = log.lane
         WHERE log.pos > ?1 AND lanes.stream = ?2 AND log.valid > 0 ORDER BY log.pos"
    ))?;
    read_entries(select.query(params![after.0, stream.as_str()])?, max_bytes)
}

/// Positions after one, in order: at most `limit`, and no further one once `max_bytes` of columns are reached.
pub(super) fn next_positions(
    db: &Connection,
    after: LogPos,
    limit: usize,
    max_bytes: usize,
) -> Result<Vec<LogPos>, CommitError> {
    let mut select =
        db.prepare_cached("SELECT pos, length(body) FROM log WHERE pos > ?1 ORDER BY pos LIMIT ?2")?;
    let mut rows = select.query(params![after.0, limit])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < max_bytes
        && let Some(row) = rows.next()?
    {
        found.push(row.get(0)?);
        bytes += row.get::<_, usize>(1)?;
    }
    Ok(found)
}

/// Positions of a stream's newest entries that hold events, newest first: at most `limit`, and no further one
/// once `max_bytes` of columns are reached.
pub(super) fn newest_of(
    db: &Connection,
    stream: &StreamName,
    limit: u32,
    max_bytes: usize,
) -> Result<Vec<LogPos>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT pos, length(body) FROM log JOIN lanes ON lanes.no = log.lane
         WHERE stream = ?1 AND length(body) > 0 ORDER BY pos DESC LIMIT ?2",
    )?;
    let mut rows = select.query(params![stream.as_str(), limit])?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < max_bytes
        && let Some(row) = rows.next()?
    {
        found.push(row.get(0)?);
        bytes += row.get::<_, usize>(1)?;
    }
    Ok(found)
}

/// One entry.
pub(super) fn commit_times(
    db: &Connection,
    positions: &[LogPos],
) -> Result<Vec<Option<Millis>>, CommitError> {
    let mut at = db.prepare_cached("SELECT committed_at FROM log WHERE pos = ?1")?;
    let times = positions
        .iter()
        .map(|pos| at.query_row([pos.0.cast_signed()], |row| row.get(0)).optional());
    Ok(times.collect::<Result<_, _>>()?)
}

pub(super) fn entry_at(db: &Connection, pos: LogPos) -> Result<Option<LogEntry>, CommitError> {
    let Some(before) = pos.0.checked_sub(1) else {
        return Ok(None);
    };
    let found = entries(db, LogPos(before), 1, 0)?.pop();
    Ok(found.filter(|entry| entry.pos == pos))
}
