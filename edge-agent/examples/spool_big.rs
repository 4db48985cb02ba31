//! Measures an agent's spool that holds a long backlog: the time from start to the first accepted event, and the
//! memory while all of it is read once.
//!
//! ```text
//! cargo run --release -p edge-agent --example spool_big -- 2GiB [DIR]
//! ```
//!
//! The backlog is written by a process of its own, so that its memory is not counted. Prints one JSON object.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use edge_agent::spool::{self, NewEvents, SpoolConfig, SpoolHandle};
use tributary_shared::config::parse_size;
use tributary_shared::time::now_millis;
use tributary_shared::wire::rows::push_row;

const EVENTS_PER_APPEND: u32 = 4_000;
const EVENT_BYTES: usize = 255;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", size, dir] => run(fill(size.parse()?, Path::new(dir))),
        ["measure", dir] => run(measure(Path::new(dir))),
        [size] => both(
            size,
            &std::env::temp_dir().join(format!("spool_big-{}", std::process::id())),
            true,
        ),
        [size, dir] => both(size, Path::new(dir), false),
        _ => anyhow::bail!("usage: spool_big SIZE [DIR], for example spool_big 2GiB"),
    }
}

fn both(size: &str, dir: &Path, temporary: bool) -> anyhow::Result<()> {
    let bytes = parse_size(size).with_context(|| format!("{size:?} is not a size like 2GiB"))?;
    let step = |args: &[&str]| -> anyhow::Result<()> {
        let status = Command::new(std::env::current_exe()?)
            .args(args)
            .arg(dir)
            .status()?;
        ensure!(status.success(), "{args:?} failed: {status}");
        Ok(())
    };
    let done = step(&["fill", &bytes.to_string()]).and_then(|()| step(&["measure"]));
    if temporary {
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    done
}

fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn open(dir: &Path) -> anyhow::Result<SpoolHandle> {
    let config = SpoolConfig {
        limit: 1 << 40,
        ..SpoolConfig::new(dir)
    };
    Ok(spool::open(config, "spool-big".parse()?)?)
}

/// JSON with a text that hardly compresses.
fn events(count: u32, state: &mut u64) -> anyhow::Result<NewEvents> {
    let mut rows = Vec::with_capacity(count as usize * (EVENT_BYTES + 2));
    for n in 0..count {
        let mut event = format!("{{\"device\":\"d{}\",\"text\":\"", n % 100);
        while event.len() < EVENT_BYTES - 2 {
            *state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            event.push(char::from(b'!' + u8::try_from((*state >> 33) % 90)?).to_ascii_lowercase());
        }
        let event = event.replace('\\', "/");
        push_row(&mut rows, format!("{event}\"}}").as_bytes());
    }
    Ok(NewEvents {
        stream: "backlog".parse()?,
        origin: None,
        traceparent: None,
        collected_at: now_millis(),
        rows,
        count,
        position: None,
    })
}

async fn fill(bytes: u64, dir: &Path) -> anyhow::Result<()> {
    let spool = open(dir)?;
    let mut state = 1;
    while spool.watch().borrow().bytes < bytes {
        spool.append(events(EVENTS_PER_APPEND, &mut state)?).await?;
    }
    Ok(spool.shutdown().await?)
}

async fn measure(dir: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    let spool = open(dir)?;
    spool.append(events(1, &mut 7)?).await?;
    let first_accepted = started.elapsed();
    let rss_started = memory("VmRSS")?;
    let status = spool.watch().borrow().clone();
    let lane = status.lanes.first().context("the spool is empty")?.clone();
    let (mut at, mut read) = (1, 0u64);
    while at < lane.next_seq {
        let blocks = spool.read(lane.lane, at, 8_192, 512 << 10).await?;
        let last = blocks.last().context("a gap")?.range().last;
        read += last + 1 - at;
        at = last + 1;
    }
    let report = serde_json::json!({
        "spool_bytes": status.bytes,
        "held_events": lane.held_events,
        "events_read": read,
        "start_to_first_accepted_ms": first_accepted.as_millis(),
        "rss_after_start_mib": rss_started,
        "peak_rss_mib": memory("VmHWM")?,
    });
    writeln!(std::io::stdout(), "{report:#}")?;
    Ok(spool.shutdown().await?)
}

/// A line of `/proc/self/status`, in MiB.
fn memory(key: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(PathBuf::from("/proc/self/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no such line")?
        .parse()?;
    Ok((kib / 1_024.0 * 10.0).round() / 10.0)
}
