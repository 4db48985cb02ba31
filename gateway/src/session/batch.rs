//! The way of one batch through the gateway: header, admission, body, schema, decode, forward. Only the
//! aggregator answers the agent, so a batch that is lost here on the way is simply sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Addr;
use bytes::Bytes;
use quinn::RecvStream;
use tokio::sync::Semaphore;
use tributary_shared::ids::{GatewayId, LineageId};
use tributary_shared::metrics::{self, MetricName};
use tributary_shared::telemetry::{BatchSpan, Stage, attr, tracing_on};
use tributary_shared::time::{Millis, now_millis};
use tributary_shared::transport::{TransportError, read_batch_body, read_batch_header, send_batch};
use tributary_shared::wire::{
    BatchContent, BatchHeader, CommitHeader, MAX_BATCH_HEADER, RefuseCode, SchemaRef, Segment, SegmentOrigin,
    WireError, frame,
};

use super::Session;
use super::links::Links;
use super::messages::{Admission, Admit, Ended, Promoted, RefuseBatch};
use crate::pool::DecodePool;
use crate::schemas::SchemaBook;
use crate::upstream::{Link, Sent, SessionId, Upstream};
use tributary_schema::decode::{DecodeError, DecodeLimits, Decoded, Decoder, encode_dead, split_body};

/// An agent that opens a batch stream must finish it within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an agent waits before it sends a batch again that this gateway could not judge.
const RETRY_AFTER_MS: u32 = 1_000;

/// What the batches of one session need.
#[derive(Debug, Clone)]
pub struct BatchContext {
    pub id: SessionId,
    pub gateway: GatewayId,
    pub session: Addr<Session>,
    pub upstream: Addr<Upstream>,
    pub link: Link,
    pub schemas: SchemaBook,
    pub pool: DecodePool,
    /// Bytes of bodies in work, all sessions together.
    pub budget: Arc<Semaphore>,
    pub max_in_flight: usize,
}

/// A batch that cannot go on, and who is told what.
#[derive(Debug)]
enum Trouble {
    /// The agent is told to send it again.
    Refuse(RefuseCode, String),
    /// It will be sent again anyway: the connection or the aggregator is gone.
    Gone,
}

/// Accepts batch streams until the connection ends, at most `max_in_flight` at a time.
pub async fn accept_batches(connection: quinn::Connection, ctx: BatchContext) {
    let slots = Arc::new(Semaphore::new(ctx.max_in_flight));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let stream = match connection.accept_uni().await {
            Ok(stream) => stream,
            Err(error) => {
                let ended = Ended {
                    reason: error.to_string(),
                    protocol_error: false,
                };
                let _ = ctx.session.send(ended).await;
                return;
            }
        };
        let ctx = ctx.clone();
        actix::spawn(async move {
            one_batch(stream, &ctx).await;
            drop(slot);
        });
    }
}

async fn one_batch(mut stream: RecvStream, ctx: &BatchContext) {
    let header: BatchHeader = match tokio::time::timeout(BODY_TIMEOUT, read_batch_header(&mut stream)).await {
        Ok(Ok(header)) => header,
        Ok(Err(TransportError::Wire(error))) => {
            let ended = Ended {
                reason: error.to_string(),
                protocol_error: true,
            };
            let _ = ctx.session.send(ended).await;
            return;
        }
        Ok(Err(_)) | Err(_) => return,
    };
    let Ok(Some(admission)) = ctx.session.send(Admit(header.clone())).await else {
        let _ = stream.stop(quinn::VarInt::from_u32(0));
        return;
    };
    if let Err(Trouble::Refuse(code, message)) = admitted(&mut stream, &header, &admission, ctx).await {
        let retry_after_ms = if code == RefuseCode::Unavailable {
            RETRY_AFTER_MS
        } else {
            0
        };
        let refuse = RefuseBatch {
            header,
            code,
            message,
            retry_after_ms,
        };
        let _ = ctx.session.send(refuse).await;
    }
}

async fn admitted(
    stream: &mut RecvStream,
    header: &BatchHeader,
    admission: &Admission,
    ctx: &BatchContext,
) -> Result<(), Trouble> {
    let begun = now_millis();
    let _bytes = ctx
        .budget
        .acquire_many(header.body_len.max(1))
        .await
        .map_err(|_| Trouble::Gone)?;
    let judged = judge(stream, header, admission, ctx).await;
    let Judged {
        mut commit,
        body,
        links,
    } = match judged {
        Ok(judged) => judged,
        Err(trouble) => {
            refused_span(header, &trouble, admission, begun, ctx);
            return Err(trouble);
        }
    };
    let mut span = links.on(admit_span(header, &commit, admission));
    if !commit.dead_seqs.is_empty() {
        tell_agent(span.promote(), ctx);
    }
    commit.traceparent = span.traceparent_or(header.traceparent.as_deref());
    let forwarded = forward(header, &commit, body, ctx).await;
    if let Err(trouble) = &forwarded {
        span = failed(span, trouble);
        tell_agent(span.promote(), ctx);
    }
    span.end_at(now_millis());
    forwarded
}

