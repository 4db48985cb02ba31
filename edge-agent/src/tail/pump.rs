//! Carries items from the reader to the spool, and waits where the spool says so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tributary_shared::ids::StreamName;
use tributary_shared::metrics::{Counter, MetricName, counter};

use super::messages::{FileId, FilePosition, Item};
use crate::check::Checks;
use crate::spool::{InputPosition, NewDropped, NewEvents, SpoolError, SpoolHandle};
use crate::stop::stopped;

/// Appends that are on their way to the disk together, each of another file: a file's next block must not
/// overtake one that was refused, or its position would skip lines.
const MAX_FLIGHTS: usize = 2;
/// How long to wait before a spool that cannot be used is tried again. It repairs itself or says why not.
const UNAVAILABLE_WAIT: Duration = Duration::from_secs(1);

/// Why the lines of an entry cannot be taken, however often they are tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TailError {
    #[error("lines for stream {stream} are refused by the spool: {source}")]
    Refused { stream: StreamName, source: SpoolError },
    #[error("the positions of stream {stream} cannot be read from the spool: {source}")]
    Positions { stream: StreamName, source: SpoolError },
    #[error("the reader of stream {stream} failed")]
    Reader { stream: StreamName },
}

/// The beginning of the keys under which a stream's file positions lie in the spool.
pub(super) fn key_prefix(stream: &StreamName) -> String {
    format!("file/{stream}/")
}

fn key(stream: &StreamName, id: FileId) -> String {
    format!("{}{:x}-{:x}", key_prefix(stream), id.dev, id.ino)
}

fn saved(stream: &StreamName, position: &FilePosition) -> InputPosition {
    // a map of texts and numbers; a path that is not UTF-8 is the one thing that JSON cannot hold
    let value = serde_json::to_vec(position).unwrap_or_else(|_| {
        let path = position.path.to_string_lossy().into_owned().into();
        serde_json::to_vec(&FilePosition {
            path,
            ..position.clone()
        })
        .unwrap_or_default()
    });
    InputPosition {
        key: key(stream, position.id),
        value,
    }
}

/// The entry's positions as the spool has them; `None` when the agent ends before the spool can say. A
/// position that makes no sense is left out, and its file read from the beginning: twice is better than never.
pub(super) async fn known(
    spool: &SpoolHandle,
    stream: &StreamName,
    mut stop: watch::Receiver<bool>,
) -> Result<Option<Vec<FilePosition>>, TailError> {
    let saved = loop {
        match spool.positions(key_prefix(stream)).await {
            Ok(saved) => break saved,
            Err(SpoolError::Unavailable(_)) => {}
            Err(SpoolError::Closed) => return Ok(None),
            Err(source) => {
                return Err(TailError::Positions {
                    stream: stream.clone(),
                    source,
                });
            }
        }
        tokio::select! {
            () = tokio::time::sleep(UNAVAILABLE_WAIT) => {}
            () = stopped(&mut stop) => return Ok(None),
        }
    };
    let read = |position: InputPosition| match serde_json::from_slice(&position.value) {
        Ok(known) => Some(known),
        Err(error) => {
            tracing::error!(key = position.key, %error, "file position cannot be read: the file is read again");
            None
        }
    };
    Ok(Some(saved.into_iter().filter_map(read).collect()))
}

#[derive(Debug)]
pub(super) struct Pump {
    stream: StreamName,
    spool: SpoolHandle,
    stop: watch::Receiver<bool>,
    accepted: Counter,
    /// Buffers for the copies, one a flight. The spool keeps what it is given, so a block that it may refuse
    /// is copied, and into memory that is warm: a fresh half megabyte each time would cost several times more
    /// than finding the lines in it.
    spares: Mutex<Vec<Vec<u8>>>,
    checks: Checks,
}

/// How an item ended.
enum Landed {
    Done(FileId),
    /// The agent ends; the item is read again at the next start.
    Stopped,
}

impl Pump {
    pub(super) fn new(
        stream: StreamName,
        spool: SpoolHandle,
        checks: Checks,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let accepted = counter(
            MetricName::IntakeEvents,
            &[("input", "file"), ("stream", stream.as_str())],
        );
        Self {
            stream,
            spool,
            stop,
            accepted,
            spares: Mutex::default(),
            checks,
        }
    }

