//! The hop records of entries that retention has deleted: table `lineage` of log.db, with a retention of its own. An
//! event's path outlives its row.

use rusqlite::{Connection, OptionalExtension, params};
use tributary_shared::ids::{LaneNo, Seq};
use tributary_shared::time::Millis;

use super::messages::{CommitError, Gone, Hop, LineagePart, LineageStats, LogPos};
use super::queries::{self, KIND_REPLAY};
use super::retention::{CHUNK_HOPS, OldHop};

/// What a row takes beside its header: its numbers, and its cell of the index.
const ROW_BYTES: u64 = 80;
/// What lineage takes of an entry that is still in the log, beside its header: its numbers, its times, and its cells of
/// three indexes.
const ROW_BYTES_IN_LOG: u64 = 120;
/// Entries that are looked at for how long their headers are.
const SAMPLED: u64 = 256;
/// The times of deletions are kept by the hour.
const HOUR: Millis = 3_600_000;

/// Keys of the table of single values: what is in `lineage`.
const EVENTS: &str = "lineage_events";
const BYTES: &str = "lineage_bytes";

/// What was deleted; column `what` of `deletions`.
#[derive(Debug, Clone, Copy)]
enum Part {
    Entries = 0,
    Hops = 1,
}

/// Bytes that all hop records of deleted entries take, about.
pub(super) fn held_bytes(db: &Connection) -> Result<u64, CommitError> {
    Ok(queries::meta_number(db, BYTES)?.unwrap_or(0))
}

