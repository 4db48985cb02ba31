//! Every kind of tampering with the tables, and what the verifier calls it.

use std::path::PathBuf;

use tributary_audit::{AuditError, Export, Finding, Head, SigningKey, Tree, root_at};

use super::super::stored::{self, Stored};
use super::*;

/// More than a block of leaves, so that nodes are kept.
const BATCHES: u64 = 300;

/// A directory that was filled once, copied for each kind of tampering.
struct Original {
    dir: tempfile::TempDir,
    head: SignedHead,
}

impl Original {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        filled(dir.path(), BATCHES).await;
        let db = open_read_only(dir.path()).expect("opens");
        let head = newest_head(&db).expect("reads").expect("there");
        let head = SignedHead::parse(&head).expect("a head");
        Self { dir, head }
    }

    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().expect("dir");
        for name in [LOG_FILE, KEY_FILE, PUBLIC_KEY_FILE] {
            std::fs::copy(self.dir.path().join(name), copy.path().join(name)).expect("copies");
        }
        copy
    }

    /// What is found after some SQL; `kept` heads are known to the verifier.
    fn after(&self, sql: &str, kept: &[SignedHead]) -> Vec<Finding> {
        let copy = self.copy();
        file(copy.path()).execute_batch(sql).expect(sql);
        verdict(copy.path(), kept).findings
    }

    fn key(&self) -> SigningKey {
        SigningKey::from_pem(&std::fs::read_to_string(self.dir.path().join(KEY_FILE)).expect("there"))
            .expect("a key")
    }
}

/// Edits a leaf's last byte.
fn edit(index: u64) -> String {
    format!(
        "UPDATE audit_leaves SET leaf = cast(substr(leaf, 1, length(leaf) - 1) || x'00' AS BLOB) WHERE idx = {index};"
    )
}

/// Makes nodes and newest head anew over whatever leaves there are, as a thief of the key would.
fn sign_again(dir: &Path, key: &SigningKey, origin: &str) -> SignedHead {
    let db = file(dir);
    db.execute_batch("DELETE FROM audit_nodes; DELETE FROM audit_heads;")
        .expect("deletes");
    let tree: Tree = stored::rebuild(&db).expect("rebuilds");
    let head = Head {
        origin: origin.to_owned(),
        size: tree.size(),
        root: tree.root(),
        at: 1,
    };
    let head = head.sign(key);
    stored::put_head(&db, &head).expect("writes");
    head
}

