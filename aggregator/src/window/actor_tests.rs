//! The engine's thread over a real log: what survives a restart, and what is computed again.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, Seq, StreamName};
use tributary_shared::wire::batch::EVENT_TIME_COLUMN;
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{BatchContent, CommitHeader, SegmentOrigin};

use super::*;
use crate::commit::{
    CommitAnswer, CommitHandle, CommitOptions, CommitRequest, CommitThread, LogPos, LogReader, Retention,
    open_with_retention, prepare,
};
use crate::registry::SchemaCache;

pub(crate) const VIEW: &str = "SELECT window_start, window_end, k, count(*) AS n, sum(k) AS total
    FROM TUMBLE(s, ts, INTERVAL '1 second') GROUP BY window_start, window_end, k";

pub(crate) struct Running {
    pub commit: CommitHandle,
    committer: CommitThread,
    pub log: LogReader,
    pub engine: EngineHandle,
    thread: EngineThread,
}

impl Running {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_keeping(dir, Retention::EVERYTHING)
    }

    pub(crate) fn start_keeping(dir: &Path, keep: Retention) -> Self {
        Self::start_with(dir, keep, EngineConfig::default())
    }

    fn start_with(dir: &Path, keep: Retention, config: EngineConfig) -> Self {
        let options = CommitOptions {
            dir: dir.to_owned(),
            require_schema: false,
        };
        let (commit, log, committer) =
            open_with_retention(options, keep, SchemaCache::default()).expect("log");
        let options = EngineOptions {
            dir: dir.to_owned(),
            config,
        };
        let (engine, thread) = start(&options, log.clone(), commit.clone(), Arc::default()).expect("engine");
        Self {
            commit,
            committer,
            log,
            engine,
            thread,
        }
    }

    /// Commits `count` events behind the mark.
    pub(crate) async fn commit(&self, count: u32) -> LogPos {
        let key = lane_key();
        let lane = self.commit.open_lane(key.clone(), u64::MAX).await.expect("opens");
        let seqs: Vec<Seq> = (lane.mark + 1..=lane.mark + u64::from(count)).collect();
        let body = columns(&seqs);
        let header = CommitHeader {
            writer: 0,
            after_writer: 0,
            lane: lane.lane_no,
            first_seq: seqs[0],
            count,
            content: BatchContent::Rows,
            dead_seqs: Vec::new(),
            schema: None,
            columns_len: body.len() as u32,
            dead_len: 0,
            body_crc: checksum(&body),
            gateway: GatewayId::new("g").expect("valid"),
            segments: vec![SegmentOrigin {
                count,
                collected_at: 1,
                spooled_at: 2,
                origin: None,
            }],
            sent_at: 3,
            received_at: 4,
            admitted_at: 5,
            traceparent: None,
            contexts: Default::default(),
            attempts: Default::default(),
            usage: Vec::new(),
        };
        let request = CommitRequest {
            key,
            header,
            body: body.into(),
        };
        let answer = self
            .commit
            .submit(prepare(request).expect("well-formed"))
            .await
            .expect("answered");
        let CommitAnswer::Committed { pos: Some(pos), .. } = answer else {
            panic!("not committed: {answer:?}")
        };
        pos
    }

    pub(crate) async fn applied(&self, pos: LogPos) {
        self.engine
            .applied_changes()
            .wait_for(|applied| *applied >= pos)
            .await
            .expect("the engine runs");
    }

    pub(crate) async fn ready(&self) {
        self.engine
            .ready_changes()
            .wait_for(|ready| *ready)
            .await
            .expect("the engine runs");
    }

    /// Waits for a view that is back-filled.
    pub(crate) async fn windows(&self, view: &str) -> WindowPage {
        loop {
            let views = self.engine.views().await.expect("the engine runs");
            if views.iter().any(|info| info.name == view && info.stats.live) {
                return self
                    .engine
                    .windows(view.to_owned(), WindowQuery::default())
                    .await
                    .expect("known");
            }
        }
    }

    pub(crate) async fn stop(self) {
        // an aggregator is not stopped while it replays either
        self.ready().await;
        self.commit.stop().await;
        self.engine.stop().await;
        self.committer.join().expect("the commit thread ends well");
        self.thread.join().await.expect("the engine ends well");
    }
}

