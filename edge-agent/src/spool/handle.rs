//! The spool as the rest of the agent sees it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tributary_shared::ids::{AgentId, Seq, StreamName};
use tributary_shared::wire::History;

use super::config::SpoolConfig;
use super::messages::{
    Accepted, Block, ForkReason, InputPosition, LaneId, LaneInfo, NewDropped, NewEvents, SpoolError,
    SpoolStatus,
};
use super::policy::StreamPolicy;
use super::queue::{Append, Control, Queue, Queued, Read, Reply};

/// The most raw bytes of one append, and of all appends that wait together: two group commits' worth of
/// tailed lines, and the largest intake request.
pub const MAX_APPEND_BYTES: usize = 8 << 20;
/// An append counts as at least this much, which bounds the number of waiting small ones to 2,048.
const MIN_APPEND_COST: usize = 4 << 10;
/// Waiting commands that are not appends. One shipper and a handful of inputs send them and await each, so
/// this is never reached by design and only guards against a mistake.
const MAX_CONTROLS: usize = 256;

/// The highest seq of each lane that the current session has sent and that is not acknowledged yet.
pub(super) type InFlight = Arc<Mutex<HashMap<LaneId, Seq>>>;

/// Sends commands to the spool's thread. Cheap to clone; the thread ends when the last clone is gone.
///
/// Every method may return [`SpoolError::Closed`] after [`Self::shutdown`], and [`SpoolError::Unavailable`]
/// while the database cannot be used. Dropping a future does not undo its command.
#[derive(Debug, Clone)]
pub struct SpoolHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    agent: AgentId,
    config: SpoolConfig,
    queue: Arc<Queue>,
    append_room: Arc<Semaphore>,
    control_room: Arc<Semaphore>,
    in_flight: InFlight,
    status: watch::Receiver<SpoolStatus>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl SpoolHandle {
    pub(super) fn new(
        agent: AgentId,
        config: SpoolConfig,
        queue: Arc<Queue>,
        in_flight: InFlight,
        status: watch::Receiver<SpoolStatus>,
    ) -> Self {
        let append_room = Arc::new(Semaphore::new(MAX_APPEND_BYTES));
        let control_room = Arc::new(Semaphore::new(MAX_CONTROLS));
        Self(Arc::new(Inner {
            agent,
            config,
            queue,
            append_room,
            control_room,
            in_flight,
            status,
        }))
    }

    /// The agent that every lane here belongs to.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.0.agent
    }

    /// What is set for a stream.
    #[must_use]
    pub fn policy(&self, stream: &StreamName) -> StreamPolicy {
        self.0.config.policy(stream)
    }

    /// Gives the events their seqs and returns after the commit that holds them is on disk.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where the stream's policy is to wait; [`SpoolError::TooLarge`];
    /// [`SpoolError::TooManyStreams`]; [`SpoolError::Invalid`] when count and rows do not agree. Nothing of a
    /// refused request was taken, its position included.
    pub async fn append(&self, events: NewEvents) -> Result<Accepted, SpoolError> {
        let len = events.rows.len();
        if len > MAX_APPEND_BYTES {
            return Err(SpoolError::TooLarge {
                len: len as u64,
                limit: MAX_APPEND_BYTES as u64,
            });
        }
        self.send_append(len, |reply| Append::Events { events, reply })
            .await
    }

    /// Gives seqs to events that could not be taken, with a drop record: they are missing on purpose, and the
    /// ledger says why.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn append_dropped(&self, dropped: NewDropped) -> Result<Accepted, SpoolError> {
        self.send_append(0, |reply| Append::Dropped { dropped, reply })
            .await
    }

    /// Moves a position without events, e.g. past blank lines.
    ///
    /// # Errors
    /// Those of every method.
    pub async fn append_position(&self, position: InputPosition) -> Result<(), SpoolError> {
        self.send_append(0, |reply| Append::Position { position, reply })
            .await
    }

    /// # Errors
    /// Those of every method.
    pub async fn position(&self, key: String) -> Result<Option<Vec<u8>>, SpoolError> {
        self.send(|reply| Control::GetPosition { key, reply }).await
    }

    /// The positions whose keys start with `prefix`, in key order.
    ///
    /// # Errors
    /// Those of every method.
    pub async fn positions(&self, prefix: String) -> Result<Vec<InputPosition>, SpoolError> {
        self.send(|reply| Control::ListPositions { prefix, reply }).await
    }

    /// # Errors
    /// Those of every method.
    pub async fn forget_position(&self, key: String) -> Result<(), SpoolError> {
        self.send(|reply| Control::ForgetPosition { key, reply }).await
    }

    /// The lane's blocks from the one that holds `from_seq` on, ascending and without gaps. Stops before the
    /// block that would exceed `max_rows` or `max_bytes` (of bodies), but gives at least one if there is one.
    /// The first block may begin below `from_seq`: what the aggregator has already, it trims.
    ///
    /// # Errors
    /// [`SpoolError::UnknownLane`].
    pub async fn read(
        &self,
        lane: LaneId,
        from_seq: Seq,
        max_rows: u32,
        max_bytes: usize,
    ) -> Result<Vec<Block>, SpoolError> {
        let read = Read {
            lane,
            from: from_seq,
            max_rows,
            max_bytes,
        };
        self.send(|reply| Control::Read { read, reply }).await
    }

    /// The aggregator has committed the lane up to `mark`: the mark is stored and what it covers deleted, in
    /// one transaction. A mark at or below the stored one changes nothing.
    ///
    /// # Errors
    /// [`SpoolError::UnknownLane`]; [`SpoolError::MarkAhead`] when the mark covers seqs that were never given out.
    pub async fn commit_mark(&self, lane: LaneId, mark: Seq) -> Result<(), SpoolError> {
        self.send(|reply| Control::CommitMark { lane, mark, reply }).await
    }

    /// The aggregator answered the opening of a lane with `mark`. Call this **before the first batch** of the
    /// lane in a session, and ship the lane that it returns: the same one, or (when the spool turns out to be
    /// behind its own past) a new one in its place, which is to be opened in its turn.
    ///
    /// # Errors
    /// [`SpoolError::UnknownLane`].
    pub async fn lane_opened(
        &self,
        lane: LaneId,
        mark: Seq,
        history: Option<History>,
    ) -> Result<LaneInfo, SpoolError> {
        self.send(|reply| Control::LaneOpened {
            lane,
            mark,
            history,
            reply,
        })
        .await
    }

    /// The aggregator has other events where it had those of a lane that is gone from here, from this seq on: the loss
    /// is named under new seqs. `no` is the retired lane's number.
    ///
    /// # Errors
    /// [`SpoolError::TooManyStreams`].
    pub async fn forgotten_and_taken(&self, no: u64, from: Seq) -> Result<(), SpoolError> {
        self.send(|reply| Control::ForgottenAndTaken { no, from, reply })
            .await
    }

    /// Starts a new epoch in place of the lane and returns it; see [`ForkReason`] for what becomes of held
    /// events. [`Self::lane_opened`] does this by itself where it must.
    ///
    /// # Errors
    /// [`SpoolError::UnknownLane`].
    pub async fn fork_epoch(&self, lane: LaneId, reason: ForkReason) -> Result<LaneInfo, SpoolError> {
        self.send(|reply| Control::Fork { lane, reason, reply }).await
    }

    /// The session has sent the lane up to `up_to`: eviction spares it.
    pub fn set_in_flight(&self, lane: LaneId, up_to: Seq) {
        self.0
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(lane, up_to);
    }

    /// The session has ended: nothing is in flight any more.
    pub fn clear_in_flight(&self) {
        self.0
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The state after the latest commit; changes with each one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<SpoolStatus> {
        self.0.status.clone()
    }

    /// Carries out what is queued, checkpoints and closes the database. Later calls get [`SpoolError::Closed`].
    ///
    /// # Errors
    /// [`SpoolError::Unavailable`] when the database could not be closed in order (nothing accepted is lost:
    /// the WAL has it).
    pub async fn shutdown(&self) -> Result<(), SpoolError> {
        self.send(|reply| Control::Shutdown { reply }).await
    }

    async fn send_append<T>(
        &self,
        len: usize,
        build: impl FnOnce(Reply<T>) -> Append,
    ) -> Result<T, SpoolError> {
        let permit = permit(&self.0.append_room, len.max(MIN_APPEND_COST)).await?;
        let (reply, answer) = oneshot::channel();
        self.0.queue.append(Queued {
            command: build(reply),
            permit,
        })?;
        answer.await.unwrap_or(Err(SpoolError::Closed))
    }

    async fn send<T>(&self, build: impl FnOnce(Reply<T>) -> Control) -> Result<T, SpoolError> {
        let permit = permit(&self.0.control_room, 1).await?;
        let (reply, answer) = oneshot::channel();
        self.0.queue.control(Queued {
            command: build(reply),
            permit,
        })?;
        answer.await.unwrap_or(Err(SpoolError::Closed))
    }
}

async fn permit(room: &Arc<Semaphore>, cost: usize) -> Result<OwnedSemaphorePermit, SpoolError> {
    // the cost is at most MAX_APPEND_BYTES, which fits a u32
    let cost = u32::try_from(cost).unwrap_or(u32::MAX);
    Arc::clone(room)
        .acquire_many_owned(cost)
        .await
        .map_err(|_| SpoolError::Closed)
}
