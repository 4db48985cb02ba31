//! Health, metrics, and the description of the API.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::json;
use tributary_shared::metrics;
use tributary_shared::time::to_rfc3339;

use super::{ApiError, ApiState};
use crate::commit::LogHealth;

const OPENAPI: &str = include_str!("openapi.json");

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/healthz", web::get().to(healthy))
        .route("/readyz", web::get().to(ready))
        .route("/metrics", web::get().to(exposition))
        .route("/api/openapi.json", web::get().to(openapi));
}

/// Where this aggregator is, for tools on its host.
pub fn configure_v1(service: &mut web::ServiceConfig) {
    service.route("/aggregator", web::get().to(aggregator));
}

async fn aggregator(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let about = state
        .read(|log| {
            let stats = log.stats()?;
            Ok(json!({
                "dir": std::path::absolute(log.dir())?,
                "log_id": log.log_id()?,
                "log": { "newest": stats.newest, "floor": stats.floor, "bytes": stats.bytes },
                "software": concat!("tributary ", env!("CARGO_PKG_VERSION")),
                "pid": std::process::id(),
            }))
        })
        .await?;
    Ok(HttpResponse::Ok().json(about))
}

async fn healthy() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// Ready once the views have caught up with the log as it was at the start, and while the log can store.
async fn ready(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    if let LogHealth::Failing { since, reason } = state.log.health() {
        let message = format!(
            "the log cannot store since {}, and batches are refused: {reason}; agents keep their events, and this \
             goes on by itself when the disk is well again",
            to_rfc3339(since)
        );
        return Err(ApiError::unavailable("log_failing", message).with("since", to_rfc3339(since)));
    }
    if !state.engine.is_ready() {
        let message = "the views are still replaying the log; this ends by itself";
        return Err(ApiError::unavailable("replaying", message).with("applied", state.engine.applied().0));
    }
    Ok(HttpResponse::Ok().json(json!({ "status": "ready", "applied": state.engine.applied() })))
}

async fn exposition() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, metrics::CONTENT_TYPE))
        .body(metrics::encode_text())
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(OPENAPI)
}