pub(crate) fn lane_key() -> LaneKey {
    LaneKey {
        agent: AgentId::new("a").expect("valid"),
        stream: StreamName::new("s").expect("valid"),
        epoch: Epoch(1),
    }
}

fn columns(seqs: &[Seq]) -> Vec<u8> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let fields = vec![
        Field::new(EVENT_TIME_COLUMN, time, false),
        Field::new("k", DataType::Int64, true),
    ];
    let times: Vec<i64> = seqs.iter().map(|seq| *seq as i64 * 100).collect();
    let keys: Vec<i64> = seqs.iter().map(|seq| (*seq % 3) as i64).collect();
    let times = Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"));
    let records = RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![times, Arc::new(Int64Array::from(keys))],
    );
    let records = records.expect("fits");
    let mut writer = StreamWriter::try_new(Vec::new(), records.schema_ref()).expect("writes");
    writer.write(&records).expect("writes");
    writer.into_inner().expect("writes")
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creates");
    for file in std::fs::read_dir(from).expect("lists") {
        let file = file.expect("lists");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copies");
    }
}

#[tokio::test]
async fn state_is_f_of_log_after_a_stop_and_after_a_crash() {
    let dir = tempfile::tempdir().expect("dir");
    let (home, crashed, bare) = (
        dir.path().join("home"),
        dir.path().join("crashed"),
        dir.path().join("bare"),
    );
    std::fs::create_dir_all(&home).expect("creates");
    let first = Running::start(&home);
    first
        .engine
        .put_view("v".to_owned(), VIEW.to_owned())
        .await
        .expect("compiles");
    first.commit(50).await;
    first.stop().await;

    let second = Running::start(&home);
    second.ready().await;
    let pos = second.commit(70).await;
    second.applied(pos).await;
    let expected = second.windows("v").await;
    // the files as a crash leaves them: the second life's entries are in the log, and in no snapshot
    copy_dir(&home, &crashed);
    // and the log alone
    copy_dir(&home, &bare);
    for file in std::fs::read_dir(&bare)
        .expect("lists")
        .map(|file| file.expect("lists").path())
    {
        if file.to_string_lossy().contains(VIEWS_FILE) {
            std::fs::remove_file(file).expect("removes");
        }
    }
    second.stop().await;

    for home in [home, crashed] {
        let again = Running::start(&home);
        again.ready().await;
        assert_eq!(again.windows("v").await, expected);
        again.stop().await;
    }
    let bare = Running::start(&bare);
    bare.engine
        .put_view("v".to_owned(), VIEW.to_owned())
        .await
        .expect("compiles");
    assert_eq!(bare.windows("v").await, expected, "back-filled from the log");
    bare.stop().await;
}

#[tokio::test]
async fn a_view_that_is_made_while_events_flow_counts_each_once() {
    let dir = tempfile::tempdir().expect("dir");
    let running = Running::start(dir.path());
    let mut pos = LogPos(0);
    for round in 0..200u32 {
        if round == 150 {
            running
                .engine
                .put_view("v".to_owned(), VIEW.to_owned())
                .await
                .expect("compiles");
        }
        pos = running.commit(3).await;
    }
    running.applied(pos).await;
    let counted: f64 = running
        .windows("v")
        .await
        .rows
        .iter()
        .filter_map(|row| row.value("n")?.as_f64())
        .sum();
    assert_eq!(counted, 600.0);
    running.stop().await;
}