/// A batch that was decoded, ready to go on.
#[derive(Debug)]
struct Judged {
    commit: CommitHeader,
    body: [Bytes; 2],
    links: Links,
}

async fn judge(
    stream: &mut RecvStream,
    header: &BatchHeader,
    admission: &Admission,
    ctx: &BatchContext,
) -> Result<Judged, Trouble> {
    let body = read_batch_body(stream, header.body_len as usize, header.body_crc);
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body,
        Ok(Err(TransportError::Wire(error))) => {
            return Err(Trouble::Refuse(RefuseCode::Malformed, error.to_string()));
        }
        Ok(Err(_)) | Err(_) => return Err(Trouble::Gone),
    };
    let received_at = now_millis();
    let (decoded, schema) = match &header.content {
        BatchContent::Dropped { .. } => (None, None),
        BatchContent::Rows => {
            let (decoded, schema) = decode(header, body, admission, ctx).await?;
            (Some(decoded), schema)
        }
        BatchContent::Columns => {
            let message = "this gateway takes rows, not columns".to_owned();
            return Err(Trouble::Refuse(RefuseCode::Malformed, message));
        }
    };
    let links = match &decoded {
        Some(decoded) if tracing_on() => Links::of(decoded),
        _ => Links::default(),
    };
    let (columns, dead, usage) =
        decoded.map_or_else(Default::default, |d| (Bytes::from(d.columns), d.dead, d.usage));
    let malformed = |error: WireError| Trouble::Refuse(RefuseCode::Malformed, error.to_string());
    let dead_body = Bytes::from(encode_dead(&dead).map_err(malformed)?);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&columns);
    crc.update(&dead_body);
    let commit = CommitHeader {
        lane: admission.lane_no,
        first_seq: header.first_seq,
        count: header.count,
        writer: header.writer,
        after_writer: header.after_writer,
        content: header.content.clone(),
        dead_seqs: dead.iter().map(|letter| letter.seq).collect(),
        schema,
        columns_len: fits(columns.len())?,
        dead_len: fits(dead_body.len())?,
        body_crc: crc.finalize(),
        gateway: ctx.gateway.clone(),
        segments: header.segments.iter().map(origin).collect(),
        sent_at: header.sent_at,
        received_at,
        admitted_at: now_millis(),
        traceparent: None,
        contexts: header.contexts.checked(header.range()),
        attempts: header.attempts.checked(header.range()),
        usage,
    };
    Ok(Judged {
        commit,
        body: [columns, dead_body],
        links,
    })
}

/// The agent holds parts of a trace that this gateway has a reason to export.
fn tell_agent(promoted: Option<String>, ctx: &BatchContext) {
    if let Some(trace) = promoted {
        // a session that is that busy tells its agent of the next one
        let _ = ctx.session.try_send(Promoted(trace));
    }
}

fn failed(span: BatchSpan, trouble: &Trouble) -> BatchSpan {
    match trouble {
        Trouble::Refuse(code, message) => span.text(attr::REFUSED, code.as_str()).fail(message),
        Trouble::Gone => span.fail("the connection to the aggregator was lost"),
    }
}

/// The span of a batch that was not judged. One whose connection ended is told of by its agent.
fn refused_span(
    header: &BatchHeader,
    trouble: &Trouble,
    admission: &Admission,
    begun: Millis,
    ctx: &BatchContext,
) {
    let span = BatchSpan::child_of_header(header.traceparent.as_deref(), Stage::Admit, begun);
    if !span.is_recording() || matches!(trouble, Trouble::Gone) {
        return;
    }
    let span = span
        .text(attr::LANE, &admission.key)
        .text(attr::STREAM, &admission.key.stream)
        .text(attr::GATEWAY, &ctx.gateway)
        .number(attr::FIRST_SEQ, header.first_seq)
        .number(attr::LAST_SEQ, header.range().last)
        .number(attr::EVENTS, header.count);
    let mut span = failed(span, trouble);
    tell_agent(span.promote(), ctx);
    span.end_at(now_millis());
}

