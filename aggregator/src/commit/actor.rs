//! The commit thread: owns the write connection, drains what is queued into one transaction, syncs once, then
//! answers everyone.
//!
//! # States
//! - **open**: the store works.
//! - **failed**: a write failed and nothing is known about the file. Every batch is refused as unavailable, and
//!   [`LogHealth`] says so; with the next command, but not more often than once in [`REOPEN_AFTER`], the file is
//!   opened again, verified, and written to. What turns out to be durable after all goes to the window engine like any other entry.
//! - **ended**: asked to stop, or the log lost entries that it had acknowledged.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};
use tributary_shared::ids::{LaneKey, Seq};
use tributary_shared::time::now_millis;
use tributary_shared::wire::RefuseCode;

use super::gauges::Gauges;
use super::group::{Group, GroupEntry, Judged, SchemaRule, judge};
use super::handle::{Command, CommitHandle, Feed, QUEUE, Reply};
use super::health::LogHealth;
use super::lane::LaneBook;
use super::letters::SettleAnswer;
use super::messages::{CommitAnswer, CommitError, LaneState, LogPos, Prepared};
use super::reader::LogReader;
use super::retention::Retention;
use super::store::{LogStore, PAGE_SIZE};
use super::trim::Trimmer;
use super::{feed, queries};
use crate::registry::SchemaCache;

/// The most commands in one transaction, and the most bytes to store: one fsync is then well spent, and
/// nobody waits longer than some tens of milliseconds for it.
const MAX_GROUP: usize = 64;
const MAX_GROUP_BYTES: usize = 16 << 20;
/// Move the WAL into the database file when about this much was written. Larger saves little, and makes the
/// commit that waits for it wait longer.
const CHECKPOINT_AFTER: usize = 24 << 20;
/// A WAL of this many pages (48 MiB) has missed a restart and must be made to start over.
const RESTART_FRAMES: u64 = (48 << 20) / PAGE_SIZE as u64;
/// What a commit writes beside its columns: index, lane and header pages.
const PAGES_PER_ENTRY: usize = 64 << 10;
/// Between two attempts to open a failed log again.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// What senders are told to wait meanwhile.
const UNAVAILABLE_RETRY_MS: u32 = 1_000;
/// Held for as long as the thread lives: marks are kept in memory, so two writers would corrupt the books.
const LOCK_FILE: &str = "log.lock";
/// Lies in a directory while a backup is put back into it.
pub(crate) const RESTORING_FILE: &str = "restore.unfinished";

/// How to open the commit log.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// Holds `log.db`; created when missing.
    pub dir: PathBuf,
    /// Refuse batches of streams that have no schema.
    pub require_schema: bool,
}

/// The running commit thread.
#[derive(Debug)]
pub struct CommitThread {
    thread: JoinHandle<Result<(), CommitError>>,
}

impl CommitThread {
    /// Waits for the end of the thread. Blocks; ask it to end with [`CommitHandle::stop`].
    ///
    /// # Errors
    /// [`CommitError::Damaged`] when the log lost what it had acknowledged.
    pub fn join(self) -> Result<(), CommitError> {
        self.thread.join().unwrap_or(Err(CommitError::Stopped))
    }
}

/// Opens log.db, verifies it, and starts the thread that writes it.
///
/// Nothing is ever deleted; see [`open_with_retention`].
///
/// # Errors
/// [`CommitError::InUse`], [`CommitError::FormatTooNew`], [`CommitError::Damaged`], or those of the disk.
pub fn open(
    options: CommitOptions,
    schemas: SchemaCache,
) -> Result<(CommitHandle, LogReader, CommitThread), CommitError> {
    open_with_retention(options, Retention::EVERYTHING, schemas)
}

/// The same, and deletes what `keep` does not name, once the views have it; see [`CommitHandle::covered`].
///
/// # Errors
/// As [`open`].
pub fn open_with_retention(
    options: CommitOptions,
    keep: Retention,
    schemas: SchemaCache,
) -> Result<(CommitHandle, LogReader, CommitThread), CommitError> {
    start(options, keep, schemas, LogStore::open)
}

/// As [`open`], but entries are stored without what only lineage needs, so that `tributary bench lineage` can measure what
/// that costs. Only for a new directory, which nobody can read afterwards.
///
/// # Errors
/// As [`open`].
pub fn open_without_lineage(
    options: CommitOptions,
    schemas: SchemaCache,
) -> Result<(CommitHandle, LogReader, CommitThread), CommitError> {
    start(options, Retention::EVERYTHING, schemas, LogStore::open_bare)
}

