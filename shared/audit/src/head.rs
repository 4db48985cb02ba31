//! Heads: what a tree is at one size, signed. Written as a checkpoint (C2SP tlog-checkpoint) in a signed note:
//!
//! ```text
//! tributary.audit/0123…          origin: which log
//! 4711                           leaves
//! qzEf…=                         root
//! time 1790000000000             Unix milliseconds
//!
//! — tributary.audit/0123… x08g…  key id and signature over the lines above the empty one
//! ```

use crate::hash::{Hash, from_text, hash_from_text, to_text};
use crate::{AuditError, PublicKey, SigningKey};

/// Far more than a head has.
const MAX_HEAD: usize = 4 << 10;
const DASH: &str = "\u{2014} ";

/// What a tree is at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub origin: String,
    /// Leaves.
    pub size: u64,
    pub root: Hash,
    /// Unix milliseconds, by the signer's clock.
    pub at: i64,
}

/// A head as it was written; whether the signature holds is for [`SignedHead::verify`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHead {
    pub head: Head,
    key: [u8; 4],
    signature: Vec<u8>,
}

impl Head {
    fn text(&self) -> String {
        let Self {
            origin,
            size,
            root,
            at,
        } = self;
        format!("{origin}\n{size}\n{}\ntime {at}\n", to_text(root))
    }

    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedHead {
        let signature = key.sign(self.text().as_bytes());
        let key = key.public(&self.origin).raw_id();
        SignedHead {
            head: self,
            key,
            signature,
        }
    }
}

impl std::fmt::Display for SignedHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let signature = [&self.key[..], &self.signature].concat();
        let Head { origin, .. } = &self.head;
        write!(
            f,
            "{}\n{DASH}{origin} {}\n",
            self.head.text(),
            to_text(&signature)
        )
    }
}

impl SignedHead {
    /// Reads the text of a head. Only what we would write is read: there is one text for a head.
    ///
    /// # Errors
    /// [`AuditError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, AuditError> {
        let wrong = |what: &str| AuditError::malformed(format!("a head: {what}"));
        if text.len() > MAX_HEAD {
            return Err(wrong("it is too long"));
        }
        let text = text.trim_end();
        let lines: Vec<&str> = text.lines().collect();
        let [origin, size, root, time, "", signed] = lines[..] else {
            return Err(wrong(
                "it is not origin, size, root, time, an empty line and one signature",
            ));
        };
        let number = |what: &str, text: &str| {
            text.parse()
                .map_err(|_| wrong(&format!("{what} {text:?} is no number")))
        };
        let at = time
            .strip_prefix("time ")
            .ok_or_else(|| wrong("it has no time"))?;
        let at = at.parse::<i64>().map_err(|_| wrong("its time is no number"))?;
        let head = Head {
            origin: origin.to_owned(),
            size: number("size", size)?,
            root: hash_from_text("a head's root", root)?,
            at,
        };
        let signed = signed.strip_prefix(DASH).and_then(|line| line.split_once(' '));
        let (name, signature) =
            signed.ok_or_else(|| wrong("its signature line is not `— name signature`"))?;
        if name != origin {
            return Err(wrong("it is signed by another name than its own"));
        }
        let signature = from_text("a signature", signature)?;
        let (key, signature) = signature
            .split_first_chunk::<4>()
            .ok_or_else(|| wrong("its signature is too short"))?;
        let parsed = Self {
            head,
            key: *key,
            signature: signature.to_vec(),
        };
        if parsed.to_string().trim_end() != text {
            return Err(wrong("it is not written as a head is written"));
        }
        Ok(parsed)
    }

    /// Eight hexadecimal digits that name the key.
    #[must_use]
    pub fn key_id(&self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.key))
    }

    /// Checks origin, key and signature by the keys that are trusted.
    ///
    /// # Errors
    /// [`AuditError::OtherLog`], [`AuditError::WrongKey`], [`AuditError::BadSignature`].
    pub fn verify(&self, trusted: &[PublicKey]) -> Result<(), AuditError> {
        let ids = || trusted.iter().map(PublicKey::id).collect::<Vec<_>>().join(", ");
        let of_log = |key: &&PublicKey| key.origin() == self.head.origin;
        if let Some(key) = trusted.first()
            && !trusted.iter().any(|key| of_log(&key))
        {
            return Err(AuditError::OtherLog {
                found: self.head.origin.clone(),
                expected: key.origin().to_owned(),
            });
        }
        let Some(key) = trusted.iter().filter(of_log).find(|key| key.raw_id() == self.key) else {
            return Err(AuditError::WrongKey {
                found: self.key_id(),
                trusted: ids(),
            });
        };
        if key.verifies(self.head.text().as_bytes(), &self.signature) {
            return Ok(());
        }
        Err(AuditError::BadSignature { size: self.head.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(key: &SigningKey) -> SignedHead {
        let head = Head {
            origin: "t/a".to_owned(),
            size: 7,
            root: [9; 32],
            at: -5,
        };
        head.sign(key)
    }

    #[test]
    fn a_head_reads_back_and_verifies_by_its_key_only() {
        let (key, other) = (
            SigningKey::generate().expect("k"),
            SigningKey::generate().expect("k"),
        );
        let head = signed(&key);
        let again = SignedHead::parse(&head.to_string()).expect("reads");
        assert_eq!(again, head);
        assert_eq!(again.verify(&[other.public("t/a"), key.public("t/a")]), Ok(()));
        assert!(matches!(
            again.verify(&[other.public("t/a")]),
            Err(AuditError::WrongKey { .. })
        ));
        assert!(matches!(again.verify(&[]), Err(AuditError::WrongKey { .. })));
        assert!(matches!(
            again.verify(&[key.public("t/b")]),
            Err(AuditError::OtherLog { .. })
        ));
    }

    #[test]
    fn a_head_that_was_changed_in_any_byte_is_not_taken() {
        let key = SigningKey::generate().expect("k");
        let text = signed(&key).to_string();
        for at in 0..text.trim_end().len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            let verdict = SignedHead::parse(&changed).and_then(|head| head.verify(&[key.public("t/a")]));
            assert!(verdict.is_err(), "{changed}");
        }
    }
}
