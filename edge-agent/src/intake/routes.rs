//! Answers requests.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use serde::Serialize;
use tributary_shared::ids::{AgentId, Epoch, Seq, StreamName};
use tributary_shared::metrics::{self, MetricName, counter};
use tributary_shared::telemetry::SpanCtx;
use tributary_shared::time::now_millis;

use super::body::{BodyReader, Format, Upload};
use super::messages::IntakeContext;
use super::payload::PayloadError;
use super::refusal::Refusal;
use super::status::Status;
use crate::spool::{Accepted, NewEvents, SpoolError, SpoolHealth, WhenFull};

type Answer = Response<Full<Bytes>>;

/// Where W3C Trace Context puts the caller's span.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: &str = "application/json";
/// How long a request of a `block` stream waits for room: shorter than what producers give an answer.
const BLOCK_WAIT: Duration = Duration::from_secs(2);
const READ_METHODS: &str = "GET, HEAD";

/// Everything that requests need, shared by all connections.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    context: IntakeContext,
    bodies: BodyReader,
}

/// The answer to events that are on disk.
#[derive(Debug, Serialize)]
struct Taken<'a> {
    accepted: u64,
    agent: &'a AgentId,
    stream: &'a StreamName,
    epoch: Epoch,
    first_seq: Seq,
    last_seq: Seq,
    /// How many of them the stream's policy dropped at once: the ledger names which.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
}

impl Routes {
    pub(super) fn new(context: IntakeContext) -> Self {
        let bodies = BodyReader::new(context.max_request);
        Self { context, bodies }
    }

    /// Never fails: what goes wrong becomes an answer.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let mut upload = Upload::new(body, head.headers.contains_key(EXPECT));
        let request = Request::from_parts(head, ());
        match self.route(&request, &mut upload).await {
            Ok(answer) => answer,
            Err(refusal) => {
                counter(MetricName::IntakeRejected, &[("code", refusal.code())]).inc();
                tracing::debug!(code = refusal.code(), reason = %refusal, "request refused");
                upload.discard().await;
                refusal.response()
            }
        }
    }

    async fn route(self, request: &Request<()>, upload: &mut Upload) -> Result<Answer, Refusal> {
        let path = request.uri().path();
        if let Some(stream) = path
            .strip_prefix("/v1/streams/")
            .and_then(|rest| rest.strip_suffix("/events"))
        {
            if request.method() != Method::POST {
                return Err(Refusal::Method { allow: "POST" });
            }
            let stream = StreamName::new(stream)?;
            return self.take(stream, request, upload).await;
        }
        let read: fn(&Self) -> Result<Answer, Refusal> = match path {
            "/v1/status" => Self::status,
            "/healthz" => Self::alive,
            "/readyz" => Self::ready,
            "/metrics" => Self::metrics,
            _ => return Err(Refusal::NotFound),
        };
        // the server leaves the body of an answer to HEAD away
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            read(&self)
        } else {
            Err(Refusal::Method { allow: READ_METHODS })
        }
    }

    /// Takes events in whole or not at all, and answers after the commit that holds them.
    async fn take(
        self,
        stream: StreamName,
        request: &Request<()>,
        upload: &mut Upload,
    ) -> Result<Answer, Refusal> {
        if let Some(encoding) =
            text(request, CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("identity"))
        {
            return Err(Refusal::Encoding {
                found: encoding.chars().take(80).collect(),
            });
        }
        let format = Format::of(text(request, CONTENT_TYPE))?;
        self.wait_for_room(&stream).await;
        let checks = &self.context.checks;
        let read = self.bodies.read(upload, format, checks.begin(&stream)).await;
        if let Err(Refusal::Payload(PayloadError::Invalid { .. })) = &read {
            checks.refused(&stream);
        }
        let (events, _memory) = read?;
        let (rows, count, tally) = (events.rows, events.count, events.tally);
        let origin = Some("http".into());
        let events = NewEvents {
            stream: stream.clone(),
            origin,
            traceparent: trace_context(request),
            collected_at: now_millis(),
            rows,
            count,
            position: None,
        };
        let Accepted {
            agent,
            stream,
            epoch,
            range,
            dropped,
        } = self.context.spool.append(events).await?;
        checks.taken(&stream, &tally);
        counter(
            MetricName::IntakeEvents,
            &[("input", "http"), ("stream", stream.as_str())],
        )
        .inc_by(range.count());
        let (accepted, first_seq, last_seq) = (range.count(), range.first, range.last);
        Ok(json(&Taken {
            accepted,
            agent: &agent,
            stream: &stream,
            epoch,
            first_seq,
            last_seq,
            dropped: (dropped > 0).then_some(dropped),
        }))
    }

    /// A full spool holds a request of a `block` stream back before its body is read: it costs no memory, and
    /// its producer slows down instead of asking again and again.
    async fn wait_for_room(&self, stream: &StreamName) {
        if self.context.spool.policy(stream).when_full == WhenFull::Block {
            let mut status = self.context.spool.watch();
            // whichever way it ends, the append itself says whether there is room
            let _ = tokio::time::timeout(BLOCK_WAIT, status.wait_for(|status| !status.full)).await;
        }
    }

    fn status(&self) -> Result<Answer, Refusal> {
        let spool = self.context.spool.watch().borrow().clone();
        let connection = self.context.connection.borrow().clone();
        let checks = self.context.checks.reports();
        let agent = self.context.spool.agent();
        let heads = self.context.heads.report();
        Ok(json(&Status::new(agent, &connection, &spool, (&checks, &heads))))
    }

    fn alive(&self) -> Result<Answer, Refusal> {
        Ok(json(&serde_json::json!({"status": "ok"})))
    }

    /// Ready to take events: a gateway in sight is not needed for that.
    fn ready(&self) -> Result<Answer, Refusal> {
        match &self.context.spool.watch().borrow().health {
            SpoolHealth::Healthy => Ok(json(&serde_json::json!({"status": "ready"}))),
            SpoolHealth::Failing { reason, .. } => Err(SpoolError::Unavailable(reason.clone()).into()),
        }
    }

    fn metrics(&self) -> Result<Answer, Refusal> {
        Ok(answer(metrics::CONTENT_TYPE, metrics::encode_text().into()))
    }
}

/// The span that a request was sent in. A header that is none is counted and costs nobody an event.
fn trace_context(request: &Request<()>) -> Option<Arc<str>> {
    let text = text(request, TRACEPARENT)?;
    let Some(context) = SpanCtx::parse(text) else {
        counter(MetricName::IntakeBadTraceContexts, &[]).inc();
        return None;
    };
    // as we write it: without what a later version of the header appends
    Some(context.to_string().into())
}

fn text(request: &Request<()>, header: HeaderName) -> Option<&str> {
    // a value that is no text is one that is not known
    request
        .headers()
        .get(header)
        .map(|value| value.to_str().unwrap_or("not text"))
}

fn json(body: &impl Serialize) -> Answer {
    // structs of texts and numbers always serialize
    answer(JSON, serde_json::to_vec(body).unwrap_or_default().into())
}

fn answer(content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
