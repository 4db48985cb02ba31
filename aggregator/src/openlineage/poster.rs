//! Posts events, on a thread of its own. Whoever hands one over never waits: the queue is bounded, and what does not fit
//! is counted. An endpoint that is down or slow is asked again, ever more seldom; one that refuses an event is not asked
//! about that one again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tributary_shared::metrics::{self, MetricName};

/// Events that wait. Each view has one at a time, and one every few minutes.
const QUEUE: usize = 1_024;
/// Bytes of the events that wait.
const QUEUE_BYTES: usize = 16 << 20;
/// The endpoint must answer within this time.
const TIMEOUT: Duration = Duration::from_secs(10);
/// From the first try of an event to the second; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What a stopping aggregator still gives its last events.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicUsize,
    stopping: Mutex<bool>,
    woken: Condvar,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        *self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, or until it is stopped.
    fn wait(&self, time: Duration) {
        let stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        // spurious or not: whoever waits looks again
        drop(
            self.woken
                .wait_timeout_while(stopping, time, |stopping| !*stopping),
        );
    }
}

/// A handle on the thread.
#[derive(Debug)]
pub struct Poster {
    queue: SyncSender<String>,
    shared: Arc<Shared>,
    /// Nothing is ever sent: it is closed when the thread ends.
    ended: Mutex<Receiver<()>>,
}

fn not_posted(reason: &str, events: u64) {
    metrics::counter(MetricName::OpenlineageNotPosted, &[("reason", reason)]).inc_by(events);
}

impl Poster {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be none.
    pub fn start(url: String) -> std::io::Result<Self> {
        let (queue, events) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let work = Arc::clone(&shared);
        let (ending, ended) = channel();
        std::thread::Builder::new()
            .name("openlineage".to_owned())
            .spawn(move || {
                run(&url, &events, &work);
                drop(ending);
            })?;
        Ok(Self {
            queue,
            shared,
            ended: Mutex::new(ended),
        })
    }

    /// Hands an event over. Never waits.
    pub fn post(&self, event: &Value) {
        let text = event.to_string();
        let len = text.len();
        let held = self.shared.bytes.fetch_add(len, Ordering::Relaxed);
        if held + len > QUEUE_BYTES || self.queue.try_send(text).is_err() {
            self.shared.bytes.fetch_sub(len, Ordering::Relaxed);
            not_posted("queue_full", 1);
        }
    }

    /// Ends the thread, after a moment for what waits; one that hangs in a request is left to the end of the process.
    /// Blocks for that moment.
    pub fn stop(self) {
        drop(self.queue);
        *self
            .shared
            .stopping
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.woken.notify_all();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(2 * LAST_WORDS) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("an OpenLineage endpoint does not answer; what waits for it is not posted");
        }
    }
}

/// What became of one try.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Posted,
    /// Again would not help.
    Refused(String),
    /// Worth another try.
    Failed(String),
}

fn run(url: &str, events: &Receiver<String>, shared: &Shared) {
    let client: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        // the configuration says where events go
        .proxy(None)
        .build()
        .into();
    let last: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(LAST_WORDS))
        .proxy(None)
        .build()
        .into();
    let mut told = false;
    while let Ok(event) = events.recv() {
        shared.bytes.fetch_sub(event.len(), Ordering::Relaxed);
        deliver(&client, url, &event, shared, &mut told);
        if shared.is_stopping() {
            finish(&last, url, events);
            return;
        }
    }
}

