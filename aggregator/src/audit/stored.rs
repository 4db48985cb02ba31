//! The tables, as the tree's nodes. IO without decisions.

use rusqlite::{Connection, OptionalExtension as _, params};
use tributary_audit::{Hash, Kind, Leaf, Node, NodeSource, SignedHead, Tree, leaf_hash};

use crate::commit::CommitError;

pub(super) fn damaged(what: impl Into<String>) -> CommitError {
    CommitError::Damaged {
        what: format!("the audit: {}", what.into()),
    }
}

fn to_hash(bytes: &[u8]) -> Result<Hash, CommitError> {
    Hash::try_from(bytes).map_err(|_| damaged("a node is no hash"))
}

/// Leaves.
pub(super) fn size(db: &Connection) -> Result<u64, CommitError> {
    let mut select = db.prepare_cached("SELECT coalesce(max(idx) + 1, 0) FROM audit_leaves")?;
    Ok(select.query_row([], |row| row.get(0))?)
}

pub(super) fn leaf_bytes(db: &Connection, index: u64) -> Result<Option<Vec<u8>>, CommitError> {
    let mut select = db.prepare_cached("SELECT leaf FROM audit_leaves WHERE idx = ?1")?;
    Ok(select.query_row([index], |row| row.get(0)).optional()?)
}

pub(super) fn parse(index: u64, bytes: &[u8]) -> Result<Leaf, CommitError> {
    Leaf::parse(bytes).map_err(|error| damaged(format!("leaf {index}: {error}")))
}

/// Hands over the leaves from one on, before another, in order.
pub(super) fn each_leaf<E: From<CommitError>>(
    db: &Connection,
    from: u64,
    to: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let sql = |error: rusqlite::Error| E::from(CommitError::from(error));
    let mut select = db
        .prepare_cached("SELECT idx, leaf FROM audit_leaves WHERE idx >= ?1 AND idx < ?2 ORDER BY idx")
        .map_err(sql)?;
    let mut rows = select.query([from, to]).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        let bytes = row
            .get_ref(1)
            .map_err(sql)?
            .as_blob()
            .map_err(|error| sql(error.into()))?;
        take(row.get(0).map_err(sql)?, bytes)?;
    }
    Ok(())
}

pub(super) fn put_leaf(
    db: &Connection,
    leaf: &Leaf,
    bytes: &[u8],
    pos: Option<u64>,
) -> Result<(), CommitError> {
    db.prepare_cached("INSERT INTO audit_leaves (idx, kind, pos, leaf) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![leaf.index, leaf.kind().code(), pos, bytes])?;
    Ok(())
}

pub(super) fn put_nodes(db: &Connection, nodes: &[Node]) -> Result<(), CommitError> {
    for node in nodes {
        db.prepare_cached(
            "INSERT OR REPLACE INTO audit_nodes (level, idx, hash, bytes) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![node.level, node.index, node.hash, node.bytes])?;
    }
    Ok(())
}

/// Heads of more leaves than there are prove nothing of this tree any more; they stay, for who checks it.
pub(super) fn void_heads(db: &Connection, size: u64, now: i64) -> Result<(), CommitError> {
    db.execute(
        "UPDATE audit_heads SET void = ?2 WHERE size > ?1 AND void = 0",
        params![size, now],
    )?;
    Ok(())
}

pub(super) fn put_head(db: &Connection, head: &SignedHead) -> Result<(), CommitError> {
    db.prepare_cached("INSERT OR REPLACE INTO audit_heads (size, at, head) VALUES (?1, ?2, ?3)")?
        .execute(params![head.head.size, head.head.at, head.to_string()])?;
    Ok(())
}

fn node(db: &Connection, level: u32, index: u64) -> Result<Option<Node>, CommitError> {
    let mut select =
        db.prepare_cached("SELECT hash, bytes FROM audit_nodes WHERE level = ?1 AND idx = ?2")?;
    let mut rows = select.query(params![level, index])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(Node {
        level,
        index,
        hash: to_hash(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)?,
        bytes: row.get(1)?,
    }))
}

/// The tree as it is stored, read by its blocks and the leaves behind them. `None`: a node is missing.
pub(super) fn load(db: &Connection) -> Result<Option<Tree>, CommitError> {
    let size = size(db)?;
    let mut blocks = Vec::new();
    for (level, index) in Tree::blocks_of(size) {
        match node(db, level, index)? {
            Some(node) => blocks.push(node),
            None => return Ok(None),
        }
    }
    grow(db, Tree::of_blocks(blocks), size, |_, _| Ok(())).map(Some)
}

/// The tree that the leaves make, and all its nodes stored again.
pub(super) fn rebuild(db: &Connection) -> Result<Tree, CommitError> {
    let size = size(db)?;
    grow(db, Tree::default(), size, put_nodes)
}

fn grow(
    db: &Connection,
    mut tree: Tree,
    size: u64,
    keep: impl Fn(&Connection, &[Node]) -> Result<(), CommitError>,
) -> Result<Tree, CommitError> {
    each_leaf(db, tree.size(), size, |index, bytes| {
        if index != tree.size() {
            return Err(damaged(format!("leaf {} is missing", tree.size())));
        }
        keep(db, &tree.append(bytes))
    })?;
    Ok(tree)
}

/// The newest leaf of a kind that is not a commit group.
pub(super) fn newest_of(db: &Connection, kind: Kind) -> Result<Option<Leaf>, CommitError> {
    let mut select = db.prepare_cached(
        "SELECT idx, leaf FROM audit_leaves INDEXED BY audit_acts WHERE kind = ?1 AND kind <> 2
         ORDER BY idx DESC LIMIT 1",
    )?;
    let mut rows = select.query([kind.code()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    parse(row.get(0)?, bytes).map(Some)
}

/// The tables, as proofs read them.
pub(super) struct Stored<'a>(pub &'a Connection);

impl NodeSource for Stored<'_> {
    type Error = CommitError;

    fn leaves(&mut self, from: u64, to: u64) -> Result<Vec<Hash>, CommitError> {
        let mut hashes = Vec::with_capacity(usize::try_from(to - from).unwrap_or(0));
        each_leaf(self.0, from, to, |_, bytes| {
            hashes.push(leaf_hash(bytes));
            Ok::<_, CommitError>(())
        })?;
        if hashes.len() as u64 != to - from {
            return Err(damaged(format!("leaves between {from} and {to} are missing")));
        }
        Ok(hashes)
    }

    fn node(&mut self, level: u32, index: u64) -> Result<Hash, CommitError> {
        let node = node(self.0, level, index)?;
        node.map(|node| node.hash)
            .ok_or_else(|| damaged(format!("node {index} of level {level} is missing")))
    }
}
