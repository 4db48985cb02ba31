//! The audit's tables over a real log: what is recorded, what proves it, and what tampering with the file shows.

mod crashes;
mod receipts;
mod tampering;

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;
use tributary_audit::{Content, Kind, Outcome, SignedHead};
use tributary_shared::ids::LaneNo;

use super::*;
use crate::commit::tests::{Log, drops, lane_key, range, rows};
use crate::commit::{CommitOptions, LOG_FILE, LogReader};
use crate::registry::SchemaCache;

fn file(dir: &Path) -> Connection {
    Connection::open(dir.join(LOG_FILE)).expect("opens")
}

/// What the verifier says of a directory, by its own public key.
fn verdict(dir: &Path, kept: &[SignedHead]) -> Outcome {
    let db = open_read_only(dir).expect("opens");
    walk(&db, vec![read_public(dir).expect("there")], kept, &mut |_, _| {}).expect("reads")
}

fn newest(reader: &LogReader) -> SignedHead {
    let text = reader.with(newest_head).expect("reads").expect("there");
    SignedHead::parse(&text).expect("a head")
}

fn kinds_of(reader: &LogReader, kinds: Kinds) -> Vec<Kind> {
    let query = AuditQuery {
        kinds,
        limit: 1_000,
        ..AuditQuery::default()
    };
    let page = reader.with(|db| page(db, query)).expect("reads");
    page.leaves.iter().map(tributary_audit::Leaf::kind).collect()
}

/// A log with some of everything; closed.
async fn filled(dir: &Path, batches: u64) {
    let log = Log::open(dir);
    let key = lane_key("s", 1);
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    for at in 0..batches {
        log.submit(rows(LaneNo(1), &key, range(at * 10 + 1, at * 10 + 10)))
            .await;
    }
    log.submit(drops(
        LaneNo(1),
        &key,
        range(batches * 10 + 1, batches * 10 + 5),
        "drop_oldest",
    ))
    .await;
    let act = Act::new(Kind::View, json!({ "path": "/api/v1/views/v" }));
    log.handle.record(act).await.expect("recorded");
    log.close().await;
}

#[tokio::test]
async fn what_a_log_does_is_recorded_in_the_transaction_that_does_it() {
    let dir = tempfile::tempdir().expect("dir");
    filled(dir.path(), 3).await;
    let log = Log::open(dir.path());
    let told = kinds_of(&log.reader, Kinds::All);
    let expected = [
        Kind::Begin,
        Kind::Enrolment,
        Kind::Lane,
        Kind::CommitGroup,
        Kind::CommitGroup,
        Kind::CommitGroup,
        Kind::CommitGroup,
        Kind::Drop,
        Kind::View,
    ];
    assert_eq!(told, expected);
    assert_eq!(
        kinds_of(&log.reader, Kinds::Acts),
        [Kind::Begin, Kind::Enrolment, Kind::Lane, Kind::Drop, Kind::View]
    );
    assert_eq!(kinds_of(&log.reader, Kinds::One(Kind::Drop)), [Kind::Drop]);
    assert_eq!(kinds_of(&log.reader, Kinds::One(Kind::CommitGroup)).len(), 4);
    let newest_first = AuditQuery {
        newest_first: true,
        limit: 2,
        from: Some(8),
        ..AuditQuery::default()
    };
    let found = log.reader.with(|db| page(db, newest_first)).expect("reads");
    let indices: Vec<u64> = found.leaves.iter().map(|leaf| leaf.index).collect();
    assert_eq!((indices, found.size), (vec![7, 6], 9));
    // an act is signed with its leaf
    assert_eq!(newest(&log.reader).head.size, 9);
    log.close().await;
    let outcome = verdict(dir.path(), &[]);
    assert!(outcome.is_sound(), "{outcome:?}");
    assert_eq!((outcome.size, outcome.unsigned()), (9, 0));
}