fn start(
    options: CommitOptions,
    keep: Retention,
    schemas: SchemaCache,
    open: fn(&Path) -> Result<LogStore, CommitError>,
) -> Result<(CommitHandle, LogReader, CommitThread), CommitError> {
    std::fs::create_dir_all(&options.dir)?;
    let lock = lock(&options.dir)?;
    if options.dir.join(RESTORING_FILE).exists() {
        return Err(CommitError::RestoreUnfinished {
            dir: options.dir.display().to_string(),
        });
    }
    let store = open(&options.dir)?;
    let loaded = store.load()?;
    let (health, health_watch) = watch::channel(LogHealth::Storing);
    let reader = LogReader::open(&options.dir, health_watch)?;
    let (commands, queue) = mpsc::channel(QUEUE);
    let (committed, watcher) = watch::channel(loaded.newest);
    let (head, head_watch) = watch::channel(store.audit.head().cloned());
    let gauges = Gauges::new(loaded.newest, loaded.open_letters);
    gauges.floor.set(loaded.floor.0 as f64);
    let committer = Committer {
        book: LaneBook::new(loaded.lanes, loaded.reserved_lanes),
        newest: loaded.newest,
        store: Some(store),
        reopened_at: None,
        unmoved: 0,
        feed: None,
        options,
        schemas,
        committed,
        health,
        head,
        failed_bytes: 0,
        trimmer: Trimmer::new(keep),
        gauges,
        _lock: lock,
    };
    let thread = std::thread::Builder::new()
        .name("commit".to_owned())
        .spawn(move || committer.run(queue))?;
    Ok((
        CommitHandle::new(commands, watcher, head_watch),
        reader,
        CommitThread { thread },
    ))
}

