//! Hashes: of leaves and nodes (RFC 6962, section 2.1), and of log entries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::AuditError;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];
/// What an entry's digest begins with, so that it is no other kind of hash.
const ENTRY: &[u8] = b"tributary log entry 1\n";

/// The hash of a leaf's bytes.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(LEAF)
        .chain_update(leaf)
        .finalize()
        .into()
}

pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let hash = Sha256::new().chain_update(NODE);
    hash.chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves.
pub(crate) fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

pub(crate) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

pub(crate) fn to_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn from_text(what: &str, text: &str) -> Result<Vec<u8>, AuditError> {
    let wrong = |error| AuditError::malformed(format!("{what} is not base64: {error}"));
    STANDARD.decode(text).map_err(wrong)
}

pub(crate) fn hash_from_text(what: &str, text: &str) -> Result<Hash, AuditError> {
    let bytes = from_text(what, text)?;
    let length = bytes.len();
    Hash::try_from(bytes)
        .map_err(|_| AuditError::malformed(format!("{what} has {length} bytes, a hash has 32")))
}

/// What a log entry is anchored by: its header, its columns and the payloads of its dead letters, each by a hash of its
/// own, so that a receipt can show some of them without the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryDigest {
    pub header: Hash,
    pub columns: Hash,
    pub letters: Hash,
}

/// What of an [`EntryDigest`] does not depend on the header: nearly all of the work, and it can be done before the header
/// is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest {
    columns: Hash,
    letters: Hash,
}

impl BodyDigest {
    /// Of an entry's columns, and of the payloads of its dead letters.
    #[must_use]
    pub fn of<'a>(columns: &[u8], letters: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for payload in letters {
            hash.update((payload.len() as u64).to_be_bytes());
            hash.update(payload);
        }
        Self {
            columns: sha256(&[columns]),
            letters: hash.finalize().into(),
        }
    }

    /// Of the entry with this header, as it is stored.
    #[must_use]
    pub fn with_header(self, header: &[u8]) -> EntryDigest {
        let Self { columns, letters } = self;
        EntryDigest {
            header: sha256(&[header]),
            columns,
            letters,
        }
    }
}

impl EntryDigest {
    /// Of what is stored.
    #[must_use]
    pub fn of<'a>(header: &[u8], columns: &[u8], letters: impl IntoIterator<Item = &'a [u8]>) -> Self {
        BodyDigest::of(columns, letters).with_header(header)
    }

    /// The one hash of all three.
    #[must_use]
    pub fn digest(&self) -> Hash {
        sha256(&[ENTRY, &self.header, &self.columns, &self.letters])
    }
}
