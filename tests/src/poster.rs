//! A producer that knows exactly what it was told.
//!
//! Each request's events carry the request's number. An answer of 200 means that all of them were taken. A
//! request whose answer was lost may have been taken or not, whole: the producer then posts as many events
//! again under a new number, and the check of the outcome looks at each number for itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::{http, wait_until};

/// How long an intake that is away, or full, is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(50);

/// One request, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub number: u64,
    pub events: u64,
    /// Where its events are, when the intake has said so.
    pub range: Option<Range>,
}

/// Seqs in a lane, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub epoch: u64,
    pub first: u64,
    pub last: u64,
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub struct Posted {
    /// Answered with 200.
    pub accepted: Vec<Request>,
    /// Sent, and never answered.
    pub unanswered: Vec<Request>,
    /// Requests that were certainly not taken, and posted again.
    pub retried: u64,
}

impl Posted {
    pub fn merge(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.unanswered.extend(other.unanswered);
        self.retried += other.retried;
    }

    #[must_use]
    pub fn accepted_events(&self) -> u64 {
        self.accepted.iter().map(|request| request.events).sum()
    }
}

/// Posts to one stream. Shared by several threads.
#[derive(Debug)]
pub struct Poster {
    url: String,
    numbers: AtomicU64,
}

impl Poster {
    #[must_use]
    pub fn new(intake: &str, stream: &str) -> Self {
        Self {
            url: format!("{intake}/v1/streams/{stream}/events"),
            numbers: AtomicU64::new(1),
        }
    }

    /// Posts until so many events are accepted in one request. `event` writes the event at a place in a
    /// request of a number.
    ///
    /// # Panics
    /// When the intake refuses the events themselves, or stays away.
    pub fn post(&self, events: u64, event: impl Fn(u64, u64) -> String, posted: &mut Posted) {
        wait_until(PATIENCE, "the intake takes a request", || {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let body: String = (0..events).map(|at| event(number, at) + "\n").collect();
            let request = Request {
                number,
                events,
                range: None,
            };
            match http::post(&self.url, "application/x-ndjson", body.as_bytes()) {
                Ok(answer) if answer.status == 200 => {
                    posted.accepted.push(accepted(request, &answer));
                    Ok(())
                }
                Ok(answer) if matches!(answer.status, 429 | 503) => {
                    posted.retried += 1;
                    sleep(RETRY);
                    Err(format!("status {}: {}", answer.status, answer.body))
                }
                Ok(answer) => panic!("the intake refuses good events: {answer:?}"),
                Err(error) if http::never_arrived(&error) => {
                    posted.retried += 1;
                    Err(error.to_string())
                }
                Err(error) => {
                    posted.unanswered.push(request);
                    Err(error.to_string())
                }
            }
        });
    }
}

fn accepted(request: Request, answer: &http::Answer) -> Request {
    let json = answer.json();
    assert_eq!(
        json["accepted"], request.events,
        "a request is taken whole: {json}"
    );
    let field = |name: &str| json[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
    let range = Range {
        epoch: field("epoch"),
        first: field("first_seq"),
        last: field("last_seq"),
    };
    assert_eq!(
        range.last - range.first + 1,
        request.events,
        "one seq for each event: {json}"
    );
    Request {
        range: Some(range),
        ..request
    }
}
