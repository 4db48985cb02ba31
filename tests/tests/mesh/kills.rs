//! `kill -9` of every process, one after the other, while events flow.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tributary_tests::{LONG, Mesh, Posted, Poster, Range, SOON, wait_until};

use crate::{integer, mesh, temp_dir};

const STREAM: &str = "readings";
const BATCH: u64 = 500;
const BATCHES: u64 = 200;
const THREADS: u64 = 4;
/// Which process dies once how many batches are accepted.
const KILLS: [(&str, u64); 3] = [("gateway", 30), ("aggregator", 80), ("agent", 130)];
/// Batches that may follow before the kill has happened, so that it happens while others are on their way
/// and there are always some left for afterwards.
const SLACK: u64 = 12;

/// All events are of one window, whatever the time of day.
fn event(request: u64, at: u64) -> String {
    format!(
        r#"{{"ts":"2026-01-01T12:00:00.000Z","request":{request},"at":{at},"device":"d-{}"}}"#,
        at % 40
    )
}

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
        poster.post(BATCH, event, &mut posted);
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

/// Events by request, as the view counts them.
fn counts(mesh: &Mesh) -> Result<BTreeMap<u64, u64>, String> {
    let rows = mesh.windows("by_request")?;
    Ok(rows
        .iter()
        .map(|row| (integer(row, "request"), integer(row, "n")))
        .collect())
}

#[test]
fn every_accepted_event_is_counted_once_while_each_process_is_killed() {
    let dir = temp_dir();
    let mesh = mesh(&dir);
    mesh.put_view(
        "by_request",
        "SELECT window_start, window_end, request, count(*) AS n, sum(at) AS at_sum \
         FROM TUMBLE(readings, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, request",
    );
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
    mesh.wait_until_delivered(LONG);

    let lanes = mesh.ledger(STREAM).expect("the ledger");
    let valid: u64 = lanes.iter().map(|lane| lane.valid).sum();
    let counts = wait_until(SOON, "the view has applied what the ledger has", || {
        let counts = counts(&mesh)?;
        let applied: u64 = counts.values().sum();
        (applied == valid)
            .then_some(counts)
            .ok_or_else(|| format!("{applied} applied, {valid} in the ledger"))
    });
    check_each_request(&posted, &counts);
    for lane in &lanes {
        assert!(
            lane.balances() && lane.dead == 0 && lane.dropped.is_empty(),
            "{lane:?}"
        );
    }
    check_lanes(
        &posted,
        &lanes.iter().map(|lane| (lane.epoch, lane.mark)).collect(),
    );
    let sums = mesh.windows("by_request").expect("windows");
    for row in sums {
        assert_eq!(
            integer(&row, "at_sum"),
            BATCH * (BATCH - 1) / 2,
            "each event of a request once: {row}"
        );
    }
}

/// What was accepted counts in full; what was not answered counts in full or not at all.
fn check_each_request(posted: &Posted, counts: &BTreeMap<u64, u64>) {
    let mut counts = counts.clone();
    for request in &posted.accepted {
        assert_eq!(
            counts.remove(&request.number),
            Some(request.events),
            "accepted: {request:?}"
        );
    }
    for request in &posted.unanswered {
        let counted = counts.remove(&request.number).unwrap_or(0);
        assert!(
            counted == 0 || counted == request.events,
            "unanswered, {counted} counted: {request:?}"
        );
    }
    assert_eq!(counts, BTreeMap::new(), "events that nobody posted");
}

/// No seq was given twice, and none was left out but those of requests that were not answered.
fn check_lanes(posted: &Posted, marks: &BTreeMap<u64, u64>) {
    let mut ranges: Vec<Range> = posted
        .accepted
        .iter()
        .filter_map(|request| request.range)
        .collect();
    ranges.sort_by_key(|range| (range.epoch, range.first));
    for pair in ranges.windows(2) {
        assert!(
            pair[0].epoch != pair[1].epoch || pair[0].last < pair[1].first,
            "overlap: {pair:?}"
        );
    }
    for range in &ranges {
        let mark = marks.get(&range.epoch).copied().unwrap_or(0);
        assert!(
            range.last <= mark,
            "{range:?} is not committed, the lane's mark is {mark}"
        );
    }
    let given: u64 = marks.values().sum();
    let extra = given - posted.accepted_events();
    assert!(
        extra <= posted.unanswered.len() as u64 * BATCH,
        "{extra} seqs that nobody asked for"
    );
}
