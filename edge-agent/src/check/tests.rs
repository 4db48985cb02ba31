//! Schemas are kept over restarts and within their bounds; checks judge what they can.

use std::path::Path;

use tributary_shared::ids::StreamName;
use tributary_shared::wire::SchemaInfo;
use tributary_shared::wire::rows::push_row;

use super::keep::{MAX_TEXT, Shelf};
use super::{Check, CheckPolicy, Checks, MAX_KEPT_BYTES, MAX_KEPT_SCHEMAS, Tally};
use crate::spool::{self, SpoolConfig, SpoolHandle};

fn stream(name: &str) -> StreamName {
    name.parse().expect("a name")
}

fn schema(id: u32, maximum: u32) -> SchemaInfo {
    SchemaInfo {
        id,
        version: id,
        format: "JSON".to_owned(),
        text: format!(r#"{{"type":"object","properties":{{"n":{{"type":"integer","maximum":{maximum}}}}}}}"#),
        references: Vec::new(),
    }
}

/// `t` is tagged, `r` rejects, `o` is off.
fn checks(dir: &Path) -> (Checks, SpoolHandle) {
    let spool = spool::open(SpoolConfig::new(dir), "press-7".parse().expect("id")).expect("spool");
    let policies = [
        ("t", CheckPolicy::Tag),
        ("r", CheckPolicy::Reject),
        ("o", CheckPolicy::Off),
    ];
    let policies = policies.map(|(name, policy)| (stream(name), policy));
    (
        Checks::new(policies.into(), spool.clone(), Some(super::json_schemas)),
        spool,
    )
}

fn verdict(checks: &Checks, name: &str, row: &[u8]) -> Option<(Result<(), String>, Tally)> {
    let mut check = checks.begin(&stream(name))?;
    let verdict = check.see(row).map_err(|reason| reason.rule);
    Some((verdict, check.into_tally()))
}

#[tokio::test]
async fn schemas_outlive_the_process_and_are_compiled_when_events_come() {
    let dir = tempfile::tempdir().expect("dir");
    let (first, spool) = checks(dir.path());
    first.load().await;
    assert!(first.kept().is_empty() && first.begin(&stream("t")).is_none());
    for name in ["t", "r", "o", "gone"] {
        first.learn(stream(name), Some(schema(1, 5))).await;
    }
    first.learn(stream("t"), Some(schema(2, 7))).await;
    first.learn(stream("gone"), None).await;
    spool.shutdown().await.expect("closes");
    drop((first, spool));

    let (again, spool) = checks(dir.path());
    again.load().await;
    let kept = again.kept();
    let kept: Vec<_> = kept.iter().map(|(stream, id)| (stream.as_str(), *id)).collect();
    assert_eq!(kept, [("o", 1), ("r", 1), ("t", 2)]);
    assert_eq!(again.compiled(), 0, "nobody has asked yet");
    assert_eq!(verdict(&again, "o", b"{\"n\":9}"), None);
    assert_eq!(again.compiled(), 0, "nor does an unchecked stream");
    let (tagged, tally) = verdict(&again, "t", b"{\"n\":9}").expect("it is checked");
    assert_eq!((tagged, tally.invalid), (Ok(()), 1));
    let (valid, _) = verdict(&again, "t", b"{\"n\":6}").expect("it is checked");
    assert_eq!((valid, again.compiled()), (Ok(()), 1));
    let (refused, _) = verdict(&again, "r", b"{\"n\":6}").expect("it is checked");
    assert_eq!(refused, Err("maximum".to_owned()));
    spool.shutdown().await.expect("closes");
}

#[tokio::test]
async fn what_only_a_gateway_can_judge_passes_uncounted() {
    let dir = tempfile::tempdir().expect("dir");
    let (checks, spool) = checks(dir.path());
    checks.learn(stream("r"), Some(schema(258, 5))).await;
    let framed = |id: [u8; 4], payload: &[u8]| [&[0][..], &id, payload].concat();
    let judged = |row: &[u8]| verdict(&checks, "r", row).expect("it is checked");
    assert_eq!(
        judged(&framed([0, 0, 1, 2], b"{\"n\":5}")),
        (
            Ok(()),
            Tally {
                checked: 1,
                ..Tally::default()
            }
        )
    );
    assert_eq!(
        judged(&framed([0, 0, 1, 2], b"{\"n\":6}")).0,
        Err("maximum".to_owned())
    );
    assert_eq!(
        judged(&framed([0, 0, 1, 3], b"{\"n\":6}")),
        (Ok(()), Tally::default()),
        "an older or newer version"
    );
    for short in [&[0][..], &[0, 0, 0, 1]] {
        assert_eq!(judged(short).0, Err("wire_format".to_owned()), "{short:?}");
    }
    let avro = SchemaInfo {
        format: "AVRO".to_owned(),
        text: "\"long\"".to_owned(),
        ..schema(9, 0)
    };
    checks.learn(stream("r"), Some(avro)).await;
    let judged = |row: &[u8]| verdict(&checks, "r", row).expect("it is checked");
    assert_eq!(judged(&framed([0, 0, 0, 9], b"\x02")), (Ok(()), Tally::default()));
    assert_eq!(judged(&[0, 0]).0, Err("wire_format".to_owned()));
    let broken = SchemaInfo {
        text: "{\"type\": 5}".to_owned(),
        ..schema(10, 0)
    };
    checks.learn(stream("r"), Some(broken)).await;
    assert_eq!(
        verdict(&checks, "r", b"{}"),
        Some((Ok(()), Tally::default())),
        "the gateway says what is wrong"
    );
    spool.shutdown().await.expect("closes");
}

#[tokio::test]
async fn rows_are_counted_whatever_the_policy() {
    let dir = tempfile::tempdir().expect("dir");
    let (checks, spool) = checks(dir.path());
    checks.learn(stream("r"), Some(schema(1, 5))).await;
    let mut rows = Vec::new();
    for row in ["{\"n\":1}", "{\"n\":6}", "{\"n\":\"x\"}", "no json"] {
        push_row(&mut rows, row.as_bytes());
    }
    let mut check = checks.begin(&stream("r")).expect("it is checked");
    check.count_rows(&rows);
    let tally = Check::into_tally(check);
    assert_eq!((tally.checked, tally.invalid), (4, 3));
    checks.taken(&stream("r"), &tally);
    checks.taken(&stream("r"), &tally);
    checks.refused(&stream("r"));
    let reports = checks.reports();
    let report = reports
        .iter()
        .find(|report| report.stream.as_str() == "r")
        .expect("a report");
    assert_eq!(
        (report.checked, report.invalid, report.refused_requests),
        (8, 6, 1)
    );
    let rules: Vec<_> = report
        .by_rule
        .iter()
        .map(|(rule, n)| (rule.as_str(), *n))
        .collect();
    assert_eq!(rules, [("malformed", 2), ("maximum", 2), ("type", 2)]);
    spool.shutdown().await.expect("closes");
}

#[test]
fn what_is_kept_is_bounded_in_number_and_bytes() {
    let mut shelf = Shelf::default();
    for n in 0..=MAX_KEPT_SCHEMAS {
        assert_eq!(
            shelf.put(&stream(&format!("s{n}")), Some(&schema(1, 1))),
            n < MAX_KEPT_SCHEMAS
        );
    }
    assert!(!shelf.put(&stream("s0"), None) && shelf.put(&stream("new"), Some(&schema(1, 1))));
    let text = |len: usize| SchemaInfo {
        text: " ".repeat(len),
        ..schema(1, 1)
    };
    let mut shelf = Shelf::default();
    assert!(!shelf.put(&stream("a"), Some(&text(MAX_TEXT + 1))));
    for n in 0..MAX_KEPT_BYTES / MAX_TEXT {
        assert!(shelf.put(&stream(&format!("s{n}")), Some(&text(MAX_TEXT))));
    }
    assert!(!shelf.put(&stream("a"), Some(&text(1))));
    assert!(
        shelf.put(&stream("s0"), Some(&text(MAX_TEXT))),
        "a newer version takes the older one's place"
    );
}

#[test]
fn rules_are_counted_by_a_bounded_number_of_names() {
    let mut tally = Tally::default();
    for n in 0..1_000 {
        tally.invalid(&format!("rule-{n}"));
    }
    assert_eq!((tally.invalid, tally.by_rule.len()), (1_000, 65));
    assert_eq!(tally.by_rule.values().sum::<u64>(), 1_000);
}
