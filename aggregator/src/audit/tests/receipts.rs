//! Receipts: before and after retention deleted the entry, and after tampering with the log.

use tributary_audit::{AuditError, Receipt};
use tributary_shared::time::now_millis;

use super::*;
use crate::commit::tests::trim_all;

fn receipt_of(log: &Log, seq: u64) -> Receipt {
    let lane = log.reader.lane(LaneNo(1)).expect("reads").expect("there");
    match log.reader.with(|db| receipt(db, &lane, seq)).expect("proved") {
        ReceiptAnswer::Proved(receipt) => *receipt,
        ReceiptAnswer::NotSigned => panic!("no head covers seq {seq}"),
    }
}

#[tokio::test]
async fn any_event_is_proved_to_have_been_received_also_after_retention() {
    let dir = tempfile::tempdir().expect("dir");
    let started = now_millis();
    filled(dir.path(), 40).await;
    let log = Log::open(dir.path());
    let keys = [read_public(dir.path()).expect("there")];
    let mut before = Vec::new();
    for seq in [1, 13, 207, 400, 403] {
        let proof = receipt_of(&log, seq);
        let (at, _) = proof.verify(None, &keys).expect("right");
        assert!((started..=now_millis()).contains(&at), "seq {seq} at {at}");
        assert!(proof.entry.is_some() && proof.lane_opened.is_some());
        before.push((seq, proof));
    }
    let lane = log.reader.lane(LaneNo(1)).expect("reads").expect("there");
    let later = log
        .reader
        .with(|db| receipt(db, &lane, 406))
        .expect_err("not committed");
    assert!(matches!(later, NotProved::NotCommitted { mark: 405 }), "{later}");
    log.close().await;

    trim_all(dir.path());
    let log = Log::open(dir.path());
    assert_eq!(
        log.reader.stats().expect("reads").floor,
        log.reader.stats().expect("reads").newest
    );
    for (seq, old) in &before {
        assert!(old.verify(None, &keys).is_ok(), "a proof from before stays valid");
        let proof = receipt_of(&log, *seq);
        assert_eq!(proof.entry, None, "the entry is gone");
        let (at, _) = proof.verify(None, &keys).expect("right");
        assert_eq!(proof.received_at, old.received_at);
        assert_eq!(at, old.verify(None, &keys).expect("right").0);
    }
    // retention itself is a leaf, with the next head
    log.handle
        .record(Act::new(Kind::View, json!({})))
        .await
        .expect("recorded");
    assert_eq!(kinds_of(&log.reader, Kinds::One(Kind::Retention)).len(), 1);
    log.close().await;
    assert!(verdict(dir.path(), &[]).is_sound());
}

#[tokio::test]
async fn a_receipt_of_an_entry_that_was_edited_or_of_another_event_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    filled(dir.path(), 4).await;
    let keys = [read_public(dir.path()).expect("there")];
    let log = Log::open(dir.path());
    let right = receipt_of(&log, 13);
    log.close().await;
    for (sql, what) in [
        (
            "UPDATE log SET body = zeroblob(length(body)) WHERE pos = 2",
            "columns",
        ),
        (
            "UPDATE dead_letters SET payload = x'78' WHERE seq = 13",
            "a letter",
        ),
    ] {
        let copy = tempfile::tempdir().expect("dir");
        for name in [LOG_FILE, KEY_FILE, PUBLIC_KEY_FILE] {
            std::fs::copy(dir.path().join(name), copy.path().join(name)).expect("copies");
        }
        file(copy.path()).execute(sql, []).expect("edits");
        let log = Log::open(copy.path());
        let refused = receipt_of(&log, 13).verify(None, &keys).expect_err(what);
        assert!(
            matches!(refused, AuditError::EntryDiffers { .. }),
            "{what}: {refused}"
        );
        log.close().await;
    }
    let changed = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = right.clone();
        change(&mut receipt);
        receipt.verify(None, &keys).expect_err("changed")
    };
    let refused = changed(&|receipt| receipt.event.seq = 31);
    assert_eq!(refused, AuditError::EventNotThere { lane: 1, seq: 31 });
    let refused = changed(&|receipt| receipt.event.agent = "edge-2".to_owned());
    assert!(
        matches!(refused, AuditError::LaneDiffers { lane: 1, .. }),
        "{refused}"
    );
    let refused = changed(&|receipt| receipt.received_at = "2026-01-01T00:00:00.000Z".to_owned());
    assert!(matches!(refused, AuditError::Malformed(_)), "{refused}");
}

#[tokio::test]
async fn proofs_between_all_heads_hold_and_what_cannot_be_proved_is_said() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    let key = lane_key("s", 1);
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    for at in 0..20 {
        log.submit(rows(LaneNo(1), &key, range(at * 2 + 1, at * 2 + 2)))
            .await;
        if at % 3 == 0 {
            log.handle.sign().await.expect("signs");
        }
    }
    let keys = [read_public(dir.path()).expect("there")];
    let all = log.reader.with(|db| heads(db, 0, 100)).expect("reads");
    assert!(all.len() >= 7, "{}", all.len());
    let newest = all.last().expect("there").0;
    for (size, _) in &all {
        let proof = log
            .reader
            .with(|db| consistency(db, *size, None))
            .expect("proved");
        assert!(proof.verify(None, None, &keys).is_ok(), "{size}");
        for leaf in 0..*size {
            let proof = log
                .reader
                .with(|db| inclusion(db, leaf, Some(*size)))
                .expect("proved");
            assert_eq!(proof.verify(None, &keys).expect("right").0.index, leaf);
        }
    }
    let why = |leaf, size| {
        log.reader
            .with(|db| inclusion(db, leaf, size))
            .expect_err("not proved")
    };
    assert!(matches!(why(newest, None), NotProved::NoLeaf { .. }));
    let none = why(0, Some(newest + 1));
    assert!(
        matches!(none, NotProved::NoHead { below: Some(below), above: None, .. } if below == newest),
        "{none}"
    );
    let why = |from, to| {
        log.reader
            .with(|db| consistency(db, from, to))
            .expect_err("not proved")
    };
    assert!(matches!(why(newest + 5, None), NotProved::Backwards { .. }));
    assert!(matches!(why(0, None), NotProved::NoHead { .. }));
    log.close().await;
}
