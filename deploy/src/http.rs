//! The HTTP client of `load` and `bench`: blocking, with every answer's body bounded.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::Body;
use ureq::http::Response;

/// No answer of a mesh takes longer; a request that does has met a process that hangs.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read: the windows of a bench, with room.
const MAX_ANSWER: u64 = 256 << 20;

/// A client that reports every status as an answer, so that the caller sees the error's body.
#[must_use]
pub fn client() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(TIMEOUT))
        .build()
        .into()
}

/// A client for an answer that never ends.
#[must_use]
pub fn streaming_client() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(TIMEOUT))
        .build()
        .into()
}

/// The answer's text, whatever its status.
///
/// # Errors
/// When it cannot be read or is too large.
pub fn text(response: &mut Response<Body>) -> anyhow::Result<String> {
    Ok(response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_string()?)
}

/// The JSON of a successful answer.
///
/// # Errors
/// With the answer's own error text, when it is none.
pub fn json<T: DeserializeOwned>(what: &str, response: &mut Response<Body>) -> anyhow::Result<T> {
    let text = text(response)?;
    let status = response.status();
    anyhow::ensure!(status.is_success(), "{what}: the answer is {status}: {text}");
    serde_json::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{what}: unexpected answer ({error}): {text}"))
}
