//! The page's live stream: what it shows of the whole mesh, and the rows of many views, over one connection, because a
//! browser opens only six to a host.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use async_stream::stream;
use bytes::Bytes;
use futures_util::stream::{SelectAll, select_all};
use futures_util::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::error::RecvError;

use super::{ApiError, ApiState, live, query};
use crate::window::{EngineHandle, LiveEvent};

/// Between two overviews.
const OVERVIEW_EVERY: Duration = Duration::from_secs(1);
/// Rows of one event: a browser takes a thousand rows in one event much sooner than in a thousand.
const MAX_BATCH: usize = 1_000;
/// Views that one stream follows by name: each has a buffer of its own. A page shows fewer at a time.
const MAX_NAMES: usize = 200;

pub fn configure(service: &mut web::ServiceConfig) {
    service.route("/live", web::get().to(everything));
}

/// What is said of rows.
#[derive(Debug)]
enum Told {
    Event(Arc<LiveEvent>),
    /// This many rows were lost: of the named view, or of any.
    Missed {
        rows: u64,
        view: Option<Arc<str>>,
    },
}

type Rows = SelectAll<Pin<Box<dyn Stream<Item = Told>>>>;

/// `event: overview` every second, and as `event: windows` with data `[{"view","row"}, …]` the rows of the views that
/// `views=a,b` names (none when it is empty), or of all when the request does not say.
async fn everything(state: web::Data<ApiState>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let names = names(query::pairs(&request)?)?;
    let slot = live::slot(&state)?;
    let rows: Rows = match names {
        None => select_all([boxed(rows_of_all(&state.engine))]),
        Some(names) => select_all(
            names
                .into_iter()
                .map(|name| boxed(rows_of(state.engine.clone(), name))),
        ),
    };
    Ok(live::answer(page_stream(state, rows, slot)))
}

fn names(pairs: Vec<(String, String)>) -> Result<Option<Vec<Arc<str>>>, ApiError> {
    let mut wanted = None;
    for (name, value) in pairs {
        if name != "views" {
            return Err(query::unknown(&name, "views"));
        }
        let mut names: Vec<Arc<str>> = value
            .split(',')
            .filter(|name| !name.is_empty())
            .map(Arc::from)
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > MAX_NAMES {
            let message = format!(
                "views names {} views; at most {MAX_NAMES} fit one stream",
                names.len()
            );
            return Err(ApiError::bad_request("invalid_query", message).with("parameter", "views"));
        }
        wanted = Some(names);
    }
    Ok(wanted)
}

fn boxed(rows: impl Stream<Item = Told> + 'static) -> Pin<Box<dyn Stream<Item = Told>>> {
    Box::pin(rows)
}

fn rows_of_all(engine: &EngineHandle) -> impl Stream<Item = Told> + use<> {
    let mut receiver = engine.subscribe_all();
    stream! {
        loop {
            match receiver.recv().await {
                Ok(event) => yield Told::Event(event),
                Err(RecvError::Lagged(rows)) => yield Told::Missed { rows, view: None },
                Err(RecvError::Closed) => break,
            }
        }
    }
}

/// Rows of one view, also of one that is made, or made again, while somebody listens.
fn rows_of(engine: EngineHandle, name: Arc<str>) -> impl Stream<Item = Told> {
    let mut receiver = engine.subscribe(&name);
    stream! {
        loop {
            match receiver.recv().await {
                Ok(event) => yield Told::Event(event),
                Err(RecvError::Lagged(rows)) => yield Told::Missed { rows, view: Some(Arc::clone(&name)) },
                Err(RecvError::Closed) => receiver = engine.subscribe(&name),
            }
        }
    }
}

fn page_stream(
    state: web::Data<ApiState>,
    rows: Rows,
    slot: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream! {
        let _slot = slot;
        let mut shutdown = state.shutdown.clone();
        let mut overview = live::ticks(OVERVIEW_EVERY);
        let mut rows = rows.ready_chunks(MAX_BATCH);
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => break,
                // of no views there are no rows, and the stream of none has ended
                Some(told) = rows.next() => yield Ok(text(told)),
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

/// What is told at once: rows that follow one another are one event.
fn text(told: Vec<Told>) -> Bytes {
    let mut events = Events::default();
    for one in told {
        match one {
            Told::Event(event) => match &*event {
                LiveEvent::Row { view, json, .. } => events.row(view, json),
                LiveEvent::Flood { view, rows } => events.other(&missed(*rows, Some(view))),
                LiveEvent::Gone { view, json } => events.other(&format!(
                    "event: gone\ndata: {{\"view\":\"{view}\",\"row\":{json}}}\n\n"
                )),
                // all of its rows: the page reads them again
                LiveEvent::Reset { view, .. } => events.other(&missed(0, Some(view))),
            },
            Told::Missed { rows, view } => events.other(&missed(rows, view.as_ref())),
        }
    }
    events.finish()
}

/// Events as text, in order.
#[derive(Debug, Default)]
struct Events {
    text: String,
    /// Rows of the event that is not finished.
    rows: String,
}

impl Events {
    fn row(&mut self, view: &str, json: &str) {
        if !self.rows.is_empty() {
            self.rows.push(',');
        }
        // a view's name has no character that JSON escapes
        self.rows
            .push_str(&format!("{{\"view\":\"{view}\",\"row\":{json}}}"));
    }

    fn other(&mut self, event: &str) {
        self.flush();
        self.text.push_str(event);
    }

    fn flush(&mut self) {
        if !self.rows.is_empty() {
            self.text
                .push_str(&format!("event: windows\ndata: [{}]\n\n", self.rows));
            self.rows.clear();
        }
    }

    fn finish(mut self) -> Bytes {
        self.flush();
        self.text.into()
    }
}

fn missed(rows: u64, view: Option<&Arc<str>>) -> String {
    let data = match view {
        Some(view) => format!("{{\"rows\":{rows},\"view\":\"{view}\"}}"),
        None => format!("{{\"rows\":{rows}}}"),
    };
    format!("event: missed\ndata: {data}\n\n")
}
