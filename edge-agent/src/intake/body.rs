//! Reads request bodies within their limits of size, memory and time.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tributary_shared::wire::MAX_EVENT_BYTES;

use super::binary;
use super::payload::{Events, LineBody, document};
use super::refusal::Refusal;
use crate::check::Check;

/// Memory for bodies and the events made of them, all requests together, in bytes. The largest JSON document
/// is in memory twice (as text and as events); it may come alone, several small ones together.
const BODY_BUDGET: usize = 16 << 20;
/// Unit in which the budget is given out.
const BUDGET_UNIT: usize = 1 << 10;
/// How long a request waits for its share before it is sent away.
const BUDGET_WAIT: Duration = Duration::from_secs(5);
/// A client that sends nothing for so long has gone away half-way.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that one body may take: a trickle must not hold memory for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much more of a refused body is read, and for how long at most: a client that is still writing would see
/// a reset connection in place of the answer that tells it why.
const LINGER_BYTES: usize = 32 << 20;
const LINGER: Duration = Duration::from_secs(5);
/// Documents above this are read on another thread, so that the agent's own is not held up.
const INLINE_DOCUMENT: usize = 64 << 10;

/// The kinds of body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Lines,
    Document,
    /// One binary event.
    Single,
    /// Binary events behind their lengths.
    Rows,
}

impl Format {
    /// From a `Content-Type`. One must be given: a guess could take a document for a line, and a web page on
    /// this host's browser can post to loopback without asking only if it does not name one of these.
    pub(super) fn of(content_type: Option<&str>) -> Result<Self, Refusal> {
        let media = content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        match media.to_ascii_lowercase().as_str() {
            "application/x-ndjson" | "application/ndjson" => Ok(Self::Lines),
            "application/json" => Ok(Self::Document),
            "application/octet-stream" => Ok(Self::Single),
            "application/x-tributary-rows" => Ok(Self::Rows),
            "" => Err(Refusal::MediaType {
                found: "missing".to_owned(),
            }),
            other => Err(Refusal::MediaType {
                found: other.chars().take(80).collect(),
            }),
        }
    }
}

/// The memory that all requests share.
#[derive(Debug, Clone)]
pub(super) struct BodyReader {
    budget: Arc<Semaphore>,
    max_request: usize,
}

impl BodyReader {
    pub(super) fn new(max_request: usize) -> Self {
        Self {
            budget: Arc::new(Semaphore::new(BODY_BUDGET / BUDGET_UNIT)),
            max_request,
        }
    }

    /// Reads the body to events. Hold the permit as long as the events: it is their memory.
    pub(super) async fn read(
        &self,
        upload: &mut Upload,
        format: Format,
        check: Option<Check>,
    ) -> Result<(Events, OwnedSemaphorePermit), Refusal> {
        let declared = upload.body.size_hint().exact();
        let over = declared.is_some_and(|len| len > self.max_request as u64);
        if over {
            return Err(Refusal::TooLarge {
                limit: self.max_request,
            });
        }
        // it is at most max_request
        let expected = declared.map_or(0, |len| usize::try_from(len).unwrap_or(self.max_request));
        let permit = self
            .reserve(declared.map_or(self.max_request, |_| expected), format)
            .await?;
        upload.begun = true;
        let mut body = Limited {
            body: &mut upload.body,
            left: self.max_request,
            limit: self.max_request,
            deadline: deadline(),
        };
        let events = match format {
            Format::Lines => {
                let mut lines = LineBody::new(MAX_EVENT_BYTES, expected, check);
                while let Some(chunk) = body.chunk().await? {
                    lines.feed(&chunk)?;
                }
                lines.finish()?
            }
            Format::Document => read_document(body.whole(expected).await?, check).await?,
            Format::Single => binary::single(&body.whole(expected).await?, MAX_EVENT_BYTES, check)?,
            Format::Rows => binary::rows(&body.whole(expected).await?, MAX_EVENT_BYTES, check)?,
        };
        Ok((events, permit))
    }

    async fn reserve(&self, len: usize, format: Format) -> Result<OwnedSemaphorePermit, Refusal> {
        let bytes = if format == Format::Lines { len } else { 2 * len };
        // clamped to the budget, so it fits
        let units = bytes.clamp(BUDGET_UNIT, BODY_BUDGET).div_ceil(BUDGET_UNIT) as u32;
        let reserved = timeout(BUDGET_WAIT, Arc::clone(&self.budget).acquire_many_owned(units)).await;
        reserved.ok().and_then(Result::ok).ok_or(Refusal::Busy)
    }
}

fn deadline() -> Instant {
    Instant::now() + BODY_TIMEOUT
}

async fn read_document(whole: Vec<u8>, check: Option<Check>) -> Result<Events, Refusal> {
    if whole.len() <= INLINE_DOCUMENT {
        return Ok(document(&whole, MAX_EVENT_BYTES, check)?);
    }
    let read = tokio::task::spawn_blocking(move || document(&whole, MAX_EVENT_BYTES, check)).await;
    Ok(read.map_err(|error| Refusal::Broken {
        reason: error.to_string(),
    })??)
}

/// The body of a request, whose answer may come before its end.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    /// The client sends the body only once it is asked for (`Expect: 100-continue`).
    waits: bool,
    begun: bool,
}

impl Upload {
    pub(super) fn new(body: Incoming, waits: bool) -> Self {
        Self {
            body,
            waits,
            begun: false,
        }
    }

    /// Reads on and forgets, within bounds, so that the client hears the answer.
    pub(super) async fn discard(mut self) {
        if self.waits && !self.begun {
            return;
        }
        let until = Instant::now() + LINGER;
        let mut left = LINGER_BYTES;
        while let Ok(Some(Ok(frame))) = timeout_at(until, self.body.frame()).await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(len) else { return };
            left = rest;
        }
    }
}

/// A body that gives no more than it may, and not forever.
struct Limited<'a> {
    body: &'a mut Incoming,
    left: usize,
    limit: usize,
    deadline: Instant,
}

impl Limited<'_> {
    async fn whole(&mut self, expected: usize) -> Result<Vec<u8>, Refusal> {
        let mut whole = Vec::with_capacity(expected);
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let until = self.deadline.min(Instant::now() + CHUNK_TIMEOUT);
            let frame = timeout_at(until, self.body.frame())
                .await
                .map_err(|_| Refusal::Timeout)?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Refusal::Broken {
                reason: error.to_string(),
            })?;
            // trailers say nothing to us
            let Ok(chunk) = frame.into_data() else { continue };
            self.left = self
                .left
                .checked_sub(chunk.len())
                .ok_or(Refusal::TooLarge { limit: self.limit })?;
            return Ok(Some(chunk));
        }
    }
}
