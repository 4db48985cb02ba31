//! `GET /lineage`: how large the record of where events came from is, and how far back it goes.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};
use tributary_shared::time::to_rfc3339;

use super::{ApiError, ApiState};
use crate::commit::{LineagePart, LineageStats, LogReader};

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/lineage", web::get().to(lineage));
}

async fn lineage(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(shown(state.read(LogReader::lineage).await?)))
}

fn shown(stats: LineageStats) -> Value {
    let LineageStats {
        in_log,
        beyond,
        entries_since,
        hops_since,
    } = stats;
    let all = LineagePart {
        entries: in_log.entries + beyond.entries,
        events: in_log.events + beyond.events,
        bytes: in_log.bytes + beyond.bytes,
    };
    let part = |part: LineagePart| {
        let per_event = (part.events > 0).then(|| part.bytes as f64 / part.events as f64);
        json!({ "entries": part.entries, "events": part.events, "bytes": part.bytes, "bytes_per_event": per_event })
    };
    let mut shown = part(all);
    // rows and hops; then hops alone
    shown["in_log"] = part(in_log);
    shown["beyond_the_log"] = part(beyond);
    shown["rows_since"] = json!(entries_since.map(to_rfc3339));
    shown["hops_since"] = json!(hops_since.map(to_rfc3339));
    shown
}
