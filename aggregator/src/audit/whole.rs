//! A whole audit: exported as text, or walked through, from the file alone.

use std::io::Write;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use tributary_audit::{ExportLine, Hash, Outcome, PublicKey, SignedHead, Walk};

use super::stored::{self, damaged};
use crate::commit::{CommitError, LOG_FILE};

/// Leaves that are read in one go: an aggregator that runs may do as it likes in between, because leaves never change.
const CHUNK: u64 = 1_000;

/// log.db of a directory, whether or not an aggregator runs in it.
///
/// # Errors
/// [`CommitError::Damaged`] when there is no audit in it; those of SQLite.
pub fn open_read_only(dir: &Path) -> Result<Connection, CommitError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(dir.join(LOG_FILE), flags)?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    let there: bool = db.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'audit_leaves'",
        [],
        |row| row.get(0),
    )?;
    if !there {
        return Err(damaged(
            "log.db is of a version that kept none; start this version on it once",
        ));
    }
    Ok(db)
}

/// Hands over all leaves that there are when it begins, in order. Heads and nodes are read before: then there is no head
/// of more leaves, whoever appends meanwhile.
fn each_leaf(
    db: &Connection,
    tell: &mut dyn FnMut(u64, u64),
    mut take: impl FnMut(u64, &[u8]) -> Result<(), CommitError>,
) -> Result<u64, CommitError> {
    let size = stored::size(db)?;
    for from in (0..size).step_by(CHUNK as usize) {
        tell(from, size);
        stored::each_leaf(db, from, size.min(from + CHUNK), &mut take)?;
    }
    Ok(size)
}

fn each_head(
    db: &Connection,
    mut take: impl FnMut(String) -> Result<(), CommitError>,
) -> Result<(), CommitError> {
    let mut select = db.prepare("SELECT head FROM audit_heads ORDER BY size")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        take(row.get(0)?)?;
    }
    Ok(())
}

fn each_node(
    db: &Connection,
    mut take: impl FnMut(u32, u64, Hash) -> Result<(), CommitError>,
) -> Result<(), CommitError> {
    let mut select = db.prepare("SELECT level, idx, hash FROM audit_nodes ORDER BY level, idx")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        // what is no hash fits nothing, and is found as an edited node
        let hash = row
            .get_ref(2)?
            .as_blob()
            .ok()
            .and_then(|bytes| Hash::try_from(bytes).ok());
        take(row.get(0)?, row.get(1)?, hash.unwrap_or_default())?;
    }
    Ok(())
}

/// Checks everything: each leaf, each node, each head; `kept` are heads that somebody has kept. `tell` hears how many
/// leaves are done, and of how many.
///
/// # Errors
/// When the file cannot be read. What is wrong with the tree is in the outcome.
pub fn walk(
    db: &Connection,
    keys: Vec<PublicKey>,
    kept: &[SignedHead],
    tell: &mut dyn FnMut(u64, u64),
) -> Result<Outcome, CommitError> {
    let mut walk = Walk::new(keys);
    kept.iter().cloned().for_each(|head| walk.signed_head(head));
    each_head(db, |head| {
        walk.head(&head);
        Ok(())
    })?;
    each_node(db, |level, index, hash| {
        walk.node(level, index, hash);
        Ok(())
    })?;
    each_leaf(db, tell, |index, bytes| {
        walk.leaf(index, bytes);
        Ok(())
    })?;
    Ok(walk.finish())
}

/// Writes everything as lines of JSON, for `tributary-audit-verify`.
///
/// # Errors
/// When the file cannot be read, or `out` not be written.
pub fn export(
    db: &Connection,
    key: &PublicKey,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(u64, u64),
) -> Result<u64, CommitError> {
    let mut put = |line: &ExportLine| {
        let text = serde_json::to_string(line).map_err(std::io::Error::from)?;
        writeln!(out, "{text}").map_err(CommitError::from)
    };
    put(&ExportLine::begin(key))?;
    each_head(db, |head| put(&ExportLine::Head { head }))?;
    each_node(db, |level, index, hash| {
        put(&ExportLine::node(level, index, &hash))
    })?;
    let size = each_leaf(db, tell, |index, bytes| put(&ExportLine::leaf(index, bytes)))?;
    put(&ExportLine::End { end: size })?;
    Ok(size)
}
