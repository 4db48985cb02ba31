//! The engine's thread: owns the [`Engine`] and views.db, folds committed entries in log order, answers
//! questions between two of them, and snapshots.
//!
//! # States
//! - **catching up**: the snapshot is loaded and the log behind it is read in chunks. Questions are answered,
//!   with what is there so far; `ready` is false.
//! - **live**: attached to the commit thread, which waits while our feed is full. A view that was made or
//!   replaced is back-filled from the log, a chunk at a time, whenever no question and no live entry waits.
//! - **ended**: asked to stop, after a last snapshot; or the log or views.db cannot be read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tributary_shared::actors::thread::{self, WorkerThread};
use tributary_shared::metrics::{self, Counter, Gauge, Histogram, MetricName};
use tributary_shared::telemetry::{BatchSpan, Stage, attr, tracing_on};
use tributary_shared::time::now_millis;

use super::changes::Changes;
use super::engine::Engine;
use super::handle::{EngineError, EngineHandle, QUESTIONS, Question};
use super::live::LiveRows;
use super::load::{Loaded, load};
use super::messages::{AppliedBatch, EngineConfig, Snapshot, WindowChange};
use super::store::ViewStore;
use crate::commit::{CommitError, CommitHandle, Committed, LogEntry, LogPos, LogReader};
use crate::throughput::{Counts, Throughput};
use crate::view::ViewDef;

/// Committed entries that wait for the engine, each at most a few megabytes. When it is full the commit thread
/// waits, and pressure travels back to the agents.
const FEED: usize = 32;
/// One chunk of replay: small enough that questions wait less than some tens of milliseconds.
const CHUNK_ENTRIES: usize = 64;
const CHUNK_BYTES: usize = 4 << 20;
/// Between two snapshots: what a restart has to replay at most.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(5);
/// A snapshot stores what changed since the one before. When that is much, batches wait meanwhile; the next one then
/// comes so many times later than it took: snapshots take a tenth of the time at most, and a restart replays a
/// little more.
const SNAPSHOT_REST: u32 = 9;
/// However long a snapshot takes: what is replayed after a crash stays a matter of seconds.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Between two rounds of changed rows to the watchers: a small part of the quarter second within which an event
/// must be seen, and a row that every batch changes is told twenty times a second, not hundreds of times.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// How to start the engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Holds `views.db`; must exist.
    pub dir: PathBuf,
    pub config: EngineConfig,
}

/// The running thread.
#[derive(Debug)]
pub struct EngineThread {
    thread: WorkerThread<Result<(), EngineError>>,
}

impl EngineThread {
    /// Waits for the end of the thread; ask it to end with [`EngineHandle::stop`].
    ///
    /// # Errors
    /// [`EngineError`] when it ended for a reason that a person must look at.
    pub async fn join(self) -> Result<(), EngineError> {
        self.thread
            .join()
            .await
            .unwrap_or_else(|panic| Err(EngineError::Thread(panic.to_string())))
    }
}

/// Opens views.db, loads the views with their newest snapshot, and starts the thread. Blocks on the disk.
///
/// # Errors
/// [`EngineError`] when views.db cannot be used.
pub fn start(
    options: &EngineOptions,
    log: LogReader,
    commit: CommitHandle,
    throughput: Arc<Throughput>,
) -> Result<(EngineHandle, EngineThread), EngineError> {
    let Loaded { engine, store, views } = load(options, &log)?;
    let (applied, applied_watch) = watch::channel(engine.position());
    let (ready, ready_watch) = watch::channel(false);
    let live = LiveRows::new();
    let runner = Runner {
        engine,
        store,
        views,
        log,
        throughput,
        live: live.clone(),
        changes: Changes::default(),
        applied,
        ready,
        dirty: true,
        unsaved: None,
        covered: LogPos(0),
        gauges: Gauges::new(),
    };
    let work = move |questions| run_on_this_thread(runner, &commit, questions);
    let (questions, thread) = thread::spawn("window engine", QUESTIONS, work)
        .map_err(|error| EngineError::Thread(error.to_string()))?;
    let handle = EngineHandle {
        questions,
        live,
        applied: applied_watch,
        ready: ready_watch,
    };
    Ok((handle, EngineThread { thread }))
}

/// The thread waits on several channels at once, so it has a small runtime of its own.
fn run_on_this_thread(
    runner: Runner,
    commit: &CommitHandle,
    questions: mpsc::Receiver<Question>,
) -> Result<(), EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.map_err(|error| EngineError::Thread(error.to_string()))?;
    let ended = runtime.block_on(runner.run(commit, questions));
    if let Err(error) = &ended {
        tracing::error!(%error, "the window engine has ended");
    }
    ended
}

/// Metrics of the thread.
#[derive(Debug)]
struct Gauges {
    position: Gauge,
    future_events: Counter,
    apply_seconds: Histogram,
    snapshot_seconds: Histogram,
}

