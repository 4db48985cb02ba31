//! Server-Sent Events: the rows of one view. The page has a stream of its own: [`super::live_page`].
//!
//! A reader of one view hears every change after the one that it has heard of last, each revision of a row once, also
//! when it comes back with `Last-Event-ID` or was too slow for what happened: then it first gets what it lacks from the
//! engine, a page at a time, and after that what happens. A subscription is taken before the engine is asked, and rows
//! that the answer covers already are left out of it, so that nothing falls in between. What cannot be known any more is
//! said by `event: reset`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use async_stream::stream;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::{ApiError, ApiState, query, views};
use crate::commit::LogPos;
use crate::window::{EventId, LiveEvent, SincePage, Stamp, Unknown};

/// Between two comments on a quiet stream, so that proxies and readers see that it lives, and so that a reader who is
/// gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Rows that a reader who comes back gets at once, some 300 bytes each.
const PAGE: usize = 1_000;

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
async fn view(
    state: web::Data<ApiState>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let after = last_event_id(&request)?;
    let name = views::find(&state, &name).await?.name;
    let slot = slot(&state)?;
    let rows = state.engine.subscribe(&name);
    let reader = Reader {
        state,
        view: name,
        rows,
        after,
        covered: LogPos(0),
    };
    Ok(answer(heard(reader, slot)))
}

/// The header, which browsers send when they come back, or the parameter, which people type.
fn last_event_id(request: &HttpRequest) -> Result<Option<EventId>, ApiError> {
    let mut pairs = query::pairs(request)?;
    let named = query::take(&mut pairs, "last_event_id")?;
    if let Some((name, _)) = pairs.first() {
        return Err(query::unknown(name, "last_event_id"));
    }
    let header = request.headers().get("last-event-id");
    let header = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some(text) = header.or(named).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    EventId::parse(&text).map(Some).ok_or_else(|| {
        let message = format!("{text:?} is the id of no event; give the last `id:` that you got, or none");
        ApiError::bad_request("invalid_query", message).with("parameter", "last_event_id")
    })
}

/// One reader of a view.
struct Reader {
    state: web::Data<ApiState>,
    view: String,
    rows: broadcast::Receiver<Arc<LiveEvent>>,
    /// Up to where the reader has heard everything; `None`: it begins now.
    after: Option<EventId>,
    /// Rows that changed up to here were told or are of no interest.
    covered: LogPos,
}

/// Whether the reader's stream goes on.
enum Go {
    On,
    /// It must be told from the engine what it has missed.
    Behind,
    End,
}

/// Events go through this on their way to the body: the reader's pace is the channel's.
struct Sender(mpsc::Sender<Bytes>);

impl Sender {
    /// An error means that the reader is gone.
    async fn send(&self, event: Bytes) -> Result<(), Gone> {
        self.0.send(event).await.map_err(|_| Gone)
    }
}

struct Gone;

/// The definition of no view.
const NONE: u32 = 0;
/// Events that wait for the body to take them.
const WAITING: usize = 64;

fn heard(
    reader: Reader,
    slot: OwnedSemaphorePermit,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    let (sender, mut events) = mpsc::channel(WAITING);
    actix_web::rt::spawn(async move {
        let _slot = slot;
        let (mut shutdown, sender) = (reader.state.shutdown.clone(), Sender(sender));
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            // whether the reader has gone or the view has: there is nothing more to say
            _ = reader.tell(&sender) => {}
        }
    });
    stream! {
        while let Some(event) = events.recv().await {
            yield Ok(event);
        }
    }
}

impl Reader {
    async fn tell(mut self, to: &Sender) -> Result<(), Gone> {
        self.recovered(to).await?;
        loop {
            if let Go::End = self.catch_up(to).await? {
                return Ok(());
            }
            if let Go::End = self.follow(to).await? {
                return Ok(());
            }
        }
    }

    /// Before the log behind the last snapshot is replayed, the engine knows less than the reader may have heard.
    async fn recovered(&self, to: &Sender) -> Result<(), Gone> {
        let mut ready = self.state.engine.ready_changes();
        let mut heartbeat = ticks(HEARTBEAT);
        loop {
            tokio::select! {
                _ = ready.wait_for(|ready| *ready) => return Ok(()),
                _ = heartbeat.tick() => to.send(alive()).await?,
            }
        }
    }

