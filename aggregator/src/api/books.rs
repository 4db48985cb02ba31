//! The books of the mesh: streams, agents, lanes, the ledger, throughput.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix_web::{HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};
use tributary_shared::ids::LaneNo;
use tributary_shared::time::{now_millis, to_rfc3339};

use super::{ApiError, ApiState};
use crate::agents::LaneAtAgent;
use crate::commit::{CommitError, DroppedRange, LaneRow, LedgerLane, LedgerTotals, LogReader, invariants};
use crate::throughput::SECONDS;
use crate::window::{LaneWatermark, LateLine, StreamTimes, ViewInfo};

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/streams", web::get().to(streams))
        .route("/agents", web::get().to(agents))
        .route("/lanes", web::get().to(lanes))
        .route("/ledger", web::get().to(ledger))
        .route("/throughput", web::get().to(throughput));
}

async fn streams(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let views = state.engine.views().await?;
    Ok(HttpResponse::Ok().json(json!({ "streams": stream_rows(&state, &views).await? })))
}

/// Every stream that was ever seen, with its schema and the views over it.
pub(super) async fn stream_rows(state: &ApiState, views: &[ViewInfo]) -> Result<Vec<Value>, ApiError> {
    let rows = state.read(LogReader::streams).await?;
    let schemas = state.schemas.cache();
    let shown = rows.iter().map(|row| {
        let over = views
            .iter()
            .filter(|view| view.stream == row.stream)
            .map(|view| view.name.as_str());
        json!({
            "stream": row.stream,
            "lanes": row.lanes,
            "agents": row.agents,
            "events": row.totals.produced,
            "valid": row.totals.valid,
            "dead": row.totals.dead,
            "dead_open": row.totals.open,
            "dropped": row.totals.dropped,
            "last_seen": row.last_committed_at.map(to_rfc3339),
            "schema": schemas.latest_ref(&row.stream),
            "views": over.collect::<Vec<_>>(),
        })
    });
    Ok(shown.collect())
}

async fn agents(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let lanes = state.read(LogReader::lanes).await?;
    Ok(HttpResponse::Ok().json(json!({ "agents": state.agents.list(&lanes) })))
}

async fn lanes(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let lanes = state.read(LogReader::lanes).await?;
    let times = state.engine.times().await?;
    let by_lane: HashMap<LaneNo, &LaneWatermark> = times.lanes.iter().map(|time| (time.lane, time)).collect();
    let rows: Vec<Value> = lanes
        .iter()
        .map(|lane| lane_row(lane, by_lane.get(&lane.lane_no).copied()))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "lanes": rows })))
}

fn lane_row(lane: &LaneRow, time: Option<&LaneWatermark>) -> Value {
    json!({
        "lane": lane.lane_no,
        "agent": lane.key.agent,
        "stream": lane.key.stream,
        "epoch": lane.key.epoch,
        "mark": lane.mark,
        "valid": lane.valid,
        "dead": lane.dead,
        "dead_open": lane.open,
        "dropped": lane.dropped,
        "opened_at": to_rfc3339(lane.opened_at),
        "last_seen": lane.last_committed_at.map(to_rfc3339),
        // the newest event time, and how many events were too far in the future to count for it
        "watermark": time.and_then(|time| time.watermark).map(to_rfc3339),
        "future_events": time.map_or(0, |time| time.future_events),
    })
}

/// Events that views did not take because they were older than the view's retention when they came.
fn too_late(lanes: &[LedgerLane], times: &StreamTimes) -> Vec<Value> {
    let keys: HashMap<LaneNo, &LaneRow> = lanes.iter().map(|line| (line.lane.lane_no, &line.lane)).collect();
    let line = |(view, line): &(Arc<str>, LateLine)| {
        let key = keys.get(&line.lane).map(|lane| &lane.key);
        json!({
            "view": view.as_ref(),
            "lane": line.lane,
            "agent": key.map(|key| &key.agent),
            "stream": key.map(|key| &key.stream),
            "epoch": key.map(|key| key.epoch),
            "first_seq": line.range.first,
            "last_seq": line.range.last,
            "count": line.count,
        })
    };
    times.too_late.iter().map(line).collect()
}

