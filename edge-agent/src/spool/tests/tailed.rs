//! Tailed lines over a disk that fails the sync of their commit, and nothing else.

use std::fs;
use std::time::Duration;

use super::super::SpoolHandle;
use super::super::queue::Queue;
use super::disk::while_failing;
use super::*;
use crate::check::{CheckPolicies, Checks};
use crate::tail::{FilesConfig, ReadFrom, run};

/// Far more than a step needs; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the spool was asked.
#[derive(Debug, PartialEq, Eq)]
struct Served {
    /// To take events.
    appends: usize,
    /// Where an input stands.
    positions: usize,
}

/// Serves the queue as the spool's thread does. The first commit that holds events is written, but its sync fails,
/// which is told.
fn serve(mut spool: Harness, queue: &Queue, failed: oneshot::Sender<()>) -> Served {
    let mut served = Served {
        appends: 0,
        positions: 0,
    };
    let mut failed = Some(failed);
    loop {
        let batch = queue.take(None, MAX_APPEND_BYTES, 100);
        if batch.closed {
            return served;
        }
        // the pause before a failing database is tried again is over with the next command
        spool.at += Duration::from_secs(2);
        let events = |queued: &&Queued<Append>| matches!(queued.command, Append::Events { .. });
        let position = |queued: &&Queued<Control>| matches!(queued.command, Control::GetPosition { .. });
        let appends = batch.appends.iter().filter(events).count();
        served.appends += appends;
        served.positions += batch.controls.iter().filter(position).count();
        if let Some(tell) = failed.take_if(|_| appends > 0) {
            let calls = vec![(libc::SYS_fsync, vec![]), (libc::SYS_fdatasync, vec![])];
            spool = while_failing(spool, libc::EIO, calls, move |spool| {
                spool.actor.round(batch, spool.at, spool.now);
            });
            tell.send(()).expect("the test waits for it");
        } else {
            spool.actor.round(batch, spool.at, spool.now);
        }
    }
}

/// The lines that the spool holds.
async fn lines(spool: &SpoolHandle) -> Vec<String> {
    let Some(lane) = spool.watch().borrow().lanes.first().cloned() else {
        return Vec::new();
    };
    let blocks = spool
        .read(lane.lane, 1, u32::MAX, 1 << 20)
        .await
        .unwrap_or_default();
    let mut lines = Vec::new();
    for block in blocks {
        let Block::Rows(rows) = block else {
            panic!("{block:?}")
        };
        let raw = inflate(&rows.segment(), &rows.body, 1 << 20).expect("inflates");
        lines.extend(Rows::new(&raw).map(|row| String::from_utf8_lossy(row.expect("row")).into_owned()));
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tailed_lines_whose_commit_failed_only_in_its_sync_are_spooled_once() {
    let dir = TempDir::new().expect("tempdir");
    let log = dir.path().join("app.log");
    fs::write(&log, "1\n2\n3\n").expect("write");
    let harness = Harness::new(16 << 20, WhenFull::Block);
    let queue = Arc::new(Queue::default());
    let (in_flight, status) = (Arc::clone(&harness.in_flight), harness.status.clone());
    let spool = SpoolHandle::new(
        agent(),
        harness.config.clone(),
        Arc::clone(&queue),
        in_flight,
        status,
    );
    let (fails, failed) = oneshot::channel();
    let thread = std::thread::spawn(move || serve(harness, &queue, fails));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let config = FilesConfig {
        stream: stream("app"),
        paths: vec![log.display().to_string()],
        max_line: 100,
        read_from: ReadFrom::Beginning,
    };
    let tail = tokio::spawn(run(
        config,
        spool.clone(),
        Checks::new(CheckPolicies::new(), spool.clone(), None),
        stopped,
    ));

    tokio::time::timeout(PATIENCE, failed)
        .await
        .expect("events are appended")
        .expect("the thread lives");
    // comes after the retry of the others: one append of a file at a time
    let mut more = fs::OpenOptions::new().append(true).open(&log).expect("open");
    std::io::Write::write_all(&mut more, b"4\n").expect("write");
    let arrived = async {
        loop {
            let found = lines(&spool).await;
            if found.last().is_some_and(|last| last == "4") {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, arrived)
        .await
        .expect("the last line arrives");
    assert_eq!(found, ["1", "2", "3", "4"]);

    stop.send_replace(true);
    tail.await.expect("no panic").expect("no error");
    drop(spool);
    let served = thread.join().expect("no panic");
    assert!(served.positions > 0, "the refused lines were looked for");
    assert_eq!(served.appends, 2, "and found, not appended again");
    injected(
        "tailed_lines_whose_commit_failed_only_in_its_sync_are_spooled_once",
        [("EIO of fsync", 1)],
    );
}
