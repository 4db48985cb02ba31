//! The list of dead letters.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tributary_shared::ids::{LineageId, StreamName};
use tributary_shared::time::to_rfc3339;

use super::{ApiError, ApiState, query};
use crate::commit::{DeadLetterFilter, MAX_DEAD_LETTER_PAGE, StoredDeadLetter};

/// Rows of a list that names no limit.
const DEFAULT_LIMIT: u32 = 100;

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/dead-letters", web::get().to(list));
}

async fn list(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let filter = filter(query::pairs(&request)?)?;
    let letters = state.read(move |log| log.dead_letters(&filter)).await?;
    let letters: Vec<Value> = letters.iter().map(letter_json).collect();
    Ok(HttpResponse::Ok().json(json!({ "dead_letters": letters })))
}

fn filter(pairs: Vec<(String, String)>) -> Result<DeadLetterFilter, ApiError> {
    let mut filter = DeadLetterFilter {
        limit: DEFAULT_LIMIT,
        ..DeadLetterFilter::default()
    };
    for (name, value) in pairs {
        match name.as_str() {
            "stream" => {
                let stream = StreamName::new(&value);
                filter.stream =
                    Some(stream.map_err(|e| ApiError::bad_request("invalid_query", e.to_string()))?);
            }
            "reason" => filter.reason = Some(value),
            "limit" => {
                let limit = query::count("limit", &value, MAX_DEAD_LETTER_PAGE as usize)?;
                filter.limit = u32::try_from(limit).unwrap_or(DEFAULT_LIMIT);
            }
            "before" => {
                let id = value.parse().map_err(|_| {
                    ApiError::bad_request(
                        "invalid_query",
                        format!("before={value} is not the id of a dead letter"),
                    )
                })?;
                filter.before = Some(id);
            }
            _ => return Err(query::unknown(&name, "stream, reason, limit and before")),
        }
    }
    Ok(filter)
}

/// One dead letter. A payload that is not UTF-8 is shown with replacement characters, and says so.
pub(super) fn letter_json(letter: &StoredDeadLetter) -> Value {
    let text = String::from_utf8_lossy(&letter.payload);
    let mut shown = json!({
        "id": letter.id,
        "lineage_id": LineageId::new(letter.lane_no, letter.seq).to_string(),
        "stream": letter.stream,
        "agent": letter.agent,
        "seq": letter.seq,
        "at": to_rfc3339(letter.at),
        "schema": letter.schema,
        "reasons": letter.reasons,
        "payload": text,
    });
    if matches!(text, std::borrow::Cow::Owned(_)) {
        shown["payload_is_text"] = Value::Bool(false);
    }
    shown
}
