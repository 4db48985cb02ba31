//! Queues batches for the commit in the order in which the session put them, and brings the answers back.

use actix::Addr;
use tokio::sync::mpsc;
use tributary_shared::ids::{GatewayId, LaneKey, LineageId};
use tributary_shared::protocol::{CommitOutcome, Generation};
use tributary_shared::telemetry::{BatchSpan, Stage, attr};
use tributary_shared::time::now_millis;
use tributary_shared::wire::{BatchContent, RefuseCode, SchemaRef, SchemaUse};

use super::Session;
use super::messages::Answered;
use crate::commit::{CommitAnswer, CommitError, CommitHandle, Prepared};
use crate::metadata::Metadata;
use crate::registry::Registry;

/// How long a gateway waits before it tries a store again that cannot store.
const RETRY_AFTER_MS: u32 = 1_000;

/// Where it is counted what was committed.
#[derive(Debug, Clone)]
pub(super) struct Books {
    pub registry: Registry,
    pub metadata: Metadata,
}

/// A batch in its lane's order.
#[derive(Debug)]
pub(super) struct Submission {
    pub batch: Box<Prepared>,
    pub generation: Generation,
}

/// Runs until the session drops its sender, or the commit log stops.
pub(super) async fn submit(
    mut queue: mpsc::Receiver<Submission>,
    commit: CommitHandle,
    books: Books,
    session: Addr<Session>,
) {
    while let Some(Submission {
        mut batch,
        generation,
    }) = queue.recv().await
    {
        let (lane_no, first, writer) = (batch.lane(), batch.range().first, batch.header().writer);
        let span = commit_span(&batch);
        batch.set_traceparent(span.traceparent_or(batch.header().traceparent.as_deref()));
        let written = Written::of(&batch);
        let Ok(pending) = commit.enqueue(*batch).await else {
            return;
        };
        let (session, books) = (session.clone(), books.clone());
        actix::spawn(async move {
            let answer = pending.await;
            written.count(&books, &answer);
            end_span(span, &answer);
            let outcome = outcome(answer, first, writer);
            // a session that ended needs no answer: its agents hear the mark when they open the lane again
            let _ = session
                .send(Answered {
                    lane_no,
                    generation,
                    outcome,
                })
                .await;
        });
    }
}

/// Which schemas a batch's rows were written with: the registry counts who still uses which version.
#[derive(Debug)]
struct Written {
    key: LaneKey,
    gateway: GatewayId,
    schema: Option<SchemaRef>,
    usage: Vec<SchemaUse>,
    rows: bool,
}

impl Written {
    fn of(batch: &Prepared) -> Self {
        let header = batch.header();
        Self {
            key: batch.key().clone(),
            gateway: header.gateway.clone(),
            schema: header.schema,
            usage: header.usage.clone(),
            rows: !matches!(header.content, BatchContent::Dropped { .. }),
        }
    }

    /// Counts what was committed. Of a batch that was trimmed, no schema is counted for more rows than were left.
    fn count(&self, Books { registry, metadata }: &Books, answer: &Result<CommitAnswer, CommitError>) {
        let Ok(CommitAnswer::Committed {
            applied: Some(applied),
            ..
        }) = answer
        else {
            return;
        };
        let (LaneKey { agent, stream, .. }, now) = (&self.key, now_millis());
        let most = applied.count();
        if self.rows {
            metadata.passed(&self.key, &self.gateway, most, now);
        }
        for used in &self.usage {
            let rows = u64::from(used.rows).min(most);
            registry.note_use(stream, agent, used.schema, rows, now);
        }
        if let Some(schema) = self.schema.filter(|_| self.rows && self.usage.is_empty()) {
            registry.note_use(stream, agent, schema, most, now);
        }
    }
}

fn commit_span(batch: &Prepared) -> BatchSpan {
    let header = batch.header();
    let span = BatchSpan::child_of_header(header.traceparent.as_deref(), Stage::Commit, now_millis());
    if !span.is_recording() {
        return span;
    }
    span.text(attr::LANE, batch.key())
        .text(attr::STREAM, &batch.key().stream)
        .number(attr::LANE_NO, header.lane.0)
        .number(attr::FIRST_SEQ, header.first_seq)
        .number(attr::LAST_SEQ, header.range().last)
        .number(attr::EVENTS, header.count)
        .number(attr::VALID, header.valid())
        .number(attr::DEAD, header.dead_seqs.len())
        .lineage(LineageId::new(header.lane, header.first_seq))
        .maybe_number(attr::SCHEMA_ID, header.schema.map(|schema| schema.id))
        .maybe_number(attr::SCHEMA_VERSION, header.schema.map(|schema| schema.version))
}

fn end_span(span: BatchSpan, answer: &Result<CommitAnswer, CommitError>) {
    let mut span = match answer {
        Ok(CommitAnswer::Committed { pos, .. }) => {
            let span = span.maybe_number(attr::LOG_POSITION, pos.map(|pos| pos.0));
            return span.end_at(now_millis());
        }
        Ok(CommitAnswer::Refused { code, message, .. }) => {
            span.text(attr::REFUSED, code.as_str()).fail(message)
        }
        Err(error) => span.fail(error),
    };
    // the agent hears of the refusal, and has the gateway export its part
    let _ = span.promote();
    span.end_at(now_millis());
}

fn outcome(answer: Result<CommitAnswer, CommitError>, first: u64, writer: u64) -> CommitOutcome {
    match answer {
        Ok(CommitAnswer::Committed { mark, .. }) => CommitOutcome::Committed { mark, writer },
        Ok(CommitAnswer::Refused {
            expected,
            code,
            message,
            retry_after_ms,
        }) => CommitOutcome::Refused {
            expected,
            code,
            message,
            retry_after_ms,
        },
        Err(error) => CommitOutcome::Refused {
            expected: first,
            code: RefuseCode::Unavailable,
            message: error.to_string(),
            retry_after_ms: RETRY_AFTER_MS,
        },
    }
}
