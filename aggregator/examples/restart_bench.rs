//! How long an aggregator needs after `kill -9` until its views are whole again: loads a snapshot with many groups
//! and replays the log behind it. Run with
//! `cargo run --release -p aggregator --example restart_bench -- [GROUPS] [EVENTS BEHIND THE SNAPSHOT]`.

#![allow(clippy::print_stdout)] // a benchmark's output is its purpose

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregator::commit::{self, CommitAnswer, CommitHandle, CommitOptions, CommitRequest, LogPos};
use aggregator::registry::SchemaCache;
use aggregator::window::{EngineConfig, EngineHandle, EngineOptions};
use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use tributary_shared::ids::{AgentId, Epoch, GatewayId, LaneKey, LaneNo};
use tributary_shared::wire::frame::checksum;
use tributary_shared::wire::{BatchContent, CommitHeader, SegmentOrigin};

const GROUPS: usize = 1_000_000;
/// Thirty seconds at 20,000 events/s.
const BEHIND: usize = 600_000;
const BATCH: usize = 2_000;
/// Devices in one window; there are as many windows as it takes.
const DEVICES: usize = 10_000;
const VIEW: &str = "SELECT window_start, window_end, device, count(*) AS n, avg(v) AS mean, max(v) AS top
    FROM TUMBLE(readings, ts, INTERVAL '1 minute') GROUP BY window_start, window_end, device";

struct Threads {
    commit: CommitHandle,
    engine: EngineHandle,
    committer: commit::CommitThread,
    runner: aggregator::window::EngineThread,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let groups = args.next().transpose()?.unwrap_or(GROUPS).max(1);
    let behind = args.next().transpose()?.unwrap_or(BEHIND);
    let temp = tempfile::tempdir()?;
    let (home, crashed) = (temp.path().join("home"), temp.path().join("crashed"));
    std::fs::create_dir_all(&home)?;
    std::fs::create_dir_all(&crashed)?;

