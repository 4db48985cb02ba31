//! The tree: growing it, and the nodes that proofs need. Which nodes those are is `ct-merkle`'s knowledge.
//!
//! Leaves are kept, and the roots of full subtrees of 256 leaves and more; everything below is hashed again from at most
//! 256 leaves. So an append stores nothing but its leaf, 255 times of 256.

use ct_merkle::{indices_for_consistency_proof, indices_for_inclusion_proof};

use crate::hash::{Hash, empty_root, leaf_hash, node_hash};

/// Nodes from this level on are kept: a full subtree of 2^8 leaves, a block.
pub const BLOCK_LEVEL: u32 = 8;
const BLOCK: u64 = 1 << BLOCK_LEVEL;

/// The root of a full subtree of `2^level` leaves, the `index`-th of its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub level: u32,
    pub index: u64,
    pub hash: Hash,
    /// Of the leaves below it.
    pub bytes: u64,
}

/// A tree as far as it must be known to grow: the roots of its full subtrees, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    peaks: Vec<Node>,
}

impl Tree {
    /// The full subtrees that a tree of `size` leaves is made of, as far as they are blocks or larger: level and index.
    pub fn blocks_of(size: u64) -> impl Iterator<Item = (u32, u64)> {
        let levels = (BLOCK_LEVEL..u64::BITS).rev();
        levels.filter_map(move |level| {
            let above = size.checked_shr(level)?;
            (above & 1 == 1).then(|| (level, above - 1))
        })
    }

    /// A tree of blocks that were kept; the leaves behind them are then appended.
    #[must_use]
    pub fn of_blocks(blocks: Vec<Node>) -> Self {
        let size = blocks.iter().map(|node| 1 << node.level).sum();
        Self { size, peaks: blocks }
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of all leaves.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.peaks.iter().map(|peak| peak.bytes).sum()
    }

    /// Appends a leaf, and returns the nodes that are to be kept.
    pub fn append(&mut self, leaf: &[u8]) -> Vec<Node> {
        self.push(leaf_hash(leaf), leaf.len() as u64, BLOCK_LEVEL)
    }

    /// Appends what a leaf hashes to; returns the full subtrees that end with it, from a level on.
    pub(crate) fn push(&mut self, hash: Hash, bytes: u64, from_level: u32) -> Vec<Node> {
        let mut node = Node {
            level: 0,
            index: self.size,
            hash,
            bytes,
        };
        let mut kept = Vec::new();
        while let Some(left) = self.peaks.pop_if(|peak| peak.level == node.level) {
            node = Node {
                level: node.level + 1,
                index: node.index / 2,
                hash: node_hash(&left.hash, &node.hash),
                bytes: left.bytes + node.bytes,
            };
            if node.level >= from_level {
                kept.push(node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
        kept
    }

    /// The root: the peaks, folded from the right.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(self.peaks.iter().map(|peak| peak.hash))
    }

    pub(crate) fn peaks(&self) -> &[Node] {
        &self.peaks
    }
}

/// The root of a tree that is made of these full subtrees, the largest first.
pub(crate) fn fold(peaks: impl DoubleEndedIterator<Item = Hash>) -> Hash {
    let folded = peaks.rev().reduce(|right, left| node_hash(&left, &right));
    folded.unwrap_or_else(empty_root)
}

/// Where leaves and kept nodes are read from.
pub trait NodeSource {
    type Error;

    /// Hashes of the leaves from `from` to before `to`, at most 256.
    ///
    /// # Errors
    /// When they cannot be read.
    fn leaves(&mut self, from: u64, to: u64) -> Result<Vec<Hash>, Self::Error>;

    /// A kept node, of [`BLOCK_LEVEL`] or above.
    ///
    /// # Errors
    /// When it cannot be read.
    fn node(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root of the tree at an earlier size.
///
/// # Errors
/// Those of the source.
pub fn root_at<S: NodeSource>(source: &mut S, size: u64) -> Result<Hash, S::Error> {
    if size == 0 {
        return Ok(empty_root());
    }
    subtree(source, 0, size)
}

/// The hashes that prove leaf `index` to be in the tree of `size` leaves.
///
/// # Errors
/// Those of the source.
///
/// # Panics
/// When `index` is not below `size`.
pub fn inclusion<S: NodeSource>(source: &mut S, index: u64, size: u64) -> Result<Vec<Hash>, S::Error> {
    let indices = indices_for_inclusion_proof(size, index);
    indices.into_iter().map(|at| at_index(source, at, size)).collect()
}

/// The hashes that prove the tree of `to` leaves to continue that of `from` leaves.
///
/// # Errors
/// Those of the source.
///
/// # Panics
/// When `from` is 0, or above `to`.
pub fn consistency<S: NodeSource>(source: &mut S, from: u64, to: u64) -> Result<Vec<Hash>, S::Error> {
    assert!(from <= to, "a tree does not continue a larger one");
    let indices = indices_for_consistency_proof(from, to - from);
    indices.into_iter().map(|at| at_index(source, at, to)).collect()
}

/// The node that the array form of a tree (RFC 9420, appendix C, which `ct-merkle` numbers by) has at a place.
fn at_index<S: NodeSource>(source: &mut S, at: u64, size: u64) -> Result<Hash, S::Error> {
    let level = at.trailing_ones();
    let start = (at >> (level + 1)) << level;
    subtree(source, start, size.min(start + (1 << level)))
}

/// The hash over the leaves from `start` to before `end`; `start` is where a subtree of that many leaves may start.
fn subtree<S: NodeSource>(source: &mut S, start: u64, end: u64) -> Result<Hash, S::Error> {
    let count = end - start;
    if count >= BLOCK && count.is_power_of_two() {
        let level = count.trailing_zeros();
        return source.node(level, start >> level);
    }
    if count < BLOCK {
        let mut tree = Tree::default();
        for hash in source.leaves(start, end)? {
            tree.push(hash, 0, BLOCK_LEVEL);
        }
        return Ok(tree.root());
    }
    // more than a block, and no power of two
    let left = 1 << (count - 1).ilog2();
    let (left, right) = (
        subtree(source, start, start + left)?,
        subtree(source, start + left, end)?,
    );
    Ok(node_hash(&left, &right))
}
