//! Dead letters: listed, shown, counted, replayed, discarded.

mod orders;
mod shown;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tributary_shared::ids::{AgentId, StreamName};

use super::{ApiError, ApiState, query};
use crate::commit::{DeadLetterFilter, LetterState, LogReader, MAX_DEAD_LETTER_PAGE};
use crate::replay::{FixError, ReplayError};

pub(super) use shown::{fix_json, letter_json};

/// Rows of a list that names no limit.
const DEFAULT_LIMIT: u32 = 100;

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/dead-letters", web::get().to(list))
        .route("/dead-letters/counts", web::get().to(counts))
        .route("/dead-letters/replay", web::post().to(replay))
        .route("/dead-letters/discard", web::post().to(discard))
        .route("/dead-letters/{id}", web::get().to(show));
}

async fn list(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let filter = filter(query::pairs(&request)?)?;
    let letters = state.read(move |log| log.dead_letters(&filter)).await?;
    let next = letters.last().map(|letter| letter.id);
    let letters: Vec<Value> = letters.iter().map(letter_json).collect();
    Ok(HttpResponse::Ok().json(json!({ "dead_letters": letters, "before": next })))
}

fn filter(pairs: Vec<(String, String)>) -> Result<DeadLetterFilter, ApiError> {
    let mut filter = DeadLetterFilter {
        limit: DEFAULT_LIMIT,
        ..DeadLetterFilter::default()
    };
    let invalid = |message: String| ApiError::bad_request("invalid_query", message);
    for (name, value) in pairs {
        match name.as_str() {
            "stream" => filter.stream = Some(StreamName::new(&value).map_err(|e| invalid(e.to_string()))?),
            "agent" => filter.agent = Some(AgentId::new(&value).map_err(|e| invalid(e.to_string()))?),
            "reason" => filter.reason = Some(value),
            "schema" => {
                let version = value.parse().map_err(|_| {
                    invalid(format!("schema={value} is not the number of a schema's version"))
                })?;
                filter.schema = Some(version);
            }
            "from" => filter.from = Some(query::time("from", &value)?),
            "to" => filter.to = Some(query::time("to", &value)?),
            "state" => filter.state = Some(parse_state(&value)?),
            "limit" => {
                let limit = query::count("limit", &value, MAX_DEAD_LETTER_PAGE as usize)?;
                filter.limit = u32::try_from(limit).unwrap_or(DEFAULT_LIMIT);
            }
            "before" => {
                let id = value
                    .parse()
                    .map_err(|_| invalid(format!("before={value} is not the id of a dead letter")))?;
                filter.before = Some(id);
            }
            _ => {
                let known = "stream, reason, agent, schema, from, to, state, limit and before";
                return Err(query::unknown(&name, known));
            }
        }
    }
    Ok(filter)
}

fn parse_state(text: &str) -> Result<LetterState, ApiError> {
    LetterState::parse(text).ok_or_else(|| {
        let message = format!("{text:?} is not a state; use open, replayed or discarded");
        ApiError::bad_request("invalid_query", message).with("parameter", "state")
    })
}

async fn show(state: web::Data<ApiState>, id: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let unknown = || {
        let message = format!("there is no dead letter {id}; GET /api/v1/dead-letters lists what there is");
        ApiError::not_found("unknown_dead_letter", message)
    };
    let number: i64 = id.parse().map_err(|_| unknown())?;
    let found = state.read(move |log| log.dead_letter(number)).await?;
    let letter = found.ok_or_else(unknown)?;
    Ok(HttpResponse::Ok().json(shown::record_json(&letter)))
}

async fn counts(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let counts = state.read(LogReader::dead_letter_counts).await?;
    Ok(HttpResponse::Ok().json(shown::counts_json(&counts)))
}

async fn replay(
    state: web::Data<ApiState>,
    request: HttpRequest,
    body: web::Json<orders::ReplayBody>,
) -> Result<HttpResponse, ApiError> {
    let order = body.into_inner().order(orders::asker(&request))?;
    match state.replayer.replay(order).await {
        Ok(report) => Ok(HttpResponse::Ok().json(report)),
        Err((error, report)) => Err(ApiError::from(error).with("done_before", json!(report))),
    }
}

async fn discard(
    state: web::Data<ApiState>,
    request: HttpRequest,
    body: web::Json<orders::DiscardBody>,
) -> Result<HttpResponse, ApiError> {
    let order = body.into_inner().order(orders::asker(&request))?;
    match state.replayer.discard(order).await {
        Ok(report) => Ok(HttpResponse::Ok().json(report)),
        Err((error, report)) => Err(ApiError::from(error).with("done_before", json!(report))),
    }
}

impl From<FixError> for ApiError {
    fn from(error: FixError) -> Self {
        let code = match error {
            FixError::TooSlow { .. } => "fix_too_slow",
            _ => "invalid_fix",
        };
        Self::bad_request(code, error.to_string())
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        let text = error.to_string();
        let internal = |code| Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, text.clone());
        match error {
            ReplayError::Fix(error) => error.into(),
            ReplayError::Log(error) => error.into(),
            ReplayError::UnknownVersion { .. } => Self::not_found("unknown_version", text),
            ReplayError::SeveralStreams { .. } => Self::bad_request("several_streams", text),
            ReplayError::Schema { .. } => Self::bad_request("unusable_schema", text),
            ReplayError::Stopping => Self::unavailable("stopping", text),
            ReplayError::NotAccepted { .. } => Self::bad_request("version_not_accepted", text),
            ReplayError::Registry(error) => error.into(),
            ReplayError::Columns(_) => internal("columns"),
        }
    }
}
