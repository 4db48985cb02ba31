//! From a window back to the events that built it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::{ApiError, ApiState, query};
use crate::window::{Cursor, ExplainError, ExplainQuery, Limits, explain};

/// Log entries of one page when the request names no limit, and the most that it may ask for.
const DEFAULT_LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 10_000;
/// How long one page is looked for in the log; then it ends where it is.
const MAX_TIME: Duration = Duration::from_secs(5);
/// How long a request waits for one of the places.
const WAIT: Duration = Duration::from_secs(10);

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/views/{name}/explain", web::get().to(window));
}

async fn window(
    state: web::Data<ApiState>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let mut pairs = query::pairs(&request)?;
    let window_start = match query::take(&mut pairs, "window_start")? {
        Some(text) => Some(query::time("window_start", &text)?),
        None => None,
    };
    let overflow = match query::take(&mut pairs, "overflow")? {
        Some(text) => Some(query::flag("overflow", Some(&text))?),
        None => None,
    };
    let limit = match query::take(&mut pairs, "limit")? {
        Some(text) => query::count("limit", &text, MAX_LIMIT)?,
        None => DEFAULT_LIMIT,
    };
    let next = match query::take(&mut pairs, "next")? {
        Some(text) => Some(cursor(&text)?),
        None => None,
    };
    let asked = ExplainQuery {
        window_start,
        filters: pairs,
        overflow,
    };
    let limits = Limits {
        ranges: limit,
        time: MAX_TIME,
    };
    let busy = || {
        ApiError::unavailable(
            "busy",
            "other explanations take all places; try again in a moment",
        )
    };
    let place = tokio::time::timeout(WAIT, Arc::clone(&state.explain_places).acquire_owned());
    let place = place.await.map_err(|_| busy())?.map_err(|_| busy())?;
    let (engine, log, view) = (state.engine.clone(), state.log.clone(), name.into_inner());
    let found = web::block(move || {
        // held for as long as the log is read, even when nobody waits for the answer any more
        let _place = place;
        explain(&engine, &log, &view, asked, next, limits)
    });
    Ok(HttpResponse::Ok().json(found.await??))
}

fn cursor(text: &str) -> Result<Cursor, ApiError> {
    Cursor::parse(text).ok_or_else(|| {
        let message = format!("next={text} was given by no page; take it from an answer, or leave it out");
        ApiError::bad_request("invalid_query", message).with("parameter", "next")
    })
}

impl From<ExplainError> for ApiError {
    fn from(error: ExplainError) -> Self {
        let text = error.to_string();
        match error {
            ExplainError::Query(error) => error.into(),
            ExplainError::Stopped(error) => error.into(),
            ExplainError::Log(error) => error.into(),
            ExplainError::Start { .. } => {
                Self::bad_request("invalid_query", text).with("parameter", "window_start")
            }
            ExplainError::NotAKey { .. } => Self::bad_request("invalid_filter", text),
            ExplainError::NoRow { .. } => Self::not_found("unknown_window", text),
            ExplainError::Expired { .. } => Self::new(StatusCode::GONE, "window_expired", text),
            ExplainError::TooManyRows { limit } => {
                Self::bad_request("too_many_rows", text).with("limit", limit)
            }
            ExplainError::Changed(_) => Self::conflict("window_changed", text),
        }
    }
}
