//! A schema proposed from the events of a stream that the log still holds.

use actix_web::{HttpRequest, HttpResponse, web};
use arrow_schema::{Field, Schema};
use serde_json::{Map, Value, json};
use tributary_schema::infer::{MAX_EVENTS, Observer};
use tributary_shared::ids::StreamName;
use tributary_shared::wire::batch::{EXTRA_COLUMN, JSON_TEXT_METADATA};

use super::{ApiError, ApiState, query};
use crate::commit::{CommitError, LogReader};
use crate::view::{Scalar, Vector};

/// Events that are looked at unless told otherwise.
const DEFAULT_EVENTS: usize = 10_000;
/// Log entries, and bytes of their columns, that one proposal reads; the newest.
const MAX_ENTRIES: u32 = 2_000;
const MAX_BYTES: usize = 64 << 20;
/// What columns that Tributary adds begin with.
const OWN_PREFIX: char = '_';

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/streams/{stream}/proposed-schema", web::get().to(proposed));
}

async fn proposed(
    state: web::Data<ApiState>,
    stream: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (mut events, mut ranges) = (DEFAULT_EVENTS, false);
    let most = usize::try_from(MAX_EVENTS).unwrap_or(usize::MAX);
    for (name, value) in query::pairs(&request)? {
        match (name.as_str(), value.as_str()) {
            ("events", _) => events = query::count(&name, &value, most)?,
            ("ranges", "true") => ranges = true,
            ("ranges", "false") => ranges = false,
            ("ranges", _) => {
                let message = format!("ranges={value} is neither true nor false");
                return Err(ApiError::bad_request("invalid_query", message).with("parameter", name));
            }
            _ => return Err(query::unknown(&name, "events and ranges")),
        }
    }
    let name = StreamName::new(stream.as_str())
        .map_err(|error| ApiError::bad_request("invalid_stream", error.to_string()))?;
    let observer = state.read(move |log| observe(log, &name, events)).await?;
    let schema = observer.propose(&stream, ranges).ok_or_else(|| {
        let message = format!("the log holds no event of stream {stream}; post some, or look at its name");
        ApiError::not_found("unknown_stream", message)
    })?;
    Ok(HttpResponse::Ok().json(json!({
        "stream": *stream,
        "events": observer.events(),
        "schema": schema,
    })))
}

fn observe(log: &LogReader, stream: &StreamName, events: usize) -> Result<Observer, CommitError> {
    let mut observer = Observer::default();
    for pos in log.newest_of(stream, MAX_ENTRIES, MAX_BYTES)? {
        let Some(entry) = log.entry(pos)? else { continue };
        let Some(records) = entry.decode()?.records else {
            continue;
        };
        let columns: Vec<Vector> = records.columns().iter().map(Vector::of).collect();
        for row in 0..records.num_rows() {
            if observer.events() >= events as u64 {
                return Ok(observer);
            }
            observer.see(&event(records.schema_ref(), &columns, row));
        }
    }
    Ok(observer)
}

/// The event of a row, as near to what was sent as the columns tell.
fn event(schema: &Schema, columns: &[Vector], row: usize) -> Value {
    let mut event = Map::new();
    for (field, column) in schema.fields().iter().zip(columns) {
        let scalar = column.scalar(row);
        if scalar == Scalar::Null {
            continue;
        }
        if field.name() == EXTRA_COLUMN {
            if let Value::Object(extra) = value(field, &scalar) {
                event.extend(extra);
            }
        } else if !field.name().starts_with(OWN_PREFIX) {
            event.insert(field.name().clone(), value(field, &scalar));
        }
    }
    Value::Object(event)
}

fn value(field: &Field, scalar: &Scalar) -> Value {
    let is_json = field.name() == EXTRA_COLUMN || field.metadata().contains_key(JSON_TEXT_METADATA);
    let parsed = match scalar {
        Scalar::Text(text) if is_json => serde_json::from_str(text).ok(),
        _ => None,
    };
    // a scalar is always a JSON value
    parsed.unwrap_or_else(|| serde_json::to_value(scalar).unwrap_or_default())
}