/// Tries until it is posted, refused, or the aggregator stops.
fn deliver(client: &ureq::Agent, url: &str, event: &str, shared: &Shared, told: &mut bool) {
    let mut wait = FIRST_WAIT;
    loop {
        match post(client, url, event) {
            Outcome::Posted => {
                metrics::counter(MetricName::OpenlineagePosted, &[]).inc();
                if std::mem::take(told) {
                    tracing::info!(url, "OpenLineage events are posted again");
                }
                return;
            }
            Outcome::Refused(why) => {
                not_posted("refused", 1);
                tracing::warn!(url, why, "an OpenLineage event was refused, and is left out");
                return;
            }
            Outcome::Failed(why) => {
                if !std::mem::replace(told, true) {
                    tracing::warn!(
                        url,
                        why,
                        "OpenLineage events cannot be posted; trying again, ever more seldom"
                    );
                }
            }
        }
        shared.wait(wait);
        if shared.is_stopping() {
            not_posted("stopped", 1);
            return;
        }
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}

/// One try for each event that still waits, for a moment.
fn finish(client: &ureq::Agent, url: &str, events: &Receiver<String>) {
    let until = Instant::now() + LAST_WORDS;
    let mut left = 0u64;
    while let Ok(event) = events.try_recv() {
        if left == 0 && Instant::now() < until && post(client, url, &event) == Outcome::Posted {
            metrics::counter(MetricName::OpenlineagePosted, &[]).inc();
        } else {
            left += 1;
        }
    }
    if left > 0 {
        not_posted("stopped", left);
        tracing::warn!(
            url,
            events = left,
            "OpenLineage events were not posted before the stop"
        );
    }
}

fn post(client: &ureq::Agent, url: &str, event: &str) -> Outcome {
    let sent = client
        .post(url)
        .header("content-type", "application/json")
        .send(event);
    match sent {
        Ok(answer) if answer.status().is_success() => Outcome::Posted,
        Ok(answer) => {
            let status = answer.status();
            // too early, too many, or its own trouble
            if status.is_server_error() || [408, 425, 429].contains(&status.as_u16()) {
                Outcome::Failed(format!("it answered {status}"))
            } else {
                Outcome::Refused(format!("it answered {status}"))
            }
        }
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use serde_json::json;

    use super::*;

    /// Answers requests with these statuses, one after the other, and returns the bodies.
    fn serve(statuses: Vec<u16>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!("http://{}/api/v1/lineage", listener.local_addr().expect("bound"));
        let serving = std::thread::spawn(move || {
            let mut bodies = Vec::new();
            for status in statuses {
                let (stream, _) = listener.accept().expect("a client");
                let mut reader = BufReader::new(stream);
                let (mut line, mut len) = (String::new(), 0);
                while reader.read_line(&mut line).expect("a line") > 2 {
                    let lower = line.to_ascii_lowercase();
                    if let Some(value) = lower.strip_prefix("content-length:") {
                        len = value.trim().parse().expect("a number");
                    }
                    line.clear();
                }
                let mut body = vec![0; len];
                reader.read_exact(&mut body).expect("a body");
                bodies.push(String::from_utf8(body).expect("text"));
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                reader.get_mut().write_all(answer.as_bytes()).expect("written");
            }
            bodies
        });
        (url, serving)
    }

    #[test]
    fn a_refused_event_is_left_out_and_a_failed_one_comes_again() {
        let (url, serving) = serve(vec![200, 422, 503, 201]);
        let poster = Poster::start(url).expect("starts");
        for n in 1..=3 {
            poster.post(&json!({ "n": n }));
        }
        // the last one is tried twice, a second apart
        let bodies = serving.join().expect("served");
        assert_eq!(bodies, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":3}"#]);
        poster.stop();
    }

    #[test]
    fn nobody_waits_for_an_endpoint_that_is_down() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        // accepts by its backlog, and never answers
        let poster = Poster::start(url).expect("starts");
        let long = json!({ "text": "x".repeat(1 << 20) });
        let begun = Instant::now();
        for _ in 0..40 {
            poster.post(&long);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(poster.shared.bytes.load(Ordering::Relaxed) <= QUEUE_BYTES);
        // whoever hangs is let go of
        drop(listener);
        poster.stop();
        assert!(begun.elapsed() < TIMEOUT, "{:?}", begun.elapsed());
    }
}
