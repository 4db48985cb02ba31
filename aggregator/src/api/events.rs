//! The path of one event, hop by hop, with the windows that it changed.

use actix_web::{HttpResponse, web};
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use serde_json::{Value, json};
use tributary_shared::ids::{AgentId, Epoch, LaneKey, LaneNo, LineageId, Seq, StreamName};
use tributary_shared::telemetry::SpanCtx;
use tributary_shared::time::{Millis, to_rfc3339};
use tributary_shared::wire::SchemaRef;
use tributary_shared::wire::batch::SCHEMA_ID_COLUMN;

use super::dead_letters::{fix_json, letter_json};
use super::hops::{TraceLinks, counted_as, hops, trace_id};
use super::{ApiError, ApiState};
use crate::commit::{
    CommitError, Committed, EntryHeader, ExpiredVerdict, Fate, Gone, Hop, LETTER_DISCARDED, LETTER_EXPIRED,
    LaneRow, LogEntry, LogPos, LogReader, Settlement, StoredDeadLetter,
};
use crate::view::{Picked, Scalar};
use crate::window::Located;

/// The field of an event that says which trace of its application it belongs to.
const TRACEPARENT: &str = "traceparent";

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/events/{id:.+}", web::get().to(event));
}

/// How an event is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EventName {
    Id(LineageId),
    Words(LaneKey, Seq),
}

