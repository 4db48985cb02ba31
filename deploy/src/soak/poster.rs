//! Producers that know exactly what they were told.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tributary_shared::ids::SeqRange;
use tributary_shared::time::{Millis, now_millis};
use ureq::Agent;

use super::STREAM;
use super::accounts::{Accounts, Place, Request};
use crate::http;
use crate::load::answer::{Answer, post};
use crate::workload::{DEVICES, SplitMix64};

/// Requests a second to each agent, where the rate allows.
const REQUESTS_PER_S: u64 = 20;
/// The most events in a request.
const LARGEST: u64 = 1_000;
/// Producers of one agent: one that waits for an answer does not hold up the others.
pub const PRODUCERS: usize = 4;
/// Between two tries at an agent that is away.
const RETRY: Duration = Duration::from_millis(100);

/// The JSON Schema of the events.
pub const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "ts": {"type": "integer", "x-event-time": true, "description": "Unix milliseconds"},
    "request": {"type": "integer", "minimum": 1},
    "at": {"type": "integer", "minimum": 0, "description": "place in the request"},
    "device": {"type": "string"},
    "temperature": {"type": "number"},
    "message": {"type": "string"}
  },
  "required": ["ts", "request", "at", "device", "temperature", "message"],
  "additionalProperties": false
}"#;

/// What the producers of one agent share.
#[derive(Debug)]
pub struct Work<'a> {
    /// The agent's intake.
    pub intake: &'a str,
    /// Events a second to this agent.
    pub rate: u64,
    pub started: Instant,
    /// How long new requests are begun.
    pub lasts: Duration,
    /// Requests of this agent that were begun.
    pub begun: AtomicU64,
    /// Numbers of all agents' requests.
    pub numbers: &'a AtomicU64,
    /// Events accepted by all agents, for the progress that is shown.
    pub accepted: &'a AtomicU64,
    pub cancelled: &'a AtomicBool,
}

impl Work<'_> {
    fn events_per_request(&self) -> u64 {
        (self.rate / REQUESTS_PER_S).clamp(1, LARGEST)
    }

    /// When a request is due. Producers that fell behind catch up.
    fn due(&self, request: u64) -> Duration {
        Duration::from_secs_f64((request * self.events_per_request()) as f64 / self.rate as f64)
    }

    fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.cancelled.load(Ordering::Relaxed), "the soak was stopped");
        Ok(())
    }

    /// Posts until the time is over.
    ///
    /// # Errors
    /// When the intake refuses good events, or the soak was stopped.
    pub fn post(&self) -> anyhow::Result<Accounts> {
        let (client, mut accounts) = (http::client(), Accounts::default());
        let url = format!("{}/v1/streams/{STREAM}/events", self.intake);
        loop {
            let due = self.due(self.begun.fetch_add(1, Ordering::Relaxed));
            if due >= self.lasts {
                return Ok(accounts);
            }
            sleep(due.saturating_sub(self.started.elapsed()));
            self.deliver(&client, &url, &mut accounts)?;
        }
    }

    /// Posts until as many events as belong in one request are accepted, each time under a new number unless
    /// the request was certainly not taken.
    fn deliver(&self, client: &Agent, url: &str, accounts: &mut Accounts) -> anyhow::Result<()> {
        let events = self.events_per_request();
        loop {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let body = body(number, events, now_millis());
            if let Some(accepted) = self.try_one(client, url, &body, events, accounts)? {
                self.accepted.fetch_add(events, Ordering::Relaxed);
                accounts.requests.insert(number, accepted);
                return Ok(());
            }
            accounts.requests.insert(
                number,
                Request {
                    events,
                    accepted: None,
                },
            );
        }
    }

    /// `None` when the answer was lost.
    fn try_one(
        &self,
        client: &Agent,
        url: &str,
        body: &[u8],
        events: u64,
        accounts: &mut Accounts,
    ) -> anyhow::Result<Option<Request>> {
        loop {
            self.check()?;
            let sent = Instant::now();
            let wait = match post(client, url, body) {
                Answer::Accepted(answer) => {
                    let range = SeqRange {
                        first: answer.first_seq,
                        last: answer.last_seq,
                    };
                    anyhow::ensure!(
                        answer.accepted == events && range.count() == events,
                        "a request is taken whole, and each event has a seq: {answer:?}"
                    );
                    let took = sent.elapsed().as_millis();
                    accounts.answer_ms.push(u32::try_from(took).unwrap_or(u32::MAX));
                    let place = Place {
                        agent: answer.agent,
                        epoch: answer.epoch,
                        range,
                    };
                    return Ok(Some(Request {
                        events,
                        accepted: Some(place),
                    }));
                }
                Answer::Lost(_) => return Ok(None),
                Answer::Refused(why) => anyhow::bail!("{url} refuses good events: {why}"),
                Answer::Full { retry_after } => {
                    accounts.full += 1;
                    retry_after
                }
                Answer::NotTaken(_) => RETRY,
            };
            accounts.retried += 1;
            sleep(wait);
        }
    }
}

