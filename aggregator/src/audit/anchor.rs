//! The growing end of the tree: what the commit thread appends to, within its transactions.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use serde_json::{Value, json};
use tributary_audit::{
    Content, EntryRecord, Head, Kind, Leaf, SignedHead, SigningKey, Tree, origin_of, root_at,
};
use tributary_shared::time::{Millis, now_millis};

use super::messages::{Act, act_detail};
use super::stored::{self, Stored};
use super::{key, read};
use crate::commit::{self, CommitError, LogPos};

/// While leaves come, a head is signed at least so often: what is committed can be proved that soon, and that much is the
/// most that a thief of the key could rewrite before others hold a head of it.
const HEAD_EVERY: Millis = 60_000;
/// And after so many leaves.
const HEAD_AFTER: u64 = 4_096;
/// Set in log.db while nobody writes it (a restore): the next start makes it a leaf.
pub(crate) const PENDING: &str = "audit_pending";

/// What is known of the newest head.
#[derive(Debug, Clone, Copy)]
struct Signed {
    size: u64,
    at: Millis,
}

/// The tree's growing end. After a write that failed it must be opened again, like the log.
#[derive(Debug)]
pub struct Anchor {
    tree: Tree,
    key: SigningKey,
    origin: String,
    signed: Signed,
    /// Up to where a leaf says that retention has deleted.
    floor: LogPos,
    /// The newest head.
    head: Option<Arc<str>>,
}

impl Anchor {
    /// Reads the tree's end, and the key, which is made when there is none. What happened while nobody looked is
    /// recorded: the beginning, a restore, another key, a tree that is not the one of its newest head.
    ///
    /// # Errors
    /// [`CommitError::AuditKey`], [`CommitError::Damaged`], or those of SQLite.
    pub fn open(db: &mut Connection, dir: &Path) -> Result<Self, CommitError> {
        let id = commit::meta(db, "log_id")?.ok_or_else(|| stored::damaged("log.db has no id"))?;
        let origin = origin_of(&id);
        let (key, key_was_there) = key::open(dir, &origin)?;
        let mut alarms = Vec::new();
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tree = match stored::load(&transaction)? {
            Some(tree) => tree,
            None => {
                alarms.push("a kept node was missing; the tree was made again from its leaves".to_owned());
                stored::rebuild(&transaction)?
            }
        };
        let newest = read::newest_head(&transaction)?;
        let mut anchor = Self {
            signed: Signed { size: 0, at: 0 },
            floor: recorded_floor(&transaction)?,
            head: newest.as_deref().map(Arc::from),
            tree,
            key,
            origin,
        };
        match newest {
            Some(text) => anchor.check(&transaction, &text, key_was_there, &mut alarms)?,
            None => anchor.begin(&transaction)?,
        }
        let now = now_millis();
        for what in alarms {
            tracing::error!(
                what,
                "the audit does not fit its own newest head: `tributary audit verify` says more"
            );
            anchor.append_act(&transaction, now, Act::new(Kind::Alarm, json!({ "what": what })))?;
        }
        if let Some(pending) = commit::meta(&transaction, PENDING)? {
            let detail = serde_json::from_str(&pending).unwrap_or(Value::String(pending));
            let act = Act {
                kind: Kind::Restore,
                detail: act_detail(detail),
            };
            anchor.append_act(&transaction, now, act)?;
            transaction.execute("DELETE FROM meta WHERE key = ?1", [PENDING])?;
        }
        if anchor.tree.size() > anchor.signed.size {
            anchor.sign(&transaction, now)?;
        }
        transaction.commit()?;
        Ok(anchor)
    }

