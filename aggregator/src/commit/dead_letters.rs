//! Reading dead letters.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params, params_from_iter};
use tributary_shared::ids::{LaneKey, LaneNo, Seq};

use super::messages::{CommitError, DeadLetterFilter, StoredDeadLetter};
use super::queries;

/// The most dead letters in one answer.
pub const MAX_DEAD_LETTER_PAGE: u32 = 1_000;
/// The most bytes of payload in one answer: a payload may have a megabyte.
const MAX_PAGE_BYTES: usize = 8 << 20;

const COLUMNS: &str =
    "d.id, lane, seq, pos, at, d.schema_id, d.schema_version, reasons, payload, agent, stream, epoch
    FROM dead_letters d JOIN lanes ON lanes.no = d.lane";

fn letter(row: &Row<'_>) -> Result<StoredDeadLetter, CommitError> {
    let id = row.get(0)?;
    let LaneKey { agent, stream, .. } = queries::lane_key(row, 9)?;
    Ok(StoredDeadLetter {
        id,
        lane_no: LaneNo(row.get(1)?),
        seq: row.get(2)?,
        agent,
        stream,
        pos: row.get(3)?,
        at: row.get(4)?,
        schema: queries::schema_ref(row, 5)?,
        reasons: queries::decode_reasons(id, row.get_ref(7)?.as_str().map_err(rusqlite::Error::from)?)?,
        payload: row.get(8)?,
    })
}

/// The statement that lists letters, and its values.
pub(super) fn statement(filter: &DeadLetterFilter) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = Vec::new();
    let mut sql = format!("SELECT {COLUMNS}");
    if let Some(reason) = &filter.reason {
        // the planner then reads the rule's ids from the newest on, and no other letter
        sql.push_str(" JOIN dead_letter_rules r ON r.id = d.id AND r.rule = ?");
        values.push(reason.clone().into());
    }
    // of the two ids, which are the same, the one whose index gives the order
    let id = if filter.reason.is_some() { "r.id" } else { "d.id" };
    sql.push_str(" WHERE true");
    if let Some(before) = filter.before {
        sql.push_str(&format!(" AND {id} < ?"));
        values.push(before.into());
    }
    if let Some(stream) = &filter.stream {
        // keeps the scan on dead_letters, newest first, instead of collecting and sorting a stream's
        sql.push_str(" AND +d.lane IN (SELECT no FROM lanes WHERE stream = ?)");
        values.push(stream.as_str().to_owned().into());
    }
    let limit = if filter.limit == 0 {
        MAX_DEAD_LETTER_PAGE
    } else {
        filter.limit.min(MAX_DEAD_LETTER_PAGE)
    };
    sql.push_str(&format!(" ORDER BY {id} DESC LIMIT ?"));
    values.push(i64::from(limit).into());
    (sql, values)
}

/// Newest first.
pub(super) fn list(db: &Connection, filter: &DeadLetterFilter) -> Result<Vec<StoredDeadLetter>, CommitError> {
    let (sql, values) = statement(filter);
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < MAX_PAGE_BYTES {
        let Some(row) = rows.next()? else { break };
        let letter = letter(row)?;
        bytes += letter.payload.len();
        found.push(letter);
    }
    Ok(found)
}

pub(super) fn by_id(db: &Connection, id: i64) -> Result<Option<StoredDeadLetter>, CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.id = ?1"))?;
    let mut rows = select.query([id])?;
    rows.next()?.map(letter).transpose()
}

pub(super) fn by_seq(
    db: &Connection,
    lane: LaneNo,
    seq: Seq,
) -> Result<Option<StoredDeadLetter>, CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.lane = ?1 AND d.seq = ?2"))?;
    let mut rows = select.query(params![lane.0, seq])?;
    rows.next()?.map(letter).transpose()
}