/// A request's events: all of one moment, so that the view has them in one row.
fn body(number: u64, events: u64, ts: Millis) -> Vec<u8> {
    let mut random = SplitMix64(number);
    let mut body = Vec::new();
    for at in 0..events {
        let device = random.below(DEVICES);
        let temperature = 12.0 + random.below(2_000) as f64 / 100.0;
        let word = random.next();
        // writing into a Vec cannot fail
        let _ = writeln!(
            body,
            r#"{{"ts":{ts},"request":{number},"at":{at},"device":"device-{device:04}","temperature":{temperature:.2},"message":"reading {word:016x} of the soak, as long as many readings are"}}"#
        );
    }
    body
}

/// Posts one event to a stream and returns where it is.
///
/// # Errors
/// When that does not succeed before the deadline, or the soak was stopped.
pub fn post_one(
    intake: &str,
    stream: &str,
    deadline: Instant,
    cancelled: &AtomicBool,
) -> anyhow::Result<Place> {
    let url = format!("{intake}/v1/streams/{stream}/events");
    let client = http::client();
    loop {
        let answer = post(&client, &url, br#"{"probe":true}"#);
        if let Answer::Accepted(answer) = answer {
            let range = SeqRange {
                first: answer.first_seq,
                last: answer.last_seq,
            };
            return Ok(Place {
                agent: answer.agent,
                epoch: answer.epoch,
                range,
            });
        }
        anyhow::ensure!(
            !cancelled.load(Ordering::Relaxed) && Instant::now() < deadline,
            "no event was accepted at {url}: {answer:?}"
        );
        sleep(RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_s_events_fit_the_schema_and_carry_its_number() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("a schema");
        let required = schema["required"].as_array().expect("required");
        let body = body(7, 20, 1_790_000_000_000);
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let events: Vec<serde_json::Map<String, serde_json::Value>> = lines
            .map(|line| serde_json::from_slice(line).expect("json"))
            .collect();
        assert_eq!(events.len(), 20);
        for (at, event) in events.iter().enumerate() {
            assert_eq!((&event["request"], &event["at"]), (&7.into(), &at.into()));
            assert_eq!(event.len(), required.len());
            assert!(
                required
                    .iter()
                    .all(|key| event.contains_key(key.as_str().expect("text")))
            );
        }
    }

    #[test]
    fn requests_are_spread_evenly_at_any_rate() {
        let (numbers, accepted, cancelled) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
        let work = |rate| Work {
            intake: "",
            rate,
            started: Instant::now(),
            lasts: Duration::from_secs(60),
            begun: AtomicU64::new(0),
            numbers: &numbers,
            accepted: &accepted,
            cancelled: &cancelled,
        };
        assert_eq!(work(10_000).events_per_request(), 500);
        assert_eq!(work(10_000).due(40), Duration::from_secs(2));
        assert_eq!(work(10).due(20), Duration::from_secs(2));
        assert_eq!(work(1_000_000).events_per_request(), LARGEST);
    }
}
