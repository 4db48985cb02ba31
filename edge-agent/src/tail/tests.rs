//! Real files, a real spool, and the reader's thread between them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tributary_shared::wire::rows::{Rows, inflate};

use super::{FilesConfig, ReadFrom, TailError, run};
use crate::check::{CheckPolicy, Checks};
use crate::spool::{self, Block, LaneInfo, MIN_LIMIT, SpoolConfig, SpoolHandle};

/// Far more than any test needs; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    dir: TempDir,
    spool: SpoolHandle,
}

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), TailError>>,
}

impl Running {
    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(PATIENCE, self.task)
            .await
            .expect("ends when told")
            .expect("no panic")
            .expect("no error");
    }

    async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.expect_err("aborted").is_cancelled());
    }
}

impl Bench {
    fn new(limit: u64) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let config = SpoolConfig {
            limit,
            ..SpoolConfig::new(dir.path().join("spool"))
        };
        let spool = spool::open(config, "press-7".parse().expect("id")).expect("spool");
        fs::create_dir(dir.path().join("logs")).expect("mkdir");
        Self { dir, spool }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(name)
    }

    fn config(&self) -> FilesConfig {
        let pattern = self.log("*.log").display().to_string();
        let stream = "logs".parse().expect("name");
        FilesConfig {
            stream,
            paths: vec![pattern],
            max_line: 200,
            read_from: ReadFrom::Beginning,
        }
    }

    /// Without a gateway there is nobody to push schemas: the test is.
    fn checks(&self) -> Checks {
        let policies = [("logs".parse().expect("name"), CheckPolicy::Reject)];
        Checks::new(
            policies.into(),
            self.spool.clone(),
            Some(crate::check::json_schemas),
        )
    }

    fn start(&self) -> Running {
        self.start_with(self.config())
    }

    fn start_with(&self, config: FilesConfig) -> Running {
        self.start_checked(config, self.checks())
    }

    fn start_checked(&self, config: FilesConfig, checks: Checks) -> Running {
        let (stop, stopped) = watch::channel(false);
        Running {
            stop,
            task: tokio::spawn(run(config, self.spool.clone(), checks, stopped)),
        }
    }

    async fn lane_with(&self, events: u64) -> LaneInfo {
        let mut status = self.spool.watch();
        let enough = status.wait_for(|s| s.lanes.iter().any(|lane| lane.next_seq > events));
        let status = timeout(PATIENCE, enough)
            .await
            .expect("events arrive")
            .expect("spool lives")
            .clone();
        status.lanes[0].clone()
    }

    /// All lines of the stream once there are `events` of them; a dropped one is shown as its reason.
    async fn lines(&self, events: u64) -> Vec<String> {
        let lane = self.lane_with(events).await;
        let mut lines = Vec::new();
        let mut next = lane.committed_seq + 1;
        while next < lane.next_seq {
            for block in self
                .spool
                .read(lane.lane, next, 10_000, 1 << 20)
                .await
                .expect("read")
            {
                next = block.range().last + 1;
                lines.extend(texts(&block));
            }
        }
        lines
    }
}

