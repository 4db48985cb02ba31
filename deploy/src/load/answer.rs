//! One request to the intake, and what its answer means for the events in it.

use std::io::ErrorKind;
use std::time::Duration;

use serde::Deserialize;
use tributary_shared::api_error::ErrorBody;
use tributary_shared::ids::{AgentId, Epoch, Seq, StreamName};
use ureq::Agent;

use crate::http;

/// The wait when a refusal does not say one.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The intake's answer to a request that it took.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Accepted {
    pub accepted: u64,
    pub agent: AgentId,
    pub stream: StreamName,
    pub epoch: Epoch,
    pub first_seq: Seq,
    pub last_seq: Seq,
}

/// What became of a request.
#[derive(Debug)]
pub enum Answer {
    Accepted(Accepted),
    /// The spool is full; nothing was taken.
    Full {
        retry_after: Duration,
    },
    /// Certainly nothing was taken, and a later try may succeed.
    NotTaken(String),
    /// The answer was lost: nobody here knows whether the request was taken, so that to repeat it may be wrong.
    Lost(String),
    /// The intake refuses the events themselves.
    Refused(String),
}

/// Posts NDJSON.
pub fn post(client: &Agent, url: &str, body: &[u8]) -> Answer {
    let mut response = match client.post(url).content_type("application/x-ndjson").send(body) {
        Ok(response) => response,
        Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return Answer::NotTaken(error.to_string());
        }
        Err(ureq::Error::ConnectionFailed) => return Answer::NotTaken("no connection".to_owned()),
        Err(error) => return Answer::Lost(error.to_string()),
    };
    let status = response.status().as_u16();
    let retry_after = retry_after(&response);
    if status == 200 {
        // half an answer does not say which events it is about
        return http::json(url, &mut response)
            .map_or_else(|error| Answer::Lost(error.to_string()), Answer::Accepted);
    }
    let reason = http::text(&mut response).map_or_else(|error| error.to_string(), |text| reason(&text));
    match status {
        429 => Answer::Full { retry_after },
        503 => Answer::NotTaken(reason),
        _ => Answer::Refused(format!("the intake answers {status}: {reason}")),
    }
}

fn retry_after<B>(response: &ureq::http::Response<B>) -> Duration {
    let seconds = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(DEFAULT_RETRY_AFTER, Duration::from_secs)
}

/// The message of an error body, or the whole text when it is none.
fn reason(text: &str) -> String {
    match serde_json::from_str::<ErrorBody>(text) {
        Ok(body) => format!("{} ({})", body.error.message, body.error.code),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with this status line (and headers) and body; with nothing, when both are empty.
    fn intake(head: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!(
            "http://{}/v1/streams/s/events",
            listener.local_addr().expect("address")
        );
        std::thread::spawn(move || {
            let (socket, _) = listener.accept().expect("accept");
            let mut reader = BufReader::new(socket);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).expect("header") > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("length");
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).expect("body");
            if !head.is_empty() {
                let length = body.len();
                write!(
                    reader.get_mut(),
                    "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}"
                )
                .expect("answer");
            }
        });
        url
    }

    #[test]
    fn an_answer_says_what_was_taken() {
        let body = r#"{"accepted":2,"agent":"a","stream":"s","epoch":7,"first_seq":11,"last_seq":12}"#;
        let answer = post(&http::client(), &intake("200 OK", body), b"{}\n{}\n");
        assert!(
            matches!(
                answer,
                Answer::Accepted(Accepted {
                    accepted: 2,
                    first_seq: 11,
                    ..
                })
            ),
            "{answer:?}"
        );
    }

    #[test]
    fn a_full_spool_says_when_to_come_back() {
        let full = intake("429 Too Many Requests\r\nretry-after: 3", "");
        let answer = post(&http::client(), &full, b"{}\n");
        assert!(
            matches!(answer, Answer::Full { retry_after } if retry_after == Duration::from_secs(3)),
            "{answer:?}"
        );
    }

    #[test]
    fn a_lost_answer_and_a_refused_event_are_told_apart() {
        let answer = post(&http::client(), &intake("", ""), b"{}\n");
        assert!(matches!(answer, Answer::Lost(_)), "{answer:?}");
        let half = post(&http::client(), &intake("200 OK", "{"), b"{}\n");
        assert!(matches!(half, Answer::Lost(_)), "{half:?}");
        let body = r#"{"error":{"code":"malformed","message":"line 1: no JSON"}}"#;
        let answer = post(&http::client(), &intake("400 Bad Request", body), b"{\n");
        assert!(
            matches!(&answer, Answer::Refused(why) if why.contains("line 1: no JSON (malformed)")),
            "{answer:?}"
        );
    }

    #[test]
    fn nobody_listening_is_certainly_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let url = format!("http://{}/", listener.local_addr().expect("address"));
        drop(listener);
        assert!(matches!(
            post(&http::client(), &url, b"{}\n"),
            Answer::NotTaken(_)
        ));
    }
}
