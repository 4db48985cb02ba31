//! The bytes of a leaf.
//!
//! ```text
//! version 1 │ kind │ index, 8 bytes │ Unix ms, 8 bytes │ body
//! body of a commit group: count, 2 bytes; then 61 bytes an entry:
//!     log position 8 │ lane number 4 │ first seq 8 │ last seq 8 │ log's kind 1 │ digest 32
//! any other body: one JSON object
//! ```
//!
//! Numbers are big-endian. A leaf names its own index, so that one that was moved is found by looking at it alone.

use serde_json::{Map, Value, json};

use crate::hash::{Hash, to_text};
use crate::{AuditError, Kind, time_text};

/// The largest leaf, in bytes: larger texts are recorded by their digest.
pub const MAX_LEAF: usize = 64 << 10;

const VERSION: u8 = 1;
const HEADER: usize = 18;
const RECORD: usize = 61;

/// One log entry within a commit group's leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRecord {
    pub pos: u64,
    pub lane: u32,
    pub first_seq: u64,
    pub last_seq: u64,
    /// As in the log: 0 rows, 1 dropped, 2 a replay.
    pub kind: u8,
    pub digest: Hash,
}

/// What a leaf says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Group(Vec<EntryRecord>),
    /// Any kind but a commit group.
    Act {
        kind: Kind,
        detail: Map<String, Value>,
    },
}

/// A leaf.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    pub index: u64,
    /// Unix milliseconds, by the aggregator's clock.
    pub at: i64,
    pub content: Content,
}

impl Leaf {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.content {
            Content::Group(_) => Kind::CommitGroup,
            Content::Act { kind, .. } => *kind,
        }
    }

    /// The bytes that are hashed and stored. A detail that would make it larger than [`MAX_LEAF`] is left out, and that
    /// is said in its place.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 2 + RECORD);
        bytes.extend([VERSION, self.kind().code()]);
        bytes.extend(self.index.to_be_bytes());
        bytes.extend(self.at.to_be_bytes());
        match &self.content {
            Content::Group(entries) => {
                // a group is far smaller, see MAX_LEAF
                let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
                bytes.extend(count.to_be_bytes());
                for entry in entries.iter().take(usize::from(count)) {
                    encode_record(entry, &mut bytes);
                }
            }
            Content::Act { detail, .. } => {
                let text = Value::Object(detail.clone()).to_string();
                if text.len() > MAX_LEAF - HEADER {
                    let short = json!({ "too_large": text.len(), "sha256": hex(&crate::hash::sha256(&[text.as_bytes()])) });
                    bytes.extend(short.to_string().into_bytes());
                } else {
                    bytes.extend(text.into_bytes());
                }
            }
        }
        bytes
    }

    /// Reads the bytes of a leaf.
    ///
    /// # Errors
    /// [`AuditError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, AuditError> {
        let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
            return Err(AuditError::malformed("a leaf is shorter than its header"));
        };
        if header[0] != VERSION {
            let what = format!("a leaf has version {}, this program reads {VERSION}", header[0]);
            return Err(AuditError::Malformed(what));
        }
        let kind = Kind::of_code(header[1])
            .ok_or_else(|| AuditError::malformed(format!("a leaf has the unknown kind {}", header[1])))?;
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| header[at + i]));
        let content = match kind {
            Kind::CommitGroup => Content::Group(parse_group(body)?),
            kind => Content::Act {
                kind,
                detail: serde_json::from_slice(body)
                    .map_err(|error| AuditError::malformed(format!("a leaf's text: {error}")))?,
            },
        };
        Ok(Self {
            index: number(2),
            at: number(10).cast_signed(),
            content,
        })
    }

    /// The leaf as the API shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let detail = match &self.content {
            Content::Group(entries) => json!({
                "entries": entries.iter().copied().map(EntryRecord::to_json).collect::<Vec<_>>(),
            }),
            Content::Act { detail, .. } => Value::Object(detail.clone()),
        };
        json!({ "leaf": self.index, "at": time_text(self.at), "kind": self.kind(), "detail": detail })
    }
}

impl EntryRecord {
    fn to_json(self) -> Value {
        json!({
            "pos": self.pos, "lane": self.lane, "first_seq": self.first_seq, "last_seq": self.last_seq,
            "kind": self.kind, "digest": to_text(&self.digest),
        })
    }
}

/// In hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encode_record(entry: &EntryRecord, bytes: &mut Vec<u8>) {
    bytes.extend(entry.pos.to_be_bytes());
    bytes.extend(entry.lane.to_be_bytes());
    bytes.extend(entry.first_seq.to_be_bytes());
    bytes.extend(entry.last_seq.to_be_bytes());
    bytes.push(entry.kind);
    bytes.extend(entry.digest);
}

fn parse_group(body: &[u8]) -> Result<Vec<EntryRecord>, AuditError> {
    let wrong = || AuditError::malformed("a commit group's leaf does not have the length that it says");
    let (count, records) = body.split_first_chunk::<2>().ok_or_else(wrong)?;
    if records.len() != usize::from(u16::from_be_bytes(*count)) * RECORD {
        return Err(wrong());
    }
    let (records, _) = records.as_chunks::<RECORD>();
    let number =
        |record: &[u8; RECORD], at: usize| u64::from_be_bytes(std::array::from_fn(|i| record[at + i]));
    let parse = |record: &[u8; RECORD]| EntryRecord {
        pos: number(record, 0),
        lane: u32::from_be_bytes(std::array::from_fn(|i| record[8 + i])),
        first_seq: number(record, 12),
        last_seq: number(record, 20),
        kind: record[28],
        digest: std::array::from_fn(|i| record[29 + i]),
    };
    Ok(records.iter().map(parse).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = EntryRecord> {
        let numbers = (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>(), 0u8..3);
        (numbers, any::<[u8; 32]>()).prop_map(|((pos, lane, first_seq, last_seq, kind), digest)| {
            EntryRecord {
                pos,
                lane,
                first_seq,
                last_seq,
                kind,
                digest,
            }
        })
    }

    proptest! {
        #[test]
        fn a_groups_leaf_reads_back(index: u64, at: i64, entries in proptest::collection::vec(record(), 0..70)) {
            let leaf = Leaf { index, at, content: Content::Group(entries) };
            let bytes = leaf.encode();
            prop_assert_eq!(Leaf::parse(&bytes), Ok(leaf));
            prop_assert!(Leaf::parse(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            if let Ok(leaf) = Leaf::parse(&bytes) {
                prop_assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
            }
        }
    }

    #[test]
    fn an_acts_leaf_reads_back_and_a_huge_one_is_cut_to_its_digest() {
        let leaf = |text: &str| Leaf {
            index: 3,
            at: 1_790_000_000_000,
            content: Content::Act {
                kind: Kind::View,
                detail: json!({ "body": text }).as_object().expect("an object").clone(),
            },
        };
        let small = leaf("SELECT 1");
        assert_eq!(Leaf::parse(&small.encode()), Ok(small.clone()));
        assert_eq!(small.to_json()["detail"]["body"], "SELECT 1");
        assert_eq!(small.to_json()["at"], "2026-09-21T14:13:20.000Z");
        let huge = leaf(&"x".repeat(MAX_LEAF)).encode();
        assert!(huge.len() < 200);
        let Content::Act { detail, .. } = Leaf::parse(&huge).expect("reads").content else {
            panic!("an act")
        };
        assert_eq!(detail["too_large"], MAX_LEAF + 11);
    }
}
