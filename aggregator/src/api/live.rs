//! Server-Sent Events: the rows of one view. The page has a stream of its own: [`super::live_page`].
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

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/views/{name}/live", web::get().to(view));
}

pub(super) fn slot(state: &ApiState) -> Result<OwnedSemaphorePermit, ApiError> {
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

pub(super) fn ticks(every: Duration) -> tokio::time::Interval {
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

fn missed_event(rows: u64) -> Bytes {
    Bytes::from(format!("event: missed\ndata: {{\"rows\":{rows}}}\n\n"))
}

pub(super) fn answer(
    stream: impl futures_util::Stream<Item = Result<Bytes, actix_web::Error>> + 'static,
) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(stream)
}