#[tokio::test]
async fn every_kind_of_tampering_with_the_file_is_detected_and_named() {
    let original = Original::new().await;
    let (size, kept) = (original.head.head.size, [original.head.clone()]);
    assert!(original.after("", &kept).is_empty());

    let found = original.after(&edit(17), &[]);
    assert!(
        matches!(found[..], [Finding::TamperedLeaf { from, to }] if (from..to).contains(&17)),
        "edited leaf: {found:?}"
    );
    let found = original.after("UPDATE audit_nodes SET hash = zeroblob(32) WHERE level = 8", &[]);
    assert_eq!(found, [Finding::EditedNode { level: 8, index: 0 }], "edited node");
    let found = original.after("DELETE FROM audit_nodes", &[]);
    assert_eq!(
        found,
        [Finding::RemovedNode { level: 8, index: 0 }],
        "removed node"
    );
    let tail = format!("DELETE FROM audit_leaves WHERE idx >= {}", size - 9);
    let removed = Finding::RemovedTail {
        kept: size,
        found: size - 9,
    };
    assert_eq!(
        original.after(&tail, &[]),
        std::slice::from_ref(&removed),
        "removed tail"
    );
    // with its heads: whoever has kept one sees it
    let quiet = format!("{tail}; DELETE FROM audit_heads WHERE size > {}", size - 9);
    assert_eq!(original.after(&quiet, &[]), []);
    assert_eq!(
        original.after(&quiet, &kept),
        [removed],
        "removed tail, and its heads"
    );
    let found = original.after("DELETE FROM audit_leaves WHERE idx = 40", &[]);
    assert_eq!(
        found,
        [Finding::MissingLeaves {
            expected: 40,
            found: 41
        }],
        "removed leaf"
    );
    let swap =
        "UPDATE audit_leaves SET idx = -1 WHERE idx = 5; UPDATE audit_leaves SET idx = 5 WHERE idx = 6;
                UPDATE audit_leaves SET idx = 6 WHERE idx = -1";
    let found = original.after(swap, &[]);
    assert!(
        found.contains(&Finding::MovedLeaf { at: 5, says: 6 }),
        "swapped leaves: {found:?}"
    );
    let found = original.after("UPDATE audit_leaves SET leaf = x'07' WHERE idx = 9", &[]);
    assert!(
        matches!(found[0], Finding::MalformedLeaf { index: 9, .. }),
        "{found:?}"
    );
    let found = original.after(
        "UPDATE audit_heads SET head = replace(head, 'time ', 'time 1')",
        &[],
    );
    assert!(
        found
            .iter()
            .all(|finding| matches!(finding, Finding::Head(AuditError::BadSignature { .. })))
            && !found.is_empty(),
        "edited head: {found:?}"
    );
    let found = original.after("UPDATE audit_heads SET head = 'x'", &[]);
    assert!(
        matches!(found[0], Finding::Head(AuditError::Malformed(_))),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_forked_tree_is_detected_whichever_key_signed_it() {
    let original = Original::new().await;
    let (size, kept) = (original.head.head.size, [original.head.clone()]);
    let origin = original.head.head.origin.clone();
    // by the same key: the file agrees with itself, and not with a head that somebody kept
    let forked = original.copy();
    file(forked.path()).execute_batch(&edit(17)).expect("edits");
    let own = sign_again(forked.path(), &original.key(), &origin);
    assert!(verdict(forked.path(), &[]).is_sound());
    let found = verdict(forked.path(), &kept).findings;
    assert_eq!(found, [Finding::Forked { size, fits: size }]);
    assert_ne!(own.head.root, original.head.head.root);
    // by another key
    let strange = SigningKey::generate().expect("a key");
    let forked = original.copy();
    file(forked.path()).execute_batch(&edit(17)).expect("edits");
    sign_again(forked.path(), &strange, &origin);
    let found = verdict(forked.path(), &[]).findings;
    assert!(
        matches!(found[..], [Finding::Head(AuditError::WrongKey { .. })]),
        "{found:?}"
    );
    // a proof between the two histories does not exist
    let db = file(original.dir.path());
    let root = root_at(&mut Stored(&db), 100).expect("reads");
    assert_ne!(
        root,
        root_at(&mut Stored(&file(forked.path())), 100).expect("reads")
    );
}

#[tokio::test]
async fn the_separate_verifier_says_the_same_of_an_exported_file() {
    let original = Original::new().await;
    let tampered = original.copy();
    file(tampered.path()).execute_batch(&edit(17)).expect("edits");
    let check = |dir: PathBuf| {
        let (db, key) = (
            open_read_only(&dir).expect("opens"),
            read_public(&dir).expect("there"),
        );
        let mut text = Vec::new();
        export(&db, &key, &mut text, &mut |_, _| {}).expect("exports");
        let mut reading = Export::new(vec![key], vec![original.head.clone()]);
        for line in String::from_utf8(text).expect("text").lines() {
            reading.line(line).expect("a line");
        }
        reading.finish().expect("whole").0
    };
    assert!(check(original.dir.path().to_owned()).is_sound());
    let found = check(tampered.path().to_owned()).findings;
    assert!(matches!(found[..], [Finding::TamperedLeaf { .. }]), "{found:?}");
}

#[tokio::test]
async fn an_aggregator_that_starts_on_a_tampered_tree_says_so_in_the_tree() {
    let original = Original::new().await;
    let size = original.head.head.size;
    for sql in [
        edit(size - 2),
        format!("DELETE FROM audit_leaves WHERE idx >= {}", size - 3),
        "UPDATE audit_heads SET head = 'x'".to_owned(),
        "DELETE FROM audit_nodes".to_owned(),
    ] {
        let copy = original.copy();
        file(copy.path()).execute_batch(&sql).expect("tampers");
        let log = Log::open(copy.path());
        let alarm = log.reader.with(|db| newest_of(db, Kind::Alarm)).expect("reads");
        assert!(alarm.is_some(), "{sql}");
        // and goes on: what comes now is signed and proved
        let head = newest(&log.reader).head.size;
        let proof = log
            .reader
            .with(|db| inclusion(db, head - 1, None))
            .expect("proved");
        assert!(
            proof
                .verify(None, &[read_public(copy.path()).expect("key")])
                .is_ok(),
            "{sql}"
        );
        log.close().await;
        let again = Log::open(copy.path());
        let alarms = kinds_of(&again.reader, Kinds::One(Kind::Alarm)).len();
        assert_eq!(alarms, 1, "it is said once: {sql}");
        again.close().await;
    }
}