/// Keeps every other writer out of a directory for as long as the file is open.
pub(crate) fn lock(dir: &Path) -> Result<File, CommitError> {
    let file = File::create(dir.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CommitError::InUse {
            dir: dir.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

#[derive(Debug)]
pub(super) struct Committer {
    pub(super) book: LaneBook,
    newest: LogPos,
    /// `None` while failed.
    pub(super) store: Option<LogStore>,
    reopened_at: Option<Instant>,
    /// Bytes written since the last checkpoint, about.
    pub(super) unmoved: usize,
    feed: Option<Feed>,
    options: CommitOptions,
    schemas: SchemaCache,
    committed: watch::Sender<LogPos>,
    health: watch::Sender<LogHealth>,
    /// The newest head of the audit, for who hands it on.
    head: watch::Sender<Option<Arc<str>>>,
    /// What the write that failed last would have stored, about.
    failed_bytes: usize,
    pub(super) trimmer: Trimmer,
    pub(super) gauges: Gauges,
    _lock: File,
}

/// Who waits for the group's end, and what to tell them if it is stored.
enum Waiting {
    Lane {
        reply: Reply<LaneState>,
        key: LaneKey,
    },
    Batch {
        reply: Reply<CommitAnswer>,
        key: LaneKey,
        answer: CommitAnswer,
    },
    Letters {
        reply: Reply<SettleAnswer>,
        answer: SettleAnswer,
    },
    /// The group's n-th act.
    Act {
        reply: Reply<u64>,
        nth: usize,
    },
    Head {
        reply: Reply<()>,
    },
}

impl Committer {
    fn run(mut self, mut queue: mpsc::Receiver<Command>) -> Result<(), CommitError> {
        while let Some(first) = self.next(&mut queue) {
            let (group, stop) = gather(first, &mut queue);
            self.run_group(group)?;
            if stop {
                break;
            }
            if self.trimmer.is_overdue() {
                self.trim();
            }
        }
        if let Some(store) = &self.store {
            store.truncate_wal()?;
        }
        Ok(())
    }

    /// Waits for the next command, trimming the log meanwhile. `None` when all handles are gone.
    fn next(&mut self, queue: &mut mpsc::Receiver<Command>) -> Option<Command> {
        while self.trimmer.is_due() {
            match queue.try_recv() {
                Ok(command) => return Some(command),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.trim(),
            }
        }
        queue.blocking_recv()
    }

    fn run_group(&mut self, commands: Vec<Command>) -> Result<(), CommitError> {
        if self.store.is_none()
            && let Err(reason) = self.reopen()?
        {
            self.turn_away(commands, &reason);
            return Ok(());
        }
        let (mut group, mut waiting) = (Group::default(), Vec::with_capacity(commands.len()));
        for command in commands {
            match command {
                Command::OpenLane { key, next_seq, reply } => {
                    self.open_lane(&mut group, &key, next_seq);
                    waiting.push(Waiting::Lane { reply, key });
                }
                Command::Commit {
                    batch,
                    reply,
                    room: _room,
                } => {
                    let key = batch.key.clone();
                    let answer = self.judge(&mut group, batch);
                    waiting.push(Waiting::Batch { reply, key, answer });
                }
                Command::Replay {
                    batch,
                    reply,
                    room: _room,
                } => self.settle(reply, &mut waiting, |this| this.judge_replay(&mut group, batch)),
                Command::Discard { request, reply } => {
                    self.settle(reply, &mut waiting, |this| {
                        this.judge_discard(&mut group, request)
                    });
                }
                Command::Record { act, reply } => {
                    let nth = group.acts.len();
                    group.acts.push(act);
                    waiting.push(Waiting::Act { reply, nth });
                }
                Command::Sign { reply } => {
                    group.sign = true;
                    waiting.push(Waiting::Head { reply });
                }
                Command::Attach { feed, reply } => self.attach(feed, reply),
                Command::Covered(pos) => self.trimmer.covered(pos),
                Command::Stop => {}
            }
        }
        group.close(&self.book, now_millis());
        match self.write(&group) {
            Ok(leaves) => {
                self.tell_head();
                self.book.keep();
                self.newest = group.newest().unwrap_or(self.newest);
                self.answer(waiting, &leaves);
                self.publish(group);
                self.checkpoint_if_due();
            }
            Err(error) => {
                self.failed_bytes = group.stored_bytes();
                self.fail(&error);
                self.refuse(waiting, &error.to_string());
            }
        }
        Ok(())
    }

    /// What is signed is durable by now.
    fn tell_head(&self) {
        let newest = self.store.as_ref().and_then(|store| store.audit.head());
        if newest != self.head.borrow().as_ref() {
            self.head.send_replace(newest.cloned());
        }
    }

    /// open → failed.
    pub(super) fn fail(&mut self, error: &CommitError) {
        tracing::warn!(%error, "the log cannot store, refusing until it can");
        self.book.forget();
        self.store = None;
        self.gauges.failing.set(1.0);
        let reason = error.to_string();
        self.health.send_modify(|health| {
            let since = match health {
                LogHealth::Failing { since, .. } => *since,
                LogHealth::Storing => now_millis(),
            };
            *health = LogHealth::Failing { since, reason };
        });
    }

    fn open_lane(&mut self, group: &mut Group, key: &LaneKey, next_seq: Seq) {
        let Some(no) = group.open_lane(&mut self.book, key) else {
            return;
        };
        let mark = self.book.counts(no).mark;
        if next_seq <= mark {
            tracing::warn!(lane = %key, next_seq, mark, "agent is behind its own past");
        }
    }

    fn judge(&mut self, group: &mut Group, batch: Box<Prepared>) -> CommitAnswer {
        let latest = self.schemas.latest_ref(&batch.key.stream);
        let mut writers = batch.header.usage.iter().map(|used| used.schema.id);
        let rule = SchemaRule {
            latest,
            unknown: writers.find(|id| !self.schemas.knows(*id)),
            required: self.options.require_schema,
        };
        let no = batch.lane();
        let count = batch.range().count();
        match judge(&mut self.book, batch, rule) {
            Judged::Apply { batch, trimmed } => {
                self.gauges.duplicates.inc_by(trimmed);
                let pos = self.next_pos(group);
                let (mark, applied) = (batch.range().last, batch.range());
                group.entries.push(GroupEntry { pos, batch });
                CommitAnswer::Committed {
                    mark,
                    pos: Some(pos),
                    applied: Some(applied),
                }
            }
            Judged::Answer(answer) => {
                match &answer {
                    CommitAnswer::Committed { .. } => self.gauges.duplicates.inc_by(count),
                    CommitAnswer::Refused {
                        code: RefuseCode::Gap,
                        ..
                    } => self.gauges.gaps.inc(),
                    CommitAnswer::Refused {
                        code: RefuseCode::OtherWriter,
                        message,
                        ..
                    } => {
                        let lane = self.book.lane(no).map(|lane| lane.key.to_string());
                        tracing::warn!(lane, message, "a copy of an agent's spool goes on under new seqs");
                        0
                    }
                    CommitAnswer::Refused { .. } => 0,
                };
                answer
            }
        }
    }

    /// Where the group's next entry goes.
    pub(super) fn next_pos(&self, group: &Group) -> LogPos {
        group.newest().unwrap_or(self.newest).next()
    }

    /// Lets a request into the group, or tells at once why it cannot be.
    fn settle(
        &mut self,
        reply: Reply<SettleAnswer>,
        waiting: &mut Vec<Waiting>,
        judge: impl FnOnce(&mut Self) -> Result<SettleAnswer, CommitError>,
    ) {
        match judge(self) {
            Ok(answer) => waiting.push(Waiting::Letters { reply, answer }),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }

    fn attach(&mut self, feed: Feed, reply: oneshot::Sender<Result<LogPos, CommitError>>) {
        self.feed = Some(feed);
        // entries that this group is about to commit come after the attachment
        let _ = reply.send(Ok(self.newest));
    }

    /// Returns the leaves of the group's acts.
    fn write(&mut self, group: &Group) -> Result<Vec<u64>, CommitError> {
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let Some(store) = &mut self.store else {
            return Err(CommitError::Stopped);
        };
        let started = Instant::now();
        let leaves = store.write(group)?;
        self.gauges.seconds.observe(started.elapsed().as_secs_f64());
        let entries = group.entries.len() + group.replays.len() + group.discards.len();
        self.unmoved += group.stored_bytes() + entries * PAGES_PER_ENTRY;
        Ok(leaves)
    }

    /// A receiver that is gone does not want its answer any more; the commit stands all the same.
    fn answer(&self, waiting: Vec<Waiting>, leaves: &[u64]) {
        for waiting in waiting {
            match waiting {
                Waiting::Lane { reply, key } => {
                    let full = || CommitError::Unavailable("all lane numbers are taken".to_owned());
                    let state = self.book.number(&key).map(|lane_no| LaneState {
                        lane_no,
                        mark: self.book.durable_mark(lane_no),
                        history: self.book.durable_history(lane_no),
                    });
                    let _ = reply.send(state.ok_or_else(full));
                }
                Waiting::Batch { reply, answer, .. } => {
                    let _ = reply.send(Ok(answer));
                }
                Waiting::Letters { reply, answer } => {
                    let _ = reply.send(Ok(answer));
                }
                Waiting::Act { reply, nth } => {
                    // one for each act
                    let _ = reply.send(leaves.get(nth).copied().ok_or(CommitError::Stopped));
                }
                Waiting::Head { reply } => {
                    let _ = reply.send(Ok(()));
                }
            }
        }
    }

    /// Nothing of the group was stored: everyone goes on from the durable mark.
    fn refuse(&self, waiting: Vec<Waiting>, reason: &str) {
        for waiting in waiting {
            match waiting {
                Waiting::Lane { reply, .. } => {
                    let _ = reply.send(Err(CommitError::Unavailable(reason.to_owned())));
                }
                Waiting::Letters { reply, .. } => {
                    let _ = reply.send(Err(CommitError::Unavailable(reason.to_owned())));
                }
                Waiting::Act { reply, .. } => {
                    let _ = reply.send(Err(CommitError::Unavailable(reason.to_owned())));
                }
                Waiting::Head { reply } => {
                    let _ = reply.send(Err(CommitError::Unavailable(reason.to_owned())));
                }
                Waiting::Batch { reply, key, .. } => {
                    let mark = self.book.number(&key).map_or(0, |no| self.book.durable_mark(no));
                    let _ = reply.send(Ok(CommitAnswer::Refused {
                        expected: mark + 1,
                        code: RefuseCode::Unavailable,
                        message: format!("the commit log cannot store just now: {reason}"),
                        retry_after_ms: UNAVAILABLE_RETRY_MS,
                    }));
                }
            }
        }
    }

    fn turn_away(&mut self, commands: Vec<Command>, reason: &str) {
        let mut waiting = Vec::with_capacity(commands.len());
        for command in commands {
            match command {
                Command::OpenLane { key, reply, .. } => waiting.push(Waiting::Lane { reply, key }),
                Command::Commit { batch, reply, .. } => {
                    let answer = CommitAnswer::Committed {
                        mark: 0,
                        pos: None,
                        applied: None,
                    };
                    waiting.push(Waiting::Batch {
                        reply,
                        key: batch.key,
                        answer,
                    });
                }
                Command::Replay { reply, .. } | Command::Discard { reply, .. } => {
                    let answer = SettleAnswer::default();
                    waiting.push(Waiting::Letters { reply, answer });
                }
                Command::Record { reply, .. } => waiting.push(Waiting::Act { reply, nth: 0 }),
                Command::Sign { reply } => waiting.push(Waiting::Head { reply }),
                Command::Attach { feed, reply } => self.attach(feed, reply),
                Command::Covered(pos) => self.trimmer.covered(pos),
                Command::Stop => {}
            }
        }
        self.refuse(waiting, reason);
    }

    fn publish(&mut self, group: Group) {
        self.gauges.count(&group);
        if group.newest().is_none() {
            return;
        }
        self.committed.send_replace(self.newest);
        for entry in feed::entries(group) {
            feed::send(&mut self.feed, entry);
        }
    }

    pub(super) fn checkpoint_if_due(&mut self) {
        let Some(store) = self.store.as_ref().filter(|_| self.unmoved >= CHECKPOINT_AFTER) else {
            return;
        };
        self.unmoved = 0;
        let mut done = store.checkpoint();
        if done.as_ref().is_ok_and(|done| done.frames >= RESTART_FRAMES) {
            // readers kept the wal from starting over; their transactions are short, so waiting is too
            done = store.restart_wal();
        }
        match done {
            Ok(done) if done.held_back => {
                tracing::warn!(frames = done.frames, "a reader keeps the log's wal growing");
            }
            Ok(_) => {}
            // the commits stand; if the disk is full or broken, the next commit says so
            Err(error) => tracing::warn!(%error, "checkpoint of the log failed"),
        }
    }

    /// failed → open, when as much as failed can be stored. The inner error says why it is still failed.
    fn reopen(&mut self) -> Result<Result<(), String>, CommitError> {
        if self.reopened_at.is_some_and(|at| at.elapsed() < REOPEN_AFTER) {
            return Ok(Err("the last write failed".to_owned()));
        }
        self.reopened_at = Some(Instant::now());
        let opened = LogStore::open(&self.options.dir).and_then(|store| Ok((store.load()?, store)));
        let (loaded, mut store) = match opened {
            Ok(opened) => opened,
            Err(damaged @ CommitError::Damaged { .. }) => return Err(damaged),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let lost = self.book.lanes().any(|lane| {
            let found = loaded.lanes.iter().find(|found| found.no == lane.no);
            found.is_none_or(|found| found.counts.mark < lane.counts.mark)
        });
        if lost || loaded.newest < self.newest {
            tracing::error!(newest = %loaded.newest, told = %self.newest, "acknowledged entries are gone");
            return Err(CommitError::Damaged {
                what: "entries that were acknowledged are gone".to_owned(),
            });
        }
        self.feed_survivors(&store, loaded.newest)?;
        self.book = LaneBook::new(loaded.lanes, loaded.reserved_lanes);
        if let Err(error) = store.probe(self.failed_bytes) {
            self.fail(&error);
            return Ok(Err(error.to_string()));
        }
        self.store = Some(store);
        self.gauges.failing.set(0.0);
        self.health.send_replace(LogHealth::Storing);
        tracing::info!(newest = %self.newest, "the log is open again");
        Ok(Ok(()))
    }

    /// The group whose commit failed may be on disk after all.
    fn feed_survivors(&mut self, store: &LogStore, newest: LogPos) -> Result<(), CommitError> {
        while self.newest < newest {
            for entry in queries::entries(store.connection(), self.newest, MAX_GROUP, MAX_GROUP_BYTES)? {
                self.newest = entry.pos;
                feed::send(&mut self.feed, entry.decode()?);
            }
        }
        self.committed.send_replace(self.newest);
        Ok(())
    }
}

/// What is queued, up to the bounds of one transaction; `true` when it ends with a request to stop.
fn gather(first: Command, queue: &mut mpsc::Receiver<Command>) -> (Vec<Command>, bool) {
    let mut group = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    while let Some(command) = next {
        match &command {
            Command::Stop => return (group, true),
            Command::Commit { batch, .. } => bytes += batch.stored_bytes(),
            Command::Replay { batch, .. } => bytes += batch.memory(),
            Command::Discard { .. }
            | Command::Record { .. }
            | Command::Sign { .. }
            | Command::OpenLane { .. }
            | Command::Attach { .. }
            | Command::Covered(_) => {}
        }
        group.push(command);
        let full = group.len() >= MAX_GROUP || bytes >= MAX_GROUP_BYTES;
        next = if full { None } else { queue.try_recv().ok() };
    }
    (group, false)
}
