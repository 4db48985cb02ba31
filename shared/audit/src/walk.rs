//! Checking a whole tree: every leaf, every kept node, every head. Leaves are fed in order and not kept.
//!
//! Two trees are grown: one of the leaves, one of the kept nodes. Where they part, the next signed head says which of
//! them is the one that was signed, and so whether leaves or nodes were edited.

use std::collections::BTreeMap;

use crate::hash::Hash;
use crate::tree::{BLOCK_LEVEL, Node, Tree, fold};
use crate::{AuditError, Leaf, PublicKey, SignedHead, time_text};

/// Findings that are kept; the others are counted.
const MAX_FINDINGS: usize = 100;

/// One thing that is wrong with a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("tampered leaf: one of the leaves {from} to {last} is not what was signed", last = to - 1)]
    TamperedLeaf { from: u64, to: u64 },
    #[error("malformed leaf: leaf {index} cannot be read ({why})")]
    MalformedLeaf { index: u64, why: String },
    #[error("moved leaf: at place {at} is a leaf that says it is leaf {says}")]
    MovedLeaf { at: u64, says: u64 },
    #[error("leaves are missing: leaf {expected} is not there, the next one is {found}")]
    MissingLeaves { expected: u64, found: u64 },
    #[error("edited node: node {index} of level {level} is not the hash of what lies below it")]
    EditedNode { level: u32, index: u64 },
    #[error("removed node: node {index} of level {level} is not there")]
    RemovedNode { level: u32, index: u64 },
    #[error("removed tail: there is node {index} of level {level}, which lies behind the last leaf")]
    SurplusNode { level: u32, index: u64 },
    #[error("removed tail: a head of {kept} leaves was signed, there are {found}")]
    RemovedTail { kept: u64, found: u64 },
    #[error(
        "forked tree: the signed head of {size} leaves is of another tree than the signed head of {fits} leaves, which \
         this one is: somebody has signed two histories"
    )]
    Forked { size: u64, fits: u64 },
    #[error("{0}")]
    Head(AuditError),
}

/// What a walk found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub size: u64,
    pub root: Hash,
    /// Heads whose signature holds and that this tree fits.
    pub heads: u64,
    /// The largest of them.
    pub newest: Option<SignedHead>,
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
}

impl Outcome {
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Leaves that no head covers yet.
    #[must_use]
    pub fn unsigned(&self) -> u64 {
        self.size - self.newest.as_ref().map_or(0, |head| head.head.size)
    }
}

/// In plain words, findings first.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for finding in &self.findings {
            writeln!(f, "WRONG: {finding}")?;
        }
        if self.more > 0 {
            writeln!(f, "and {} more", self.more)?;
        }
        let verdict = if self.is_sound() { "RIGHT" } else { "Of this tree" };
        let newest = self.newest.as_ref().map_or_else(
            || "no head fits it".to_owned(),
            |head| {
                format!(
                    "the newest head is of {} leaves, {}",
                    head.head.size,
                    time_text(head.head.at)
                )
            },
        );
        write!(
            f,
            "{verdict}: {} leaves, {} signed heads fit; {newest}; {} leaves are not signed yet",
            self.size,
            self.heads,
            self.unsigned()
        )
    }
}

/// A walk over one tree: first all heads and nodes, then all leaves.
#[derive(Debug, Default)]
pub struct Walk {
    keys: Vec<PublicKey>,
    heads: BTreeMap<u64, Vec<SignedHead>>,
    nodes: BTreeMap<(u32, u64), Hash>,
    leaves: Tree,
    /// Over the kept nodes of the lowest level: its level 0 is the tree's [`BLOCK_LEVEL`].
    blocks: Tree,
    /// Blocks whose leaves and node do not agree, until a head says which of them was edited.
    parted: Vec<u64>,
    /// Heads that neither tree fits, until a later one tells more.
    unfit: Vec<u64>,
    /// Leaves up to here are what was signed.
    sound_to: u64,
    fitting: u64,
    newest: Option<SignedHead>,
    broken: bool,
    findings: Vec<Finding>,
    more: u64,
}

