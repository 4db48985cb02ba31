//! Files that an earlier version wrote.

use rusqlite::{Connection, params};

use super::*;

/// Format 1, as the first version made it.
const FORMAT_1: &str = include_str!("format_1.sql");

#[tokio::test]
async fn a_log_of_the_previous_format_opens_and_keeps_everything() {
    let dir = tempfile::tempdir().expect("dir");
    let (key, lane) = (lane_key("s", 1), LaneNo(1));
    // what format 2 writes, put into a file of format 1
    let log = Log::open(dir.path());
    log.handle.open_lane(key.clone(), 1).await.expect("opens");
    log.submit(rows(lane, &key, range(1, 20))).await;
    log.submit(drops(lane, &key, range(21, 30), "drop_oldest")).await;
    let before = (replay(&log.reader), log.reader.ledger().expect("reads"));
    log.close().await;
    let (new, old) = (dir.path().join(LOG_FILE), tempfile::tempdir().expect("dir"));
    let file = Connection::open(old.path().join(LOG_FILE)).expect("opens");
    file.execute_batch(FORMAT_1).expect("makes");
    file.execute("ATTACH ?1 AS new", params![new.display().to_string()])
        .expect("attaches");
    file.execute_batch(
        "INSERT INTO lanes SELECT no, agent, stream, epoch, mark, valid, dead, dropped, opened_at, last_committed_at
             FROM new.lanes;
         INSERT INTO log SELECT * FROM new.log;
         INSERT INTO dead_letters SELECT id, lane, seq, pos, at, schema_id, schema_version, reasons, payload
             FROM new.dead_letters;
         INSERT INTO ledger SELECT * FROM new.ledger;
         INSERT INTO meta VALUES ('format_version', '1'), ('log_id', 'abc');
         DETACH new;",
    )
    .expect("fills");
    drop(file);

    let log = Log::open(old.path());
    log.reader.verify().expect("every invariant holds");
    assert_eq!((replay(&log.reader), log.reader.ledger().expect("reads")), before);
    assert_eq!(log.reader.log_id().expect("kept"), "abc");
    let of_rule = |rule: &str| {
        let filter = DeadLetterFilter {
            reason: Some(rule.to_owned()),
            ..DeadLetterFilter::default()
        };
        log.reader.dead_letters(&filter).expect("reads").len()
    };
    assert_eq!((of_rule("type"), of_rule("required")), (4, 0));
    let answer = log.submit(rows(lane, &key, range(31, 35))).await;
    assert!(
        matches!(answer, CommitAnswer::Committed { mark: 35, .. }),
        "{answer:?}"
    );
    log.close().await;
}

#[tokio::test]
async fn a_log_of_a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().expect("dir");
    Log::open(dir.path()).close().await;
    let file = Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    file.execute("UPDATE meta SET value = '99' WHERE key = 'format_version'", [])
        .expect("sets");
    drop(file);
    let refused = open(options(dir.path()), SchemaCache::default()).expect_err("too new");
    assert!(
        matches!(refused, CommitError::FormatTooNew { found: 99, .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn dead_letters_of_a_rare_reason_are_found_by_index() {
    let dir = tempfile::tempdir().expect("dir");
    let log = Log::open(dir.path());
    log.close().await;
    let db = Connection::open(dir.path().join(LOG_FILE)).expect("opens");
    let filter = DeadLetterFilter {
        stream: Some(lane_key("s", 1).stream),
        reason: Some("type".to_owned()),
        state: Some(LetterState::Open),
        before: Some(7),
        limit: 9,
        ..DeadLetterFilter::default()
    };
    let (sql, values) = letters::statement(&filter);
    let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("plans");
    let steps: Vec<String> = plan
        .query_map(rusqlite::params_from_iter(values), |row| row.get(3))
        .expect("runs")
        .collect::<rusqlite::Result<_>>()
        .expect("reads");
    assert!(
        steps[0].starts_with("SEARCH r USING PRIMARY KEY (rule=?"),
        "{steps:?}"
    );
    assert!(steps.iter().all(|step| !step.starts_with("SCAN d")), "{steps:?}");
    assert!(
        steps.iter().all(|step| !step.contains("TEMP B-TREE")),
        "{steps:?}"
    );
}
