//! Query strings: `NAME=VALUE` pairs, checked one by one, so that a typing mistake is told and not ignored.

use actix_web::HttpRequest;
use actix_web::web::Query;
use tributary_shared::time::{Millis, parse_rfc3339};

use super::ApiError;

/// The decoded pairs of a request's query string, in order.
pub fn pairs(request: &HttpRequest) -> Result<Vec<(String, String)>, ApiError> {
    Query::<Vec<(String, String)>>::from_query(request.query_string())
        .map(Query::into_inner)
        .map_err(|error| {
            ApiError::bad_request(
                "invalid_query",
                format!("the query string cannot be read: {error}"),
            )
        })
}

/// Takes out a parameter that may be given once.
pub fn take(pairs: &mut Vec<(String, String)>, name: &str) -> Result<Option<String>, ApiError> {
    let mut found = pairs.extract_if(.., |(given, _)| given == name);
    let value = found.next().map(|(_, value)| value);
    match found.next() {
        None => Ok(value),
        Some(_) => {
            let message = format!("{name} is given more than once");
            Err(ApiError::bad_request("invalid_query", message).with("parameter", name))
        }
    }
}

/// `true` or `false`; false when it is not given.
pub fn flag(name: &str, text: Option<&str>) -> Result<bool, ApiError> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(text) => {
            let message = format!("{name}={text} is neither true nor false");
            Err(ApiError::bad_request("invalid_query", message).with("parameter", name))
        }
    }
}

/// A whole number of 1 to `max`.
pub fn count(name: &str, text: &str, max: usize) -> Result<usize, ApiError> {
    text.parse()
        .ok()
        .filter(|n| (1..=max).contains(n))
        .ok_or_else(|| {
            let message = format!("{name}={text} is not a number from 1 to {max}");
            ApiError::bad_request("invalid_query", message).with("parameter", name)
        })
}

/// RFC 3339 text, or Unix milliseconds.
pub fn time(name: &str, text: &str) -> Result<Millis, ApiError> {
    // in a query string a plus that nobody escaped arrives as a space: "…T12:00:00 01:00"
    let time = parse_rfc3339(text).or_else(|| parse_rfc3339(&text.replace(' ', "+")));
    time.or_else(|| text.parse().ok()).ok_or_else(|| {
        let message = format!(
            "{name}={text} is not a time; write RFC 3339 (2026-01-31T12:00:00Z) or Unix milliseconds"
        );
        ApiError::bad_request("invalid_query", message).with("parameter", name)
    })
}

/// The error for a name that the call does not know.
pub fn unknown(name: &str, known: &str) -> ApiError {
    let message = format!("there is no parameter {name:?} here; there are {known}");
    ApiError::bad_request("invalid_query", message).with("parameter", name)
}