#[tokio::test]
async fn views_of_another_log_are_computed_again() {
    let old = tempfile::tempdir().expect("dir");
    let running = Running::start(old.path());
    running
        .engine
        .put_view("v".to_owned(), VIEW.to_owned())
        .await
        .expect("compiles");
    for _ in 0..5 {
        running.commit(10).await;
    }
    running.stop().await;
    // somebody restored views.db beside a log that is shorter, or longer, than the one that it was made from
    for entries in [1, 9] {
        let new = tempfile::tempdir().expect("dir");
        let running = Running::start(new.path());
        for _ in 0..entries {
            running.commit(4).await;
        }
        running.stop().await;
        std::fs::copy(old.path().join(VIEWS_FILE), new.path().join(VIEWS_FILE)).expect("copies");
        let running = Running::start(new.path());
        running.ready().await;
        let counted: f64 = running
            .windows("v")
            .await
            .rows
            .iter()
            .filter_map(|row| row.value("n")?.as_f64())
            .sum();
        assert_eq!(counted, f64::from(4 * entries));
        running.stop().await;
    }
}

#[tokio::test]
async fn the_default_views_are_made_once() {
    let dir = tempfile::tempdir().expect("dir");
    let names = |views: Vec<ViewInfo>| views.into_iter().map(|view| view.name).collect::<Vec<_>>();
    let running = Running::start(dir.path());
    assert_eq!(
        names(running.engine.views().await.expect("runs")),
        ["host_cpu", "host_memory"]
    );
    assert!(
        running
            .engine
            .drop_view("host_cpu".to_owned())
            .await
            .expect("stored")
    );
    running.stop().await;
    let running = Running::start(dir.path());
    assert_eq!(
        names(running.engine.views().await.expect("runs")),
        ["host_memory"],
        "deleted stays deleted"
    );
    assert_eq!(running.log.stats().expect("reads").newest, LogPos(0));
    running.stop().await;
}

#[test]
fn snapshots_take_a_tenth_of_the_time_and_are_never_far_apart() {
    let rest = |ms| super::keeping::rest_after(std::time::Duration::from_millis(ms)).as_millis();
    assert_eq!(
        [rest(0), rest(20), rest(2_000), rest(60_000)],
        [0, 180, 18_000, 60_000]
    );
}

const HALF: &str = "SELECT window_start, window_end, k, count(*) AS n, sum(k) AS total
    FROM TUMBLE(s, ts, INTERVAL '500 milliseconds') GROUP BY window_start, window_end, k";

async fn info(running: &Running, view: &str) -> ViewInfo {
    let views = running.engine.views().await.expect("the engine runs");
    views.into_iter().find(|info| info.name == view).expect("known")
}

#[tokio::test]
async fn a_replaced_view_serves_what_it_was_until_the_new_one_has_caught_up() {
    let dir = tempfile::tempdir().expect("dir");
    let running = Running::start(dir.path());
    let put = |sql: &str| running.engine.put_view("v".to_owned(), sql.to_owned());
    put(VIEW).await.expect("compiles");
    let mut pos = LogPos(0);
    for _ in 0..120 {
        pos = running.commit(10).await;
    }
    running.applied(pos).await;
    let old = running.windows("v").await;
    let mut watcher = running.engine.subscribe("v");
    let answer = put(HALF).await.expect("compiles");
    assert!(!answer.created);
    let mut between = 0;
    loop {
        let page = running.engine.windows("v".to_owned(), WindowQuery::default());
        let page = page.await.expect("is there at any time");
        let view = info(&running, "v").await;
        assert_eq!(view.sql, HALF);
        if view.stats.live {
            break;
        }
        let serves = view.serves.expect("the old definition");
        assert_eq!((serves.sql.as_str(), view.stats.live), (VIEW, false));
        let backfill = view.backfill.expect("is on its way");
        assert!(
            backfill.target == pos && backfill.position < pos && backfill.share < 1.0,
            "{backfill:?}"
        );
        assert_eq!(page.rows, old.rows, "as it was");
        between += 1;
    }
    assert!(between > 0, "the log has more entries than are read at once");
    let told = watcher.recv().await.expect("readers are told");
    assert!(matches!(&*told, LiveEvent::Reset { .. }), "{told:?}");
    let new = running.windows("v").await;
    assert_eq!(new.rows.len(), old.rows.len() * 2 - 1, "windows half as long");
    running.stop().await;
    // only the new one is stored
    let running = Running::start(dir.path());
    running.ready().await;
    assert_eq!(running.windows("v").await, new);
    running.stop().await;
}