impl Gauges {
    fn new() -> Self {
        Self {
            position: metrics::gauge(MetricName::AppliedPosition, &[]),
            future_events: metrics::counter(MetricName::FutureEvents, &[]),
            apply_seconds: metrics::histogram(MetricName::ApplySeconds, &[]),
            snapshot_seconds: metrics::histogram(MetricName::SnapshotSeconds, &[]),
        }
    }
}

/// Whether the thread goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    On,
    Stop,
}

/// What the thread owns.
#[derive(Debug)]
pub(super) struct Runner {
    pub(super) engine: Engine,
    pub(super) store: ViewStore,
    /// The definitions, by name; the engine has their state.
    pub(super) views: BTreeMap<String, ViewDef>,
    pub(super) live: LiveRows,
    /// There is something to snapshot.
    pub(super) dirty: bool,
    log: LogReader,
    throughput: Arc<Throughput>,
    pub(super) changes: Changes,
    applied: watch::Sender<LogPos>,
    ready: watch::Sender<bool>,
    /// A snapshot that could not be stored. No later one may be stored before it.
    unsaved: Option<Snapshot>,
    /// No view needs the log up to here to recover.
    covered: LogPos,
    gauges: Gauges,
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Runner {
    async fn run(
        mut self,
        commit: &CommitHandle,
        mut questions: mpsc::Receiver<Question>,
    ) -> Result<(), EngineError> {
        if let Some(feed) = self.catch_up(commit, &mut questions).await? {
            // nobody needs to hear it
            let _ = self.ready.send(true);
            tracing::info!(position = %self.engine.position(), "the views have caught up with the log");
            self.follow(commit, feed, &mut questions).await?;
        }
        self.snapshot();
        Ok(())
    }

    /// Replays the log behind the snapshot, then attaches to the commit thread. `None` when asked to stop.
    async fn catch_up(
        &mut self,
        commit: &CommitHandle,
        questions: &mut mpsc::Receiver<Question>,
    ) -> Result<Option<mpsc::Receiver<Arc<Committed>>>, EngineError> {
        while self.replay_chunk()? {
            while let Ok(question) = questions.try_recv() {
                if self.answer(question) == Go::Stop {
                    return Ok(None);
                }
            }
        }
        let (sender, feed) = mpsc::channel(FEED);
        let from = commit.attach(sender).await?;
        while self.engine.position() < from {
            if !self.replay_chunk()? {
                if self.skip_deleted()? {
                    continue;
                }
                let what = format!("the log ends at {}, before {from}", self.engine.position());
                return Err(CommitError::Damaged { what }.into());
            }
        }
        Ok(Some(feed))
    }

    /// Until asked to stop: live entries, questions, back-filling, and what is done now and then.
    async fn follow(
        &mut self,
        commit: &CommitHandle,
        mut feed: mpsc::Receiver<Arc<Committed>>,
        questions: &mut mpsc::Receiver<Question>,
    ) -> Result<(), EngineError> {
        let (mut snapshot, mut publish) = (ticks(SNAPSHOT_EVERY), ticks(PUBLISH_EVERY));
        let mut rested = Instant::now();
        let mut committing = true;
        loop {
            let behind = self.engine.behind().is_some();
            // in order of urgency; the ticks come first because they are rare and would starve behind a full feed
            tokio::select! {
                biased;
                _ = snapshot.tick() => {
                    let started = Instant::now();
                    if started >= rested {
                        self.snapshot();
                        rested = Instant::now() + rest_after(started.elapsed());
                    }
                    commit.covered(self.covered);
                }
                _ = publish.tick(), if !self.changes.is_empty() => self.publish(),
                question = questions.recv() => match question.map(|question| self.answer(question)) {
                    Some(Go::On) => {}
                    Some(Go::Stop) | None => break,
                },
                entry = feed.recv(), if committing => match entry {
                    Some(entry) => self.fold_live(&entry),
                    // the commit thread has stopped: questions are still answered
                    None => committing = false,
                },
                () = std::future::ready(()), if behind => self.fill_chunk()?,
            }
        }
        // what is committed already needs no replay after the next start
        while let Ok(entry) = feed.try_recv() {
            self.fold(&entry);
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

    /// Applies one chunk of the log. False at its end.
    fn replay_chunk(&mut self) -> Result<bool, EngineError> {
        let entries = self
            .log
            .scan(self.engine.position(), CHUNK_ENTRIES, CHUNK_BYTES)?;
        let found = !entries.is_empty();
        for entry in entries {
            self.fold(&entry.decode()?);
        }
        Ok(found)
    }

    /// [`Self::fold`] with a span. A replay has none: its batches' traces ended before this process began.
    fn fold_live(&mut self, entry: &Committed) {
        let traceparent = entry.header.traceparent();
        if !tracing_on() {
            return self.fold(entry);
        }
        let span = BatchSpan::child_of_header(traceparent, Stage::Apply, now_millis())
            .text(attr::LANE, &entry.key)
            .text(attr::STREAM, &entry.key.stream)
            .number(attr::LOG_POSITION, entry.pos.0)
            .number(attr::FIRST_SEQ, entry.header.range().first)
            .number(attr::LAST_SEQ, entry.header.range().last)
            .number(attr::EVENTS, events(entry))
            .number(attr::VALID, entry.header.valid())
            .maybe_number(attr::SCHEMA_ID, entry.header.schema().map(|schema| schema.id));
        self.fold(entry);
        span.end_at(now_millis());
    }

    fn fold(&mut self, entry: &Committed) {
        let started = Instant::now();
        let future = self.engine.future_events();
        for change in self.engine.apply(&batch(entry)) {
            self.changed(change);
        }
        self.gauges
            .future_events
            .inc_by(self.engine.future_events() - future);
        self.gauges.apply_seconds.observe(started.elapsed().as_secs_f64());
        self.gauges.position.set(entry.pos.0 as f64);
        self.throughput.record(entry.committed_at, counts(entry));
        self.applied.send_replace(self.engine.position());
        self.dirty = true;
    }

    /// Brings one view that is behind a chunk further.
    fn fill_chunk(&mut self) -> Result<(), EngineError> {
        let Some((view, from)) = self.engine.behind() else {
            return Ok(());
        };
        let Some(plan) = self.engine.view(&view).cloned() else {
            return Ok(());
        };
        let entries = self.log.scan(from, CHUNK_ENTRIES, CHUNK_BYTES)?;
        if entries.is_empty() {
            tracing::warn!(%view, %from, "the log does not reach back to where the view begins");
            self.engine.skip_missing(&view);
        }
        for entry in entries {
            let LogEntry {
                pos, committed_at, ..
            } = entry;
            let (lane, replayed) = (entry.header.lane(), entry.header.is_replay());
            let range = entry.header.range();
            let key = entry.key.clone();
            // an entry of another stream only moves the view's position: spare the decoding
            let records = if key.stream == *plan.stream() {
                entry.decode()?.records
            } else {
                None
            };
            let (agent, stream, records) = (&key.agent, &key.stream, records.as_ref());
            let batch = AppliedBatch {
                pos,
                lane,
                agent,
                stream,
                committed_at,
                range,
                replayed,
                records,
            };
            if let Some(change) = self.engine.apply_to(&view, &batch) {
                self.changed(change);
            }
        }
        self.dirty = true;
        Ok(())
    }

    fn changed(&mut self, change: WindowChange) {
        if self.live.is_watched(&change.view) {
            self.changes.add(change);
        }
    }

    /// Stores what changed since the last snapshot. A failure loses nothing: the log has it.
    fn snapshot(&mut self) {
        if self.unsaved.is_none() && !self.dirty {
            return;
        }
        let started = Instant::now();
        let snapshot = self.unsaved.take().unwrap_or_else(|| {
            self.dirty = false;
            self.engine.take_snapshot()
        });
        if let Err(error) = self.store.save_snapshot(&snapshot) {
            tracing::warn!(%error, "a snapshot cannot be stored now; it is tried again");
            self.unsaved = Some(snapshot);
            return;
        }
        self.covered = covered(&snapshot);
        self.gauges
            .snapshot_seconds
            .observe(started.elapsed().as_secs_f64());
        for plan in self.engine.views() {
            let groups = self.engine.stats(plan.name()).map_or(0, |stats| stats.groups);
            metrics::gauge(MetricName::WindowRows, &[("view", plan.name())]).set(groups as f64);
        }
    }
}

/// How long after a snapshot there is none, at least; the ticks come on top.
pub(super) fn rest_after(took: Duration) -> Duration {
    (SNAPSHOT_REST * took).min(LONGEST_REST)
}

/// Where the log must begin so that this snapshot can go on.
fn covered(snapshot: &Snapshot) -> LogPos {
    let views = snapshot.views.iter().map(|view| view.position);
    views.fold(snapshot.position, LogPos::min)
}

fn batch(entry: &Committed) -> AppliedBatch<'_> {
    AppliedBatch {
        pos: entry.pos,
        lane: entry.header.lane(),
        agent: &entry.key.agent,
        stream: &entry.key.stream,
        committed_at: entry.committed_at,
        range: entry.header.range(),
        replayed: entry.header.is_replay(),
        records: entry.records.as_ref(),
    }
}

fn counts(entry: &Committed) -> Counts {
    let (valid, dead, dropped) = entry.header.verdicts();
    Counts { valid, dead, dropped }
}

fn events(entry: &Committed) -> u64 {
    let (valid, dead, dropped) = entry.header.verdicts();
    valid + dead + dropped
}
