//! The path of one event, hop by hop, with the windows that it changed.

use actix_web::{HttpResponse, web};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use serde_json::{Value, json};
use tributary_shared::ids::{AgentId, Epoch, LaneKey, LaneNo, LineageId, Seq, StreamName};
use tributary_shared::time::to_rfc3339;
use tributary_shared::wire::batch::SCHEMA_ID_COLUMN;
use tributary_shared::wire::{CommitHeader, SchemaRef, SegmentOrigin};

use super::dead_letters::letter_json;
use super::{ApiError, ApiState};
use crate::commit::{CommitError, Committed, ExpiredVerdict, Fate, Hop, LaneRow, LogReader};

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/events/{id:.+}", web::get().to(event));
}

/// How an event is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum EventName {
    Id(LineageId),
    Words(LaneKey, Seq),
}

fn parse(text: &str) -> Result<EventName, ApiError> {
    let wrong = |why: String| {
        let message = format!("{why}; name an event by its lineage id, or as agent/stream/epoch/seq");
        ApiError::bad_request("invalid_event", message)
    };
    let parts: Vec<&str> = text.split('/').collect();
    match parts[..] {
        [id] => {
            let lineage = text.parse().ok().and_then(LineageId::from_uuid);
            lineage
                .map(EventName::Id)
                .ok_or_else(|| wrong(format!("{id:?} is not a lineage id")))
        }
        [agent, stream, epoch, seq] => {
            let number = |what, text: &str| {
                text.parse()
                    .map_err(|_| wrong(format!("{what} {text:?} is no number")))
            };
            let key = LaneKey {
                agent: AgentId::new(agent).map_err(|e| wrong(e.to_string()))?,
                stream: StreamName::new(stream).map_err(|e| wrong(e.to_string()))?,
                epoch: Epoch(number("epoch", epoch)?),
            };
            Ok(EventName::Words(key, number("seq", seq)?))
        }
        _ => Err(wrong(format!("{text:?} does not name an event"))),
    }
}

/// What the log knows of an event; for a valid one with its entry, decoded.
struct Found {
    lane: LaneRow,
    seq: Seq,
    fate: Fate,
    entry: Option<Committed>,
}

fn find(log: &LogReader, name: EventName) -> Result<Option<Found>, CommitError> {
    let (lane, seq) = match name {
        EventName::Id(id) => (log.lane(id.lane)?, id.seq),
        EventName::Words(key, seq) => (log.lane_by_key(&key)?, seq),
    };
    let Some(lane) = lane else { return Ok(None) };
    let fate = log.find(lane.lane_no, seq)?;
    let entry = match &fate {
        Fate::Valid { hop, .. } => log
            .entry(hop.pos)?
            .map(crate::commit::LogEntry::decode)
            .transpose()?,
        _ => None,
    };
    Ok(Some(Found {
        lane,
        seq,
        fate,
        entry,
    }))
}

async fn event(state: web::Data<ApiState>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let wanted = parse(&name)?;
    let found = state.read(move |log| find(log, wanted)).await?;
    let Some(Found {
        lane,
        seq,
        fate,
        entry,
    }) = found.filter(|found| found.seq > 0)
    else {
        let message = format!("no event {name} is known: its lane was never opened, or the seq is 0");
        return Err(ApiError::not_found("unknown_event", message));
    };
    let mut path = json!({
        "lineage_id": LineageId::new(lane.lane_no, seq).to_string(),
        "agent": lane.key.agent,
        "stream": lane.key.stream,
        "epoch": lane.key.epoch,
        "seq": seq,
        "lane": lane.lane_no,
    });
    match fate {
        Fate::Valid { hop, row } => {
            path["outcome"] = json!("valid");
            path["schema"] = json!(written_with(&hop.header, entry.as_ref(), row));
            committed(&mut path, &hop, seq);
            apply(&state, &mut path, hop, entry.as_ref(), row).await?;
        }
        Fate::Dead { hop, letter } => {
            path["outcome"] = json!("dead_letter");
            committed(&mut path, &hop, seq);
            path["dead_letter"] = letter_json(&letter);
        }
        Fate::Dropped { hop, reason, range } => {
            path["outcome"] = json!("dropped");
            committed(&mut path, &hop, seq);
            path["dropped"] = json!({ "from": range.first, "to": range.last, "reason": reason });
        }
        Fate::Expired { floor_seq, verdict } => expired(&mut path, floor_seq, verdict),
        Fate::NotCommitted { mark } => not_committed(&mut path, mark),
        Fate::UnknownLane => return Err(unknown_lane(lane.lane_no)),
    }
    Ok(HttpResponse::Ok().json(path))
}

fn unknown_lane(lane: LaneNo) -> ApiError {
    ApiError::not_found("unknown_event", format!("lane {lane} is not known"))
}

