//! Proofs as documents: JSON that says all that a verifier needs but the key.

use ct_merkle::digest::array::Array;
use ct_merkle::{ConsistencyVerifError, RootHash};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::hash::{Hash, from_text, hash_from_text, to_text};
use crate::{AuditError, Leaf, PublicKey, SignedHead};

/// A tree of 2^63 leaves has proofs of at most this many hashes.
const MAX_HASHES: usize = 128;

/// That a leaf is in the tree of a head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    pub leaf_index: u64,
    pub tree_size: u64,
    /// The leaf's bytes, base64.
    pub leaf: String,
    /// Base64, from the leaf up.
    pub proof: Vec<String>,
    /// The head's text; without one, a head of `tree_size` must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// That the tree of a later head continues that of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyProof {
    pub from_size: u64,
    pub to_size: u64,
    pub proof: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_head: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_head: Option<String>,
}

fn texts(proof: &[Hash]) -> Vec<String> {
    proof.iter().map(|hash| to_text(hash)).collect()
}

fn hashes(proof: &[String]) -> Result<Vec<u8>, AuditError> {
    if proof.len() > MAX_HASHES {
        return Err(AuditError::malformed(format!(
            "a proof has {} hashes",
            proof.len()
        )));
    }
    let hashes = proof.iter().map(|text| hash_from_text("a proof's hash", text));
    Ok(hashes.collect::<Result<Vec<Hash>, _>>()?.concat())
}

fn root(head: &SignedHead) -> RootHash<Sha256> {
    RootHash::new(Array::from(head.head.root), head.head.size)
}

/// The head to check by, verified: the one given, else the one that the document carries.
pub(crate) fn trusted_head(
    carried: Option<&str>,
    given: Option<&SignedHead>,
    keys: &[PublicKey],
    size: u64,
) -> Result<SignedHead, AuditError> {
    let head = match (given, carried) {
        (Some(given), _) => given.clone(),
        (None, Some(carried)) => SignedHead::parse(carried)?,
        (None, None) => return Err(AuditError::NoHead),
    };
    head.verify(keys)?;
    if head.head.size != size {
        return Err(AuditError::OtherSize {
            proof: size,
            head: head.head.size,
        });
    }
    Ok(head)
}

impl InclusionProof {
    #[must_use]
    pub fn new(index: u64, size: u64, leaf: &[u8], proof: &[Hash], head: Option<&str>) -> Self {
        Self {
            leaf_index: index,
            tree_size: size,
            leaf: to_text(leaf),
            proof: texts(proof),
            head: head.map(str::to_owned),
        }
    }

    /// Checks everything, and returns the leaf and the head that it is proved by. `given`, where there is one, is a head
    /// that the verifier has from elsewhere.
    ///
    /// # Errors
    /// [`AuditError`] naming what is wrong.
    pub fn verify(
        &self,
        given: Option<&SignedHead>,
        keys: &[PublicKey],
    ) -> Result<(Leaf, SignedHead), AuditError> {
        let bytes = from_text("a leaf", &self.leaf)?;
        let leaf = Leaf::parse(&bytes)?;
        if leaf.index != self.leaf_index {
            return Err(AuditError::WrongIndex {
                said: self.leaf_index,
                found: leaf.index,
            });
        }
        let head = trusted_head(self.head.as_deref(), given, keys, self.tree_size)?;
        let (index, size) = (self.leaf_index, self.tree_size);
        if index >= size {
            return Err(AuditError::NotCovered { index, size });
        }
        let malformed = |_| AuditError::malformed("a proof's hashes");
        let proof = ct_merkle::InclusionProof::try_from_bytes(hashes(&self.proof)?).map_err(malformed)?;
        root(&head)
            .verify_inclusion(&bytes, index, &proof)
            .map_err(|error| match error {
                ct_merkle::InclusionVerifError::MalformedProof => AuditError::malformed(format!(
                    "{} hashes do not prove leaf {index} of {size}",
                    self.proof.len()
                )),
                _ => AuditError::TamperedLeaf { index, size },
            })?;
        Ok((leaf, head))
    }
}

impl ConsistencyProof {
    #[must_use]
    pub fn new(from: u64, to: u64, proof: &[Hash], heads: (Option<&str>, Option<&str>)) -> Self {
        Self {
            from_size: from,
            to_size: to,
            proof: texts(proof),
            from_head: heads.0.map(str::to_owned),
            to_head: heads.1.map(str::to_owned),
        }
    }

    /// Checks everything, and returns both heads. `kept`, where there is one, is the earlier head as somebody has kept it.
    ///
    /// # Errors
    /// [`AuditError`] naming what is wrong.
    pub fn verify(
        &self,
        kept: Option<&SignedHead>,
        newer: Option<&SignedHead>,
        keys: &[PublicKey],
    ) -> Result<(SignedHead, SignedHead), AuditError> {
        let from = trusted_head(self.from_head.as_deref(), kept, keys, self.from_size)?;
        let to = trusted_head(self.to_head.as_deref(), newer, keys, self.to_size)?;
        let (old, new) = (self.from_size, self.to_size);
        if old > new {
            return Err(AuditError::RemovedTail {
                kept: old,
                found: new,
            });
        }
        if old == 0 {
            return Err(AuditError::malformed("a proof from a tree without leaves"));
        }
        let malformed = |_| AuditError::malformed("a proof's hashes");
        let proof = ct_merkle::ConsistencyProof::try_from_bytes(hashes(&self.proof)?).map_err(malformed)?;
        root(&to)
            .verify_consistency(&root(&from), &proof)
            .map_err(|error| match error {
                ConsistencyVerifError::VerificationFailure => AuditError::Forked { from: old, to: new },
                other => AuditError::malformed(format!("a proof from {old} to {new}: {other}")),
            })?;
        Ok((from, to))
    }
}