fn admit_span(header: &BatchHeader, commit: &CommitHeader, admission: &Admission) -> BatchSpan {
    let span = BatchSpan::child_of_header(header.traceparent.as_deref(), Stage::Admit, commit.received_at);
    if !span.is_recording() {
        return span;
    }
    span.text(attr::LANE, &admission.key)
        .text(attr::STREAM, &admission.key.stream)
        .text(attr::GATEWAY, &commit.gateway)
        .number(attr::LANE_NO, admission.lane_no.0)
        .number(attr::FIRST_SEQ, commit.first_seq)
        .number(attr::LAST_SEQ, commit.range().last)
        .number(attr::EVENTS, commit.count)
        .number(attr::VALID, commit.valid())
        .number(attr::DEAD, commit.dead_seqs.len())
        .lineage(LineageId::new(admission.lane_no, commit.first_seq))
        .maybe_number(attr::SCHEMA_ID, commit.schema.map(|schema| schema.id))
        .maybe_number(attr::SCHEMA_VERSION, commit.schema.map(|schema| schema.version))
}

fn fits(len: usize) -> Result<u32, Trouble> {
    u32::try_from(len)
        .map_err(|_| Trouble::Refuse(RefuseCode::Malformed, "the batch grows beyond 4 GiB".to_owned()))
}

fn origin(segment: &Segment) -> SegmentOrigin {
    let Segment {
        count,
        collected_at,
        spooled_at,
        origin,
        ..
    } = segment.clone();
    SegmentOrigin {
        count,
        collected_at,
        spooled_at,
        origin,
    }
}

async fn decode(
    header: &BatchHeader,
    body: Bytes,
    admission: &Admission,
    ctx: &BatchContext,
) -> Result<(Decoded, Option<SchemaRef>), Trouble> {
    let stream = &admission.key.stream;
    let unavailable = |error: String| Trouble::Refuse(RefuseCode::Unavailable, error);
    let schema = ctx
        .schemas
        .get(stream)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let schema_ref = schema.schema_ref();
    let malformed = |error: String| Trouble::Refuse(RefuseCode::Malformed, error);
    let mut writers = ctx.schemas.known_writers(stream);
    let mut asked = false;
    loop {
        let begun = Instant::now();
        let (header, body) = (header.clone(), body.clone());
        let (schema, known) = (Arc::clone(&schema), Arc::clone(&writers));
        let job = move |decoder: &mut Decoder| {
            let parts = split_body(&header, &body)?;
            let limits = DecodeLimits::default();
            decoder.decode_with(&schema, &known, header.first_seq, &parts, &limits)
        };
        let decoded = ctx
            .pool
            .run(stream, job)
            .await
            .ok_or_else(|| malformed("the batch broke the decoder".to_owned()))?;
        match decoded {
            Ok(decoded) => {
                count_decoded(stream.as_str(), &decoded, begun);
                return Ok((decoded, schema_ref));
            }
            // with their answers every id is known, one way or the other
            Err(DecodeError::UnknownWriters(ids)) if !asked => {
                asked = true;
                let answered = ctx.schemas.writers_of(stream, &ids).await;
                writers = Arc::new(answered.map_err(|error| unavailable(error.to_string()))?);
            }
            Err(error) => return Err(malformed(error.to_string())),
        }
    }
}

fn count_decoded(stream: &str, decoded: &Decoded, begun: Instant) {
    metrics::histogram(MetricName::GatewayDecodeSeconds, &[]).observe(begun.elapsed().as_secs_f64());
    metrics::counter(MetricName::GatewayBatches, &[]).inc();
    metrics::counter(MetricName::GatewayValid, &[("stream", stream)]).inc_by(u64::from(decoded.valid));
    if !decoded.dead.is_empty() {
        metrics::counter(MetricName::GatewayRejected, &[("stream", stream)])
            .inc_by(decoded.dead.len() as u64);
    }
}

async fn forward(
    header: &BatchHeader,
    commit: &CommitHeader,
    mut body: [Bytes; 2],
    ctx: &BatchContext,
) -> Result<(), Trouble> {
    let frame = frame::encode("commit header", commit, MAX_BATCH_HEADER)
        .map_err(|error| Trouble::Refuse(RefuseCode::Malformed, error.to_string()))?;
    let Some(connection) = ctx.link.borrow().clone() else {
        return Err(Trouble::Gone);
    };
    connection
        .credit
        .acquire()
        .await
        .map_err(|_| Trouble::Gone)?
        .forget();
    let sent = Sent {
        session: ctx.id,
        lane: header.lane,
        last: header.range().last,
        serial: connection.serial,
    };
    if !ctx.upstream.send(sent).await.unwrap_or(false) {
        connection.credit.add_permits(1);
        return Err(Trouble::Gone);
    }
    send_batch(&connection.quic, frame, &mut body)
        .await
        .map_err(|_| Trouble::Gone)
}
