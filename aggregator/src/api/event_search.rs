//! `GET /events?stream=S&FIELD=VALUE`: events by the values of their fields.

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tributary_shared::ids::{LineageId, StreamName};
use tributary_shared::time::{Millis, to_rfc3339};

use super::query::{self, pairs, take};
use super::{ApiError, ApiState};
use crate::commit::{LogReader, TimeRange};
use crate::search::{EventSearch, FieldIs, FoundEvent, SearchPlace, search};
use crate::sql::Deadline;

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/events", web::get().to(events));
}

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;
/// Fields that one search compares.
const MAX_FIELDS: usize = 16;
/// How long one request looks: then it says how far it came.
const SEARCH_TIME: Duration = Duration::from_secs(3);
/// In front of a field whose name is one of the parameters.
const FIELD_PREFIX: &str = "field.";

async fn events(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let wanted = parse(pairs(&request)?)?;
    let (stream, range) = (wanted.stream.clone(), wanted.range);
    let Ok(place) = Arc::clone(&state.search_places).try_acquire_owned() else {
        let message = "other searches take all places; try again in a moment";
        return Err(ApiError::unavailable("busy", message));
    };
    let found = state
        .read(move |log| {
            // given back when the search ends, also when nobody waits for it any more
            let _place = place;
            if !is_known(log, &wanted.stream)? {
                return Ok(None);
            }
            let deadline = Deadline::after(SEARCH_TIME);
            search(log, &wanted, || deadline.is_over()).map(Some)
        })
        .await?;
    let Some(found) = found else {
        let message =
            format!("no event of a stream {stream} was ever committed; GET /api/v1/streams lists them");
        return Err(ApiError::not_found("unknown_stream", message));
    };
    Ok(HttpResponse::Ok().json(json!({
        "stream": stream,
        "from": bound(range.from),
        "to": bound(range.to),
        "events": found.events.iter().map(shown).collect::<Vec<_>>(),
        "scanned_entries": found.scanned_entries,
        "complete": found.next.is_none(),
        "next": found.next.map(SearchPlace::to_text),
    })))
}

fn is_known(log: &LogReader, stream: &StreamName) -> Result<bool, crate::commit::CommitError> {
    Ok(log.lanes()?.iter().any(|lane| lane.key.stream == *stream))
}

/// `null` where the range has no end.
fn bound(at: Millis) -> Option<String> {
    (at != Millis::MIN && at != Millis::MAX).then(|| to_rfc3339(at))
}

fn shown(event: &FoundEvent) -> Value {
    json!({
        "lineage_id": LineageId::new(event.lane, event.seq).to_string(),
        "agent": event.key.agent,
        "stream": event.key.stream,
        "epoch": event.key.epoch,
        "seq": event.seq,
        "event_time": to_rfc3339(event.event_time),
        "outcome": event.outcome.as_str(),
    })
}

fn parse(mut given: Vec<(String, String)>) -> Result<EventSearch, ApiError> {
    let stream = take(&mut given, "stream")?.ok_or_else(|| {
        let message = "name the stream: ?stream=S&FIELD=VALUE finds the events of S whose FIELD is VALUE; one event is at \
             /api/v1/events/ID";
        ApiError::bad_request("invalid_query", message).with("parameter", "stream")
    })?;
    let stream = StreamName::new(stream.as_str()).map_err(|error| {
        ApiError::bad_request("invalid_query", format!("stream={stream}: {error}"))
            .with("parameter", "stream")
    })?;
    let time = |name: &str, text: Option<String>, open: Millis| match text {
        Some(text) => query::time(name, &text),
        None => Ok(open),
    };
    let range = TimeRange {
        from: time("from", take(&mut given, "from")?, Millis::MIN)?,
        to: time("to", take(&mut given, "to")?, Millis::MAX)?,
    };
    if range.from >= range.to {
        let message = "from lies at or behind to: no time is in between";
        return Err(ApiError::bad_request("invalid_query", message).with("parameter", "from"));
    }
    let limit = match take(&mut given, "limit")? {
        Some(text) => query::count("limit", &text, MAX_LIMIT)?,
        None => DEFAULT_LIMIT,
    };
    let place = match take(&mut given, "next")? {
        Some(text) => SearchPlace::parse(&text).ok_or_else(|| {
            let message = format!("next={text} is not what a search answered as its `next`");
            ApiError::bad_request("invalid_query", message).with("parameter", "next")
        })?,
        None => SearchPlace::START,
    };
    if given.is_empty() || given.len() > MAX_FIELDS {
        let message = format!(
            "{} fields to compare; give 1 to {MAX_FIELDS} as FIELD=VALUE (a.b for field b of object a, {FIELD_PREFIX}from \
             for a field that is called from)",
            given.len()
        );
        return Err(ApiError::bad_request("invalid_query", message));
    }
    let field = |(name, value): (String, String)| FieldIs {
        field: name
            .strip_prefix(FIELD_PREFIX)
            .map_or(name.clone(), str::to_owned),
        value,
    };
    Ok(EventSearch {
        stream,
        fields: given.into_iter().map(field).collect(),
        range,
        limit,
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &[(&str, &str)]) -> Result<EventSearch, ApiError> {
        parse(
            query
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_search_is_read_and_mistakes_are_named() {
        let search = read(&[
            ("stream", "s"),
            ("order", "7"),
            ("field.from", "x"),
            ("limit", "5"),
        ])
        .expect("good");
        let fields: Vec<(&str, &str)> = search
            .fields
            .iter()
            .map(|is| (is.field.as_str(), is.value.as_str()))
            .collect();
        assert_eq!((fields, search.limit), (vec![("order", "7"), ("from", "x")], 5));
        assert_eq!(search.place, SearchPlace::START);
        for wrong in [
            &[("order", "7")][..],
            &[("stream", "s")],
            &[("stream", "a b"), ("x", "1")],
            &[("stream", "s"), ("x", "1"), ("limit", "0")],
            &[("stream", "s"), ("x", "1"), ("next", "e")],
            &[
                ("stream", "s"),
                ("x", "1"),
                ("from", "2026-01-02T00:00:00Z"),
                ("to", "2026-01-01T00:00:00Z"),
            ],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
