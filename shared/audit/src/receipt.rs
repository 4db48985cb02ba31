//! A receipt: that one event was received at one time, for as long as anybody keeps it, whatever retention deletes.

use serde::{Deserialize, Serialize};

use crate::hash::{EntryDigest, from_text, hash_from_text, sha256, to_text};
use crate::leaf::Content;
use crate::{AuditError, EntryRecord, InclusionProof, Kind, Leaf, PublicKey, SignedHead};

/// The event that a receipt is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventName {
    pub agent: String,
    pub stream: String,
    pub epoch: u64,
    pub seq: u64,
    /// The number that stands for agent, stream and epoch.
    pub lane: u32,
}

/// What the log still has of the event's entry: all that its digest is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryShown {
    /// The hop record, MessagePack, base64.
    pub header: String,
    /// SHA-256 of the columns (an Arrow IPC stream), base64.
    pub columns_sha256: String,
    /// SHA-256 over the payloads of its dead letters, each behind its length; base64.
    pub letters_sha256: String,
}

/// Everything that proves an event's receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub event: EventName,
    /// When the event was committed, RFC 3339; the leaf says it too.
    pub received_at: String,
    /// The event's commit group.
    pub group: InclusionProof,
    /// When the lane got its number; `None` for lanes that are older than the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane_opened: Option<InclusionProof>,
    /// `None` when retention has deleted the entry: the event's seq and time are proved all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryShown>,
}

impl EntryShown {
    #[must_use]
    pub fn new(header: &[u8], digest: &EntryDigest) -> Self {
        Self {
            header: to_text(header),
            columns_sha256: to_text(&digest.columns),
            letters_sha256: to_text(&digest.letters),
        }
    }

    fn digest(&self) -> Result<EntryDigest, AuditError> {
        Ok(EntryDigest {
            header: sha256(&[&from_text("the entry's header", &self.header)?]),
            columns: hash_from_text("the hash of the entry's columns", &self.columns_sha256)?,
            letters: hash_from_text("the hash of the entry's letters", &self.letters_sha256)?,
        })
    }
}

impl Receipt {
    /// Checks everything, and returns when the event was received (Unix milliseconds), and the head that proves it.
    ///
    /// # Errors
    /// [`AuditError`] naming what is wrong.
    pub fn verify(
        &self,
        given: Option<&SignedHead>,
        keys: &[PublicKey],
    ) -> Result<(i64, SignedHead), AuditError> {
        let (leaf, head) = self.group.verify(given, keys)?;
        let record = self.record(&leaf)?;
        if let Some(entry) = &self.entry
            && entry.digest()?.digest() != record.digest
        {
            return Err(AuditError::EntryDiffers { at: leaf.at });
        }
        if let Some(opened) = &self.lane_opened {
            let (lane, _) = opened.verify(given, keys)?;
            self.check_lane(&lane)?;
        }
        if self.received_at != crate::time_text(leaf.at) {
            let what = format!(
                "the receipt says {}, the leaf {}",
                self.received_at,
                crate::time_text(leaf.at)
            );
            return Err(AuditError::Malformed(what));
        }
        Ok((leaf.at, head))
    }

    fn record(&self, leaf: &Leaf) -> Result<EntryRecord, AuditError> {
        let EventName { lane, seq, .. } = self.event;
        let entries = match &leaf.content {
            Content::Group(entries) => entries.as_slice(),
            Content::Act { .. } => &[],
        };
        // a replay's range spans seqs that it does not hold
        let holds = |entry: &&EntryRecord| {
            entry.lane == lane && entry.kind < 2 && (entry.first_seq..=entry.last_seq).contains(&seq)
        };
        let found = entries.iter().find(holds).copied();
        found.ok_or(AuditError::EventNotThere { lane, seq })
    }

    fn check_lane(&self, leaf: &Leaf) -> Result<(), AuditError> {
        let EventName {
            agent,
            stream,
            epoch,
            lane,
            ..
        } = &self.event;
        let named = format!("{agent}/{stream}/{epoch}");
        let opened = match &leaf.content {
            Content::Act {
                kind: Kind::Lane,
                detail,
            } if detail.get("lane").and_then(serde_json::Value::as_u64) == Some(u64::from(*lane)) => {
                let text = |key: &str| {
                    detail
                        .get(key)
                        .map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
                };
                ["agent", "stream", "epoch"]
                    .map(|key| text(key).unwrap_or_default())
                    .join("/")
            }
            _ => "another lane".to_owned(),
        };
        if opened == named {
            return Ok(());
        }
        Err(AuditError::LaneDiffers {
            lane: *lane,
            opened,
            named,
        })
    }
}
