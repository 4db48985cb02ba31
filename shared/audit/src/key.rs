//! Keys of heads: Ed25519, named as in signed notes (C2SP), so that other tools can check our heads as well.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::AuditError;
use crate::hash::{from_text, sha256, to_text};

const ED25519_TYPE: u8 = 1;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// The name of a log: the first line of its heads, and the name of its key.
#[must_use]
pub fn origin_of(log_id: &str) -> String {
    format!("tributary.audit/{log_id}")
}

/// Names a key within signatures: the first bytes of a hash over name and key.
fn key_id(origin: &str, public: &[u8]) -> [u8; 4] {
    let hash = sha256(&[origin.as_bytes(), b"\n", &[ED25519_TYPE], public]);
    [hash[0], hash[1], hash[2], hash[3]]
}

fn id_text(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// Signs heads.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] when the system gives no randomness.
    pub fn generate() -> Result<Self, AuditError> {
        let pair = Ed25519KeyPair::generate()
            .map_err(|_| AuditError::malformed("the system gives no randomness"))?;
        Ok(Self { pair })
    }

    /// The key as a PEM file (PKCS #8).
    ///
    /// # Errors
    /// [`AuditError::Malformed`]; a key that was made or read can be written.
    pub fn to_pem(&self) -> Result<String, AuditError> {
        let der = self
            .pair
            .to_pkcs8v1()
            .map_err(|_| AuditError::malformed("the key cannot be written"))?;
        Ok(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", to_text(der.as_ref())))
    }

    /// Reads what [`Self::to_pem`] wrote.
    ///
    /// # Errors
    /// [`AuditError::Malformed`].
    pub fn from_pem(text: &str) -> Result<Self, AuditError> {
        let inner = text
            .trim()
            .strip_prefix(PEM_BEGIN)
            .and_then(|text| text.strip_suffix(PEM_END));
        let inner = inner.ok_or_else(|| AuditError::malformed("it is no PEM file with a private key"))?;
        let der = from_text("the key", &inner.split_whitespace().collect::<String>())?;
        let pair = Ed25519KeyPair::from_pkcs8(&der)
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der))
            .map_err(|error| AuditError::malformed(format!("it is no Ed25519 key: {error}")))?;
        Ok(Self { pair })
    }

    /// What others check by.
    #[must_use]
    pub fn public(&self, origin: &str) -> PublicKey {
        PublicKey {
            origin: origin.to_owned(),
            // Ed25519 keys have 32 bytes
            key: std::array::from_fn(|i| self.pair.public_key().as_ref().get(i).copied().unwrap_or(0)),
        }
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.pair.sign(text).as_ref().to_vec()
    }
}

/// A key that heads of one log are checked by. Its text is one line, `name+id+key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    origin: String,
    key: [u8; 32],
}

impl PublicKey {
    /// Reads one line.
    ///
    /// # Errors
    /// [`AuditError::Malformed`].
    pub fn parse(line: &str) -> Result<Self, AuditError> {
        let wrong = |what: &str| AuditError::malformed(format!("a public key: {what}"));
        let mut parts = line.trim().splitn(3, '+');
        let (Some(origin), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("it is not name+id+key"));
        };
        let bytes = from_text("a public key", key)?;
        let key = match bytes.split_first() {
            Some((&ED25519_TYPE, key)) => {
                <[u8; 32]>::try_from(key).map_err(|_| wrong("it does not have 32 bytes"))?
            }
            _ => return Err(wrong("it is not of Ed25519")),
        };
        if origin.is_empty() || origin.contains(char::is_whitespace) {
            return Err(wrong("its name is empty, or has blanks"));
        }
        if id_text(key_id(origin, &key)) != id {
            return Err(wrong("its id is not that of its name and key"));
        }
        let origin = origin.to_owned();
        Ok(Self { origin, key })
    }

    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Eight hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        id_text(self.raw_id())
    }

    pub(crate) fn raw_id(&self) -> [u8; 4] {
        key_id(&self.origin, &self.key)
    }

    pub(crate) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key)
            .verify(text, signature)
            .is_ok()
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let typed = [&[ED25519_TYPE][..], &self.key].concat();
        write!(f, "{}+{}+{}", self.origin, self.id(), to_text(&typed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_damaged_ones_are_refused() {
        let key = SigningKey::generate().expect("generates");
        let again = SigningKey::from_pem(&key.to_pem().expect("writes")).expect("reads");
        let (public, line) = (key.public("t/a"), key.public("t/a").to_string());
        assert_eq!(again.public("t/a"), public);
        assert_eq!(PublicKey::parse(&line), Ok(public.clone()));
        assert!(public.verifies(b"text", &again.sign(b"text")));
        assert!(!public.verifies(b"texT", &again.sign(b"text")));
        assert!(PublicKey::parse(&line.replacen("t/a", "t/b", 1)).is_err());
        for text in ["", "a+b", &line[..line.len() - 4], "a+00000000+AQ=="] {
            assert!(PublicKey::parse(text).is_err(), "{text}");
        }
        for text in ["", PEM_BEGIN, &format!("{PEM_BEGIN}\nAAAA\n{PEM_END}")] {
            assert!(SigningKey::from_pem(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_of_the_go_toolchain_is_read() {
        // the example of the signed-note documentation
        let line = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key = PublicKey::parse(line).expect("reads");
        assert_eq!((key.id().as_str(), key.to_string().as_str()), ("c74f20a3", line));
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signature = from_text(
            "it",
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=",
        )
        .expect("base64");
        assert_eq!(signature[..4], key.raw_id());
        assert!(key.verifies(text.as_bytes(), &signature[4..]));
    }
}
