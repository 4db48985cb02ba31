//! Writing letters, within the commit thread's transactions.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use tributary_audit::EntryRecord;
use tributary_shared::ids::{LaneNo, Seq, SeqRange};
use tributary_shared::time::Millis;
use tributary_shared::wire::{CommitHeader, DeadLetter, Reason};

use super::super::messages::{CommitError, LogPos};
use super::super::{queries, times};
use super::lines::{LETTER_DISCARDED, LETTER_EXPIRED, Line, fold};
use super::messages::LetterState;
use super::read::{newest_id, state};
use super::settle::{Discard, Replay};
use super::tally::Tally;

/// The log's kind of a replay, within a leaf.
const ENTRY_OF_REPLAY: u8 = 2;

/// Stores the letters of one committed batch.
pub fn insert(
    db: &Connection,
    pos: LogPos,
    header: &CommitHeader,
    letters: &[DeadLetter],
    now: Millis,
) -> Result<(), CommitError> {
    if letters.is_empty() {
        return Ok(());
    }
    let schema = header.schema.map(|schema| (schema.id, schema.version)).unzip();
    let mut insert = db.prepare_cached(
        "INSERT INTO dead_letters
         (id, lane, seq, pos, at, schema_id, schema_version, reasons, payload, state, collected_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, ?10)",
    )?;
    let mut insert_rule =
        db.prepare_cached("INSERT OR IGNORE INTO dead_letter_rules (rule, id) VALUES (?1, ?2)")?;
    let first_id = next_id(db)?;
    let mut tally = Tally::default();
    for (id, letter) in (first_id..).zip(letters) {
        let reasons = queries::encode_reasons(&letter.reasons)?;
        insert.execute(params![
            id,
            header.lane.0,
            letter.seq,
            pos.0,
            now,
            schema.0,
            schema.1,
            reasons,
            letter.payload,
            header.collected_at(letter.seq),
        ])?;
        for name in letter.reasons.iter().flat_map(names) {
            insert_rule.execute(params![name, id])?;
        }
        tally.count(
            header.lane,
            LetterState::Open,
            &letter.reasons,
            letter.payload.len(),
            1,
        );
    }
    tally.write(db)
}

/// What a reason is found by: its rule, and its path. The two cannot be confused, because a path begins with a slash.
fn names(reason: &Reason) -> impl Iterator<Item = &str> {
    [reason.rule.as_str(), reason.path.as_str()]
        .into_iter()
        .filter(|name| !name.is_empty())
}

/// Above every id that was ever given: an id in somebody's list never names another letter later.
fn next_id(db: &Connection) -> Result<i64, CommitError> {
    let floor: i64 = queries::meta_number(db, queries::LETTER_FLOOR)?.unwrap_or(0);
    Ok(newest_id(db)?.max(floor) + 1)
}

/// A letter that changes its state: what its counts need.
struct Moved {
    lane: LaneNo,
    seq: Seq,
    reasons: Vec<Reason>,
    payload: usize,
}

fn settle(db: &Connection, id: i64, to: LetterState, act: i64) -> Result<Moved, CommitError> {
    let mut update = db.prepare_cached(
        "UPDATE dead_letters SET state = ?2, act = ?3 WHERE id = ?1 AND state = 0
         RETURNING lane, seq, reasons, length(payload)",
    )?;
    let mut rows = update.query(params![id, to.tag(), act])?;
    let Some(row) = rows.next()? else {
        return Err(CommitError::Damaged {
            what: format!("dead letter {id} was open a moment ago, and is not"),
        });
    };
    Ok(Moved {
        lane: LaneNo(row.get(0)?),
        seq: row.get(1)?,
        reasons: queries::decode_reasons(id, row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        payload: row.get(3)?,
    })
}

/// Moves letters out of `Open`, and their counts with them. Returns lane and seq of each.
fn settle_all(
    db: &Connection,
    ids: impl Iterator<Item = i64>,
    to: LetterState,
    act: i64,
) -> Result<Vec<(LaneNo, Seq)>, CommitError> {
    let (mut tally, mut moved) = (Tally::default(), Vec::new());
    for id in ids {
        let letter = settle(db, id, to, act)?;
        tally.count(
            letter.lane,
            LetterState::Open,
            &letter.reasons,
            letter.payload,
            -1,
        );
        tally.count(letter.lane, to, &letter.reasons, letter.payload, 1);
        moved.push((letter.lane, letter.seq));
    }
    tally.write(db)?;
    Ok(moved)
}

/// Writes a replay's log entry, and marks its letters. Returns what the entry is anchored by.
pub fn settle_replay(db: &Connection, replay: &Replay, now: Millis) -> Result<EntryRecord, CommitError> {
    let Replay { pos, batch } = replay;
    let header = &batch.header;
    let stored_header = queries::encode_replay_header(header)?;
    let schema = header.schema.map(|schema| (schema.id, schema.version)).unzip();
    db.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11)")?
        .execute(params![
            pos.0,
            header.lane.0,
            header.seqs.first(),
            header.seqs.last(),
            header.seqs.len(),
            queries::KIND_REPLAY,
            schema.0,
            schema.1,
            now,
            stored_header,
            &batch.columns[..],
        ])?;
    times::insert(db, *pos, header.lane, batch.facts.times)?;
    db.prepare_cached(
        "INSERT INTO dead_letter_acts (at, by, pos, schema_id, schema_version, fix, letters)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        now,
        header.by,
        pos.0,
        schema.0,
        schema.1,
        header.fix,
        batch.ids.len()
    ])?;
    let act = db.last_insert_rowid();
    settle_all(db, batch.ids.iter().copied(), LetterState::Replayed, act)?;
    Ok(EntryRecord {
        pos: pos.0,
        lane: header.lane.0,
        first_seq: header.seqs.first().copied().unwrap_or(0),
        last_seq: header.seqs.last().copied().unwrap_or(0),
        kind: ENTRY_OF_REPLAY,
        digest: batch.facts.digest.with_header(&stored_header).digest(),
    })
}

