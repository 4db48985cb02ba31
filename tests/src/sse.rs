//! A client of Server-Sent Events, as the standard has it: it remembers the last id, also of events without data.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// Longer than the server's heartbeats: a stream that is silent for this long is dead.
const SILENCE: Duration = Duration::from_secs(25);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: String,
    pub data: Value,
}

/// A reader that can come back.
#[derive(Debug)]
pub struct SseReader {
    url: String,
    /// What it sends as `Last-Event-ID`.
    pub last_id: Option<String>,
}

impl SseReader {
    #[must_use]
    pub fn new(url: String) -> Self {
        Self { url, last_id: None }
    }

    /// Connects and hears events until `hear` has enough (false) or the connection ends. Comments are heard as events
    /// of no kind.
    ///
    /// # Errors
    /// When it cannot connect, or the connection breaks.
    pub fn connect(&mut self, mut hear: impl FnMut(&Event) -> bool) -> Result<(), String> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_recv_body(Some(SILENCE))
            .max_idle_connections(0)
            .proxy(None)
            .build()
            .into();
        let mut request = agent.get(&self.url).header("accept", "text/event-stream");
        if let Some(id) = &self.last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.call().map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(format!("status {}", response.status()));
        }
        let reader = BufReader::new(response.into_body().into_reader());
        let (mut kind, mut data, mut id) = (String::new(), String::new(), None);
        for line in reader.lines() {
            let line = line.map_err(|error| error.to_string())?;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut kind),
                "data" => data.push_str(value),
                "id" => id = Some(value.to_owned()),
                "" if line.is_empty() => {
                    // an id counts when its event is whole
                    self.last_id = id.take().or(self.last_id.take());
                    let event = Event {
                        kind: std::mem::take(&mut kind),
                        data: serde_json::from_str(&data).unwrap_or(Value::Null),
                    };
                    data.clear();
                    if !hear(&event) {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        Err("the stream ended".to_owned())
    }
}
