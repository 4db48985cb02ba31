//! The log on its way to the views: replayed after a start, live, and for views that are back-filled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::actor::Runner;
use super::handle::EngineError;
use super::messages::AppliedBatch;
use crate::commit::{CommitError, CommitHandle, Committed, LogEntry, LogPos};

/// Committed entries that wait for the engine, each at most a few megabytes. When it is full the commit thread
/// waits, and pressure travels back to the agents.
const FEED: usize = 32;
/// What is read of the log at once. Questions wait for one entry only.
const CHUNK_ENTRIES: usize = 64;
const CHUNK_BYTES: usize = 4 << 20;

/// Where entries come from.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Read from the log, and not applied yet.
    replayed: VecDeque<LogEntry>,
    /// Live entries, once attached to the commit thread.
    feed: Option<mpsc::Receiver<Arc<Committed>>>,
    /// The log up to here is replayed; what comes behind is live.
    until: Option<LogPos>,
    /// The commit thread has stopped.
    pub ended: bool,
}

impl Source {
    /// Whether the log behind the snapshot is still to be replayed.
    pub fn replays(&self, position: LogPos) -> bool {
        self.until.is_none_or(|until| position < until)
    }

    /// The next live entry; waits for ever when there are none.
    pub async fn next(&mut self) -> Option<Arc<Committed>> {
        match &mut self.feed {
            Some(feed) => feed.recv().await,
            None => std::future::pending().await,
        }
    }

    /// A live entry that is there already.
    pub fn waiting(&mut self) -> Option<Arc<Committed>> {
        self.feed.as_mut()?.try_recv().ok()
    }
}

/// A view that is back-filled: what is read of the log and not applied yet.
#[derive(Debug, Default)]
pub(super) struct Filling {
    view: Option<Arc<str>>,
    generation: u64,
    entries: VecDeque<LogEntry>,
    /// The log has no entry for the view from the last of those up to here.
    until: LogPos,
    started: Option<(Instant, LogPos)>,
}

/// How far a view is back-filled.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Backfill {
    /// The log is counted up to here.
    pub position: LogPos,
    /// The view is live when it has come this far.
    pub target: LogPos,
    /// Of the log, 0 to 1.
    pub share: f64,
    /// At the pace so far; `None` while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_rest_s: Option<f64>,
}

impl Runner {
    /// Applies the next entry of the log behind the snapshot; at its end, attaches to the commit thread.
    pub(super) async fn replay_step(&mut self, commit: &CommitHandle) -> Result<(), EngineError> {
        if self.source.replayed.is_empty() {
            let from = self.engine.position();
            self.source.replayed = self.log.scan(from, CHUNK_ENTRIES, CHUNK_BYTES)?.into();
        }
        if let Some(entry) = self.source.replayed.pop_front() {
            self.fold(&entry.decode()?);
        } else if let Some(until) = self.source.until {
            if !self.skip_deleted()? {
                let what = format!("the log ends at {}, before {until}", self.engine.position());
                return Err(CommitError::Damaged { what }.into());
            }
        } else {
            let (sender, feed) = mpsc::channel(FEED);
            self.source.until = Some(commit.attach(sender).await?);
            self.source.feed = Some(feed);
        }
        if !self.source.replays(self.engine.position()) {
            // nobody needs to hear it
            let _ = self.ready.send(true);
            tracing::info!(position = %self.engine.position(), "the views have caught up with the log");
        }
        Ok(())
    }

    /// Goes on behind what retention has deleted: views.db is older than that, or new. False when nothing is.
    fn skip_deleted(&mut self) -> Result<bool, EngineError> {
        let floor = self.log.floor()?;
        let position = self.engine.position();
        if floor <= position {
            return Ok(false);
        }
        tracing::warn!(%position, %floor, "the log does not reach back to where the views stand; they miss entries");
        self.engine.skip_to(floor);
        self.applied.send_replace(floor);
        self.dirty = true;
        Ok(true)
    }

    /// Brings one view that is behind an entry further.
    pub(super) fn fill_step(&mut self) -> Result<(), EngineError> {
        let Some(state) = self.engine.filling() else {
            return Ok(());
        };
        let (view, generation, from) = (Arc::clone(&state.plan.name), state.generation, state.position);
        let stream = state.plan.stream.clone();
        if self.filling.view.as_ref() != Some(&view) || self.filling.generation != generation {
            self.filling = Filling {
                view: Some(Arc::clone(&view)),
                generation,
                started: Some((Instant::now(), from)),
                ..Filling::default()
            };
        }
        if self.filling.entries.is_empty() && from >= self.filling.until {
            self.read_on(&view, &stream, from)?;
        }
        match self.filling.entries.pop_front() {
            Some(entry) => self.fill(&view, entry)?,
            None => self.engine.pass_to(&view, self.filling.until),
        }
        self.tell_cut_overs();
        self.dirty = true;
        self.make_room();
        self.check_failure()
    }

    /// Reads entries of the view's stream; those of others are never decoded, nor read.
    fn read_on(
        &mut self,
        view: &str,
        stream: &tributary_shared::ids::StreamName,
        from: LogPos,
    ) -> Result<(), EngineError> {
        // in this order: what is deleted after we have looked is missed, not passed over
        let target = self.engine.position();
        let entries = self.log.scan_stream(stream, from, CHUNK_BYTES)?;
        let floor = self.log.floor()?;
        if floor > from {
            tracing::warn!(%view, %from, %floor, "the log does not reach back to where the view begins");
            self.engine.miss_to(view, floor);
        }
        let entries = entries
            .into_iter()
            .filter(|entry| entry.pos > floor && entry.pos <= target);
        self.filling.entries = entries.collect();
        self.filling.until = self.filling.entries.back().map_or(target, |last| last.pos);
        Ok(())
    }

    fn fill(&mut self, view: &str, entry: LogEntry) -> Result<(), EngineError> {
        let LogEntry {
            pos, committed_at, ..
        } = entry;
        let (lane, replayed) = (entry.header.lane(), entry.header.is_replay());
        let range = entry.header.range();
        let key = entry.key.clone();
        let records = entry.decode()?.records;
        // those in between are of other streams
        self.engine.pass_to(view, LogPos(pos.0 - 1));
        let batch = AppliedBatch {
            pos,
            lane,
            agent: &key.agent,
            stream: &key.stream,
            committed_at,
            range,
            replayed,
            records: records.as_ref(),
        };
        if let Some(change) = self.engine.apply_to(view, &batch) {
            self.changed(change);
        }
        Ok(())
    }

    /// How far the view is whose state this is.
    pub(super) fn backfill(&self, generation: u64, position: LogPos) -> Backfill {
        let target = self.engine.position();
        let share = match target.0 {
            0 => 1.0,
            target => position.0 as f64 / target as f64,
        };
        let pace = self
            .filling
            .started
            .filter(|_| self.filling.generation == generation);
        let pace = pace.and_then(|(since, from)| {
            let done = position.0.checked_sub(from.0).filter(|done| *done > 0)?;
            Some(since.elapsed().as_secs_f64() / done as f64)
        });
        Backfill {
            position,
            target,
            share,
            estimated_rest_s: pace.map(|each| (each * (target.0 - position.0) as f64 * 10.0).round() / 10.0),
        }
    }
}