    let first = start(&home)?;
    first.engine.put_view("v".to_owned(), VIEW.to_owned()).await?;
    let started = Instant::now();
    commit_events(&first.commit, groups, groups).await?;
    applied(&first).await?;
    println!("made {groups} groups in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    stop(first).await?;
    println!(
        "stopped, with the last snapshot, in {:.2} s",
        started.elapsed().as_secs_f64()
    );

    // the snapshot lies there; what comes now is only in the log
    std::fs::copy(home.join("views.db"), crashed.join("views.db"))?;
    let second = start(&home)?;
    ready(&second.engine).await?;
    commit_events(&second.commit, groups, behind).await?;
    for name in ["log.db", "log.db-wal"] {
        std::fs::copy(home.join(name), crashed.join(name))?;
    }
    stop(second).await?;

    let started = Instant::now();
    let third = start(&crashed)?;
    let loaded = started.elapsed();
    ready(&third.engine).await?;
    let total = started.elapsed();
    let views = third.engine.views().await?;
    let stats = views.iter().find(|view| view.name == "v").map(|view| view.stats);
    anyhow::ensure!(
        stats.is_some_and(
            |stats| stats.groups == groups as u64 && stats.counters.applied == (groups + behind) as u64
        ),
        "the views are not what they were: {stats:?}"
    );
    println!(
        "snapshot of {groups} groups loaded in {:.2} s",
        loaded.as_secs_f64()
    );
    println!(
        "log of {behind} events replayed in {:.2} s ({:.2} M events/s)",
        (total - loaded).as_secs_f64(),
        behind as f64 / 1e6 / (total - loaded).max(Duration::from_millis(1)).as_secs_f64()
    );
    println!(
        "restart: {:.2} s, peak memory {} MiB",
        total.as_secs_f64(),
        peak_memory_mib()
    );
    stop(third).await
}

fn start(dir: &Path) -> anyhow::Result<Threads> {
    let dir = dir.to_owned();
    let options = CommitOptions {
        dir: dir.clone(),
        require_schema: false,
    };
    let (commit, log, committer) = commit::open(options, SchemaCache::default())?;
    let options = EngineOptions {
        dir,
        config: EngineConfig::default(),
    };
    let (engine, runner) = aggregator::window::start(&options, log, commit.clone(), Arc::default())?;
    Ok(Threads {
        commit,
        engine,
        committer,
        runner,
    })
}

async fn stop(threads: Threads) -> anyhow::Result<()> {
    threads.commit.stop().await;
    threads.engine.stop().await;
    threads.committer.join()?;
    Ok(threads.runner.join().await?)
}

async fn ready(engine: &EngineHandle) -> anyhow::Result<()> {
    engine.ready_changes().wait_for(|ready| *ready).await?;
    Ok(())
}

async fn applied(threads: &Threads) -> anyhow::Result<()> {
    let newest: LogPos = *threads.commit.committed().borrow();
    let mut changes = threads.engine.applied_changes();
    changes.wait_for(|applied| *applied >= newest).await?;
    Ok(())
}

/// Commits `count` events, one a group, over the `groups` again and again.
async fn commit_events(commit: &CommitHandle, groups: usize, count: usize) -> anyhow::Result<()> {
    let key = LaneKey {
        agent: "bench".parse::<AgentId>()?,
        stream: "readings".parse()?,
        epoch: Epoch(1),
    };
    let lane = commit.open_lane(key.clone(), u64::MAX).await?;
    let mut next = lane.mark + 1;
    let mut pending = std::collections::VecDeque::new();
    let rows: Vec<usize> = (0..count).map(|row| row % groups).collect();
    for rows in rows.chunks(BATCH) {
        let body = columns(rows)?;
        let header = header(lane.lane_no, next, rows.len() as u32, &body)?;
        let request = CommitRequest {
            key: key.clone(),
            header,
            body: body.into(),
        };
        next += rows.len() as u64;
        pending.push_back(commit.enqueue(commit::prepare(request)?).await?);
        // as many as a gateway has in flight
        if pending.len() > 64
            && let Some(answer) = pending.pop_front()
        {
            check(&answer.await?)?;
        }
    }
    for answer in pending {
        check(&answer.await?)?;
    }
    Ok(())
}

fn check(answer: &CommitAnswer) -> anyhow::Result<()> {
    anyhow::ensure!(matches!(answer, CommitAnswer::Committed { .. }), "{answer:?}");
    Ok(())
}

fn header(lane: LaneNo, first_seq: u64, count: u32, body: &[u8]) -> anyhow::Result<CommitHeader> {
    Ok(CommitHeader {
        writer: 0,
        after_writer: 0,
        lane,
        first_seq,
        count,
        content: BatchContent::Rows,
        dead_seqs: Vec::new(),
        schema: None,
        columns_len: body.len() as u32,
        dead_len: 0,
        body_crc: checksum(body),
        gateway: "bench".parse::<GatewayId>()?,
        segments: vec![SegmentOrigin {
            count,
            collected_at: 0,
            spooled_at: 0,
            origin: None,
        }],
        sent_at: 0,
        received_at: 0,
        admitted_at: 0,
        traceparent: None,
        contexts: Default::default(),
        attempts: Default::default(),
        usage: Vec::new(),
    })
}

/// One event a group: its device, in its minute.
fn columns(rows: &[usize]) -> anyhow::Result<Vec<u8>> {
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let fields = vec![
        Field::new("_event_time", utc, false),
        Field::new("device", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
    ];
    let times = rows.iter().map(|row| Some((row / DEVICES) as i64 * 60_000));
    let devices = rows
        .iter()
        .map(|row| Some(format!("device-{:05}", row % DEVICES)));
    let values = rows.iter().map(|row| (row % 1_000) as i64);
    let records = RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![
            Arc::new(times.collect::<TimestampMillisecondArray>().with_timezone("UTC")),
            Arc::new(devices.collect::<StringArray>()),
            Arc::new(values.collect::<Int64Array>()),
        ],
    )?;
    let mut writer = StreamWriter::try_new(Vec::new(), records.schema_ref())?;
    writer.write(&records)?;
    Ok(writer.into_inner()?)
}

/// `VmHWM` of this process; 0 where /proc does not tell.
fn peak_memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1_024)
}
