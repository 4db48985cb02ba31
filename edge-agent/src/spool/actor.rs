//! The thread that owns the database: takes what is queued, carries it out in one transaction, answers.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tributary_shared::metrics::{Gauge, Histogram, MetricName, counter, gauge, histogram};
use tributary_shared::time::{Millis, now_millis};

use super::answers::{carry_out, refuse_control, refuse_step, take_in};
use super::config::SpoolConfig;
use super::group::{Step, Waiter, plan};
use super::handle::InFlight;
use super::lane::Lane;
use super::messages::{Block, LaneInfo, SpoolError, SpoolHealth, SpoolStatus};
use super::open::{Database, Place};
use super::policy::Usage;
use super::queue::{Batch, Control, Queue, Queued, Read};
use super::reader::{self, Found};
use super::store::{StoreError, Trouble};
use super::transaction::Transaction;

/// Raw bytes of one group commit. More would save fsyncs, and keep the shipper's reads waiting longer.
const GROUP_BYTES: usize = 2 << 20;
/// Pause after a failure: a disk that is full or broken is not asked by every request anew.
const RETRY: Duration = Duration::from_secs(1);

/// Why appends are refused for now.
#[derive(Debug)]
struct Setback {
    reason: Arc<str>,
    retry_at: Instant,
}

#[derive(Debug)]
struct Gauges {
    bytes: Gauge,
    held: Gauge,
    commit: Histogram,
}

/// The state of the spool's thread.
#[derive(Debug)]
pub(super) struct Actor {
    place: Place,
    config: SpoolConfig,
    in_flight: InFlight,
    /// `None` while it does not open.
    database: Option<Database>,
    setback: Option<Setback>,
    quarantined: Option<Arc<str>>,
    status: watch::Sender<SpoolStatus>,
    stopping: Vec<Waiter<()>>,
    gauges: Gauges,
    /// Held until the thread ends.
    lock: File,
}

