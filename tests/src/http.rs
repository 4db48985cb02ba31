//! A blocking client whose every answer is read whole, whatever its status.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

/// No answer of a healthy process takes longer.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: u64 = 64 << 20;

/// No connection is kept: each request's fate is its own, and none meets a connection of a process that was
/// killed meanwhile. No proxy: everything is on loopback.
static CLIENT: LazyLock<Agent> = LazyLock::new(|| {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .max_idle_connections(0)
        .proxy(None)
        .build()
        .into()
});

/// Status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    fn read(mut response: Response<Body>) -> Result<Self, ureq::Error> {
        let body = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_string()?;
        Ok(Self {
            status: response.status().as_u16(),
            body,
        })
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The JSON of a success.
    ///
    /// # Errors
    /// With what came instead.
    pub fn success(self) -> Result<Value, String> {
        match self.status {
            200..=299 => Ok(self.json()),
            status => Err(format!("status {status}: {}", self.body)),
        }
    }
}

/// # Errors
/// When no whole answer comes.
pub fn get(url: &str) -> Result<Answer, ureq::Error> {
    CLIENT.get(url).call().and_then(Answer::read)
}

/// The JSON of a successful answer.
///
/// # Errors
/// With what came instead.
pub fn get_json(url: &str) -> Result<Value, String> {
    get(url).map_err(|error| format!("{url}: {error}"))?.success()
}

/// # Errors
/// When no whole answer comes; whether the request was carried out is then not known.
pub fn post(url: &str, content_type: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
    let request = CLIENT.post(url).header("content-type", content_type);
    request.send(body).and_then(Answer::read)
}

/// [`post`] with one more header.
///
/// # Errors
/// As [`post`].
pub fn post_with(
    url: &str,
    content_type: &str,
    (name, value): (&str, &str),
    body: &[u8],
) -> Result<Answer, ureq::Error> {
    let request = CLIENT.post(url).header("content-type", content_type);
    request.header(name, value).send(body).and_then(Answer::read)
}

/// # Errors
/// When no whole answer comes.
pub fn put(url: &str, body: &Value) -> Result<Answer, ureq::Error> {
    let request = CLIENT.put(url).header("content-type", "application/json");
    request.send(body.to_string().as_bytes()).and_then(Answer::read)
}

/// # Errors
/// When no whole answer comes.
pub fn delete(url: &str) -> Result<Answer, ureq::Error> {
    CLIENT.delete(url).call().and_then(Answer::read)
}

/// Whether the request certainly did not reach anybody.
#[must_use]
pub fn never_arrived(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::ConnectionFailed => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}