/// Retention has deleted the entry, and with it the hops.
fn expired(path: &mut Value, floor_seq: Seq, verdict: ExpiredVerdict) {
    let outcome = match verdict {
        ExpiredVerdict::Dropped { reason, range } => {
            path["dropped"] = json!({ "from": range.first, "to": range.last, "reason": reason });
            "dropped"
        }
        ExpiredVerdict::Dead(letter) => {
            path["dead_letter"] = letter_json(&letter);
            "dead_letter"
        }
        ExpiredVerdict::Counted => "expired",
    };
    path["outcome"] = json!(outcome);
    path["message"] = json!(format!(
        "the event was committed and is counted; retention has deleted the lane's log up to seq {floor_seq}, and with \
         it the event's hops"
    ));
    path["hops"] = json!([]);
}

fn not_committed(path: &mut Value, mark: Seq) {
    path["outcome"] = json!("not_committed");
    path["mark"] = json!(mark);
    path["message"] = json!(format!(
        "the lane is committed up to {mark}: the event is still held by its agent, or was never produced"
    ));
    path["hops"] = json!([]);
}

/// The hops that every committed event has behind it.
fn committed(path: &mut Value, hop: &Hop, seq: Seq) {
    let header = &hop.header;
    let mut hops = Vec::new();
    if let Some(segment) = segment_of(header, seq) {
        let origin = &segment.origin;
        hops.push(json!({ "hop": "collected", "at": to_rfc3339(segment.collected_at), "origin": origin }));
        hops.push(json!({ "hop": "spooled", "at": to_rfc3339(segment.spooled_at) }));
    }
    hops.push(json!({ "hop": "sent", "at": to_rfc3339(header.sent_at) }));
    hops.push(json!({ "hop": "received", "at": to_rfc3339(header.received_at), "gateway": header.gateway }));
    hops.push(json!({
        "hop": "admitted",
        "at": to_rfc3339(header.admitted_at),
        "gateway": header.gateway,
        "schema": header.schema,
        "valid": header.valid(),
        "dead": header.dead_seqs.len(),
    }));
    let range = header.range();
    hops.push(json!({
        "hop": "committed",
        "at": to_rfc3339(hop.committed_at),
        "position": hop.pos,
        "from": range.first,
        "to": range.last,
    }));
    path["hops"] = Value::Array(hops);
    path["trace_id"] = json!(header.traceparent.as_deref().and_then(trace_id));
}

/// The schema that wrote a valid row: the row's own where the batch's differ, else the batch's only one.
fn written_with(header: &CommitHeader, entry: Option<&Committed>, row: usize) -> Option<SchemaRef> {
    let ids = entry
        .and_then(|entry| entry.records.as_ref())
        .and_then(|records| records.column_by_name(SCHEMA_ID_COLUMN))
        .and_then(|ids| ids.as_primitive_opt::<Int32Type>());
    let mut used = header.usage.iter().map(|used| used.schema);
    match ids {
        Some(ids) => {
            let id = u32::try_from(ids.is_valid(row).then(|| ids.value(row))?).ok()?;
            used.find(|schema| schema.id == id)
        }
        None => header
            .usage
            .iter()
            .find(|used| used.rows > used.rejected)
            .map(|used| used.schema)
            .or(header.schema),
    }
}

/// The segment that a seq was taken in with.
fn segment_of(header: &CommitHeader, seq: Seq) -> Option<&SegmentOrigin> {
    let mut next = header.first_seq;
    header.segments.iter().find(|segment| {
        next = next.saturating_add(u64::from(segment.count));
        seq < next
    })
}

/// The trace id of a `traceparent` (W3C Trace Context, section 3.2).
fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1).filter(|id| id.len() == 32)
}

/// The last hop: whether the views have it, and which windows it went into.
async fn apply(
    state: &ApiState,
    path: &mut Value,
    hop: Hop,
    entry: Option<&Committed>,
    row: usize,
) -> Result<(), ApiError> {
    let applied = state.engine.applied();
    let hop = json!({ "hop": "applied", "applied": applied >= hop.pos, "position": applied });
    if let Some(hops) = path["hops"].as_array_mut() {
        hops.push(hop);
    }
    let records = entry.and_then(|entry| Some((entry, entry.records.as_ref()?)));
    let windows = match records {
        Some((entry, records)) => {
            state
                .engine
                .locate(entry.key.stream.clone(), records.clone(), row)
                .await?
        }
        None => Vec::new(),
    };
    path["windows"] = json!(windows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_id_or_in_words() {
        let id = LineageId::new(LaneNo(3), 77);
        assert_eq!(parse(&id.to_string()).expect("an id"), EventName::Id(id));
        let EventName::Words(key, seq) = parse("a-1/readings/12/9").expect("words") else {
            panic!("not words")
        };
        assert_eq!((key.to_string().as_str(), seq), ("a-1/readings/12", 9));
        for wrong in [
            "",
            "x",
            "a/b/c",
            "a/b/c/d",
            "a/b/1/x",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?} names no event");
        }
    }
}
