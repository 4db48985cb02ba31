//! Everything that proves one event's receipt.

use rusqlite::{Connection, OptionalExtension as _, params};
use tributary_audit::{Content, EntryDigest, EntryRecord, EntryShown, EventName, Receipt, time_text};
use tributary_shared::ids::{LaneNo, Seq};

use super::messages::NotProved;
use super::read::{inclusion, newest_head};
use super::stored;
use crate::commit::{CommitError, LaneRow};

/// A receipt, or that the newest head does not reach the event yet: sign one, and ask again.
#[derive(Debug, Clone, PartialEq)]
pub enum ReceiptAnswer {
    Proved(Box<Receipt>),
    NotSigned,
}

/// The receipt of an event of a lane.
///
/// # Errors
/// [`NotProved`].
pub fn receipt(db: &Connection, lane: &LaneRow, seq: Seq) -> Result<ReceiptAnswer, NotProved> {
    if seq == 0 || seq > lane.mark {
        return Err(NotProved::NotCommitted { mark: lane.mark });
    }
    let pos = position(db, lane.lane_no, seq)?.ok_or(NotProved::Forgotten)?;
    let (index, record, at) = leaf_of(db, pos)?.ok_or(NotProved::BeforeAudit { pos })?;
    let newest = "SELECT coalesce(max(size), 0) FROM audit_heads WHERE void = 0";
    let signed: u64 = db.query_row(newest, [], |row| row.get(0))?;
    if index >= signed || newest_head(db)?.is_none() {
        return Ok(ReceiptAnswer::NotSigned);
    }
    let opened: Option<u64> = db
        .prepare_cached("SELECT opened_leaf FROM lanes WHERE no = ?1")?
        .query_row([lane.lane_no.0], |row| row.get(0))?;
    Ok(ReceiptAnswer::Proved(Box::new(Receipt {
        event: EventName {
            agent: lane.key.agent.to_string(),
            stream: lane.key.stream.to_string(),
            epoch: lane.key.epoch.0,
            seq,
            lane: lane.lane_no.0,
        },
        received_at: time_text(at),
        group: inclusion(db, index, None)?,
        lane_opened: opened.map(|leaf| inclusion(db, leaf, None)).transpose()?,
        entry: entry(db, &record)?,
    })))
}

/// Where the batch is, or was, that brought an event.
fn position(db: &Connection, lane: LaneNo, seq: Seq) -> Result<Option<u64>, CommitError> {
    let kept = "SELECT pos FROM log WHERE lane = ?1 AND last_seq >= ?2 AND first_seq <= ?2 AND kind <> 2
         ORDER BY last_seq LIMIT 1";
    let passed =
        "SELECT pos FROM passed_entries WHERE lane = ?1 AND last_seq >= ?2 ORDER BY last_seq LIMIT 1";
    for sql in [kept, passed] {
        let pos = db
            .prepare_cached(sql)?
            .query_row(params![lane.0, seq], |row| row.get(0));
        if let Some(pos) = pos.optional()? {
            return Ok(Some(pos));
        }
    }
    Ok(None)
}

/// The leaf that anchors the log entry of a position: its index, what it says of the entry, and its time. Positions rise
/// with the leaves, so it is found by halving.
///
/// # Errors
/// Those of SQLite; [`CommitError::Damaged`].
pub fn leaf_of(db: &Connection, pos: u64) -> Result<Option<(u64, EntryRecord, i64)>, CommitError> {
    let group_at =
        "SELECT idx, pos FROM audit_leaves WHERE idx <= ?1 AND pos IS NOT NULL ORDER BY idx DESC LIMIT 1";
    let mut select = db.prepare_cached(group_at)?;
    // the last group at or before the wanted position lies at or above `low`, and below `high`
    let (mut low, mut high, mut found) = (0, stored::size(db)?, None);
    while low < high {
        let middle = low + (high - low) / 2;
        let group: Option<(u64, u64)> = select
            .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match group {
            Some((index, first)) if first > pos => high = index,
            Some((index, _)) => {
                found = Some(index);
                low = middle + 1;
            }
            None => low = middle + 1,
        }
    }
    let Some(index) = found else { return Ok(None) };
    let bytes =
        stored::leaf_bytes(db, index)?.ok_or_else(|| stored::damaged(format!("leaf {index} is missing")))?;
    let leaf = stored::parse(index, &bytes)?;
    let Content::Group(entries) = leaf.content else {
        return Ok(None);
    };
    let record = entries.into_iter().find(|entry| entry.pos == pos);
    Ok(record.map(|record| (index, record, leaf.at)))
}

/// What the log still has of an entry; `None` when it, or one of its letters, is deleted.
fn entry(db: &Connection, record: &EntryRecord) -> Result<Option<EntryShown>, CommitError> {
    let mut select = db.prepare_cached("SELECT header, body, dead FROM log WHERE pos = ?1")?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(Vec<u8>, Vec<u8>, usize)> = select.query_row([record.pos], row).optional()?;
    let Some((header, columns, dead)) = found else {
        return Ok(None);
    };
    let mut select = db.prepare_cached(
        "SELECT payload FROM dead_letters WHERE lane = ?1 AND seq >= ?2 AND seq <= ?3 ORDER BY seq",
    )?;
    let letters = select.query_map(params![record.lane, record.first_seq, record.last_seq], |row| {
        // whatever somebody has made of it
        Ok(row.get_ref(0)?.as_bytes()?.to_vec())
    })?;
    let letters: Vec<Vec<u8>> = letters.collect::<rusqlite::Result<_>>()?;
    if letters.len() != dead {
        return Ok(None);
    }
    let digest = EntryDigest::of(&header, &columns, letters.iter().map(Vec::as_slice));
    Ok(Some(EntryShown::new(&header, &digest)))
}
