//! Every way in which the intake says no: status, code, message and what else helps. Pure.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use tributary_shared::api_error::ErrorBody;
use tributary_shared::config::format_size;
use tributary_shared::ids::InvalidId;

use super::payload::PayloadError;
use crate::spool::SpoolError;

/// When the intake is out of memory or time for a body, another second may help.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Why a request is not carried out. Nothing of it was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is nothing here: events go to POST /v1/streams/STREAM/events")]
    NotFound,
    #[error("use {allow} here")]
    Method { allow: &'static str },
    #[error(transparent)]
    Stream(#[from] InvalidId),
    #[error(
        "Content-Type is {found}: say application/x-ndjson (one object a line), application/json (an object, or an \
         array of objects), application/octet-stream (one event in a serializer's wire format) or \
         application/x-tributary-rows (several, each behind its length)"
    )]
    MediaType { found: String },
    #[error("Content-Encoding {found} is not understood: send the body as it is")]
    Encoding { found: String },
    #[error("the request is larger than {}: send several", format_size(*limit as u64))]
    TooLarge { limit: usize },
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error("the body did not arrive in time")]
    Timeout,
    #[error("the body ended early: {reason}")]
    Broken { reason: String },
    #[error("too many large requests at once: send this one again later")]
    Busy,
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Refusal {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::NotFound => (S::NOT_FOUND, "not_found"),
            Self::Method { .. } => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Stream(_) => (S::BAD_REQUEST, "invalid_stream"),
            Self::MediaType { .. } | Self::Encoding { .. } => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::TooLarge { .. } | Self::Payload(PayloadError::EventTooLarge { .. }) => {
                (S::PAYLOAD_TOO_LARGE, "too_large")
            }
            Self::Payload(PayloadError::Malformed { .. }) => (S::BAD_REQUEST, "malformed"),
            Self::Payload(PayloadError::Invalid { .. }) => (S::UNPROCESSABLE_ENTITY, "invalid_event"),
            Self::Payload(PayloadError::Empty) => (S::BAD_REQUEST, "empty"),
            Self::Timeout => (S::REQUEST_TIMEOUT, "timeout"),
            Self::Broken { .. } => (S::BAD_REQUEST, "incomplete"),
            Self::Busy => (S::SERVICE_UNAVAILABLE, "busy"),
            Self::Spool(error) => spool_status(error),
        }
    }

    /// The word that counts this refusal and names it to programs.
    pub(super) fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Spool(SpoolError::Full { retry_after }) => Some(*retry_after),
            Self::Busy | Self::Spool(SpoolError::Unavailable(_) | SpoolError::Closed) => Some(BUSY_RETRY),
            _ => None,
        }
    }

    /// Is there a body on the wire that nobody will read?
    fn leaves_body(&self) -> bool {
        !matches!(self, Self::Spool(_) | Self::Payload(PayloadError::Empty))
    }

    fn body(&self) -> ErrorBody {
        let body = ErrorBody::new(self.code(), format!("{self}"));
        match self {
            Self::TooLarge { limit } => body.with("limit", *limit as u64),
            Self::Payload(PayloadError::EventTooLarge { place, limit }) => {
                with_place(body, place.line, place.index).with("limit", *limit as u64)
            }
            Self::Payload(PayloadError::Invalid { place, reason }) => {
                with_place(body, place.line, place.index)
                    .with("path", reason.path.as_str())
                    .with("rule", reason.rule.as_str())
            }
            Self::Payload(PayloadError::Malformed { place, .. }) => with_place(body, place.line, place.index),
            _ => body,
        }
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body().to_json())));
        *response.status_mut() = self.status_and_code().0;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = self.retry_after() {
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64),
            );
        }
        if let Self::Method { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.leaves_body() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn spool_status(error: &SpoolError) -> (StatusCode, &'static str) {
    match error {
        SpoolError::Full { .. } => (StatusCode::TOO_MANY_REQUESTS, "spool_full"),
        SpoolError::Unavailable(_) | SpoolError::Closed => {
            (StatusCode::SERVICE_UNAVAILABLE, "spool_unavailable")
        }
        SpoolError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        SpoolError::TooManyStreams { .. } => (StatusCode::BAD_REQUEST, "too_many_streams"),
        SpoolError::Invalid(_) | SpoolError::UnknownLane | SpoolError::MarkAhead { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}

fn with_place(body: ErrorBody, line: u64, index: Option<u64>) -> ErrorBody {
    let body = if line > 0 { body.with("line", line) } else { body };
    match index {
        Some(index) => body.with("index", index),
        None => body,
    }
}
