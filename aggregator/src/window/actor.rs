//! The engine's thread: owns the [`Engine`] and views.db, folds committed entries in log order, answers
//! questions between two of them, and snapshots.
//!
//! # States
//! - **catching up**: the snapshot is loaded and the log behind it is read. Questions are answered, with what is there
//!   so far; `ready` is false.
//! - **live**: attached to the commit thread, which waits while our feed is full. A view that was made or replaced is
//!   back-filled from the log, an entry at a time, whenever no question and no live entry waits.
//! - **ended**: asked to stop, after a last snapshot; or the log or views.db cannot be read.
//!
//! In all of them snapshots go to the thread that writes views.db, a slice at a time between two batches. Batches wait
//! for it only when the memory is full of groups that no snapshot has, or when they outrun one that is being taken.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tributary_shared::actors::thread::{self, WorkerThread};
use tributary_shared::ids::LineageId;
use tributary_shared::metrics::{self, Counter, Gauge, Histogram, MetricName};
use tributary_shared::telemetry::{BatchSpan, Stage, attr, tracing_on};
use tributary_shared::time::now_millis;

use super::changes::Changes;
use super::cold::NothingCold;
use super::engine::Engine;
use super::fill::{Filling, Source};
use super::handle::{EngineError, EngineHandle, QUESTIONS, Question};
use super::keeping::{Room, Taking};
use super::live::LiveRows;
use super::load::{Loaded, load};
use super::messages::{AppliedBatch, EngineConfig, WindowChange};
use super::writer::{self, Order, Writer};
use crate::commit::{CommitHandle, Committed, LogPos, LogReader};
use crate::throughput::{Counts, Throughput};
use crate::view::ViewDef;

/// Between two snapshots: what a restart has to replay at most.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(5);
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
    let writer = writer::start(store)?;
    let (applied, applied_watch) = watch::channel(engine.position());
    let (ready, ready_watch) = watch::channel(false);
    let live = LiveRows::new();
    let runner = Runner {
        engine,
        writer,
        views,
        log,
        throughput,
        live: live.clone(),
        changes: Changes::default(),
        applied,
        ready,
        dirty: true,
        orders: VecDeque::new(),
        taking: None,
        room: Room::default(),
        source: Source::default(),
        filling: Filling::default(),
        rested: Instant::now(),
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
pub(super) struct Gauges {
    position: Gauge,
    future_events: Counter,
    apply_seconds: Histogram,
    pub(super) snapshot_seconds: Histogram,
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
    pub(super) writer: Writer,
    /// The definitions, by name; the engine has their state.
    pub(super) views: BTreeMap<String, ViewDef>,
    pub(super) live: LiveRows,
    /// There is something to snapshot.
    pub(super) dirty: bool,
    pub(super) log: LogReader,
    pub(super) applied: watch::Sender<LogPos>,
    pub(super) ready: watch::Sender<bool>,
    /// Orders for the writer, before the slices of a snapshot. As many as there are questions, and a few.
    pub(super) orders: VecDeque<Order>,
    pub(super) taking: Option<Taking>,
    pub(super) room: Room,
    pub(super) source: Source,
    pub(super) filling: Filling,
    /// No snapshot begins before.
    pub(super) rested: Instant,
    /// No view needs the log up to here to recover.
    pub(super) covered: LogPos,
    pub(super) gauges: Gauges,
    throughput: Arc<Throughput>,
    pub(super) changes: Changes,
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
        self.turns(commit, &mut questions).await?;
        // what is committed already needs no replay after the next start
        while let Some(entry) = self.source.waiting() {
            self.fold(&entry);
            self.check_failure()?;
        }
        self.last_snapshot().await;
        // who closes views.db last moves its log into the file, and only the writer can
        self.engine.set_cold(Box::new(NothingCold));
        let Writer { orders, thread, .. } = self.writer;
        drop(orders);
        let ended = thread.join().await;
        ended.map_err(|panic| EngineError::Thread(panic.to_string()))
    }

    /// Until asked to stop: entries, questions, back-filling, snapshots, and what is done now and then.
    async fn turns(
        &mut self,
        commit: &CommitHandle,
        questions: &mut mpsc::Receiver<Question>,
    ) -> Result<(), EngineError> {
        let (mut snapshot, mut publish) = (ticks(SNAPSHOT_EVERY), ticks(PUBLISH_EVERY));
        // the writer and the entries take turns
        let mut writers_turn = false;
        loop {
            let replays = self.source.replays(self.engine.position());
            let behind = !replays && self.engine.behind().is_some();
            let (pressed, has_orders) = (self.is_pressed(), self.has_orders());
            let (orders, entries) = (
                self.writer.orders.clone(),
                !pressed && !self.source.ended && !replays,
            );
            // in order of urgency; the ticks come first because they are rare and would starve behind a full feed
            tokio::select! {
                biased;
                done = self.writer.done.recv() => match done {
                    Some(done) => self.done(done),
                    None => return Err(EngineError::Thread("the writer of views.db has ended".to_owned())),
                },
                _ = snapshot.tick() => {
                    if Instant::now() >= self.rested {
                        self.begin_snapshot();
                    }
                    commit.covered(self.covered);
                }
                _ = publish.tick(), if !self.changes.is_empty() => self.publish(),
                question = questions.recv() => match question.map(|question| self.answer(question)) {
                    Some(Go::On) => {}
                    Some(Go::Stop) | None => return Ok(()),
                },
                Ok(permit) = orders.reserve(), if has_orders && writers_turn => {
                    self.order(permit);
                    writers_turn = false;
                }
                entry = self.source.next(), if entries => match entry {
                    Some(entry) => {
                        self.fold_live(&entry);
                        self.check_failure()?;
                        writers_turn = true;
                    }
                    // the commit thread has stopped: questions are still answered
                    None => self.source.ended = true,
                },
                () = std::future::ready(()), if replays && !pressed => {
                    self.replay_step(commit).await?;
                    self.check_failure()?;
                    writers_turn = true;
                }
                Ok(permit) = orders.reserve(), if has_orders && !writers_turn => self.order(permit),
                () = std::future::ready(()), if behind && !pressed => {
                    self.fill_step()?;
                    writers_turn = true;
                }
            }
        }
    }

    fn order(&mut self, permit: mpsc::Permit<'_, Order>) {
        if let Some(order) = self.next_order() {
            permit.send(order);
        }
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
            .lineage(LineageId::new(entry.header.lane(), entry.header.range().first))
            .maybe_number(attr::SCHEMA_ID, entry.header.schema().map(|schema| schema.id));
        self.fold(entry);
        span.end_at(now_millis());
    }

    pub(super) fn fold(&mut self, entry: &Committed) {
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
        self.make_room();
    }

    pub(super) fn changed(&mut self, change: WindowChange) {
        for derived in self.engine.derived(&change) {
            if self.live.is_watched(&derived.view) {
                self.changes.add(derived);
            }
        }
        if self.live.is_watched(&change.view) {
            self.changes.add(change);
        }
    }
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