#[tokio::test]
async fn a_budget_that_holds_hardly_anything_gives_the_same_windows_over_restarts() {
    let dir = tempfile::tempdir().expect("dir");
    let (small, all) = (dir.path().join("small"), dir.path().join("all"));
    let mut pages = Vec::new();
    for (home, hot_bytes) in [(small, 1), (all, u64::MAX)] {
        std::fs::create_dir_all(&home).expect("creates");
        let config = EngineConfig {
            hot_bytes,
            ..EngineConfig::default()
        };
        for life in 0..3 {
            let running = Running::start_with(&home, Retention::EVERYTHING, config);
            running.ready().await;
            if life == 0 {
                let put = running.engine.put_view("v".to_owned(), VIEW.to_owned());
                put.await.expect("compiles");
            }
            for _ in 0..20 {
                let pos = running.commit(100).await;
                running.applied(pos).await;
            }
            if life == 2 {
                pages.push(running.windows("v").await);
            }
            running.stop().await;
        }
    }
    assert_eq!(pages[0], pages[1]);
    assert!(pages[0].rows.len() > 1_000);
}

#[test]
fn files_of_format_1_are_converted_with_their_windows() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join(VIEWS_FILE);
    let old = rusqlite::Connection::open(&path).expect("opens");
    old.execute_batch(
        "CREATE TABLE view_defs(name TEXT PRIMARY KEY, sql TEXT NOT NULL, created_at INTEGER NOT NULL,
             applies_from INTEGER NOT NULL, position INTEGER NOT NULL, counters TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE window_state(view TEXT NOT NULL, window_start INTEGER NOT NULL, key BLOB NOT NULL,
             state BLOB NOT NULL, PRIMARY KEY(view, window_start, key)) WITHOUT ROWID;
         CREATE TABLE lane_watermarks(lane INTEGER PRIMARY KEY, stream TEXT NOT NULL, watermark INTEGER,
             last_commit INTEGER NOT NULL);
         CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
         INSERT INTO meta VALUES ('position', 7), ('initialised', 1);
         INSERT INTO lane_watermarks VALUES (1, 's', 5000, 6000);
         PRAGMA user_version = 1;",
    )
    .expect("as it was");
    let sql = "SELECT k, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '1 second') GROUP BY k";
    old.execute(
        "INSERT INTO view_defs VALUES ('v', ?1, 3, 0, 7, '{\"applied\":9}')",
        [sql],
    )
    .expect("a view");
    for (k, rows) in [(4i64, 6i64), (5, 3)] {
        let key = [&[1, 3][..], &k.to_le_bytes()].concat();
        let state = [&[1][..], &rows.to_le_bytes(), &2i64.to_le_bytes()].concat();
        let put = "INSERT INTO window_state VALUES ('v', 1000, ?1, ?2)";
        old.execute(put, rusqlite::params![key, state]).expect("a group");
    }
    drop(old);
    for _ in 0..2 {
        let store = ViewStore::open(&path).expect("opens");
        let mut engine = Engine::new(EngineConfig::default());
        let report = store.load_into(&mut engine).expect("loads");
        assert!(
            report.rebuilt.is_empty() && report.refused.is_empty(),
            "{report:?}"
        );
        assert_eq!(report.defs[0].options, crate::view::ViewOptions::default());
        let page = engine.windows("v", &WindowQuery::default()).expect("is there");
        let counted: Vec<_> = page
            .rows
            .iter()
            .map(|row| (row.value("k").cloned(), row.value("n").cloned(), row.revision))
            .collect();
        let int = |value| Some(crate::view::Scalar::Int(value));
        assert_eq!(counted, [(int(4), int(6), 2), (int(5), int(3), 2)]);
        let stats = engine.stats("v").expect("is there");
        assert!(stats.live && stats.counters.applied == 9 && stats.groups == 2 && stats.windows == 1);
    }
}