    /// Runs until the agent stops, the reader ends, or the spool refuses for good.
    pub(super) async fn run(self, mut items: mpsc::Receiver<Item>) -> Result<(), TailError> {
        let mut flights = FuturesUnordered::new();
        let mut busy: Vec<FileId> = Vec::with_capacity(MAX_FLIGHTS);
        let mut held: Option<Item> = None;
        let mut stop = self.stop.clone();
        loop {
            if let Some(item) =
                held.take_if(|item| flights.len() < MAX_FLIGHTS && !busy.contains(&item.file()))
            {
                busy.push(item.file());
                flights.push(self.deliver(item));
            }
            tokio::select! {
                Some(landed) = flights.next(), if !flights.is_empty() => match landed? {
                    Landed::Done(file) => busy.retain(|other| *other != file),
                    Landed::Stopped => return Ok(()),
                },
                item = items.recv(), if held.is_none() => match item {
                    Some(item) => held = Some(item),
                    None => break,
                },
                () = stopped(&mut stop) => break,
            }
        }
        // what was handed to the spool is waited for, so that a restart repeats nothing that could be saved
        while let Some(landed) = flights.next().await {
            landed?;
        }
        Ok(())
    }

    async fn deliver(&self, mut item: Item) -> Result<Landed, TailError> {
        let file = item.file();
        let mut stop = self.stop.clone();
        let (mut waiting, mut unsure) = (false, false);
        loop {
            let outcome = match unsure {
                true => self.attempt_unless_landed(&mut item).await,
                false => self.attempt(&mut item).await,
            };
            let wait = match outcome {
                Ok(()) => return Ok(Landed::Done(file)),
                Err(SpoolError::Full { retry_after }) => retry_after,
                Err(SpoolError::Unavailable(_)) => {
                    unsure = true;
                    UNAVAILABLE_WAIT
                }
                Err(SpoolError::Closed) => return Ok(Landed::Stopped),
                Err(source) => {
                    return Err(TailError::Refused {
                        stream: self.stream.clone(),
                        source,
                    });
                }
            };
            if !waiting {
                tracing::warn!(stream = %self.stream, "the spool does not take lines now: reading waits");
                waiting = true;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopped(&mut stop) => return Ok(Landed::Stopped),
            }
        }
    }

    /// A commit that failed may be on disk all the same: when only its sync failed, the database has it once it
    /// opens again. The position that moves with the lines tells.
    async fn attempt_unless_landed(&self, item: &mut Item) -> Result<(), SpoolError> {
        if let Item::Lines { position, .. } | Item::TooLong { position } = item {
            let InputPosition { key, value } = saved(&self.stream, position);
            if self.spool.position(key).await? == Some(value) {
                return Ok(());
            }
        }
        self.attempt(item).await
    }

    fn spares(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn copy(&self, rows: &[u8]) -> Vec<u8> {
        let mut copy = self.spares().pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(rows);
        copy
    }

    async fn attempt(&self, item: &mut Item) -> Result<(), SpoolError> {
        let stream = self.stream.clone();
        match item {
            Item::Lines {
                rows,
                count,
                origin,
                collected_at,
                position,
                tally,
            } => {
                let position = Some(saved(&stream, position));
                let (origin, collected_at, count) = (Some(Arc::clone(origin)), *collected_at, *count);
                let copy = self.copy(rows);
                let events = NewEvents {
                    stream,
                    origin,
                    traceparent: None,
                    collected_at,
                    rows: std::mem::take(rows),
                    count,
                    position,
                };
                let appended = self.spool.append(events).await;
                if appended.is_err() {
                    rows.clone_from(&copy);
                }
                self.spares().push(copy);
                appended?;
                self.accepted.inc_by(u64::from(count));
                self.checks.taken(&self.stream, tally);
            }
            Item::TooLong { position } => {
                let position = Some(saved(&stream, position));
                let dropped = NewDropped {
                    stream,
                    count: 1,
                    reason: "too_large".into(),
                    position,
                };
                self.spool.append_dropped(dropped).await?;
            }
            Item::Position { position } => self.spool.append_position(saved(&stream, position)).await?,
            Item::Forget { id } => self.spool.forget_position(key(&stream, *id)).await?,
        }
        Ok(())
    }
}