fn texts(block: &Block) -> Vec<String> {
    match block {
        Block::Rows(rows) => {
            let raw = inflate(&rows.segment(), &rows.body, 8 << 20).expect("inflate");
            Rows::new(&raw)
                .map(|row| String::from_utf8_lossy(row.expect("row")).into_owned())
                .collect()
        }
        Block::Dropped { range, reason } => vec![format!("<{reason}>"); range.count() as usize],
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("open");
    file.write_all(text.as_bytes()).expect("write");
}

fn numbered(range: std::ops::Range<u32>) -> (String, Vec<String>) {
    let lines: Vec<String> = range.map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    (lines.join("\n") + "\n", lines)
}

#[tokio::test]
async fn lines_arrive_as_they_are_and_an_unfinished_one_waits() {
    let bench = Bench::new(1 << 30);
    append(
        &bench.log("a.log"),
        "{\"n\":1}\r\n\n   \nnot json \u{fffd}\n{\"n\":",
    );
    let running = bench.start();
    assert_eq!(bench.lines(2).await, ["{\"n\":1}", "not json \u{fffd}"]);
    append(&bench.log("a.log"), "2}\n");
    assert_eq!(bench.lines(3).await[2..], ["{\"n\":2}"]);
    let status = bench.spool.watch().borrow().clone();
    let lane = &status.lanes[0];
    let block = bench
        .spool
        .read(lane.lane, 1, 10, 1 << 20)
        .await
        .expect("read")
        .remove(0);
    let Block::Rows(rows) = block else { panic!("rows") };
    let origin = rows.origin.expect("an origin");
    assert_eq!(*origin, *format!("file:{}@0", bench.log("a.log").display()));
    running.stop().await;
}

#[tokio::test]
async fn rotation_by_rename_reads_the_old_file_to_its_end_and_the_new_one_from_its_beginning() {
    let bench = Bench::new(1 << 30);
    append(&bench.log("a.log"), "one\n");
    let mut writer = OpenOptions::new()
        .append(true)
        .open(bench.log("a.log"))
        .expect("open");
    let running = bench.start();
    bench.lines(1).await;
    fs::rename(bench.log("a.log"), bench.log("a.log.1")).expect("rename");
    // the writer has not noticed yet
    writer.write_all(b"two\n").expect("write");
    append(&bench.log("a.log"), "three\n");
    let mut lines = bench.lines(3).await;
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
    running.stop().await;
}

#[tokio::test]
async fn rotation_by_truncation_begins_again() {
    let bench = Bench::new(1 << 30);
    append(&bench.log("a.log"), "one is longer than what follows\n");
    let running = bench.start();
    bench.lines(1).await;
    File::create(bench.log("a.log")).expect("truncate");
    append(&bench.log("a.log"), "two\n");
    assert_eq!(bench.lines(2).await[1], "two");
    // and with more than there was before
    fs::write(
        bench.log("a.log"),
        "three, written anew and longer than all before\n",
    )
    .expect("write");
    assert_eq!(
        bench.lines(3).await[2],
        "three, written anew and longer than all before"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats_lines_though_files_rotate_meanwhile() {
    let bench = Bench::new(1 << 30);
    append(&bench.log("a.log"), "one\n");
    let running = bench.start();
    bench.lines(1).await;
    running.stop().await;

    append(&bench.log("a.log"), "two\n");
    // to a name that no glob matches
    fs::rename(bench.log("a.log"), bench.log("a.old")).expect("rename");
    append(&bench.log("a.log"), "three\n");
    let running = bench.start();
    let mut lines = bench.lines(3).await;
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
    running.stop().await;
}

#[tokio::test]
async fn crashes_in_the_middle_of_reading_neither_lose_nor_repeat_lines() {
    let bench = Bench::new(1 << 30);
    let (text, want) = numbered(0..60_000);
    append(&bench.log("a.log"), &text);
    for until in [1, 9_000, 20_000, 41_000] {
        let running = bench.start();
        bench.lane_with(until).await;
        running.crash().await;
    }
    let running = bench.start();
    let lines = bench.lines(60_000).await;
    assert!(lines == want, "each line once and in order");
    running.stop().await;
    assert_eq!(bench.lane_with(1).await.next_seq, 60_001);
}

#[tokio::test]
async fn an_over_long_line_is_a_drop_record_and_the_rest_goes_on() {
    let bench = Bench::new(1 << 30);
    let long = "x".repeat(700_000);
    append(&bench.log("a.log"), &format!("before\n{long}\nafter\n"));
    let running = bench.start();
    assert_eq!(bench.lines(3).await, ["before", "<too_large>", "after"]);
    running.stop().await;
    let again = bench.start();
    append(&bench.log("a.log"), "last\n");
    assert_eq!(bench.lines(4).await[3], "last");
    again.stop().await;
}

#[tokio::test]
async fn read_from_end_leaves_the_past_out_once_and_only_once() {
    let bench = Bench::new(1 << 30);
    let config = FilesConfig {
        read_from: ReadFrom::End,
        ..bench.config()
    };
    append(&bench.log("a.log"), "past\nunfinished");
    append(&bench.log("b.log"), "past\n");
    let running = bench.start_with(config.clone());
    // a position of each file is saved before any line
    let saved = async {
        while bench
            .spool
            .positions("file/logs/".to_owned())
            .await
            .expect("positions")
            .len()
            < 2
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, saved).await.expect("positions are saved");
    running.stop().await;

    append(&bench.log("a.log"), " line\n");
    append(&bench.log("b.log"), "news\n");
    append(&bench.log("c.log"), "a new file\n");
    let running = bench.start_with(config);
    let mut lines = bench.lines(3).await;
    lines.sort();
    assert_eq!(lines, ["a new file", "news", "unfinished line"]);
    running.stop().await;
}

#[tokio::test]
async fn a_full_spool_makes_the_reader_wait_and_nothing_is_lost() {
    let bench = Bench::new(MIN_LIMIT);
    // more than the spool holds, and hard to compress
    let mut state = 7u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state
    };
    let line = |n: usize, words: [u64; 11]| format!("{n} {}\n", words.map(|w| format!("{w:016x}")).concat());
    let text: String = (0..100_000)
        .map(|n| line(n, std::array::from_fn(|_| noise())))
        .collect();
    fs::write(bench.log("a.log"), &text).expect("write");
    let running = bench.start();
    let mut taken = Vec::new();
    while taken.len() < 100_000 {
        let lane = bench.lane_with(taken.len() as u64).await;
        let blocks = bench
            .spool
            .read(lane.lane, lane.committed_seq + 1, 16_000, 4 << 20)
            .await
            .expect("read");
        let last = blocks.last().expect("something new").range().last;
        taken.extend(blocks.iter().flat_map(texts));
        assert!(bench.spool.watch().borrow().bytes <= MIN_LIMIT, "the limit holds");
        bench.spool.commit_mark(lane.lane, last).await.expect("mark");
    }
    assert!(
        taken
            .iter()
            .map(|line| format!("{line}\n"))
            .eq(text.split_inclusive('\n').map(str::to_owned))
    );
    running.stop().await;
}

#[tokio::test]
async fn lines_that_do_not_fit_the_schema_are_counted_and_travel_on() {
    let bench = Bench::new(MIN_LIMIT);
    let checks = bench.checks();
    let schema = tributary_shared::wire::SchemaInfo {
        id: 3,
        version: 1,
        format: "JSON".to_owned(),
        text: r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#.to_owned(),
        references: Vec::new(),
    };
    checks.learn("logs".parse().expect("name"), Some(schema)).await;
    std::fs::write(
        bench.log("a.log"),
        "{\"n\":1}\n{\"n\":\"x\"}\nno json\n{\"n\":2}\n",
    )
    .expect("write");
    let running = bench.start_checked(bench.config(), checks.clone());
    let lines = bench.lines(4).await;
    assert_eq!(lines, ["{\"n\":1}", "{\"n\":\"x\"}", "no json", "{\"n\":2}"]);
    running.stop().await;
    let report = &checks.reports()[0];
    assert_eq!(
        (report.checked, report.invalid, report.refused_requests),
        (4, 2, 0)
    );
    let rules = [("malformed".to_owned(), 1), ("type".to_owned(), 1)];
    assert_eq!(report.by_rule, rules.into());
}
