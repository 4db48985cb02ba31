//! The way into the spool's thread: two queues behind one lock, so that a shipper's reads and marks are not
//! stuck behind megabytes of waiting appends.
//!
//! Both are bounded by the permits that every command carries ([`super::handle`]), not here.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tributary_shared::ids::Seq;

use tributary_shared::wire::History;

use super::messages::{
    Accepted, Block, ForkReason, InputPosition, LaneId, LaneInfo, NewDropped, NewEvents, SpoolError,
};

pub(super) type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

/// New seqs, or a position without any.
#[derive(Debug)]
pub(super) enum Append {
    Events {
        events: NewEvents,
        reply: Reply<Accepted>,
    },
    Dropped {
        dropped: NewDropped,
        reply: Reply<Accepted>,
    },
    Position {
        position: InputPosition,
        reply: Reply<()>,
    },
}

impl Append {
    /// Bytes that it puts into a group.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Events { events, .. } => events.rows.len(),
            Self::Dropped { .. } | Self::Position { .. } => 0,
        }
    }
}

/// Everything else.
#[derive(Debug)]
pub(super) enum Control {
    CommitMark {
        lane: LaneId,
        mark: Seq,
        reply: Reply<()>,
    },
    LaneOpened {
        lane: LaneId,
        mark: Seq,
        /// Who numbered what the aggregator has; `None` when it does not know.
        history: Option<History>,
        reply: Reply<LaneInfo>,
    },
    /// The aggregator has other events where it had those of a retired lane, from this seq on.
    ForgottenAndTaken {
        no: u64,
        from: Seq,
        reply: Reply<()>,
    },
    Fork {
        lane: LaneId,
        reason: ForkReason,
        reply: Reply<LaneInfo>,
    },
    ForgetPosition {
        key: String,
        reply: Reply<()>,
    },
    Read {
        read: Read,
        reply: Reply<Vec<Block>>,
    },
    GetPosition {
        key: String,
        reply: Reply<Option<Vec<u8>>>,
    },
    ListPositions {
        prefix: String,
        reply: Reply<Vec<InputPosition>>,
    },
    /// Everything queued before it is carried out first.
    Shutdown {
        reply: Reply<()>,
    },
}

/// What the shipper wants to see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub lane: LaneId,
    pub from: Seq,
    pub max_rows: u32,
    pub max_bytes: usize,
}

/// A command keeps its share of the queue's bound until it is answered.
#[derive(Debug)]
pub(super) struct Queued<T> {
    pub command: T,
    pub permit: OwnedSemaphorePermit,
}

/// What one round of the thread works on.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub appends: Vec<Queued<Append>>,
    pub controls: Vec<Queued<Control>>,
    /// No handle is left.
    pub closed: bool,
}

#[derive(Debug, Default)]
struct Inner {
    appends: VecDeque<Queued<Append>>,
    controls: VecDeque<Queued<Control>>,
    closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // every critical section leaves the queues whole, so a panic elsewhere does not spoil them
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// [`SpoolError::Closed`] when the thread has ended.
    pub(super) fn append(&self, command: Queued<Append>) -> Result<(), SpoolError> {
        self.put(|inner| inner.appends.push_back(command))
    }

    /// # Errors
    /// As [`Self::append`].
    pub(super) fn control(&self, command: Queued<Control>) -> Result<(), SpoolError> {
        self.put(|inner| inner.controls.push_back(command))
    }

    fn put(&self, push: impl FnOnce(&mut Inner)) -> Result<(), SpoolError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(SpoolError::Closed);
        }
        push(&mut inner);
        drop(inner);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes no more commands, and wakes the thread.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Closes and throws away what is queued: its waiters see [`SpoolError::Closed`].
    pub(super) fn abandon(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let rest = (
            std::mem::take(&mut inner.appends),
            std::mem::take(&mut inner.controls),
        );
        drop(inner);
        drop(rest);
    }

    /// Waits for commands, at most `patience` where there is one, and takes up to `max_commands` of each kind;
    /// of appends also no more than fit `max_bytes` (at least one).
    pub(super) fn take(&self, patience: Option<Duration>, max_bytes: usize, max_commands: usize) -> Batch {
        let mut inner = self.lock();
        while inner.appends.is_empty() && inner.controls.is_empty() && !inner.closed {
            match patience {
                None => inner = self.filled.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.filled.wait_timeout(inner, patience);
                    let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    inner = guard;
                    if timeout.timed_out() {
                        break;
                    }
                }
            }
        }
        let some = inner.controls.len().min(max_commands);
        let controls: Vec<_> = inner.controls.drain(..some).collect();
        let mut appends = Vec::new();
        let mut bytes = 0;
        while let Some(next) = inner.appends.front() {
            bytes += next.command.bytes();
            if appends.len() == max_commands || (!appends.is_empty() && bytes > max_bytes) {
                break;
            }
            appends.extend(inner.appends.pop_front());
        }
        let closed = inner.closed && inner.appends.is_empty() && inner.controls.is_empty();
        Batch {
            closed,
            appends,
            controls,
        }
    }
}
