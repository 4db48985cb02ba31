//! A whole audit as a text file: a line of JSON for each thing, in this order.
//!
//! ```text
//! {"tributary_audit":1,"key":"name+id+key"}
//! {"head":"…"}                             every stored head
//! {"level":8,"index":0,"hash":"…"}         every kept node
//! {"leaf":0,"bytes":"…"}                   every leaf, in order
//! {"end":4711}                             leaves; without this line the file was cut short
//! ```

use serde::{Deserialize, Serialize};

use crate::hash::{Hash, from_text, hash_from_text, to_text};
use crate::{AuditError, Outcome, PublicKey, SignedHead, Walk};

const FORMAT: u32 = 1;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExportLine {
    Begin { tributary_audit: u32, key: String },
    Head { head: String },
    Node { level: u32, index: u64, hash: String },
    Leaf { leaf: u64, bytes: String },
    End { end: u64 },
}

impl ExportLine {
    #[must_use]
    pub fn begin(key: &PublicKey) -> Self {
        Self::Begin {
            tributary_audit: FORMAT,
            key: key.to_string(),
        }
    }

    #[must_use]
    pub fn node(level: u32, index: u64, hash: &Hash) -> Self {
        let hash = to_text(hash);
        Self::Node { level, index, hash }
    }

    #[must_use]
    pub fn leaf(leaf: u64, bytes: &[u8]) -> Self {
        let bytes = to_text(bytes);
        Self::Leaf { leaf, bytes }
    }
}

/// Checks a file line by line.
#[derive(Debug, Default)]
pub struct Export {
    keys: Vec<PublicKey>,
    kept: Vec<SignedHead>,
    walk: Option<Walk>,
    own_key: Option<PublicKey>,
    lines: u64,
    end: Option<u64>,
}

impl Export {
    /// `keys` are trusted; with none, the file's own is (which proves only that the file agrees with itself). `kept` are
    /// heads that somebody has kept.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>, kept: Vec<SignedHead>) -> Self {
        Self {
            keys,
            kept,
            ..Self::default()
        }
    }

    /// A head that somebody has kept, learned later than the others.
    pub fn kept(&mut self, head: SignedHead) {
        match &mut self.walk {
            Some(walk) => walk.signed_head(head),
            None => self.kept.push(head),
        }
    }

    /// Leaves that were checked so far.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.walk.as_ref().map_or(0, Walk::size)
    }

    /// The next line.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] naming the line.
    pub fn line(&mut self, text: &str) -> Result<(), AuditError> {
        self.lines += 1;
        let at = self.lines;
        let wrong = |what: String| AuditError::malformed(format!("line {at}: {what}"));
        let line = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if self.end.is_some() {
            return Err(wrong("there is more behind the end".to_owned()));
        }
        match (line, &mut self.walk) {
            (ExportLine::Begin { tributary_audit, key }, None) => {
                if tributary_audit != FORMAT {
                    return Err(wrong(format!(
                        "format {tributary_audit}; this program reads {FORMAT}"
                    )));
                }
                let own = PublicKey::parse(&key)?;
                let trusted = if self.keys.is_empty() {
                    vec![own.clone()]
                } else {
                    self.keys.clone()
                };
                let mut walk = Walk::new(trusted);
                self.kept.drain(..).for_each(|head| walk.signed_head(head));
                (self.walk, self.own_key) = (Some(walk), Some(own));
            }
            (ExportLine::Head { head }, Some(walk)) => walk.head(&head),
            (ExportLine::Node { level, index, hash }, Some(walk)) => {
                walk.node(level, index, hash_from_text("a node", &hash)?);
            }
            (ExportLine::Leaf { leaf, bytes }, Some(walk)) => walk.leaf(leaf, &from_text("a leaf", &bytes)?),
            (ExportLine::End { end }, Some(_)) => self.end = Some(end),
            (ExportLine::Begin { .. }, Some(_)) => return Err(wrong("it begins a second time".to_owned())),
            (_, None) => return Err(wrong("it does not begin with {\"tributary_audit\":1}".to_owned())),
        }
        Ok(())
    }

    /// After the last line. Returns also the key that the file says is its own.
    ///
    /// # Errors
    /// [`AuditError::Malformed`] when lines are missing.
    pub fn finish(self) -> Result<(Outcome, PublicKey), AuditError> {
        let (Some(walk), Some(key)) = (self.walk, self.own_key) else {
            return Err(AuditError::malformed("the file is empty"));
        };
        let Some(end) = self.end else {
            return Err(AuditError::malformed(
                "the file was cut short: its last line is missing",
            ));
        };
        let outcome = walk.finish();
        if outcome.size != end && outcome.is_sound() {
            let what = format!("the file says that it has {end} leaves, and has {}", outcome.size);
            return Err(AuditError::Malformed(what));
        }
        Ok((outcome, key))
    }
}
