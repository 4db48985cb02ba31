//! Answers that are no JSON: their headers, and their bodies in pieces.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use async_stream::stream;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::timeout;

use super::{ApiError, ApiState};
use crate::export::{ExportError, Format, FormatError, Pieces, Sheet};

/// Rows that a CSV or Parquet answer may have.
pub const MAX_ROWS: usize = 50_000;
/// How long an answer waits for its place among those that are being sent.
const WAIT: Duration = Duration::from_secs(10);
/// How long a reader may take nothing before it is given up: what it holds in memory, others wait for.
const STUCK: Duration = Duration::from_secs(30);

/// What an answer says beside its rows.
#[derive(Debug, Default)]
pub struct Facts {
    /// The file's name, without its ending.
    pub name: String,
    /// There are more rows.
    pub truncated: bool,
    /// Where they go on.
    pub next: Option<String>,
}

/// The format that a request asks for; `named` is its parameter `format`.
pub fn format(request: &HttpRequest, named: Option<&str>) -> Result<Format, ApiError> {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    Ok(Format::choose(named, accept)?)
}

/// A place for an answer that is held in memory while it is sent.
pub async fn place(state: &ApiState) -> Result<OwnedSemaphorePermit, ApiError> {
    let busy = || {
        let message = "other exports take all places; try again in a moment";
        ApiError::unavailable("busy", message)
    };
    let place = timeout(WAIT, Arc::clone(&state.export_places).acquire_owned());
    place.await.map_err(|_| busy())?.map_err(|_| busy())
}

/// A sheet as the body of an answer. Must not be asked for JSON, whose shape is each call's own.
pub fn answer(
    sheet: Sheet,
    format: Format,
    facts: &Facts,
    place: OwnedSemaphorePermit,
) -> Result<HttpResponse, ApiError> {
    let rows = sheet.rows.len();
    let Some(pieces) = sheet.pieces(format)? else {
        return Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "this call has a JSON of its own",
        ));
    };
    let name = &facts.name;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, format.content_type()))
        .insert_header((header::VARY, "accept"))
        .insert_header((
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.{}\"", format.name()),
        ))
        .insert_header(("tributary-rows", rows.to_string()))
        .insert_header(("tributary-truncated", facts.truncated.to_string()));
    if let Some(next) = &facts.next {
        response.insert_header(("tributary-next", next.as_str()));
    }
    Ok(response.streaming(sent(pieces, place)))
}

/// What travels to the body.
enum Part {
    Bytes(Bytes),
    Failed(ExportError),
    End,
}

/// The pieces as a reader takes them. A body that ends without its last piece breaks the connection off, so that no
/// reader takes a part for the whole.
fn sent(
    pieces: Pieces,
    place: OwnedSemaphorePermit,
) -> impl futures_util::Stream<Item = Result<Bytes, ExportEnd>> {
    let (sender, mut receiver) = mpsc::channel(1);
    actix_web::rt::spawn(async move {
        let _place = place;
        let parts = pieces.map(|piece| piece.map_or_else(Part::Failed, Part::Bytes));
        for part in parts.chain([Part::End]) {
            if !matches!(timeout(STUCK, sender.send(part)).await, Ok(Ok(()))) {
                return;
            }
        }
    });
    stream! {
        loop {
            match receiver.recv().await {
                Some(Part::Bytes(bytes)) => yield Ok(bytes),
                Some(Part::End) => break,
                Some(Part::Failed(error)) => {
                    yield Err(ExportEnd::Failed(error));
                    break;
                }
                None => {
                    yield Err(ExportEnd::Stuck);
                    break;
                }
            }
        }
    }
}

/// Why a body was broken off.
#[derive(Debug, thiserror::Error)]
enum ExportEnd {
    #[error(transparent)]
    Failed(ExportError),
    #[error("the reader took nothing for {} s", STUCK.as_secs())]
    Stuck,
}

impl From<FormatError> for ApiError {
    fn from(error: FormatError) -> Self {
        let text = error.to_string();
        match error {
            FormatError::Unknown(_) => Self::bad_request("invalid_query", text).with("parameter", "format"),
            FormatError::NotAcceptable(_) => Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", text),
        }
    }
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "export_failed",
            error.to_string(),
        )
    }
}