pub(super) fn parse(text: &str) -> Result<EventName, ApiError> {
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

/// What the log knows of an event; for one that counts as valid with its row.
struct Found {
    lane: LaneRow,
    seq: Seq,
    fate: Fate,
    row: Option<EntryRow>,
}

/// The row of an entry, decoded, that an event is.
struct EntryRow {
    entry: Committed,
    row: usize,
}

impl EntryRow {
    /// Where an event went: the row that its batch holds, or its replay. `None` when that entry is deleted, or the event
    /// is not valid.
    fn find(log: &LogReader, seq: Seq, fate: &Fate) -> Result<Option<Self>, CommitError> {
        let (pos, row) = match fate {
            Fate::Valid { hop, row } => (hop.pos, Some(*row)),
            Fate::Dead {
                letter: Some(letter), ..
            }
            | Fate::Expired {
                verdict: ExpiredVerdict::Dead(letter),
                ..
            } => match &letter.settled {
                Some(Settlement::Replayed { pos, .. }) => (*pos, None),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(entry) = log.entry(pos)?.map(LogEntry::decode).transpose()? else {
            return Ok(None);
        };
        let of_replay = match &entry.header {
            EntryHeader::Replay(header) => header.row_of(seq),
            EntryHeader::Batch(_) => None,
        };
        Ok(row.or(of_replay).map(|row| Self { entry, row }))
    }
}

fn find(log: &LogReader, name: EventName) -> Result<Option<Found>, CommitError> {
    let (lane, seq) = match name {
        EventName::Id(id) => (log.lane(id.lane)?, id.seq),
        EventName::Words(key, seq) => (log.lane_by_key(&key)?, seq),
    };
    let Some(lane) = lane else { return Ok(None) };
    let fate = log.find(lane.lane_no, seq)?;
    let row = EntryRow::find(log, seq, &fate)?;
    Ok(Some(Found { lane, seq, fate, row }))
}

async fn event(state: web::Data<ApiState>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let wanted = parse(&name)?;
    let found = state.read(move |log| find(log, wanted)).await?;
    let Some(Found { lane, seq, fate, row }) = found.filter(|found| found.seq > 0) else {
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
        "application_trace": null,
    });
    let links = TraceLinks {
        viewer: state.trace_viewer.as_deref(),
    };
    if let Some((context, from)) = application_trace(&fate, seq, row.as_ref()) {
        path["application_trace"] = links.shown(Some(&context));
        path["application_trace"]["of"] = json!(from);
    }
    match fate {
        Fate::Valid { hop, .. } => {
            path["outcome"] = json!("valid");
            path["schema"] = json!(row.as_ref().and_then(written_with));
            committed(&mut path, &hop, seq, links);
            apply(&state, &mut path, hop.pos, row).await?;
        }
        Fate::Dead { hop, letter } => {
            committed(&mut path, &hop, seq, links);
            match letter {
                Some(letter) => dead(&state, &mut path, &letter, row).await?,
                None => {
                    path["outcome"] = json!(LETTER_EXPIRED);
                    path["message"] = json!(
                        "the event was rejected by its schema, and retention has deleted its dead letter; it stays \
                         counted as dead, with a line in the ledger"
                    );
                }
            }
        }
        Fate::Dropped { hop, reason, range } => {
            path["outcome"] = json!("dropped");
            committed(&mut path, &hop, seq, links);
            path["dropped"] = json!({ "from": range.first, "to": range.last, "reason": reason });
        }
        Fate::Expired {
            floor_seq,
            verdict,
            hop,
            gone,
        } => {
            match &hop {
                Some(hop) => {
                    committed(&mut path, hop, seq, links);
                    path["counted_as"] = json!(counted_as(&hop.header, seq));
                }
                None => path["hops"] = json!([]),
            }
            expired(&mut path, floor_seq, &verdict, gone);
            if let ExpiredVerdict::Dead(letter) = verdict {
                dead(&state, &mut path, &letter, row).await?;
            }
        }
        Fate::NotCommitted { mark } => not_committed(&mut path, mark),
        Fate::UnknownLane => return Err(unknown_lane(lane.lane_no)),
    }
    Ok(HttpResponse::Ok().json(path))
}

fn unknown_lane(lane: LaneNo) -> ApiError {
    ApiError::not_found("unknown_event", format!("lane {lane} is not known"))
}

/// Retention has deleted the entry, and with it the event's row; its hops as well, some time later.
fn expired(path: &mut Value, floor_seq: Seq, verdict: &ExpiredVerdict, gone: Gone) {
    match verdict {
        ExpiredVerdict::Dropped { reason, range } => {
            path["outcome"] = json!("dropped");
            path["dropped"] = json!({ "from": range.first, "to": range.last, "reason": reason });
        }
        // its letter says more
        ExpiredVerdict::Dead(_) => {}
        ExpiredVerdict::Counted => path["outcome"] = json!("expired"),
    }
    let about = |at: Option<Millis>| at.map_or(String::new(), |at| format!(" (about {})", to_rfc3339(at)));
    let hops = if gone.hops {
        format!(", and later{} the event's hops", about(gone.hops_at))
    } else {
        "; the event's hops are kept longer".to_owned()
    };
    path["message"] = json!(format!(
        "the event was committed and is counted; retention has deleted the lane's log up to seq {floor_seq}{}, and with it \
         the event itself{hops}",
        about(gone.entry_at)
    ));
    path["kept"] = json!({
        "row": false,
        "row_until": gone.entry_at.map(to_rfc3339),
        "hops": !gone.hops,
        "hops_until": gone.hops_at.map(to_rfc3339),
    });
}

/// The trace context that an event brought along in its own field `traceparent`; else that of the request that brought it.
fn application_trace(fate: &Fate, seq: Seq, row: Option<&EntryRow>) -> Option<(String, &'static str)> {
    if let Some(own) = own_context(fate, row) {
        return Some((own, "event"));
    }
    let hop = match fate {
        Fate::Valid { hop, .. } | Fate::Dead { hop, .. } | Fate::Dropped { hop, .. } => hop,
        Fate::Expired { hop, .. } => hop.as_deref()?,
        Fate::NotCommitted { .. } | Fate::UnknownLane => return None,
    };
    Some((hop.header.contexts.of(seq)?.to_owned(), "request"))
}

/// Garbage is no context: the request's may still be one.
fn own_context(fate: &Fate, row: Option<&EntryRow>) -> Option<String> {
    let text = match row {
        Some(EntryRow { entry, row }) => {
            let field = Picked::bind(entry.records.as_ref()?, std::iter::once(TRACEPARENT));
            match field.value(0, *row) {
                Scalar::Text(text) => text.to_string(),
                _ => return None,
            }
        }
        None => {
            let payload: Value = serde_json::from_slice(&letter_of(fate)?.payload).ok()?;
            payload.get(TRACEPARENT)?.as_str()?.to_owned()
        }
    };
    SpanCtx::parse(&text).map(|_| text)
}

fn letter_of(fate: &Fate) -> Option<&StoredDeadLetter> {
    match fate {
        Fate::Dead { letter, .. } => letter.as_deref(),
        Fate::Expired {
            verdict: ExpiredVerdict::Dead(letter),
            ..
        } => Some(letter),
        _ => None,
    }
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
fn committed(path: &mut Value, hop: &Hop, seq: Seq, links: TraceLinks<'_>) {
    path["hops"] = Value::Array(hops(hop, seq, links));
    let trace_id = trace_id(&hop.header);
    path["trace_url"] = json!(trace_id.as_deref().and_then(|id| links.url(id)));
    path["trace_id"] = json!(trace_id);
    path["kept"] = json!({ "row": true, "row_until": null, "hops": true, "hops_until": null });
}

/// The schema that wrote a valid row: the row's own where the batch's differ, else the batch's only one.
fn written_with(found: &EntryRow) -> Option<SchemaRef> {
    let EntryHeader::Batch(header) = &found.entry.header else {
        return None;
    };
    let records = found.entry.records.as_ref()?;
    let ids = records
        .column_by_name(SCHEMA_ID_COLUMN)
        .and_then(|ids| ids.as_primitive_opt::<Int32Type>());
    let mut used = header.usage.iter();
    let writer = match ids {
        Some(ids) => {
            let id = ids.is_valid(found.row).then(|| ids.value(found.row))?;
            used.find(|used| i32::try_from(used.schema.id) == Ok(id))
        }
        None => used.find(|used| used.rows > used.rejected),
    };
    writer.map(|used| used.schema).or(header.schema)
}

/// What became of an event that its schema rejected.
async fn dead(
    state: &ApiState,
    path: &mut Value,
    letter: &StoredDeadLetter,
    row: Option<EntryRow>,
) -> Result<(), ApiError> {
    path["dead_letter"] = letter_json(letter);
    push_hop(
        path,
        json!({ "hop": "dead_letter", "at": to_rfc3339(letter.at), "id": letter.id, "schema": letter.schema }),
    );
    match &letter.settled {
        None => path["outcome"] = json!("dead_letter"),
        Some(Settlement::Discarded { at, by, reason }) => {
            path["outcome"] = json!(LETTER_DISCARDED);
            push_hop(
                path,
                json!({ "hop": "discarded", "at": to_rfc3339(*at), "by": by, "reason": reason }),
            );
        }
        Some(Settlement::Replayed {
            at,
            by,
            pos,
            schema,
            fix,
        }) => {
            // it counts as one of its lane's valid events now
            path["outcome"] = json!("valid");
            push_hop(
                path,
                json!({
                    "hop": "replayed",
                    "at": to_rfc3339(*at),
                    "by": by,
                    "position": pos,
                    "schema": schema,
                    "fix": fix_json(fix.as_deref()),
                }),
            );
            apply(state, path, *pos, row).await?;
        }
    }
    Ok(())
}

fn push_hop(path: &mut Value, hop: Value) {
    if let Some(hops) = path["hops"].as_array_mut() {
        hops.push(hop);
    }
}

/// The last hop: whether the views have it, and which windows it went into.
async fn apply(
    state: &ApiState,
    path: &mut Value,
    pos: LogPos,
    row: Option<EntryRow>,
) -> Result<(), ApiError> {
    let applied = state.engine.applied();
    let hop = json!({ "hop": "applied", "applied": applied >= pos, "position": applied });
    push_hop(path, hop);
    let found = row.and_then(|EntryRow { entry, row }| Some((entry.key.stream, entry.records?, row)));
    let mut located = match found {
        Some((stream, records, row)) => state.engine.locate(stream, pos, records, row).await?,
        None => Located::default(),
    };
    if !located.doubts.is_empty() {
        let settled = state.read(move |log| {
            located.settle(log, pos)?;
            Ok(located)
        });
        located = settled.await?;
    }
    path["windows"] = json!(located.windows);
    path["not_counted"] = json!(located.not_counted);
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