/// Marks letters as discarded, and gives them their lines in the ledger.
pub fn settle_discard(db: &Connection, discard: &Discard, now: Millis) -> Result<(), CommitError> {
    db.prepare_cached("INSERT INTO dead_letter_acts (at, by, reason, letters) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![now, discard.by, discard.reason, discard.letters.len()])?;
    let act = db.last_insert_rowid();
    let ids = discard.letters.iter().map(|letter| letter.0);
    let moved = settle_all(db, ids, LetterState::Discarded, act)?;
    add_lines(db, LETTER_DISCARDED, moved)
}

fn add_lines(db: &Connection, reason: &str, letters: Vec<(LaneNo, Seq)>) -> Result<(), CommitError> {
    let mut by_lane: BTreeMap<LaneNo, Vec<Seq>> = BTreeMap::new();
    for (lane, seq) in letters {
        by_lane.entry(lane).or_default().push(seq);
    }
    for (lane, mut seqs) in by_lane {
        seqs.sort_unstable();
        let mut lines = lines(db, lane, reason)?;
        fold(&mut lines, &seqs);
        db.prepare_cached("DELETE FROM dead_letter_lines WHERE lane = ?1 AND reason = ?2")?
            .execute(params![lane.0, reason])?;
        let mut insert = db.prepare_cached(
            "INSERT INTO dead_letter_lines (lane, reason, first, last, count) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for Line { range, count } in lines {
            insert.execute(params![lane.0, reason, range.first, range.last, count])?;
        }
    }
    Ok(())
}

fn lines(db: &Connection, lane: LaneNo, reason: &str) -> Result<Vec<Line>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT first, last, count FROM dead_letter_lines WHERE lane = ?1 AND reason = ?2 ORDER BY first",
    )?;
    let rows = select.query_map(params![lane.0, reason], |row| {
        let range = SeqRange {
            first: row.get(0)?,
            last: row.get(1)?,
        };
        let count = row.get(2)?;
        Ok(Line { range, count })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Deletes the letters up to an id. Those that were open get their lines in the ledger; returns how many.
pub fn delete_upto(db: &Connection, upto: i64) -> Result<u64, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT id, lane, seq, state, reasons, length(payload), act FROM dead_letters WHERE id <= ?1",
    )?;
    let mut forget_name = db.prepare_cached("DELETE FROM dead_letter_rules WHERE rule = ?1 AND id = ?2")?;
    let (mut tally, mut open, mut acts) = (Tally::default(), Vec::new(), BTreeMap::<i64, u64>::new());
    let mut rows = select.query([upto])?;
    while let Some(row) = rows.next()? {
        let (id, lane, seq): (i64, LaneNo, Seq) = (row.get(0)?, LaneNo(row.get(1)?), row.get(2)?);
        let state = state(id, row.get(3)?)?;
        let reasons = queries::decode_reasons(id, row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?;
        tally.count(lane, state, &reasons, row.get(5)?, -1);
        for name in reasons.iter().flat_map(names) {
            forget_name.execute(params![name, id])?;
        }
        if state == LetterState::Open {
            open.push((lane, seq));
        }
        if let Some(act) = row.get(6)? {
            *acts.entry(act).or_default() += 1;
        }
    }
    drop(rows);
    let expired = open.len() as u64;
    add_lines(db, LETTER_EXPIRED, open)?;
    tally.write(db)?;
    for (act, gone) in acts {
        db.prepare_cached("UPDATE dead_letter_acts SET letters = letters - ?2 WHERE id = ?1")?
            .execute(params![act, gone])?;
        db.prepare_cached("DELETE FROM dead_letter_acts WHERE id = ?1 AND letters <= 0")?
            .execute([act])?;
    }
    db.prepare_cached("DELETE FROM dead_letters WHERE id <= ?1")?
        .execute([upto])?;
    let floor: i64 = queries::meta_number(db, queries::LETTER_FLOOR)?.unwrap_or(0);
    queries::set_meta(db, queries::LETTER_FLOOR, floor.max(upto))?;
    Ok(expired)
}
