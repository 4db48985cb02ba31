//! Reading dead letters.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use tributary_shared::ids::{LaneKey, LaneNo, Seq, SeqRange, StreamName};
use tributary_shared::time::Millis;

use super::super::messages::{CommitError, DroppedRange};
use super::super::queries;
use super::filter::{DeadLetterFilter, ScanFrom, statement, walk};
use super::messages::{LetterCount, LetterState, LetterToReplay, Settlement, StoredDeadLetter};

/// The most dead letters in one answer.
pub const MAX_DEAD_LETTER_PAGE: u32 = 1_000;
/// The most bytes of payload in one answer: a payload may have a megabyte.
const MAX_PAGE_BYTES: usize = 8 << 20;

pub(super) const COLUMNS: &str =
    "d.id, d.lane, d.seq, d.pos, d.at, d.schema_id, d.schema_version, reasons, payload, agent, stream, epoch,
    d.state, a.at, a.by, a.pos, a.schema_id, a.schema_version, a.fix, a.reason
    FROM dead_letters d JOIN lanes ON lanes.no = d.lane LEFT JOIN dead_letter_acts a ON a.id = d.act";

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
        settled: settlement(id, row)?,
    })
}

fn settlement(id: i64, row: &Row<'_>) -> Result<Option<Settlement>, CommitError> {
    let settled = match state(id, row.get(12)?)? {
        LetterState::Open => return Ok(None),
        LetterState::Replayed => Settlement::Replayed {
            at: row.get(13)?,
            by: row.get(14)?,
            pos: row.get(15)?,
            schema: queries::schema_ref(row, 16)?,
            fix: row.get(18)?,
        },
        LetterState::Discarded => Settlement::Discarded {
            at: row.get(13)?,
            by: row.get(14)?,
            reason: row.get(19)?,
        },
    };
    Ok(Some(settled))
}

pub(super) fn state(id: i64, tag: i64) -> Result<LetterState, CommitError> {
    LetterState::of_tag(tag).ok_or_else(|| CommitError::Damaged {
        what: format!("dead letter {id} has the state {tag}, which this program does not know"),
    })
}

/// Newest first.
pub fn list(db: &Connection, filter: &DeadLetterFilter) -> Result<Vec<StoredDeadLetter>, CommitError> {
    let (sql, values) = statement(COLUMNS, filter);
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

pub fn by_id(db: &Connection, id: i64) -> Result<Option<StoredDeadLetter>, CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.id = ?1"))?;
    let mut rows = select.query([id])?;
    rows.next()?.map(letter).transpose()
}

pub fn by_seq(db: &Connection, lane: LaneNo, seq: Seq) -> Result<Option<StoredDeadLetter>, CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {COLUMNS} WHERE d.lane = ?1 AND d.seq = ?2"))?;
    let mut rows = select.query(params![lane.0, seq])?;
    rows.next()?.map(letter).transpose()
}

/// A settled letter's payload is not needed, and a walk over a million of them reads none.
const REPLAY_COLUMNS: &str = "d.id, d.lane, d.seq, d.at, d.state, d.collected_at,
    CASE WHEN d.state = 0 THEN payload ELSE x'' END, agent, stream, epoch
    FROM dead_letters d JOIN lanes ON lanes.no = d.lane";

fn to_replay(db: &Connection, row: &Row<'_>) -> Result<LetterToReplay, CommitError> {
    let id = row.get(0)?;
    let (lane_no, seq, at): (LaneNo, Seq, Millis) = (LaneNo(row.get(1)?), row.get(2)?, row.get(3)?);
    let collected_at = match row.get(5)? {
        Some(collected_at) => collected_at,
        // stored before letters knew it: its entry does, while it is there
        None => queries::hop_of(db, lane_no, seq)?
            .and_then(|hop| hop.header.collected_at(seq))
            .unwrap_or(at),
    };
    Ok(LetterToReplay {
        id,
        lane_no,
        key: queries::lane_key(row, 7)?,
        seq,
        state: state(id, row.get(4)?)?,
        collected_at,
        payload: row.get(6)?,
    })
}

