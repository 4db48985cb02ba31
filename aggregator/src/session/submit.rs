//! Queues batches for the commit in the order in which the session put them, and brings the answers back.

use actix::Addr;
use tokio::sync::mpsc;
use tributary_shared::protocol::{CommitOutcome, Generation};
use tributary_shared::wire::RefuseCode;

use super::Session;
use super::messages::Answered;
use crate::commit::{CommitAnswer, CommitError, CommitHandle, Prepared};

/// How long a gateway waits before it tries a store again that cannot store.
const RETRY_AFTER_MS: u32 = 1_000;

/// A batch in its lane's order.
#[derive(Debug)]
pub(super) struct Submission {
    pub batch: Box<Prepared>,
    pub generation: Generation,
}

/// Runs until the session drops its sender, or the commit log stops.
pub(super) async fn submit(mut queue: mpsc::Receiver<Submission>, commit: CommitHandle, session: Addr<Session>) {
    while let Some(Submission { batch, generation }) = queue.recv().await {
        let (lane_no, first) = (batch.lane(), batch.range().first);
        let Ok(pending) = commit.enqueue(*batch).await else { return };
        let session = session.clone();
        actix::spawn(async move {
            let outcome = outcome(pending.await, first);
            // a session that ended needs no answer: its agents hear the mark when they open the lane again
            let _ = session.send(Answered { lane_no, generation, outcome }).await;
        });
    }
}

fn outcome(answer: Result<CommitAnswer, CommitError>, first: u64) -> CommitOutcome {
    match answer {
        Ok(CommitAnswer::Committed { mark, .. }) => CommitOutcome::Committed { mark },
        Ok(CommitAnswer::Refused { expected, code, message, retry_after_ms }) => {
            CommitOutcome::Refused { expected, code, message, retry_after_ms }
        }
        Err(error) => CommitOutcome::Refused {
            expected: first,
            code: RefuseCode::Unavailable,
            message: error.to_string(),
            retry_after_ms: RETRY_AFTER_MS,
        },
    }
}