/// Whatever ends the thread, nobody waits for it afterwards.
struct AbandonOnDrop(Arc<Queue>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Actor {
    pub(super) fn new(
        place: Place,
        config: SpoolConfig,
        in_flight: InFlight,
        opened: (Database, Option<PathBuf>),
        lock: File,
    ) -> (Self, watch::Receiver<SpoolStatus>) {
        let (database, aside) = opened;
        let initial = SpoolStatus {
            lanes: Arc::new([]),
            bytes: 0,
            limit: config.limit,
            health: SpoolHealth::Healthy,
            quarantined: None,
        };
        let (status, watch) = watch::channel(initial);
        let gauges = Gauges {
            bytes: gauge(MetricName::SpoolBytes, &[]),
            held: gauge(MetricName::SpoolHeldEvents, &[]),
            commit: histogram(MetricName::SpoolCommitSeconds, &[]),
        };
        let quarantined = aside.map(|path| path.display().to_string().into());
        let (database, setback, stopping) = (Some(database), None, Vec::new());
        let mut actor = Self {
            place,
            config,
            in_flight,
            database,
            setback,
            quarantined,
            status,
            stopping,
            gauges,
            lock,
        };
        actor.publish();
        (actor, watch)
    }

    /// Serves the queue until it is closed and empty.
    pub(super) fn run(mut self, queue: Arc<Queue>) {
        let guard = AbandonOnDrop(queue);
        // requests that fit one by one also fit together, with what their blocks cost beside the rows
        let fits = usize::try_from(self.place.budget.max_group() / 2).unwrap_or(GROUP_BYTES);
        let (max_bytes, max_commands) = (fits.min(GROUP_BYTES), self.place.budget.max_commands());
        loop {
            let patience = self
                .setback
                .as_ref()
                .map(|s| s.retry_at.saturating_duration_since(Instant::now()));
            let batch = guard.0.take(patience, max_bytes, max_commands);
            let closed = batch.closed;
            self.round(batch, Instant::now(), now_millis());
            if !self.stopping.is_empty() {
                guard.0.close();
            }
            if closed {
                break;
            }
        }
        self.finish();
    }

    /// Carries out one batch of commands.
    pub(super) fn round(&mut self, batch: Batch, at: Instant, now: Millis) {
        let Batch {
            appends, controls, ..
        } = batch;
        let mut reads = Vec::new();
        let mut writes = Vec::new();
        for Queued { command, permit } in controls {
            match command {
                Control::Shutdown { reply } => self.stopping.push(Queued {
                    command: reply,
                    permit,
                }),
                Control::Read { .. } | Control::GetPosition { .. } | Control::ListPositions { .. } => {
                    reads.push(Queued { command, permit });
                }
                _ => writes.push(Queued { command, permit }),
            }
        }
        if !appends.is_empty() || !writes.is_empty() {
            self.write(plan(appends), writes, at, now);
        }
        // after the commit: what a read shows is durable, so its seqs can never stand for other events
        for read in reads {
            self.answer_read(read, at, now);
        }
        self.maintain(at, now);
    }

    #[cfg(test)]
    pub(super) fn database_for_tests(&self) -> &Database {
        self.database.as_ref().expect("open")
    }

    fn write(&mut self, mut steps: Vec<Step>, controls: Vec<Queued<Control>>, at: Instant, now: Millis) {
        let down = self.unavailable();
        if self.setback.is_some() {
            steps
                .drain(..)
                .flat_map(|step| refuse_step(step))
                .for_each(|answer| answer(Err(&down)));
        }
        let Some(database) = &mut self.database else {
            controls
                .into_iter()
                .for_each(|control| refuse_control(control, &down));
            return;
        };
        let started = Instant::now();
        let mut answers = Vec::new();
        let mut tx = Transaction::new(database, &self.config, &self.place.agent, &self.in_flight, now);
        let committed = tx.store.transaction(|| {
            let mut failed = None;
            for control in controls {
                carry_out(&mut tx, control, &mut failed, &mut answers);
            }
            for step in steps {
                take_in(&mut tx, step, &mut failed, &mut answers);
            }
            match failed {
                Some(error) => Err(error),
                None => tx.list_drops(),
            }
        });
        let dropped = std::mem::take(&mut tx.dropped);
        match committed {
            Ok(()) => {
                self.gauges.commit.observe(started.elapsed().as_secs_f64());
                for (reason, count) in dropped {
                    counter(MetricName::SpoolDropped, &[("reason", &reason)]).inc_by(count);
                }
                // before the answers: who was answered finds its events in the status
                self.publish();
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(error) => {
                let answer_with = SpoolError::Unavailable(error.to_string().into());
                self.recover_from(&error, at, now);
                answers.into_iter().for_each(|answer| answer(Err(&answer_with)));
            }
        }
    }

    fn unavailable(&self) -> SpoolError {
        let reason = self
            .setback
            .as_ref()
            .map_or_else(|| "it is closed".into(), |s| Arc::clone(&s.reason));
        SpoolError::Unavailable(reason)
    }

    fn answer_read(&mut self, Queued { command, permit }: Queued<Control>, at: Instant, now: Millis) {
        // answers leave before the permit is given back
        match command {
            Control::Read { read, reply } => {
                let answer = self.read(read, at, now);
                let _ = reply.send(answer);
            }
            Control::GetPosition { key, reply } => {
                let answer = self.query(at, now, |database| database.store.position(&key));
                let _ = reply.send(answer);
            }
            Control::ListPositions { prefix, reply } => {
                let answer = self.query(at, now, |database| database.store.positions(&prefix));
                let _ = reply.send(answer);
            }
            _ => {}
        }
        drop(permit);
    }

    fn query<T>(
        &mut self,
        at: Instant,
        now: Millis,
        work: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> Result<T, SpoolError> {
        let Some(database) = &self.database else {
            return Err(self.unavailable());
        };
        work(database).map_err(|error| {
            self.recover_from(&error, at, now);
            SpoolError::Unavailable(error.to_string().into())
        })
    }

    fn read(&mut self, read: Read, at: Instant, now: Millis) -> Result<Vec<Block>, SpoolError> {
        loop {
            let found = self.query(at, now, |database| match database.lanes.get(read.lane) {
                Some(lane) => reader::read(&database.store, lane, read).map(Some),
                None => Ok(None),
            })?;
            match found {
                None => return Err(SpoolError::UnknownLane),
                Some(Found::Blocks(blocks)) => return Ok(blocks),
                Some(Found::DamagedBlock { first }) => self.drop_damaged(read, first, at, now)?,
            }
        }
    }

    fn drop_damaged(&mut self, read: Read, first: u64, at: Instant, now: Millis) -> Result<(), SpoolError> {
        let Some(database) = &mut self.database else {
            return Err(self.unavailable());
        };
        let mut tx = Transaction::new(database, &self.config, &self.place.agent, &self.in_flight, now);
        let dropped = tx.store.transaction(|| {
            tx.drop_damaged(read.lane, first)?;
            tx.list_drops()
        });
        match dropped {
            Ok(()) => {
                self.publish();
                Ok(())
            }
            Err(error) => {
                self.recover_from(&error, at, now);
                Err(SpoolError::Unavailable(error.to_string().into()))
            }
        }
    }

    /// Checkpoints a WAL that has grown, and tries again after a pause.
    fn maintain(&mut self, at: Instant, now: Millis) {
        if self
            .setback
            .as_ref()
            .is_some_and(|setback| at >= setback.retry_at)
        {
            self.reopen(at, now);
            self.publish();
        }
        let Some(database) = &self.database else { return };
        if database.wal_bytes() >= self.place.budget.checkpoint_at()
            && let Err(error) = database.checkpoint(false)
        {
            self.recover_from(&error, at, now);
        }
    }

    /// After a failure nothing is known of what the disk has: close, open, verify, and only then go on.
    fn recover_from(&mut self, error: &StoreError, at: Instant, now: Millis) {
        tracing::warn!(error = %error, "spool failed, database opened anew");
        self.database = None;
        if error.trouble() == Trouble::Damage {
            match self.place.quarantine(now, error) {
                Ok(aside) => self.quarantined = Some(aside.display().to_string().into()),
                Err(error) => tracing::error!(error = %error, "damaged spool cannot be moved aside"),
            }
        }
        self.reopen(at, now);
        if error.trouble() == Trouble::DiskFull {
            self.set_back(error.to_string(), at);
        }
        self.publish();
    }

    fn reopen(&mut self, at: Instant, now: Millis) {
        self.database = None;
        let (database, aside) = match self.place.open_or_quarantine(now) {
            Ok(opened) => opened,
            Err(error) => return self.set_back(error.to_string(), at),
        };
        if let Some(aside) = aside {
            self.quarantined = Some(aside.display().to_string().into());
        }
        // writing everything to the database file and syncing it makes what was read a fact, also when an
        // earlier sync has failed and the kernel has called its pages clean
        match database.checkpoint(true) {
            Ok(()) => {
                self.database = Some(database);
                self.setback = None;
            }
            Err(error) => {
                if error.trouble() == Trouble::DiskFull {
                    // what is there can still be shipped, which makes room
                    self.database = Some(database);
                }
                self.set_back(error.to_string(), at);
            }
        }
    }

    fn set_back(&mut self, reason: String, at: Instant) {
        tracing::warn!(reason, "spool takes no events for now");
        self.setback = Some(Setback {
            reason: reason.into(),
            retry_at: at + RETRY,
        });
    }

    fn publish(&mut self) {
        let (lanes, bytes): (Arc<[LaneInfo]>, _) = match &self.database {
            Some(database) => {
                let bytes = database.usage().map_or(self.status.borrow().bytes, Usage::total);
                (database.lanes.iter().map(Lane::info).collect(), bytes)
            }
            None => (
                Arc::clone(&self.status.borrow().lanes),
                self.status.borrow().bytes,
            ),
        };
        let health = match &self.setback {
            None => SpoolHealth::Healthy,
            Some(setback) => SpoolHealth::Failing {
                reason: Arc::clone(&setback.reason),
            },
        };
        self.gauges.bytes.set(bytes as f64);
        self.gauges
            .held
            .set(lanes.iter().map(|lane| lane.held_events).sum::<u64>() as f64);
        let (limit, quarantined) = (self.config.limit, self.quarantined.clone());
        self.status.send_replace(SpoolStatus {
            lanes,
            bytes,
            limit,
            health,
            quarantined,
        });
    }

    fn finish(self) {
        let Self {
            database,
            lock,
            stopping,
            ..
        } = self;
        let closed = database.map_or(Ok(()), |database| {
            database.checkpoint(true)?;
            database
                .store
                .conn
                .close()
                .map_err(|(_, error)| StoreError::from(error))
        });
        // another agent may take over as soon as this one's stop is known
        drop(lock);
        let answer = closed.map_err(|error| SpoolError::Unavailable(error.to_string().into()));
        if let Err(error) = &answer {
            tracing::warn!(error = %error, "spool closed with its wal unmerged");
        }
        for waiter in stopping {
            let _ = waiter.command.send(answer.clone());
        }
    }
}