/// The next letters of a walk, oldest first: at most `limit`, and no further one once `max_bytes` of payload are
/// reached. Empty at its end.
pub fn chunk(
    db: &Connection,
    filter: &DeadLetterFilter,
    from: ScanFrom,
    limit: u32,
    max_bytes: usize,
) -> Result<Vec<LetterToReplay>, CommitError> {
    let (sql, values) = walk(REPLAY_COLUMNS, filter, from, limit);
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(values))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while bytes < max_bytes || found.is_empty() {
        let Some(row) = rows.next()? else { break };
        let letter = to_replay(db, row)?;
        bytes += letter.payload.len();
        found.push(letter);
    }
    Ok(found)
}

/// The letters of these ids that are there: as many of the first ones as `max_bytes` of payload allow. Returns also
/// how many of the ids that covers.
pub fn of_ids(
    db: &Connection,
    ids: &[i64],
    max_bytes: usize,
) -> Result<(Vec<LetterToReplay>, usize), CommitError> {
    let mut select = db.prepare_cached(&format!("SELECT {REPLAY_COLUMNS} WHERE d.id = ?1"))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    for (at, id) in ids.iter().enumerate() {
        if bytes >= max_bytes {
            return Ok((found, at));
        }
        let mut rows = select.query([id])?;
        if let Some(row) = rows.next()? {
            let letter = to_replay(db, row)?;
            bytes += letter.payload.len();
            found.push(letter);
        }
    }
    Ok((found, ids.len()))
}

/// The highest id; 0 when there is no letter.
pub fn newest_id(db: &Connection) -> Result<i64, CommitError> {
    Ok(
        db.query_row("SELECT coalesce(max(id), 0) FROM dead_letters", [], |row| {
            row.get(0)
        })?,
    )
}

/// The streams of these letters.
pub fn streams_of(db: &Connection, ids: &[i64]) -> Result<Vec<StreamName>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT agent, stream, epoch FROM dead_letters d JOIN lanes ON lanes.no = d.lane WHERE d.id = ?1",
    )?;
    let mut found: Vec<StreamName> = Vec::new();
    for id in ids {
        let key = select
            .query_row([id], |row| queries::lane_key(row, 0))
            .optional()?;
        if let Some(key) = key
            && !found.contains(&key.stream)
        {
            found.push(key.stream);
        }
    }
    Ok(found)
}

/// Every count that is not 0, by stream, state and rule.
pub fn counts(db: &Connection) -> Result<Vec<LetterCount>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT min(agent), stream, min(epoch), state, rule, sum(count), sum(bytes)
         FROM dead_letter_counts c JOIN lanes ON lanes.no = c.lane
         GROUP BY stream, state, rule HAVING sum(count) > 0 ORDER BY stream, state, rule",
    )?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let rule: String = row.get(4)?;
        found.push(LetterCount {
            stream: queries::lane_key(row, 0)?.stream,
            state: state(0, row.get(3)?)?,
            rule: (!rule.is_empty()).then_some(rule),
            count: row.get(5)?,
            bytes: row.get(6)?,
        });
    }
    Ok(found)
}

/// Bytes of all payloads that are kept.
pub fn held_bytes(db: &Connection) -> Result<u64, CommitError> {
    let sum = "SELECT coalesce(sum(bytes), 0) FROM dead_letter_counts WHERE rule = ''";
    Ok(db.query_row(sum, [], |row| row.get(0))?)
}

/// The lines of all letters that were given up, by lane and seq.
pub fn lines_of(db: &Connection) -> Result<Vec<(LaneNo, DroppedRange)>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT lane, reason, first, last, count FROM dead_letter_lines ORDER BY lane, first, reason",
    )?;
    let rows = select.query_map([], |row| {
        let range = SeqRange {
            first: row.get(2)?,
            last: row.get(3)?,
        };
        let line = DroppedRange {
            range,
            reason: row.get(1)?,
            count: row.get(4)?,
        };
        Ok((LaneNo(row.get(0)?), line))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
