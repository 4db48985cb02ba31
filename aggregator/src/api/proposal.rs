//! A schema proposed from the events of a stream that the log still holds.

use actix_web::{HttpRequest, HttpResponse, web};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field};
use serde_json::{Map, Value, json};
use tributary_schema::infer::{MAX_EVENTS, Observer};
use tributary_shared::ids::StreamName;
use tributary_shared::wire::batch::{EXTRA_COLUMN, JSON_TEXT_METADATA};

use super::{ApiError, ApiState, query};
use crate::commit::{CommitError, LogReader};

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
        for row in 0..records.num_rows() {
            if observer.events() >= events as u64 {
                return Ok(observer);
            }
            observer.see(&event(&records, row));
        }
    }
    Ok(observer)
}

/// The event of a row, as near to what was sent as the columns tell.
fn event(records: &RecordBatch, row: usize) -> Value {
    let mut event = Map::new();
    let schema = records.schema_ref();
    for (field, column) in schema.fields().iter().zip(records.columns()) {
        if column.is_null(row) {
            continue;
        }
        if field.name() == EXTRA_COLUMN {
            if let Value::Object(extra) = value(field, column.as_ref(), row) {
                event.extend(extra);
            }
        } else if !field.name().starts_with(OWN_PREFIX) {
            event.insert(field.name().clone(), value(field, column.as_ref(), row));
        }
    }
    Value::Object(event)
}

fn value(field: &Field, column: &dyn Array, row: usize) -> Value {
    match column.data_type() {
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => json!(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => json!(column.as_boolean().value(row)),
        _ => {
            let text = array_value_to_string(column, row).unwrap_or_default();
            let is_json = field.name() == EXTRA_COLUMN || field.metadata().contains_key(JSON_TEXT_METADATA);
            let parsed = is_json.then(|| serde_json::from_str(&text).ok()).flatten();
            parsed.unwrap_or(Value::String(text))
        }
    }
}
