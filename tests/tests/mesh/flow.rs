//! Events that flow while a test does harm, and the oracle for them: what was accepted is counted exactly once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use tributary_tests::{LONG, LedgerLane, Mesh, Posted, Poster, Range, SOON, http, wait_until};

use crate::integer;

/// The view that [`check`] reads.
pub const VIEW: &str = "by_request";
/// Events in a request of [`while_events_flow`].
pub const BATCH: u64 = 100;
const THREADS: usize = 2;
/// Between two requests of a thread: some thousand events a second, so that a test's harm meets many
/// and the end does not have to wait for a backlog.
const PAUSE: Duration = Duration::from_millis(20);

/// All events are of one window, whatever the time of day.
pub fn event(request: u64, at: u64) -> String {
    format!(
        r#"{{"ts":"2026-01-01T12:00:00.000Z","request":{request},"at":{at},"device":"d-{}"}}"#,
        at % 40
    )
}

fn view_sql(stream: &str) -> String {
    format!(
        "SELECT window_start, window_end, request, count(*) AS n, sum(at) AS at_sum \
         FROM TUMBLE({stream}, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, request"
    )
}

/// Makes the view that [`check`] reads.
pub fn put_view(mesh: &Mesh, stream: &str) {
    put_view_at(&mesh.ready().http, stream);
}

/// The same at an aggregator's API.
pub fn put_view_at(api: &str, stream: &str) {
    let url = format!("{api}/api/v1/views/{VIEW}");
    let answer = http::put(&url, &json!({ "sql": view_sql(stream) })).expect("an answer of the API");
    answer.success().expect("a good view");
}

/// What a test sees of the flow.
#[derive(Debug, Default)]
pub struct Flow {
    accepted: AtomicU64,
    over: AtomicBool,
}

impl Flow {
    /// Requests that are accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }

    /// Waits until so many more requests are accepted.
    pub fn wait_for_more(&self, requests: u64) {
        let before = self.accepted.load(Ordering::Acquire);
        wait_until(LONG, &format!("{requests} more requests are accepted"), || {
            let more = self.accepted.load(Ordering::Acquire) - before;
            (more >= requests).then_some(()).ok_or_else(|| format!("{more}"))
        });
    }
}

/// Ends the flow with the test's harm, also when that panics: nobody should wait for the other.
struct Over<'a>(&'a Flow);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// Posts to a stream from several threads until `harm` has done what it does. What became of the requests.
pub fn while_events_flow(intake: &str, stream: &str, harm: impl FnOnce(&Flow)) -> Posted {
    let (poster, flow) = (Poster::new(intake, stream), Flow::default());
    let mut posted = Posted::default();
    thread::scope(|scope| {
        let posters: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| post(&poster, &flow)))
            .collect();
        let over = Over(&flow);
        flow.wait_for_more(10);
        harm(&flow);
        drop(over);
        for poster in posters {
            posted.merge(poster.join().expect("a poster"));
        }
    });
    posted
}

fn post(poster: &Poster, flow: &Flow) -> Posted {
    let mut posted = Posted::default();
    while !flow.over.load(Ordering::Acquire) {
        poster.post(BATCH, event, &mut posted);
        flow.accepted.fetch_add(1, Ordering::Release);
        thread::sleep(PAUSE);
    }
    posted
}

/// Waits until everything is delivered, and compares windows and ledger with what was posted, in requests of
/// `batch` events.
pub fn check(mesh: &Mesh, stream: &str, posted: &Posted, batch: u64) {
    check_at(&mesh.ready().http, &mesh.ready().intake, stream, posted, batch);
}

/// The same for an aggregator's API and an agent's intake.
pub fn check_at(api: &str, intake: &str, stream: &str, posted: &Posted, batch: u64) {
    assert!(posted.accepted_events() > 0, "something was accepted");
    wait_until(LONG, "the agent has delivered everything", || {
        let status = http::get_json(&format!("{intake}/v1/status"))?;
        let lanes = status["lanes"].as_array().ok_or_else(|| status.to_string())?;
        let held: u64 = lanes.iter().filter_map(|lane| lane["held_events"].as_u64()).sum();
        (held == 0).then_some(()).ok_or_else(|| status.to_string())
    });
    let lanes = wait_until(SOON, "the ledger", || ledger(api, stream));
    let valid: u64 = lanes.iter().map(|lane| lane.valid).sum();
    let counts = wait_until(SOON, "the view has applied what the ledger has", || {
        let counts = counts(api)?;
        let applied: u64 = counts.values().sum();
        (applied == valid)
            .then_some(counts)
            .ok_or_else(|| format!("{applied} applied, {valid} in the ledger"))
    });
    check_each_request(posted, &counts);
    for lane in &lanes {
        assert!(
            lane.balances() && lane.dead == 0 && lane.dropped.is_empty(),
            "{lane:?}"
        );
    }
    let marks = lanes.iter().map(|lane| (lane.epoch, lane.mark)).collect();
    check_lanes(posted, &marks, batch);
}

/// The ledger's lines of a stream.
pub fn ledger(api: &str, stream: &str) -> Result<Vec<LedgerLane>, String> {
    let ledger = http::get_json(&format!("{api}/api/v1/ledger"))?;
    let lanes: Vec<LedgerLane> =
        serde_json::from_value(ledger["lanes"].clone()).map_err(|error| format!("{error}: {ledger}"))?;
    Ok(lanes.into_iter().filter(|lane| lane.stream == stream).collect())
}

/// Events by request, as the view counts them.
fn counts(api: &str) -> Result<BTreeMap<u64, u64>, String> {
    let answer = http::get_json(&format!("{api}/api/v1/views/{VIEW}/windows?limit=10000"))?;
    assert_ne!(
        answer["truncated"], true,
        "fewer requests than the API gives rows"
    );
    let rows = answer["rows"]
        .as_array()
        .ok_or_else(|| format!("no rows: {answer}"))?;
    Ok(rows
        .iter()
        .map(|row| (integer(row, "request"), integer(row, "n")))
        .collect())
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
fn check_lanes(posted: &Posted, marks: &BTreeMap<u64, u64>, batch: u64) {
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
        extra <= posted.unanswered.len() as u64 * batch,
        "{extra} seqs that nobody asked for"
    );
}