/// Events and bytes of some rows of `table` up to a position.
fn sums(db: &Connection, table: &str, upto: LogPos) -> Result<(u64, u64), CommitError> {
    let sql = format!(
        "SELECT coalesce(sum(CASE WHEN kind = ?2 THEN 0 ELSE last_seq - first_seq + 1 END), 0),
             coalesce(sum(length(header) + ?3), 0) FROM {table} WHERE pos <= ?1"
    );
    let mut select = db.prepare_cached(&sql)?;
    Ok(select.query_row(params![upto.0, KIND_REPLAY, ROW_BYTES], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?)
}

/// Takes over the hop records of entries that the same transaction deletes.
pub(super) fn take(db: &Connection, upto: LogPos, now: Millis) -> Result<(), CommitError> {
    let (events, bytes) = sums(db, "log", upto)?;
    db.prepare_cached(
        "INSERT INTO lineage SELECT log.pos, log.lane, first_seq, last_seq, valid, dead, kind, schema_id,
             schema_version, committed_at, min_time, max_time, header
         FROM log LEFT JOIN entry_times ON entry_times.pos = log.pos WHERE log.pos <= ?1",
    )?
    .execute([upto.0])?;
    let held: u64 = queries::meta_number(db, EVENTS)?.unwrap_or(0);
    queries::set_meta(db, EVENTS, held + events)?;
    queries::set_meta(db, BYTES, held_bytes(db)? + bytes)?;
    note_deletion(db, Part::Entries, upto, now)
}

/// Deletes hop records, from the oldest on.
pub(super) fn delete_upto(db: &Connection, upto: LogPos, now: Millis) -> Result<(), CommitError> {
    let (events, bytes) = sums(db, "lineage", upto)?;
    db.prepare_cached("DELETE FROM lineage WHERE pos <= ?1")?
        .execute([upto.0])?;
    let held: u64 = queries::meta_number(db, EVENTS)?.unwrap_or(0);
    queries::set_meta(db, EVENTS, held.saturating_sub(events))?;
    queries::set_meta(db, BYTES, held_bytes(db)?.saturating_sub(bytes))?;
    note_deletion(db, Part::Hops, upto, now)
}

/// The oldest ones, in order: what one transaction may delete.
pub(super) fn oldest(db: &Connection) -> Result<Vec<OldHop>, CommitError> {
    let mut select = db
        .prepare_cached("SELECT pos, committed_at, length(header) + ?2 FROM lineage ORDER BY pos LIMIT ?1")?;
    let rows = select.query_map(params![CHUNK_HOPS, ROW_BYTES], |row| {
        Ok(OldHop {
            pos: row.get(0)?,
            committed_at: row.get(1)?,
            bytes: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// One row an hour: the newest one moves on while its hour lasts.
fn note_deletion(db: &Connection, part: Part, upto: LogPos, now: Millis) -> Result<(), CommitError> {
    let at = now - now.rem_euclid(HOUR);
    db.prepare_cached("DELETE FROM deletions WHERE what = ?1 AND at = ?2")?
        .execute(params![part as i64, at])?;
    db.prepare_cached("INSERT OR REPLACE INTO deletions (what, upto, at) VALUES (?1, ?2, ?3)")?
        .execute(params![part as i64, upto.0, at])?;
    Ok(())
}

/// The hour in which something of a position was deleted; `None` where an earlier version did that.
fn deleted_at(db: &Connection, part: Part, pos: LogPos) -> Result<Option<Millis>, CommitError> {
    let mut select =
        db.prepare_cached("SELECT at FROM deletions WHERE what = ?1 AND upto >= ?2 ORDER BY upto LIMIT 1")?;
    Ok(select
        .query_row(params![part as i64, pos.0], |row| row.get(0))
        .optional()?)
}

/// The hour in which the entry at a position was deleted.
pub(super) fn entry_deleted_at(db: &Connection, pos: LogPos) -> Result<Option<Millis>, CommitError> {
    deleted_at(db, Part::Entries, pos)
}

/// What is still known of an event whose entry is deleted: its hops, and what is gone.
pub(super) fn of_expired(
    db: &Connection,
    lane: LaneNo,
    seq: Seq,
) -> Result<(Option<Box<Hop>>, Gone), CommitError> {
    let hop = queries::kept_hop_of(db, lane, seq)?.map(Box::new);
    let pos = match &hop {
        Some(hop) => Some(hop.pos),
        None => db
            .prepare_cached(
                "SELECT pos FROM passed_entries WHERE lane = ?1 AND last_seq >= ?2 ORDER BY last_seq LIMIT 1",
            )?
            .query_row(params![lane.0, seq], |row| row.get(0))
            .optional()?,
    };
    let at = |part| pos.map_or(Ok(None), |pos| deleted_at(db, part, pos));
    let gone = Gone {
        entry_at: at(Part::Entries)?,
        hops: hop.is_none(),
        hops_at: if hop.is_none() { at(Part::Hops)? } else { None },
    };
    Ok((hop, gone))
}

/// How large the record is.
pub(super) fn stats(db: &Connection) -> Result<LineageStats, CommitError> {
    let (floor, newest) = (queries::floor(db)?, queries::newest(db)?);
    let entries = newest.0 - floor.0;
    let events = db.query_row(
        "SELECT coalesce(sum(mark - floor_seq), 0) FROM lanes",
        [],
        |row| row.get(0),
    )?;
    let in_log = LineagePart {
        entries,
        events,
        bytes: header_bytes(db, floor, entries)? + entries * ROW_BYTES_IN_LOG,
    };
    let first: Option<(LogPos, Millis)> = db
        .query_row(
            "SELECT pos, committed_at FROM lineage ORDER BY pos LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let beyond = LineagePart {
        entries: first.map_or(0, |(first, _)| floor.next().0.saturating_sub(first.0)),
        events: queries::meta_number(db, EVENTS)?.unwrap_or(0),
        bytes: held_bytes(db)?,
    };
    let oldest: Option<Millis> = db
        .query_row("SELECT committed_at FROM log ORDER BY pos LIMIT 1", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(LineageStats {
        in_log,
        beyond,
        entries_since: oldest,
        hops_since: first.map(|(_, at)| at).or(oldest),
    })
}

/// Of the headers of the log's entries; estimated from some of them, evenly spread, when there are many.
fn header_bytes(db: &Connection, floor: LogPos, entries: u64) -> Result<u64, CommitError> {
    let sampled = entries.min(SAMPLED);
    let mut select = db.prepare_cached("SELECT length(header) FROM log WHERE pos = ?1")?;
    let mut sum: u64 = 0;
    for nth in 0..sampled {
        // positions have no holes
        let pos = floor.0 + 1 + (u128::from(nth) * u128::from(entries) / u128::from(sampled)) as u64;
        sum += select.query_row([pos], |row| row.get::<_, u64>(0))?;
    }
    Ok((u128::from(sum) * u128::from(entries) / u128::from(sampled.max(1))) as u64)
}
