//! Administrative requests, recorded in the audit: a leaf before the act is done, and another when it was not.
//!
//! The leaf comes first, so that no crash lies between an act and its record. What the commit thread writes itself
//! (replays, discards) it records itself.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpMessage as _, web};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tributary_audit::Kind;

use super::ApiState;
use crate::audit::Act;
use crate::commit::CommitError;

/// Bodies up to this size are in the leaf word by word: a view's SQL, a setting. Of larger ones there is a digest.
const MAX_SHOWN: usize = 4 << 10;

/// What kind of act a request is; `None` when it changes nothing, or is recorded where it is done.
fn kind_of(method: &Method, path: &str) -> Option<Kind> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let parts: Vec<&str> = path
        .trim_start_matches("/api/v1")
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    let asks_only = *method == Method::POST;
    match parts[..] {
        ["views", ..] if !asks_only => Some(Kind::View),
        ["schemas", ..] => Some(Kind::Schema),
        ["subjects", _, "versions"] => Some(Kind::Schema),
        // a POST looks a schema up
        ["subjects", ..] if !asks_only => Some(Kind::Schema),
        ["config" | "mode", ..] => Some(Kind::Setting),
        _ => None,
    }
}

/// Answers of the port that a request came in by when its act cannot be recorded.
pub type Refuse = fn(CommitError) -> Error;

/// Records the request if it is an act, and lets it through. `max_body` is what the port's handlers take at most.
///
/// # Errors
/// When the act cannot be recorded: then it is not done.
pub async fn record(
    (state, max_body, refuse): (&ApiState, usize, Refuse),
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(kind) = kind_of(request.method(), request.path()) else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let body = read_body(&mut request, max_body).await?;
    let act = Act::new(kind, shown(&request, &body));
    let leaf = state.commit.record(act).await.map_err(refuse)?;
    request.set_payload(Payload::from(body));
    let done = next.call(request).await;
    let status = match &done {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    if status.is_client_error() || status.is_server_error() {
        let failed = Act::new(Kind::Failed, json!({ "leaf": leaf, "status": status.as_u16() }));
        if let Err(error) = state.commit.record(failed).await {
            tracing::warn!(leaf, %status, %error, "the audit says that an act was asked for, and not that it was refused");
        }
    }
    done.map(ServiceResponse::map_into_boxed_body)
}

/// The body, up to a little more than any handler takes: what is too large is refused there.
async fn read_body(request: &mut ServiceRequest, max_body: usize) -> Result<Bytes, Error> {
    let mut payload = request.take_payload();
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > max_body {
            break;
        }
    }
    Ok(body.freeze())
}

fn shown(request: &ServiceRequest, body: &Bytes) -> Value {
    let from = request.peer_addr().map(|peer| peer.ip().to_string());
    let mut detail = json!({ "method": request.method().as_str(), "path": request.path(), "from": from });
    if !request.query_string().is_empty() {
        detail["query"] = json!(request.query_string());
    }
    match std::str::from_utf8(body) {
        Ok("") => {}
        Ok(text) if text.len() <= MAX_SHOWN => detail["body"] = json!(text),
        _ => {
            detail["body_bytes"] = json!(body.len());
            detail["body_sha256"] = json!(STANDARD.encode(digest(&SHA256, body)));
        }
    }
    detail
}

/// The main port's part of [`record`].
///
/// # Errors
/// As [`record`].
pub async fn recorded(
    state: web::Data<ApiState>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let refuse: Refuse = |error| super::ApiError::from(error).into();
    record((&state, super::MAX_BODY, refuse), request, next).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_changes_something_is_an_act() {
        let kind =
            |method: &str, path: &str| kind_of(&Method::from_bytes(method.as_bytes()).expect("one"), path);
        for (method, path, expected) in [
            ("PUT", "/api/v1/views/minutes", Some(Kind::View)),
            ("DELETE", "/api/v1/views/minutes", Some(Kind::View)),
            ("GET", "/api/v1/views/minutes", None),
            ("PATCH", "/api/v1/schemas/s-value/governance", Some(Kind::Schema)),
            (
                "POST",
                "/api/v1/schemas/s-value/versions/2/approve",
                Some(Kind::Schema),
            ),
            ("POST", "/subjects/s-value/versions", Some(Kind::Schema)),
            ("POST", "/subjects/s-value", None),
            ("DELETE", "/subjects/s-value", Some(Kind::Schema)),
            ("DELETE", "/subjects/s-value/versions/1", Some(Kind::Schema)),
            ("POST", "/compatibility/subjects/s-value/versions/latest", None),
            ("PUT", "/config", Some(Kind::Setting)),
            ("DELETE", "/config/s-value", Some(Kind::Setting)),
            ("PUT", "/mode", Some(Kind::Setting)),
            ("POST", "/api/v1/sql", None),
            ("POST", "/api/v1/dead-letters/replay", None),
        ] {
            assert_eq!(kind(method, path), expected, "{method} {path}");
        }
    }
}
