//! Leaves, heads and proofs, from a reading connection. What one call returns is of one moment when the connection is in
//! a transaction.

use rusqlite::{Connection, OptionalExtension as _};
use tributary_audit::{ConsistencyProof, InclusionProof, Kind, Leaf, consistency as hashes_of_consistency};

use super::messages::{AuditPage, AuditQuery, Kinds, NotProved};
use super::stored::{self, Stored};
use crate::commit::CommitError;

/// Leaves of the tree.
///
/// # Errors
/// Those of SQLite.
pub fn size(db: &Connection) -> Result<u64, CommitError> {
    stored::size(db)
}

/// The newest leaf of a kind that is not a commit group.
///
/// # Errors
/// Those of SQLite; [`CommitError::Damaged`].
pub fn newest_of(db: &Connection, kind: Kind) -> Result<Option<Leaf>, CommitError> {
    stored::newest_of(db, kind)
}

/// Some leaves, in order.
///
/// # Errors
/// Those of SQLite; [`CommitError::Damaged`] at a leaf that cannot be read.
pub fn page(db: &Connection, query: AuditQuery) -> Result<AuditPage, CommitError> {
    let (acts, one) = match query.kinds {
        // the table by its key
        Kinds::All | Kinds::One(Kind::CommitGroup) => ("", "?3 = 0 OR kind = ?3"),
        Kinds::Acts | Kinds::One(_) => ("INDEXED BY audit_acts", "?3 = 0 OR kind = ?3) AND (kind <> 2"),
    };
    let kind = match query.kinds {
        Kinds::One(kind) => kind.code(),
        Kinds::All | Kinds::Acts => 0,
    };
    let (bound, order) = if query.newest_first {
        ("<", "DESC")
    } else {
        (">=", "ASC")
    };
    // SQLite's integers have a sign
    let most = i64::MAX.unsigned_abs();
    let start = query
        .from
        .unwrap_or(if query.newest_first { most } else { 0 })
        .min(most);
    let mut select = db.prepare_cached(&format!(
        "SELECT idx, leaf FROM audit_leaves {acts} WHERE idx {bound} ?1 AND ({one}) ORDER BY idx {order} LIMIT ?2"
    ))?;
    let mut rows = select.query(rusqlite::params![start, query.limit, kind])?;
    let mut leaves = Vec::new();
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        leaves.push(stored::parse(row.get(0)?, bytes)?);
    }
    let size = stored::size(db)?;
    Ok(AuditPage { size, leaves })
}

/// The text of the newest head; `None` before the audit began.
///
/// # Errors
/// Those of SQLite.
pub fn newest_head(db: &Connection) -> Result<Option<String>, CommitError> {
    let mut select =
        db.prepare_cached("SELECT head FROM audit_heads WHERE void = 0 ORDER BY size DESC LIMIT 1")?;
    Ok(select.query_row([], |row| row.get(0)).optional()?)
}

/// The text of the head of a size.
///
/// # Errors
/// Those of SQLite.
pub fn head_at(db: &Connection, size: u64) -> Result<Option<String>, CommitError> {
    let mut select = db.prepare_cached("SELECT head FROM audit_heads WHERE size = ?1 AND void = 0")?;
    Ok(select.query_row([size], |row| row.get(0)).optional()?)
}

/// Heads of more leaves than `after`: size and text, by size.
///
/// # Errors
/// Those of SQLite.
pub fn heads(db: &Connection, after: u64, limit: usize) -> Result<Vec<(u64, String)>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT size, head FROM audit_heads WHERE size > ?1 AND void = 0 ORDER BY size LIMIT ?2",
    )?;
    let rows = select.query_map(rusqlite::params![after, limit], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn nearest(db: &Connection, sql: &str, size: u64) -> Result<Option<u64>, CommitError> {
    Ok(db.prepare_cached(sql)?.query_row([size], |row| row.get(0))?)
}

/// The head of a size, or why there is none.
fn needed_head(db: &Connection, size: u64) -> Result<String, NotProved> {
    if let Some(head) = head_at(db, size)? {
        return Ok(head);
    }
    Err(NotProved::NoHead {
        size,
        below: nearest(
            db,
            "SELECT max(size) FROM audit_heads WHERE size < ?1 AND void = 0",
            size,
        )?,
        above: nearest(
            db,
            "SELECT min(size) FROM audit_heads WHERE size > ?1 AND void = 0",
            size,
        )?,
    })
}

/// The size of the newest head.
fn newest_size(db: &Connection) -> Result<u64, NotProved> {
    Ok(nearest(
        db,
        "SELECT coalesce(max(size), 0) FROM audit_heads WHERE size > ?1 AND void = 0",
        0,
    )?
    .unwrap_or(0))
}

/// That a leaf is in the tree of a head: the newest one, or the one of a size.
///
/// # Errors
/// [`NotProved`].
pub fn inclusion(db: &Connection, index: u64, size: Option<u64>) -> Result<InclusionProof, NotProved> {
    let size = size.map_or_else(|| newest_size(db), Ok)?;
    let head = needed_head(db, size)?;
    let leaf = stored::leaf_bytes(db, index)?.filter(|_| index < size);
    let leaf = leaf.ok_or(NotProved::NoLeaf { index, size })?;
    let proof = tributary_audit::inclusion(&mut Stored(db), index, size)?;
    Ok(InclusionProof::new(index, size, &leaf, &proof, Some(&head)))
}

/// That the tree of a head continues that of an earlier one; the later one is the newest when none is named.
///
/// # Errors
/// [`NotProved`].
pub fn consistency(db: &Connection, from: u64, to: Option<u64>) -> Result<ConsistencyProof, NotProved> {
    let to = to.map_or_else(|| newest_size(db), Ok)?;
    if from > to {
        return Err(NotProved::Backwards { from, to });
    }
    let later = needed_head(db, to)?;
    if from == 0 {
        let above = nearest(
            db,
            "SELECT min(size) FROM audit_heads WHERE size > ?1 AND void = 0",
            0,
        )?;
        return Err(NotProved::NoHead {
            size: 0,
            below: None,
            above,
        });
    }
    // who asks may have a head of a tree that was lost: its size is proved, whoever kept it has the text
    let earlier = head_at(db, from)?;
    let proof = hashes_of_consistency(&mut Stored(db), from, to)?;
    Ok(ConsistencyProof::new(
        from,
        to,
        &proof,
        (earlier.as_deref(), Some(&later)),
    ))
}