#[tokio::test]
async fn a_log_of_format_4_begins_its_audit_with_a_leaf_that_says_so() {
    let dir = tempfile::tempdir().expect("dir");
    filled(dir.path(), 2).await;
    file(dir.path())
        .execute_batch(
            "DROP TABLE audit_leaves; DROP TABLE audit_nodes; DROP TABLE audit_heads; DROP TABLE passed_entries;
             DROP TABLE entry_times; DROP TABLE lineage; DROP TABLE deletions;
             ALTER TABLE lanes DROP COLUMN opened_leaf; UPDATE meta SET value = '4' WHERE key = 'format_version';",
        )
        .expect("is format 4 now");
    let log = Log::open(dir.path());
    let begin = log
        .reader
        .with(|db| newest_of(db, Kind::Begin))
        .expect("reads")
        .expect("there");
    let Content::Act { detail, .. } = begin.content else {
        panic!("an act")
    };
    assert_eq!(
        (&detail["committed_before"], &detail["lanes_before"]),
        (&json!(3), &json!(1))
    );
    let lane = log.reader.lane(LaneNo(1)).expect("reads").expect("there");
    let before = log
        .reader
        .with(|db| receipt(db, &lane, 5))
        .expect_err("not anchored");
    assert!(matches!(before, NotProved::BeforeAudit { pos: 1 }), "{before}");
    log.submit(rows(LaneNo(1), &lane_key("s", 1), range(26, 30)))
        .await;
    log.handle.sign().await.expect("signed");
    let lane = log.reader.lane(LaneNo(1)).expect("reads").expect("there");
    let ReceiptAnswer::Proved(proved) = log.reader.with(|db| receipt(db, &lane, 27)).expect("proved") else {
        panic!("signed")
    };
    assert_eq!(proved.lane_opened, None, "the lane is older than the audit");
    assert!(
        proved
            .verify(None, &[read_public(dir.path()).expect("key")])
            .is_ok()
    );
    log.close().await;
}

#[tokio::test]
async fn a_key_that_is_missing_changed_or_broken_is_said() {
    let dir = tempfile::tempdir().expect("dir");
    filled(dir.path(), 1).await;
    let (key, public) = (dir.path().join(KEY_FILE), dir.path().join(PUBLIC_KEY_FILE));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let first = (
        std::fs::read(&key).expect("there"),
        read_public(dir.path()).expect("there"),
    );
    std::fs::write(&key, "no key").expect("writes");
    let options = CommitOptions {
        dir: dir.path().to_owned(),
        require_schema: false,
    };
    let refused = crate::commit::open(options, SchemaCache::default()).expect_err("unusable");
    assert!(refused.to_string().contains("audit.key"), "{refused}");
    std::fs::remove_file(&key).expect("removes");
    let log = Log::open(dir.path());
    let change = log
        .reader
        .with(|db| newest_of(db, Kind::KeyChange))
        .expect("reads")
        .expect("recorded");
    assert_eq!(change.to_json()["detail"]["from"], first.1.id());
    assert!(
        change.to_json()["detail"]["why"]
            .as_str()
            .expect("text")
            .contains("missing")
    );
    log.close().await;
    assert_ne!(read_public(dir.path()).expect("there"), first.1);
    // by both keys all of it holds, by the first one only what that one signed
    let db = open_read_only(dir.path()).expect("opens");
    let both = vec![first.1.clone(), read_public(dir.path()).expect("there")];
    assert!(walk(&db, both, &[], &mut |_, _| {}).expect("reads").is_sound());
    let found = walk(&db, vec![first.1.clone()], &[], &mut |_, _| {})
        .expect("reads")
        .findings;
    assert!(
        found
            .iter()
            .any(|finding| finding.to_string().starts_with("wrong key")),
        "{found:?}"
    );
    // and the first key put back is a change again
    std::fs::write(&key, first.0).expect("writes");
    let log = Log::open(dir.path());
    assert_eq!(kinds_of(&log.reader, Kinds::One(Kind::KeyChange)).len(), 2);
    log.close().await;
    assert_eq!(
        std::fs::read_to_string(public).expect("there").trim(),
        first.1.to_string()
    );
}