impl Walk {
    /// Heads count when one of these keys has signed them.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self {
            keys,
            ..Self::default()
        }
    }

    /// A head: of the tree's own, or one that somebody has kept.
    pub fn head(&mut self, text: &str) {
        match SignedHead::parse(text) {
            Ok(head) => self.signed_head(head),
            Err(error) => self.found(Finding::Head(error)),
        }
    }

    /// The same, read already.
    pub fn signed_head(&mut self, head: SignedHead) {
        match head.verify(&self.keys) {
            Ok(()) => {
                let of_size = self.heads.entry(head.head.size).or_default();
                if !of_size.iter().any(|other| other.head.root == head.head.root) {
                    of_size.push(head);
                }
            }
            Err(error) => self.found(Finding::Head(error)),
        }
    }

    /// A node that is kept.
    pub fn node(&mut self, level: u32, index: u64, hash: Hash) {
        self.nodes.insert((level, index), hash);
    }

    /// The next leaf.
    pub fn leaf(&mut self, index: u64, bytes: &[u8]) {
        if self.broken {
            return;
        }
        let expected = self.leaves.size();
        if index != expected {
            self.broken = true;
            return self.found(Finding::MissingLeaves {
                expected,
                found: index,
            });
        }
        match Leaf::parse(bytes) {
            Ok(leaf) if leaf.index != index => {
                let says = leaf.index;
                self.found(Finding::MovedLeaf { at: index, says });
            }
            Ok(_) => {}
            Err(error) => {
                let why = error.to_string();
                self.found(Finding::MalformedLeaf { index, why });
            }
        }
        let completed = self.leaves.append(bytes);
        if let Some(block) = completed.iter().find(|node| node.level == BLOCK_LEVEL) {
            self.block(*block);
        }
        self.compare();
    }

    /// How many leaves there were so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.leaves.size()
    }

    /// After the last leaf.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let size = self.leaves.size();
        // nothing later tells more
        if let Some(first) = self.unfit.first().copied() {
            let (from, to) = (self.sound_to, first);
            self.found(Finding::TamperedLeaf { from, to });
        } else {
            for block in std::mem::take(&mut self.parted) {
                let (from, to) = (
                    self.sound_to.max(block << BLOCK_LEVEL),
                    (block + 1) << BLOCK_LEVEL,
                );
                self.found(Finding::TamperedLeaf { from, to });
            }
        }
        if !self.broken {
            if let Some((kept, _)) = self.heads.range(size + 1..).next_back() {
                let (kept, found) = (*kept, size);
                self.found(Finding::RemovedTail { kept, found });
            }
            let behind = |(level, index): &(u32, u64)| {
                let end = (index + 1).checked_shl(*level);
                end.is_none_or(|end| end > size)
            };
            if let Some((level, index)) = self.nodes.keys().copied().find(behind) {
                self.found(Finding::SurplusNode { level, index });
            }
        }
        Outcome {
            size,
            root: self.leaves.root(),
            heads: self.fitting,
            newest: self.newest,
            findings: self.findings,
            more: self.more,
        }
    }

    fn found(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// A block is full: its node, and those above that are full with it, must be there.
    fn block(&mut self, block: Node) {
        let stored = self.nodes.get(&(BLOCK_LEVEL, block.index)).copied();
        match stored {
            None => {
                let (level, index) = (BLOCK_LEVEL, block.index);
                self.found(Finding::RemovedNode { level, index });
            }
            Some(hash) if hash != block.hash => self.parted.push(block.index),
            Some(_) => {}
        }
        for above in self.blocks.push(stored.unwrap_or(block.hash), 0, 1) {
            let (level, index) = (above.level + BLOCK_LEVEL, above.index);
            match self.nodes.get(&(level, index)) {
                None => self.found(Finding::RemovedNode { level, index }),
                Some(hash) if *hash != above.hash => self.found(Finding::EditedNode { level, index }),
                Some(_) => {}
            }
        }
    }

    /// Compares both trees with the heads of this size.
    fn compare(&mut self) {
        let size = self.leaves.size();
        let Some(heads) = self.heads.get(&size).cloned() else {
            return;
        };
        let root = self.leaves.root();
        let small = self.leaves.peaks().iter().filter(|peak| peak.level < BLOCK_LEVEL);
        let peaks: Vec<Hash> = self
            .blocks
            .peaks()
            .iter()
            .chain(small)
            .map(|peak| peak.hash)
            .collect();
        let of_nodes = fold(peaks.into_iter());
        let signed = |root: Hash| heads.iter().find(|head| head.head.root == root).cloned();
        if let Some(head) = signed(root) {
            if heads.len() > 1 {
                self.unfit.push(size);
            }
            self.leaves_are_right(head);
        } else if let Some(head) = signed(of_nodes) {
            self.nodes_are_right(head);
        } else {
            self.unfit.push(size);
        }
    }

    fn fits(&mut self, head: SignedHead) {
        self.sound_to = head.head.size;
        self.fitting += 1;
        self.newest = Some(head);
    }

    fn leaves_are_right(&mut self, head: SignedHead) {
        for index in std::mem::take(&mut self.parted) {
            let level = BLOCK_LEVEL;
            self.found(Finding::EditedNode { level, index });
        }
        for size in std::mem::take(&mut self.unfit) {
            let fits = head.head.size;
            self.found(Finding::Forked { size, fits });
        }
        self.fits(head);
    }

    /// Leaves were edited, and their nodes were not: the walk goes on with the nodes.
    fn nodes_are_right(&mut self, head: SignedHead) {
        let upto = self.unfit.first().copied().unwrap_or(head.head.size);
        self.unfit.clear();
        for block in std::mem::take(&mut self.parted) {
            let (start, end) = (block << BLOCK_LEVEL, (block + 1) << BLOCK_LEVEL);
            let (from, to) = (self.sound_to.max(start), upto.min(end));
            // the first head that is wrong narrows the first block only
            let (from, to) = if from < to { (from, to) } else { (start, end) };
            self.found(Finding::TamperedLeaf { from, to });
        }
        let raised = self.blocks.peaks().iter().map(|peak| Node {
            level: peak.level + BLOCK_LEVEL,
            ..*peak
        });
        let small = self.leaves.peaks().iter().filter(|peak| peak.level < BLOCK_LEVEL);
        let peaks: Vec<Node> = raised.chain(small.copied()).collect();
        self.leaves = Tree::of_blocks(peaks);
        self.fits(head);
    }
}
