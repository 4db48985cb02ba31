//! `kill -9` of every process, one after the other, while events flow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tributary_tests::{LONG, Mesh, Posted, Poster, wait_until};

use crate::{flow, injected, integer, mesh, temp_dir};

const STREAM: &str = "readings";
const BATCH: u64 = 500;
const BATCHES: u64 = 200;
const THREADS: u64 = 4;
/// Which process dies once how many batches are accepted.
const KILLS: [(&str, u64); 3] = [("gateway", 30), ("aggregator", 80), ("agent", 130)];
/// Batches that may follow before the kill has happened, so that it happens while others are on their way
/// and there are always some left for afterwards.
const SLACK: u64 = 12;

/// The batches that were begun and accepted, and how many kills were done.
#[derive(Debug, Default)]
struct Progress {
    begun: AtomicU64,
    accepted: AtomicU64,
    kills: AtomicU64,
    /// A thread has failed; nobody should wait for it.
    failed: AtomicBool,
}

impl Progress {
    fn check(&self) {
        assert!(
            !self.failed.load(Ordering::Relaxed),
            "another thread of the test has failed"
        );
    }

    /// Waits until every kill that belongs before this batch was done.
    fn may_begin(&self, batch: u64) {
        let due = KILLS.iter().filter(|(_, after)| batch >= after + SLACK).count() as u64;
        wait_until(LONG, "the kill that is due", || {
            self.check();
            let done = self.kills.load(Ordering::Acquire);
            (done >= due)
                .then_some(())
                .ok_or_else(|| format!("{done} of {due}"))
        });
    }
}

/// Tells the others when its thread panics.
struct Alarm<'a>(&'a Progress);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.failed.store(true, Ordering::Relaxed);
        }
    }
}

fn post_batches(poster: &Poster, progress: &Progress) -> Posted {
    let _alarm = Alarm(progress);
    let mut posted = Posted::default();
    loop {
        let batch = progress.begun.fetch_add(1, Ordering::Relaxed);
        if batch >= BATCHES {
            return posted;
        }
        progress.may_begin(batch);
        poster.post(BATCH, flow::event, &mut posted);
        progress.accepted.fetch_add(1, Ordering::Release);
    }
}

fn kill_each(mesh: &Mesh, progress: &Progress) {
    let _alarm = Alarm(progress);
    for (role, after) in KILLS {
        wait_until(LONG, &format!("{after} batches are accepted"), || {
            progress.check();
            let accepted = progress.accepted.load(Ordering::Acquire);
            (accepted >= after)
                .then_some(())
                .ok_or_else(|| format!("{accepted}"))
        });
        mesh.kill_and_await_restart(role);
        progress.kills.fetch_add(1, Ordering::Release);
    }
}

#[test]
fn every_accepted_event_is_counted_once_while_each_process_is_killed() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    flow::put_view(&mesh, STREAM);
    let (poster, progress) = (Poster::new(&mesh.ready().intake, STREAM), Progress::default());
    let mut posted = Posted::default();
    thread::scope(|scope| {
        let killer = scope.spawn(|| kill_each(&mesh, &progress));
        let posters: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| post_batches(&poster, &progress)))
            .collect();
        for thread in posters {
            posted.merge(thread.join().expect("a poster"));
        }
        killer.join().expect("the killer");
    });
    assert_eq!(posted.accepted_events(), BATCH * BATCHES);
    flow::check(&mesh, STREAM, &posted, BATCH);
    for (role, _) in KILLS {
        injected(
            "every_accepted_event_is_counted_once_while_each_process_is_killed",
            &format!("kill -9 of the {role}"),
            1,
        );
    }
    let sums = mesh.windows(flow::VIEW).expect("windows");
    for row in sums {
        assert_eq!(
            integer(&row, "at_sum"),
            BATCH * (BATCH - 1) / 2,
            "each event of a request once: {row}"
        );
    }
}
