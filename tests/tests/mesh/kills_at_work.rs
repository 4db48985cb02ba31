//! `kill -9` while something long is under way: the log's retention, a backup.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use aggregator::commit::{self, CommitOptions, CommitRequest, LOG_FILE, prepare};
use aggregator::registry::SchemaCache;
use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo, StreamName};
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{BatchContent, CommitHeader, SegmentOrigin};
use tributary_tests::{LONG, Process, SOON, http, wait_until};

use crate::site::Site;
use crate::{flow, injected, integer, program};

const STREAM: &str = "readings";
/// Log entries of an agent that is long gone, which retention deletes: so many for each kill.
const OLD_ENTRIES: u64 = 4_000;
const OLD_STREAM: &str = "old";
const ROUNDS: u64 = 3;
/// A database beside the log that takes a while to copy.
const FILLER: &str = "filler.db";
const FILLER_BYTES: u32 = 48 << 20;

fn tributary(args: &[&str]) -> Output {
    Command::new(program()).args(args).output().expect("runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// A batch of one event that was dropped at the edge: the smallest entry there is.
fn dropped(lane: LaneNo, key: &LaneKey, seq: u64) -> CommitRequest {
    let origin = SegmentOrigin {
        count: 1,
        collected_at: 1,
        spooled_at: 1,
        origin: None,
    };
    CommitRequest {
        key: key.clone(),
        header: CommitHeader {
            writer: 0,
            after_writer: 0,
            lane,
            first_seq: seq,
            count: 1,
            content: BatchContent::Dropped {
                reason: "drop_oldest".to_owned(),
            },
            dead_seqs: Vec::new(),
            schema: None,
            columns_len: 0,
            dead_len: 0,
            body_crc: checksum(&[]),
            gateway: GatewayId::new("gw-0").expect("valid"),
            segments: vec![origin],
            sent_at: 1,
            received_at: 1,
            admitted_at: 1,
            traceparent: None,
            contexts: Default::default(),
            attempts: Default::default(),
            usage: Vec::new(),
        },
        body: bytes::Bytes::new(),
    }
}

/// Fills the log of an aggregator that does not run yet.
fn commit_old_entries(dir: &Path, entries: u64) {
    std::fs::create_dir_all(dir).expect("the test's directory");
    let options = CommitOptions {
        dir: dir.to_owned(),
        require_schema: false,
    };
    let (log, _reader, thread) = commit::open(options, SchemaCache::default()).expect("a new log");
    let key = LaneKey {
        agent: AgentId::new("gone").expect("valid"),
        stream: StreamName::new(OLD_STREAM).expect("valid"),
        epoch: Epoch(1),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let lane = log.open_lane(key.clone(), 1).await.expect("a lane").lane_no;
        for seq in 1..=entries {
            let batch = prepare(dropped(lane, &key, seq)).expect("well-formed");
            log.enqueue(batch).await.expect("the log takes it");
        }
        log.stop().await;
    });
    thread.join().expect("a good end");
}

/// The entries up to this one were committed in 1970.
fn age(dir: &Path, upto: u64) {
    let log = Connection::open(dir.join(LOG_FILE)).expect("the log");
    let sql = "UPDATE log SET committed_at = 1 WHERE pos <= ?1";
    log.execute(sql, [i64::try_from(upto).expect("small")])
        .expect("an update");
}

/// Kills the aggregator once retention has deleted some of the aged entries. How many were left.
fn kill_while_deleting(dir: &Path, aggregator: &mut Process) -> u64 {
    let log =
        Connection::open_with_flags(dir.join(LOG_FILE), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the log");
    log.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    let count = |log: &Connection| -> u64 {
        let sql = "SELECT count(*) FROM log WHERE committed_at = 1";
        log.query_row(sql, [], |row| row.get(0)).expect("a count")
    };
    let (before, end) = (count(&log), Instant::now() + LONG);
    while count(&log) == before {
        assert!(Instant::now() < end, "retention does not begin");
        assert!(aggregator.ended().is_none(), "the aggregator lives");
        // a chunk takes some milliseconds: no time to sleep
        std::thread::yield_now();
    }
    aggregator.kill();
    count(&log)
}

/// The books balance, in the words of the operator's command too.
fn balanced(api: &str) {
    let ledger = tributary(&["ledger", "--http", api]);
    assert_eq!(ledger.status.code(), Some(0), "{}", said(&ledger));
}

#[test]
fn never_forget_and_conservation_hold_when_the_aggregator_is_killed_while_retention_deletes() {
    let site = Site::new();
    let dir = site.at("aggregator");
    commit_old_entries(&dir, ROUNDS * OLD_ENTRIES);
    // what is older than a minute goes
    let keep_little = |config: &str| config.replace(r#"keep_for = "72h""#, r#"keep_for = "1m""#);
    let start = || site.aggregator_that(keep_little);
    let (mut aggregator, api) = start();
    let (mut gateway, (mut agent, intake)) = (site.gateway(), site.agent());
    flow::put_view_at(&api, STREAM);
    let mut in_the_middle = 0;
    let posted = flow::while_events_flow(&intake, STREAM, |flow| {
        for round in 1..=ROUNDS {
            flow.wait_for_more(20);
            aggregator.process.kill();
            age(&dir, round * OLD_ENTRIES);
            (aggregator, _) = start();
            let left = kill_while_deleting(&dir, &mut aggregator.process);
            in_the_middle += u64::from(left > 0);
            (aggregator, _) = start();
        }
        flow.wait_for_more(20);
    });
    assert!(in_the_middle > 0, "every kill came too late");
    aggregator.stop();
    let (mut aggregator, api) = start();
    flow::check_at(&api, &intake, STREAM, &posted, flow::BATCH);
    let lanes = flow::ledger(&api, OLD_STREAM).expect("the ledger");
    let [old] = &lanes[..] else { panic!("{lanes:?}") };
    let all = ROUNDS * OLD_ENTRIES;
    let dropped: u64 = old.dropped.iter().map(|run| run.count).sum();
    assert!(
        old.mark == all && dropped == all && old.balances(),
        "entries go, the books stay: {old:?}"
    );
    wait_until(SOON, "the rest of what is old is deleted", || {
        let log = Connection::open(dir.join(LOG_FILE)).map_err(|error| error.to_string())?;
        let sql = "SELECT count(*) FROM log WHERE committed_at = 1";
        let left: u64 = log
            .query_row(sql, [], |row| row.get(0))
            .map_err(|error| error.to_string())?;
        (left == 0)
            .then_some(())
            .ok_or_else(|| format!("{left} are left"))
    });
    balanced(&api);
    // checks pages and invariants
    let made = tributary(&["backup", "--http", &api, "--out", text(&site.at("backup"))]);
    assert_eq!(made.status.code(), Some(0), "{}", said(&made));
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
    injected(
        "never_forget_and_conservation_hold_when_the_aggregator_is_killed_while_retention_deletes",
        "kill -9 of the aggregator while retention deletes",
        in_the_middle,
    );
}

fn make_filler(dir: &Path) {
    let filler = Connection::open(dir.join(FILLER)).expect("a database");
    let sql = "CREATE TABLE filler(bytes BLOB); INSERT INTO filler VALUES (zeroblob(?1))";
    let (table, fill) = sql.split_once("; ").expect("two statements");
    filler.execute(table, []).expect("a table");
    filler.execute(fill, [FILLER_BYTES]).expect("a row");
}

/// A backup that stands still in the middle of its copy.
fn backup_under_way(site: &Site, api: &str, out: &Path) -> Process {
    let args = ["backup", "--http", api, "--out", text(out)];
    let log = site.at(&format!("{}.log", out.file_name().expect("a name").display()));
    let mut backup = Process::start(program(), args, &[], log);
    let end = Instant::now() + SOON;
    while !out.join(FILLER).exists() {
        assert!(Instant::now() < end, "the backup does not come to the filler");
        assert!(backup.ended().is_none(), "the backup has ended: {}", backup.log());
        std::thread::yield_now();
    }
    backup.signal(Signal::STOP);
    assert!(!out.join("manifest.json").exists(), "it is in the middle");
    backup
}

/// The rows of a view that has applied so much.
fn rows(api: &str, view: &str, events: u64) -> Vec<serde_json::Value> {
    wait_until(LONG, "the view has applied everything", || {
        let answer = http::get_json(&format!("{api}/api/v1/views/{view}/windows?limit=10000"))?;
        let mut rows = answer["rows"]
            .as_array()
            .cloned()
            .ok_or_else(|| answer.to_string())?;
        rows.sort_by_key(|row| integer(row, "request"));
        let counted: u64 = rows.iter().map(|row| integer(row, "n")).sum();
        (counted == events)
            .then_some(rows)
            .ok_or_else(|| format!("{counted} of {events}"))
    })
}

#[test]
fn state_is_f_of_log_when_the_aggregator_is_killed_while_a_backup_copies_and_a_cut_backup_is_refused() {
    let site = Site::new();
    let (mut aggregator, mut api) = site.aggregator();
    let (mut gateway, (mut agent, intake)) = (site.gateway(), site.agent());
    make_filler(&site.at("aggregator"));
    flow::put_view_at(&api, STREAM);
    let (whole, cut) = (site.at("whole"), site.at("cut"));
    let posted = flow::while_events_flow(&intake, STREAM, |flow| {
        flow.wait_for_more(20);
        let mut backup = backup_under_way(&site, &api, &whole);
        aggregator.process.kill();
        (aggregator, api) = site.aggregator();
        flow.wait_for_more(20);
        backup.signal(Signal::CONT);
        let status = backup.wait(SOON);
        assert!(status.success(), "it has pinned what it copies: {}", backup.log());
        // the other way round
        let mut backup = backup_under_way(&site, &api, &cut);
        backup.kill();
        flow.wait_for_more(20);
    });
    flow::check_at(&api, &intake, STREAM, &posted, flow::BATCH);
    balanced(&api);

    // state equals a replay from empty: a view that is made now reads the whole log
    let url = format!("{api}/api/v1/views");
    let views = http::get_json(&format!("{url}/{}", flow::VIEW)).expect("the view");
    let sql = views["sql"]
        .as_str()
        .unwrap_or_else(|| panic!("its text: {views}"));
    let made = http::put(&format!("{url}/replayed"), &serde_json::json!({ "sql": sql })).expect("an answer");
    made.success().expect("a good view");
    let valid: u64 = flow::ledger(&api, STREAM)
        .expect("the ledger")
        .iter()
        .map(|lane| lane.valid)
        .sum();
    assert_eq!(rows(&api, flow::VIEW, valid), rows(&api, "replayed", valid));

    let (restored, nowhere) = (site.at("restored"), site.at("nowhere"));
    let done = tributary(&["restore", "--from", text(&whole), "--dir", text(&restored)]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let refused = tributary(&["restore", "--from", text(&cut), "--dir", text(&nowhere)]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(
        said(&refused).contains("was cut short"),
        "says why: {}",
        said(&refused)
    );
    assert!(!nowhere.exists(), "nothing was touched");
    // what is there of it is in the way of the next backup until that is allowed to write over it
    let again = ["backup", "--http", &api, "--out", text(&cut)];
    assert_eq!(tributary(&again).status.code(), Some(1));
    let again = tributary(&[&again[..], &["--force"]].concat());
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    for role in [&mut agent, &mut gateway, &mut aggregator] {
        role.stop();
    }
    let test =
        "state_is_f_of_log_when_the_aggregator_is_killed_while_a_backup_copies_and_a_cut_backup_is_refused";
    injected(test, "kill -9 of the aggregator while a backup copies", 1);
    injected(test, "kill -9 of a backup", 1);
}