/// Where every event is. What agents still hold is as they last reported it, to this process; `null` when an
/// agent has not reported since the aggregator started.
async fn ledger(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let ledger = state.read(LogReader::ledger).await?;
    let times = state.engine.times().await?;
    let told = state.agents.lanes();
    let mut outside = Outside::default();
    let lanes: Vec<Value> = ledger
        .lanes
        .iter()
        .map(|lane| ledger_row(lane, told.get(&lane.lane.key), &mut outside))
        .collect();
    let violations: Vec<String> = ledger.lanes.iter().filter_map(violation).collect();
    Ok(HttpResponse::Ok().json(json!({
        "lanes": lanes,
        "totals": totals(ledger.totals),
        "dead_open": ledger.totals.open,
        "dropped_by_reason": by_reason(ledger.lanes.iter().flat_map(|lane| &lane.dropped)),
        "dead_given_up_by_reason": by_reason(ledger.lanes.iter().flat_map(|lane| &lane.given_up)),
        "too_late": too_late(&ledger.lanes, &times),
        "at_agents": outside,
        "balanced": violations.is_empty(),
        "violations": violations,
    })))
}

/// What agents reported beyond the marks, summed.
#[derive(Debug, Default, Serialize)]
struct Outside {
    held: u64,
    unreported_drops: u64,
    /// Lanes that no agent has reported since this process started.
    lanes_not_reported: u64,
}

fn ledger_row(line: &LedgerLane, told: Option<&LaneAtAgent>, outside: &mut Outside) -> Value {
    let LedgerLane {
        lane,
        dropped,
        given_up,
    } = line;
    let run = |run: &DroppedRange| json!({ "from": run.range.first, "to": run.range.last, "reason": run.reason, "count": run.count });
    let dropped: Vec<Value> = dropped.iter().map(run).collect();
    let given_up: Vec<Value> = given_up.iter().map(run).collect();
    // the report may be older than the mark: what is committed by now is not held any more
    let beyond = told.map(|told| {
        let above = told.produced.saturating_sub(lane.mark);
        let held = told.held_events.min(above);
        (held, above - held)
    });
    match beyond {
        Some((held, drops)) => {
            outside.held = outside.held.saturating_add(held);
            outside.unreported_drops = outside.unreported_drops.saturating_add(drops);
        }
        None => outside.lanes_not_reported += 1,
    }
    json!({
        "lane": lane.lane_no,
        "agent": lane.key.agent,
        "stream": lane.key.stream,
        "epoch": lane.key.epoch,
        "mark": lane.mark,
        "valid": lane.valid,
        "dead": lane.dead,
        "dead_open": lane.open,
        "dead_given_up": given_up,
        "dropped": dropped,
        "held": beyond.map(|(held, _)| held),
        "unreported_drops": beyond.map(|(_, drops)| drops),
        "reported_at": told.map(|told| to_rfc3339(told.reported_at)),
    })
}

fn by_reason<'a>(runs: impl Iterator<Item = &'a DroppedRange>) -> BTreeMap<&'a str, u64> {
    let mut sums = BTreeMap::new();
    for run in runs {
        *sums.entry(run.reason.as_str()).or_insert(0) += run.count;
    }
    sums
}

/// What one lane's line breaks, in words.
fn violation(line: &LedgerLane) -> Option<String> {
    let LedgerLane {
        lane,
        dropped,
        given_up,
    } = line;
    let checked = invariants::conservation(lane)
        .and_then(|()| invariants::ledger_adds_up(lane, dropped))
        .and_then(|()| invariants::letters_add_up(lane, given_up));
    checked.err().map(|error| match error {
        CommitError::Damaged { what } => what,
        other => other.to_string(),
    })
}

/// The named invariant `conservation`, as far as one lane's line tells.
pub(super) fn lane_balances(lane: &LaneRow) -> bool {
    lane.mark == lane.valid + lane.dead + lane.dropped
}

pub(super) fn totals(totals: LedgerTotals) -> Value {
    json!({
        "produced": totals.produced,
        "valid": totals.valid,
        "dead": totals.dead,
        "dropped": totals.dropped,
    })
}

async fn throughput(state: web::Data<ApiState>) -> HttpResponse {
    let now = now_millis();
    let buckets = state.throughput.last(now, SECONDS);
    HttpResponse::Ok().json(json!({ "now": to_rfc3339(now), "bucket_seconds": 1, "buckets": buckets }))
}
