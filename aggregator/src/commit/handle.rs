//! The sending half of the commit thread: what sessions and the window engine hold.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tributary_shared::ids::{LaneKey, Seq};

use super::letters::{DiscardRequest, PreparedReplay, SettleAnswer};
use super::messages::{CommitAnswer, CommitError, Committed, LaneState, LogPos, Prepared};
use crate::audit::Act;

/// Commands that wait for the commit thread. Two full groups: while one is written, the next one gathers.
pub(super) const QUEUE: usize = 128;
/// Memory of the batches that wait for the commit thread, in KiB: two full groups, stored and decoded.
const QUEUE_KIB: u32 = 64 << 10;

pub(super) type Reply<T> = oneshot::Sender<Result<T, CommitError>>;
/// Committed entries on their way to the window engine.
pub type Feed = mpsc::Sender<Arc<Committed>>;

/// What the commit thread does.
#[derive(Debug)]
pub(super) enum Command {
    OpenLane {
        key: LaneKey,
        next_seq: Seq,
        reply: Reply<LaneState>,
    },
    Commit {
        batch: Box<Prepared>,
        room: OwnedSemaphorePermit,
        reply: Reply<CommitAnswer>,
    },
    Replay {
        batch: Box<PreparedReplay>,
        room: OwnedSemaphorePermit,
        reply: Reply<SettleAnswer>,
    },
    Discard {
        request: DiscardRequest,
        reply: Reply<SettleAnswer>,
    },
    Attach {
        feed: Feed,
        reply: Reply<LogPos>,
    },
    /// Makes a leaf of the audit, and signs a head that covers it.
    Record {
        act: Act,
        reply: Reply<u64>,
    },
    /// Signs a head of the audit, if there are leaves that none covers.
    Sign {
        reply: Reply<()>,
    },
    /// Entries up to here are needed for no view's recovery.
    Covered(LogPos),
    Stop,
}

/// A handle on the commit thread; clones share its queue.
#[derive(Debug, Clone)]
pub struct CommitHandle {
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    committed: watch::Receiver<LogPos>,
    head: watch::Receiver<Option<Arc<str>>>,
}

/// An answer that is still to come. Dropping it does not take the batch back.
#[derive(Debug)]
pub struct PendingAnswer(oneshot::Receiver<Result<CommitAnswer, CommitError>>);

impl Future for PendingAnswer {
    type Output = Result<CommitAnswer, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(CommitError::Stopped)))
    }
}

impl CommitHandle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        committed: watch::Receiver<LogPos>,
        head: watch::Receiver<Option<Arc<str>>>,
    ) -> Self {
        Self {
            commands,
            room: Arc::new(Semaphore::new(QUEUE_KIB as usize)),
            committed,
            head,
        }
    }

    async fn send(&self, command: Command) -> Result<(), CommitError> {
        self.commands
            .send(command)
            .await
            .map_err(|_| CommitError::Stopped)
    }

    /// Where a lane stands; gives it its number at first contact. What is told is durable. `next_seq` is the
    /// seq that the agent will give its next event: at or below the mark, the agent is behind its own past
    /// and must begin a new epoch (it sees that in the answer; the log only notes it).
    ///
    /// # Errors
    /// [`CommitError::Unavailable`] when nothing can be stored just now, [`CommitError::Stopped`].
    pub async fn open_lane(&self, key: LaneKey, next_seq: Seq) -> Result<LaneState, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::OpenLane { key, next_seq, reply }).await?;
        answer.await.unwrap_or(Err(CommitError::Stopped))
    }

    /// Queues a batch, waiting for room. Batches of one lane must be queued in seq order: await this call
    /// before the next one; the answers may be awaited later and come in that order.
    ///
    /// # Errors
    /// [`CommitError::Stopped`].
    pub async fn enqueue(&self, batch: Prepared) -> Result<PendingAnswer, CommitError> {
        let room = self.room(batch.memory()).await?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Commit {
            batch: Box::new(batch),
            room,
            reply,
        })
        .await?;
        Ok(PendingAnswer(answer))
    }

    /// Queues a batch and waits for its answer, which comes after the fsync.
    ///
    /// # Errors
    /// [`CommitError::Stopped`]; a disk that fails is an answer, not an error.
    pub async fn submit(&self, batch: Prepared) -> Result<CommitAnswer, CommitError> {
        self.enqueue(batch).await?.await
    }

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, CommitError> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(QUEUE_KIB).saturating_add(1);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(kib.min(QUEUE_KIB))
            .await;
        room.map_err(|_| CommitError::Stopped)
    }

    /// Makes dead letters valid events: those that are open by then, each once however often this is called. The
    /// answer comes after the fsync.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`] when nothing can be stored just now (nothing was, or all of it: ask again),
    /// [`CommitError::Stopped`].
    pub async fn replay(&self, batch: PreparedReplay) -> Result<SettleAnswer, CommitError> {
        let room = self.room(batch.memory()).await?;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Replay {
            batch: Box::new(batch),
            room,
            reply,
        })
        .await?;
        answer.await.unwrap_or(Err(CommitError::Stopped))
    }

    /// Gives dead letters up: those that are open by then. The answer comes after the fsync.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub async fn discard(&self, request: DiscardRequest) -> Result<SettleAnswer, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Discard { request, reply }).await?;
        answer.await.unwrap_or(Err(CommitError::Stopped))
    }

    /// Records an act in the audit. The answer, the leaf's index, comes after the fsync: an act is done after it.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`] when nothing can be stored just now, [`CommitError::Stopped`].
    pub async fn record(&self, act: Act) -> Result<u64, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Record { act, reply }).await?;
        answer.await.unwrap_or(Err(CommitError::Stopped))
    }

    /// Signs a head of the audit that covers all that is recorded by now.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn sign(&self) -> Result<(), CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Sign { reply }).await?;
        answer.await.unwrap_or(Err(CommitError::Stopped))
    }

    /// The newest signed head of the audit.
    #[must_use]
    pub fn audit_head(&self) -> Option<Arc<str>> {
        self.head.borrow().clone()
    }

    /// The newest committed position, as it rises.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<LogPos> {
        self.committed.clone()
    }

    /// Sends every entry after the returned position to `feed`, in log order, each once; what lies at or
    /// below it is read with [`super::LogReader::scan`]. Replaces an earlier feed. While the feed is full,
    /// the commit thread waits: backpressure. Whoever stops reading must drop the receiver, or nothing is
    /// committed any more.
    ///
    /// # Errors
    /// [`CommitError::Stopped`].
    pub async fn attach(&self, feed: Feed) -> Result<LogPos, CommitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Attach { feed, reply }).await?;
        answer.await.unwrap_or(Err(CommitError::Stopped))
    }

    /// Every view's stored snapshot has the entries up to `pos`: retention may delete them. Does not wait; a hint
    /// that finds the queue full is repeated with the next snapshot.
    pub fn covered(&self, pos: LogPos) {
        let _ = self.commands.try_send(Command::Covered(pos));
    }

    /// Ends the commit thread after what is queued before this call.
    pub async fn stop(&self) {
        // it has stopped already: what was asked for
        let _ = self.send(Command::Stop).await;
    }

    /// Resolves when the commit thread has ended, asked to or not.
    pub async fn stopped(&self) {
        self.commands.closed().await;
    }
}
