//! The books of the mesh: streams, agents, lanes, the ledger, throughput.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use tributary_shared::time::{now_millis, to_rfc3339};

use super::{ApiError, ApiState};
use crate::commit::{LaneRow, LedgerLane, LedgerTotals, LogReader};
use crate::throughput::SECONDS;
use crate::window::ViewInfo;

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
    let rows: Vec<Value> = lanes.iter().map(lane_row).collect();
    Ok(HttpResponse::Ok().json(json!({ "lanes": rows })))
}

fn lane_row(lane: &LaneRow) -> Value {
    json!({
        "lane": lane.lane_no,
        "agent": lane.key.agent,
        "stream": lane.key.stream,
        "epoch": lane.key.epoch,
        "mark": lane.mark,
        "valid": lane.valid,
        "dead": lane.dead,
        "dropped": lane.dropped,
        "opened_at": to_rfc3339(lane.opened_at),
        "last_seen": lane.last_committed_at.map(to_rfc3339),
    })
}

async fn ledger(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let ledger = state.read(LogReader::ledger).await?;
    let lanes: Vec<Value> = ledger.lanes.iter().map(ledger_row).collect();
    let balanced = ledger.lanes.iter().all(|lane| lane_balances(&lane.lane));
    Ok(HttpResponse::Ok()
        .json(json!({ "lanes": lanes, "totals": totals(ledger.totals), "balanced": balanced })))
}

fn ledger_row(LedgerLane { lane, dropped }: &LedgerLane) -> Value {
    let dropped: Vec<Value> = dropped
        .iter()
        .map(|run| {
            json!({ "from": run.range.first, "to": run.range.last, "reason": run.reason, "count": run.count })
        })
        .collect();
    json!({
        "lane": lane.lane_no,
        "agent": lane.key.agent,
        "stream": lane.key.stream,
        "epoch": lane.key.epoch,
        "mark": lane.mark,
        "valid": lane.valid,
        "dead": lane.dead,
        "dropped": dropped,
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