    /// The first leaf.
    fn begin(&mut self, db: &Connection) -> Result<(), CommitError> {
        if self.tree.size() > 0 {
            return Ok(());
        }
        let (newest, lanes): (u64, u64) = db.query_row(
            "SELECT (SELECT coalesce(max(pos), 0) FROM log), (SELECT count(*) FROM lanes)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let detail = json!({
            "log": self.origin, "committed_before": newest, "lanes_before": lanes, "key": self.key.public(&self.origin).to_string(),
        });
        self.append_act(db, now_millis(), Act::new(Kind::Begin, detail))?;
        Ok(())
    }

    /// Compares tree and key with the newest head.
    fn check(
        &mut self,
        db: &Connection,
        text: &str,
        key_was_there: bool,
        alarms: &mut Vec<String>,
    ) -> Result<(), CommitError> {
        let head = match SignedHead::parse(text) {
            Ok(head) => head,
            Err(error) => {
                alarms.push(format!("the newest stored head cannot be read: {error}"));
                return Ok(());
            }
        };
        let Head { size, root, at, .. } = head.head;
        if size > self.tree.size() {
            alarms.push(format!(
                "removed tail: a head of {size} leaves was signed, there are {}",
                self.tree.size()
            ));
            stored::void_heads(db, self.tree.size(), now_millis())?;
        } else if root_at(&mut Stored(db), size)? != root {
            alarms.push(format!(
                "the first {size} leaves are not those that the newest head was signed for"
            ));
        }
        // a head of more leaves than there are is not what new ones follow
        self.signed = Signed {
            size: size.min(self.tree.size()),
            at,
        };
        let public = self.key.public(&self.origin);
        if head.key_id() != public.id() {
            let why = if key_was_there {
                "audit.key is another key than the one that signed the newest head"
            } else {
                "audit.key was missing, and a new one was made"
            };
            tracing::error!(
                from = head.key_id(),
                to = public.id(),
                why,
                "heads of the audit are signed by another key"
            );
            let detail =
                json!({ "from": head.key_id(), "to": public.id(), "key": public.to_string(), "why": why });
            self.append_act(db, now_millis(), Act::new(Kind::KeyChange, detail))?;
        } else if let Err(error) = head.verify(&[public]) {
            alarms.push(format!("the newest stored head: {error}"));
        }
        Ok(())
    }

    /// The text of the newest head, durable or about to be.
    #[must_use]
    pub fn head(&self) -> Option<&Arc<str>> {
        self.head.as_ref()
    }

    /// Bytes that the tree takes in log.db, about.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        // a row's head and its place in the tree of pages
        self.tree.bytes() + self.tree.size() * 12
    }

    /// Appends a leaf for the entries of a commit; none for none.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn append_group(
        &mut self,
        db: &Connection,
        at: Millis,
        entries: Vec<EntryRecord>,
    ) -> Result<(), CommitError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.append(db, at, Content::Group(entries)).map(|_| ())
    }

    /// Appends an act's leaf, and returns its index.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn append_act(&mut self, db: &Connection, at: Millis, act: Act) -> Result<u64, CommitError> {
        let Act { kind, detail } = act;
        self.append(db, at, Content::Act { kind, detail })
    }

    fn append(&mut self, db: &Connection, at: Millis, content: Content) -> Result<u64, CommitError> {
        let index = self.tree.size();
        let pos = match &content {
            Content::Group(entries) => entries.first().map(|entry| entry.pos),
            Content::Act { .. } => None,
        };
        let leaf = Leaf { index, at, content };
        let bytes = leaf.encode();
        stored::put_leaf(db, &leaf, &bytes, pos)?;
        stored::put_nodes(db, &self.tree.append(&bytes))?;
        Ok(index)
    }

    /// Whether it is time for a head.
    #[must_use]
    pub fn is_due(&self, now: Millis) -> bool {
        let unsigned = self.tree.size() - self.signed.size;
        // a clock that was set back must not stop the heads
        let passed = now.abs_diff(self.signed.at) >= HEAD_EVERY.unsigned_abs();
        unsigned > 0 && (passed || unsigned >= HEAD_AFTER)
    }

    /// Signs a head of all that is there, if there is more than at the last one. What retention has deleted since goes
    /// before it.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn sign(&mut self, db: &Connection, now: Millis) -> Result<(), CommitError> {
        let floor = commit::floor(db)?;
        if floor > self.floor {
            self.append_act(
                db,
                now,
                Act::new(Kind::Retention, json!({ "deleted_up_to": floor.0 })),
            )?;
            self.floor = floor;
        }
        let size = self.tree.size();
        if size == self.signed.size {
            return Ok(());
        }
        let head = Head {
            origin: self.origin.clone(),
            size,
            root: self.tree.root(),
            at: now,
        };
        let head = head.sign(&self.key);
        stored::put_head(db, &head)?;
        self.head = Some(head.to_string().into());
        self.signed = Signed { size, at: now };
        Ok(())
    }
}

fn recorded_floor(db: &Connection) -> Result<LogPos, CommitError> {
    let leaf = stored::newest_of(db, Kind::Retention)?;
    let floor = leaf.and_then(|leaf| match leaf.content {
        Content::Act { detail, .. } => detail.get("deleted_up_to").and_then(Value::as_u64),
        Content::Group(_) => None,
    });
    Ok(LogPos(floor.unwrap_or(0)))
}
