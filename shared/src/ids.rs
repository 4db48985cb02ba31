//! Names and numbers that identify things. Each is its own type, so that a lane number cannot stand where a
//! sequence number is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The longest agent or gateway id, in bytes.
pub const MAX_NODE_ID: usize = 64;
/// The longest stream name, in bytes.
pub const MAX_STREAM_NAME: usize = 128;

/// Why a text is not a valid id. The message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: {rule}")]
pub struct InvalidId {
    pub kind: &'static str,
    pub value: String,
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`InvalidId`] when the text is empty, too long, or has a character outside `A-Za-z0-9._-`.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let fits = !text.is_empty()
                    && text.len() <= $max
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
                    && !text.starts_with('.');
                if fits {
                    Ok(Self(text.into()))
                } else {
                    let value = text.chars().take(80).collect();
                    Err(InvalidId { kind: $kind, value, rule: $rule })
                }
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(&text)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

text_id!(
    /// An edge agent, as its certificate names it.
    AgentId,
    "agent id",
    MAX_NODE_ID,
    "use 1 to 64 characters of A-Z a-z 0-9 . _ - and do not start with a dot"
);
text_id!(
    /// A gateway, as its certificate names it.
    GatewayId,
    "gateway id",
    MAX_NODE_ID,
    "use 1 to 64 characters of A-Z a-z 0-9 . _ - and do not start with a dot"
);
text_id!(
    /// A named stream of events. Its schema is the latest version of the subject `{stream}-value`.
    StreamName,
    "stream name",
    MAX_STREAM_NAME,
    "use 1 to 128 characters of A-Z a-z 0-9 . _ - and do not start with a dot"
);

/// One life of a lane's numbering. New when the spool is new, and when an agent forks live data away from a
/// backlog. Made of the creation time in seconds (32 bits) and 20 random bits, so that a fresh disk behind a
/// wrong clock still gets a number of its own, and a JavaScript number holds it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Packs a creation time and randomness into an epoch.
    #[must_use]
    pub fn from_parts(unix_seconds: u64, random: u32) -> Self {
        Self(((unix_seconds & 0xffff_ffff) << 20) | u64::from(random & 0xf_ffff))
    }
}

impl Epoch {
    /// The epoch of the events that must leave this one from `from` on, where `writer` has numbered them: the same in
    /// every copy of a spool that holds them, so that each of them still has one identity.
    #[must_use]
    pub fn parted(self, from: Seq, writer: u64) -> Self {
        let mix = |state: u64, word: u64| {
            let mut mixed = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^= mixed >> 32;
            mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ (mixed >> 29)
        };
        let mixed = [from, writer].into_iter().fold(self.0, mix);
        // the high bits are the best mixed
        Self::from_parts(self.0 >> 20, (mixed >> 40) as u32)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of an event in its lane. The first event has 1; a mark of 0 means that nothing is committed.
pub type Seq = u64;

/// A lane: contiguous sequence numbers of one agent's stream within one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaneKey {
    pub agent: AgentId,
    pub stream: StreamName,
    pub epoch: Epoch,
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.agent, self.stream, self.epoch)
    }
}

/// The small number that the aggregator gives a lane at first contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LaneNo(pub u32);

impl fmt::Display for LaneNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of one event: a UUIDv8 (RFC 9562 §5.8) packed from (lane number, seq). It is the same on every
/// retry, needs no index to be resolved, and sorts by seq within a lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineageId {
    pub lane: LaneNo,
    pub seq: Seq,
}

impl LineageId {
    #[must_use]
    pub fn new(lane: LaneNo, seq: Seq) -> Self {
        Self { lane, seq }
    }

    /// The lane fills the 48 bits before the version, the seq the 74 bits after it.
    #[must_use]
    pub fn to_uuid(self) -> Uuid {
        let mut bytes = [0u8; 16];
        bytes[2..6].copy_from_slice(&self.lane.0.to_be_bytes());
        // the top two bits of the seq end custom_b, the rest fills custom_c: ids sort as seqs do
        bytes[7] = (self.seq >> 62) as u8;
        bytes[8..16].copy_from_slice(&(self.seq & 0x3fff_ffff_ffff_ffff).to_be_bytes());
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// Unpacks an id; `None` when it is not one of ours.
    #[must_use]
    pub fn from_uuid(id: Uuid) -> Option<Self> {
        let bytes = id.as_bytes();
        let ours = id.get_version_num() == 8
            && bytes[0] == 0
            && bytes[1] == 0
            && bytes[6] & 0x0f == 0
            && bytes[7] <= 3
            && bytes[8] >> 6 == 2;
        if !ours {
            return None;
        }
        let lane = u32::from_be_bytes(bytes[2..6].try_into().ok()?);
        let low = u64::from_be_bytes(bytes[8..16].try_into().ok()?) & 0x3fff_ffff_ffff_ffff;
        Some(Self::new(LaneNo(lane), (u64::from(bytes[7]) << 62) | low))
    }
}

impl fmt::Display for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_uuid().fmt(f)
    }
}

impl fmt::Debug for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "LineageId({} = lane {} seq {})",
            self.to_uuid(),
            self.lane,
            self.seq
        )
    }
}

/// An inclusive range of sequence numbers, never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SeqRange {
    pub first: Seq,
    pub last: Seq,
}

impl SeqRange {
    /// The range of `count` events from `first`. `count` must be at least 1.
    #[must_use]
    pub fn from_count(first: Seq, count: u32) -> Self {
        debug_assert!(count > 0, "a seq range is never empty");
        Self {
            first,
            last: first.saturating_add(u64::from(count).saturating_sub(1)),
        }
    }

    #[must_use]
    pub fn count(self) -> u64 {
        self.last - self.first + 1
    }

    #[must_use]
    pub fn contains(self, seq: Seq) -> bool {
        (self.first..=self.last).contains(&seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lineage_id_is_reversible_and_sorts_by_seq() {
        let seqs = [0, 1, 2, 1 << 40, (1 << 62) - 1, 1 << 62, u64::MAX];
        let mut last = None;
        for seq in seqs {
            let id = LineageId::new(LaneNo(7), seq);
            assert_eq!(LineageId::from_uuid(id.to_uuid()), Some(id));
            assert_eq!(id.to_uuid().get_version_num(), 8);
            assert!(last < Some(id.to_uuid()), "{seq} sorts after its predecessor");
            last = Some(id.to_uuid());
        }
    }

    #[test]
    fn foreign_uuids_are_not_lineage_ids() {
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        ] {
            assert_eq!(LineageId::from_uuid(text.parse().expect("uuid")), None);
        }
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", ".hidden", "a/b", "a b", "ü", &"x".repeat(200)] {
            assert!(StreamName::new(bad).is_err(), "{bad:?} is refused");
        }
        assert!(StreamName::new("plant-7.readings_v2").is_ok());
    }

    #[test]
    fn an_epoch_is_exact_in_javascript() {
        assert!(Epoch::from_parts(u64::from(u32::MAX), u32::MAX).0 < 1 << 53);
    }
}