    /// Tells what changed behind the last event that was heard.
    async fn catch_up(&mut self, to: &Sender) -> Result<Go, Gone> {
        let begins = self.after.is_none();
        loop {
            let page = self.state.engine.since(self.view.clone(), self.after, PAGE).await;
            let SincePage {
                rows,
                more,
                through,
                definition,
                unknown,
            } = match page {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(view = self.view, %error, "a live stream ends");
                    return Ok(Go::End);
                }
            };
            for (stamp, row) in rows {
                let id = EventId {
                    stamp,
                    definition: Some(definition),
                };
                match serde_json::to_string(&row) {
                    Ok(json) => to.send(window(Some(&id), &json)).await?,
                    Err(error) => tracing::warn!(view = self.view, %error, "a row cannot be shown"),
                }
                self.after = Some(id);
            }
            if more {
                continue;
            }
            let now = self.begin_at(through, definition, unknown);
            match unknown {
                Some(unknown) if !begins => to.send(reset(&now, unknown.reason())).await?,
                _ if begins => {
                    to.send(Bytes::from(format!(": after this\nid: {now}\n\n")))
                        .await?
                }
                _ => {}
            }
            return Ok(Go::On);
        }
    }

    /// Everything that changed up to here was told, or must be read.
    fn begin_at(&mut self, through: LogPos, definition: u32, unknown: Option<Unknown>) -> EventId {
        // a view that is being back-filled changes in no order: all of its rows are told, and whoever leaves
        // meanwhile cannot know what it will have missed
        let filling = unknown == Some(Unknown::Filling);
        let now = EventId {
            stamp: Stamp::through(through),
            definition: Some(if filling { NONE } else { definition }),
        };
        self.after = Some(now);
        self.covered = if filling { LogPos(0) } else { through };
        now
    }

    /// Tells what happens.
    async fn follow(&mut self, to: &Sender) -> Result<Go, Gone> {
        let mut heartbeat = ticks(HEARTBEAT);
        loop {
            tokio::select! {
                row = self.rows.recv() => match row {
                    Ok(event) => match self.hear(&event, to).await? {
                        Go::On => {}
                        go => return Ok(go),
                    },
                    Err(RecvError::Lagged(_)) => return Ok(Go::Behind),
                    Err(RecvError::Closed) => return Ok(Go::End),
                },
                _ = heartbeat.tick() => to.send(alive()).await?,
            }
        }
    }

    async fn hear(&mut self, event: &LiveEvent, to: &Sender) -> Result<Go, Gone> {
        match event {
            LiveEvent::Row {
                id, changed_at, json, ..
            } => {
                if *changed_at > self.covered || id.is_none() {
                    to.send(window(id.as_ref(), json)).await?;
                    self.after = id.or(self.after);
                }
                Ok(Go::On)
            }
            LiveEvent::Gone { json, .. } => {
                to.send(Bytes::from(format!("event: gone\ndata: {json}\n\n")))
                    .await?;
                Ok(Go::On)
            }
            LiveEvent::Flood { .. } => Ok(Go::Behind),
            LiveEvent::Reset { why, .. } => {
                let page = self.state.engine.since(self.view.clone(), None, 1).await;
                let Ok(page) = page else { return Ok(Go::End) };
                let now = self.begin_at(page.through, page.definition, page.unknown);
                to.send(reset(&now, why)).await?;
                Ok(Go::On)
            }
        }
    }
}

pub(super) fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn alive() -> Bytes {
    Bytes::from_static(b": alive\n\n")
}

fn window(id: Option<&EventId>, json: &str) -> Bytes {
    Bytes::from(match id {
        Some(id) => format!("event: window\nid: {id}\ndata: {json}\n\n"),
        None => format!("event: window\ndata: {json}\n\n"),
    })
}

fn reset(now: &EventId, why: &str) -> Bytes {
    let data =
        json!({ "reason": why, "hint": "read the windows again; rows that change from now on follow" });
    Bytes::from(format!("event: reset\nid: {now}\ndata: {data}\n\n"))
}

pub(super) fn answer(
    stream: impl futures_util::Stream<Item = Result<Bytes, Infallible>> + 'static,
) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(stream)
}
