//! Server-Sent Events: the rows of one view, or for the page everything in one stream (a browser opens only six
//! connections to a host).
//!
//! A subscriber reads from a bounded queue that the engine never waits for. Who falls behind loses the oldest
//! rows and is told how many with `event: missed`; the windows call has the newest state of all of them.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use async_stream::stream;
use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::{ApiError, ApiState, views};
use crate::window::LiveEvent;

/// Between two comments on a quiet stream, so that proxies and readers see that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Between two overviews on the page's stream.
const OVERVIEW_EVERY: Duration = Duration::from_secs(1);

pub fn configure(service: &mut web::ServiceConfig) {
    service
        .route("/views/{name}/live", web::get().to(view))
        .route("/live", web::get().to(everything));
}

fn slot(state: &ApiState) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&state.live_slots).try_acquire_owned().map_err(|_| {
        ApiError::unavailable(
            "too_many_live",
            "all live streams are taken; try again in a minute",
        )
    })
}

/// Rows of one view as `event: window`, each row as the windows call shows it.
async fn view(state: web::Data<ApiState>, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let name = views::find(&state, &name).await?.name;
    let slot = slot(&state)?;
    let rows = state.engine.subscribe(&name);
    Ok(answer(view_stream(rows, state.shutdown.clone(), slot)))
}

fn view_stream(
    mut rows: broadcast::Receiver<Arc<LiveEvent>>,
    mut shutdown: watch::Receiver<bool>,
    slot: OwnedSemaphorePermit,
) -> impl futures_util::Stream<Item = Result<Bytes, actix_web::Error>> {
    stream! {
        let _slot = slot;
        let mut heartbeat = ticks(HEARTBEAT);
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                row = rows.recv() => match row {
                    Ok(event) => yield Ok(window_event(&event)),
                    Err(RecvError::Lagged(rows)) => yield Ok(missed_event(rows)),
                    Err(RecvError::Closed) => break,
                },
                _ = heartbeat.tick() => yield Ok(Bytes::from_static(b": alive\n\n")),
            }
        }
    }
}

/// `event: overview` every second, and the rows of all views as `event: window` with data `{"view","row"}`.
async fn everything(state: web::Data<ApiState>) -> Result<HttpResponse, ApiError> {
    let slot = slot(&state)?;
    let rows = state.engine.subscribe_all();
    Ok(answer(page_stream(state, rows, slot)))
}

fn page_stream(
    state: web::Data<ApiState>,
    mut rows: broadcast::Receiver<Arc<LiveEvent>>,
    slot: OwnedSemaphorePermit,
) -> impl futures_util::Stream<Item = Result<Bytes, actix_web::Error>> {
    stream! {
        let _slot = slot;
        let mut shutdown = state.shutdown.clone();
        let mut overview = ticks(OVERVIEW_EVERY);
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                row = rows.recv() => match row {
                    Ok(event) => yield Ok(tagged_event(&event)),
                    Err(RecvError::Lagged(rows)) => yield Ok(missed_event(rows)),
                    Err(RecvError::Closed) => break,
                },
                _ = overview.tick() => match state.overview.get(&state).await {
                    Ok(json) => yield Ok(Bytes::from(format!("event: overview\ndata: {json}\n\n"))),
                    Err(error) => {
                        tracing::warn!(%error, "the overview cannot be read");
                        yield Ok(Bytes::from_static(b": alive\n\n"));
                    }
                },
            }
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn window_event(event: &LiveEvent) -> Bytes {
    match event {
        LiveEvent::Row { id, json, .. } => Bytes::from(format!("event: window\nid: {id}\ndata: {json}\n\n")),
        LiveEvent::Flood { rows, .. } => missed_event(*rows),
    }
}

fn tagged_event(event: &LiveEvent) -> Bytes {
    match event {
        // a view's name has no character that JSON escapes
        LiveEvent::Row { id, view, json } => Bytes::from(format!(
            "event: window\nid: {id}\ndata: {{\"view\":\"{view}\",\"row\":{json}}}\n\n"
        )),
        LiveEvent::Flood { rows, .. } => missed_event(*rows),
    }
}

fn missed_event(rows: u64) -> Bytes {
    Bytes::from(format!("event: missed\ndata: {{\"rows\":{rows}}}\n\n"))
}

fn answer(
    stream: impl futures_util::Stream<Item = Result<Bytes, actix_web::Error>> + 'static,
) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(stream)
}
