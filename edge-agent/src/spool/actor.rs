//! The thread that owns the database: takes what is queued, carries it out in one transaction, answers.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tributary_shared::metrics::{Gauge, Histogram, MetricName, counter, gauge, histogram};
use tributary_shared::time::{Millis, now_millis};
use tributary_shared::wire::history::MAX_WRITER;

use super::age::WallClock;
use super::answers::{carry_out, refuse_control, refuse_step, take_in};
use super::config::SpoolConfig;
use super::group::{Step, Waiter, plan};
use super::handle::InFlight;
use super::lane::Lane;
use super::messages::{Block, LaneInfo, SpoolError, SpoolHealth, SpoolStatus};
use super::open::{Database, First, OpenError, Opened, Place, lock};
use super::policy::Usage;
use super::queue::{Batch, Control, Queue, Queued, Read};
use super::reader::{self, Found};
use super::source::Source;
use super::standby;
use super::store::{StoreError, Trouble};
use super::transaction::Transaction;

/// Raw bytes of one group commit. More would save fsyncs, and keep the shipper's reads waiting longer.
const GROUP_BYTES: usize = 2 << 20;
/// Pause after a failure: a disk that is full or broken is not asked by every request anew.
const RETRY: Duration = Duration::from_secs(1);
/// How often what is too old is looked for, and a standby file that had to go is made again.
const TICK: Duration = Duration::from_secs(5);

/// Why appends are refused for now.
#[derive(Debug)]
struct Setback {
    reason: Arc<str>,
    trouble: Trouble,
    retry_at: Instant,
}

#[derive(Debug)]
struct Gauges {
    bytes: Gauge,
    held: Gauge,
    healthy: Gauge,
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
    /// This process: who gives a seq to an event is noted with it, so that a copy of this spool is told from it.
    writer: u64,
    renumbered: u64,
    /// An append found no room, and nothing has changed since.
    full: bool,
    clock: WallClock,
    /// The database was open in this process.
    opened: bool,
    standby: bool,
    /// The damaged database, while it is read.
    source: Option<Source>,
    next_tick: Instant,
    status: watch::Sender<SpoolStatus>,
    stopping: Vec<Waiter<()>>,
    gauges: Gauges,
    /// Held until the thread ends. `None` while the directory cannot be written to.
    lock: Option<File>,
}

/// Whatever ends the thread, nobody waits for it afterwards.
struct AbandonOnDrop(Arc<Queue>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Actor {
    /// Takes the directory and opens the database. Where the disk does not allow that now, the spool is there
    /// all the same: it says why, and tries again.
    ///
    /// # Errors
    /// [`OpenError`] when it will not get better by itself.
    pub(super) fn start(
        place: Place,
        config: SpoolConfig,
        in_flight: InFlight,
        at: Instant,
        now: Millis,
    ) -> Result<(Self, watch::Receiver<SpoolStatus>), OpenError> {
        let initial = SpoolStatus {
            lanes: Arc::new([]),
            retired: Arc::new([]),
            bytes: 0,
            limit: config.limit,
            renumbered: 0,
            full: false,
            health: SpoolHealth::Healthy,
            quarantined: None,
            salvage: None,
        };
        let (status, watch) = watch::channel(initial);
        let gauges = Gauges {
            bytes: gauge(MetricName::SpoolBytes, &[]),
            held: gauge(MetricName::SpoolHeldEvents, &[]),
            healthy: gauge(MetricName::SpoolHealthy, &[]),
            commit: histogram(MetricName::SpoolCommitSeconds, &[]),
        };
        let mut actor = Self {
            place,
            config,
            in_flight,
            database: None,
            setback: None,
            quarantined: None,
            writer: rand::random_range(1..=MAX_WRITER),
            renumbered: 0,
            full: false,
            clock: WallClock::new(Vec::new(), at, now),
            opened: false,
            standby: false,
            source: None,
            next_tick: at,
            status,
            stopping: Vec::new(),
            gauges,
            lock: None,
        };
        if let Err(error) = actor.try_open(at, now) {
            if error.is_final() {
                return Err(error);
            }
            count_failure(error.trouble());
            actor.set_back(error.to_string(), error.trouble(), at);
        }
        actor.publish();
        Ok((actor, watch))
    }

    /// Serves the queue until it is closed and empty.
    pub(super) fn run(mut self, queue: Arc<Queue>) {
        let guard = AbandonOnDrop(queue);
        // requests that fit one by one also fit together, with what their blocks cost beside the rows
        let fits = usize::try_from(self.place.budget.max_group() / 2).unwrap_or(GROUP_BYTES);
        let (max_bytes, max_commands) = (fits.min(GROUP_BYTES), self.place.budget.max_commands());
        loop {
            let batch = guard
                .0
                .take(self.patience(Instant::now()), max_bytes, max_commands);
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

    /// How long to wait for commands. `None` when there is nothing to do without one.
    fn patience(&self, at: Instant) -> Option<Duration> {
        let retry = self.setback.as_ref().map(|setback| setback.retry_at);
        let ticks = self.config.any_max_age() || !self.standby;
        let tick = ticks.then_some(self.next_tick);
        if retry.is_none() && self.salvaging() {
            return Some(Duration::ZERO);
        }
        let next = retry.into_iter().chain(tick).min()?;
        Some(next.saturating_duration_since(at))
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
        let mut tx = Transaction::new(
            database,
            &self.config,
            &self.place.agent,
            &self.in_flight,
            now,
            self.writer,
        );
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
        let (dropped, refused) = (std::mem::take(&mut tx.dropped), !tx.refused.is_empty());
        let renumbered = tx.renumbered;
        match committed {
            Ok(()) => {
                self.renumbered += renumbered;
                counter(MetricName::SpoolRenumbered, &[]).inc_by(renumbered);
                self.gauges.commit.observe(started.elapsed().as_secs_f64());
                count(dropped);
                self.full = refused;
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
        self.transact(at, now, |tx| tx.drop_damaged(read.lane, first))
    }

    /// Work of the spool's own, in a transaction of its own.
    fn transact<T>(
        &mut self,
        at: Instant,
        now: Millis,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, SpoolError> {
        let Some(database) = &mut self.database else {
            return Err(self.unavailable());
        };
        let mut tx = Transaction::new(
            database,
            &self.config,
            &self.place.agent,
            &self.in_flight,
            now,
            self.writer,
        );
        let done = tx.store.transaction(|| {
            let out = work(&mut tx)?;
            tx.list_drops()?;
            Ok(out)
        });
        let dropped = std::mem::take(&mut tx.dropped);
        match done {
            Ok(out) => {
                self.full &= dropped.is_empty();
                count(dropped);
                self.publish();
                Ok(out)
            }
            Err(error) => {
                self.recover_from(&error, at, now);
                Err(SpoolError::Unavailable(error.to_string().into()))
            }
        }
    }

    /// Tries again after a pause, checkpoints a WAL that has grown, and drops what is too old.
    fn maintain(&mut self, at: Instant, now: Millis) {
        if self
            .setback
            .as_ref()
            .is_some_and(|setback| at >= setback.retry_at)
        {
            self.retry(at, now);
        }
        if let Some(database) = &self.database
            && database.wal_bytes() >= self.place.budget.checkpoint_at()
            && let Err(error) = database.checkpoint(false)
        {
            self.recover_from(&error, at, now);
        }
        if self.setback.is_none() && self.salvaging() {
            self.salvage(at, now);
        }
        if at >= self.next_tick {
            self.next_tick = at + TICK;
            self.tick(at, now);
        }
    }

    fn salvaging(&self) -> bool {
        let salvage = self
            .database
            .as_ref()
            .and_then(|database| database.salvage.as_ref());
        salvage.is_some_and(|salvage| !salvage.done)
    }

    /// Reads some more of a damaged database.
    fn salvage(&mut self, at: Instant, now: Millis) {
        let Some(mut row) = self
            .database
            .as_ref()
            .and_then(|database| database.salvage.clone())
        else {
            return;
        };
        let source = match self.source.take() {
            Some(source) => Ok(source),
            None => Source::open(&self.place.dir.join(&row.file)),
        };
        let step = self.transact(at, now, |tx| match &source {
            Ok(source) => tx.salvage_some(source, &mut row),
            Err(error) => {
                row.problems.push(format!("it cannot be opened: {error}"));
                tx.give_up_salvage(&mut row)
            }
        });
        if step.is_ok()
            && let Some(database) = &mut self.database
        {
            self.source = source.ok().filter(|_| !row.done);
            if row.done {
                database.hidden.clear();
                // the source's index; the damaged file and its WAL stay
                let _ = std::fs::remove_file(self.place.dir.join(format!("{}-shm", row.file)));
            }
            database.salvage = Some(row);
            self.publish();
        }
    }

    fn tick(&mut self, at: Instant, now: Millis) {
        if let Some(step) = self.clock.observe(at, now)
            && let Some(database) = &self.database
            && let Err(error) = database.store.add_clock_step(step)
        {
            self.recover_from(&error, at, now);
        }
        if !self.standby && self.setback.is_none() {
            self.standby = standby::make(&self.place.dir, self.place.budget.standby()).is_ok();
        }
        if self.database.is_some() && self.setback.is_none() && self.config.any_max_age() {
            let (limit, clock) = (self.place.budget.max_commands(), self.clock.clone());
            let more = self.transact(at, now, |tx| tx.expire(&clock, limit));
            if more == Ok(true) {
                self.next_tick = at;
            }
        }
    }

    /// After a failure nothing is known of what the disk has: close, open, verify, and only then go on.
    fn recover_from(&mut self, error: &StoreError, at: Instant, now: Millis) {
        let trouble = error.trouble();
        tracing::warn!(error = %error, "spool failed, database opened anew");
        count_failure(trouble);
        self.database = None;
        if trouble == Trouble::DiskFull {
            // deleting needs room as well: this is what it was kept for
            self.give_up_standby();
        }
        self.source = None;
        let opened = match trouble {
            // it may look whole when it is opened again: what showed the damage is known here only
            Trouble::Damage => self
                .place
                .quarantine_and_salvage(now, error, First::No)
                .map(|opened| {
                    self.quarantined = opened.aside.map(|aside| aside.display().to_string().into());
                }),
            _ => Ok(()),
        };
        match opened.and_then(|()| self.try_open(at, now)) {
            Err(error) => self.set_back(error.to_string(), error.trouble(), at),
            Ok(()) if trouble == Trouble::DiskFull => self.set_back(error.to_string(), trouble, at),
            Ok(()) => {}
        }
        self.publish();
    }

    /// Is the disk back?
    fn retry(&mut self, at: Instant, now: Millis) {
        let trouble = self.setback.take().map(|setback| setback.trouble);
        let outcome = match &self.database {
            // what is held could be shipped all the time: no need to open it anew
            Some(database) if trouble == Some(Trouble::DiskFull) => {
                let checked = database.checkpoint(true).map_err(OpenError::from);
                let checked = checked.and_then(|()| self.check_room(database));
                checked.map(|standby| self.standby = standby)
            }
            _ => self.try_open(at, now),
        };
        match outcome {
            Ok(()) => tracing::info!("spool takes events again"),
            Err(error) => self.set_back(error.to_string(), error.trouble(), at),
        }
        self.publish();
    }

    /// On an error the database may be open all the same: then what is held can be shipped.
    fn try_open(&mut self, at: Instant, now: Millis) -> Result<(), OpenError> {
        if self.lock.is_none() {
            self.lock = Some(lock(&self.place.dir)?);
        }
        let first = if self.opened { First::No } else { First::InProcess };
        let opened = match self.place.open_or_quarantine(now, first) {
            Err(error) if error.trouble() == Trouble::DiskFull => {
                self.give_up_standby();
                self.place.open_or_quarantine(now, first)?
            }
            other => other?,
        };
        let Opened { database, aside } = opened;
        if let Some(aside) = aside {
            self.quarantined = Some(aside.display().to_string().into());
        }
        if !std::mem::replace(&mut self.opened, true) {
            self.clock = WallClock::new(database.clock_steps.clone(), at, now);
        }
        // writing everything to the database file and syncing it makes what was read a fact, also when an
        // earlier sync has failed and the kernel has called its pages clean
        let checked = match database.checkpoint(true).and_then(|()| database.prove_writable()) {
            Ok(()) => self.check_room(&database),
            Err(error) => Err(error.into()),
        };
        match checked {
            Ok(standby) => {
                self.standby = standby;
                self.database = Some(database);
                Ok(())
            }
            Err(error) => {
                if error.trouble() == Trouble::DiskFull {
                    self.database = Some(database);
                }
                Err(error)
            }
        }
    }

    /// Has the disk room for events? Where the standby file finds none, free pages in the database may do.
    /// Returns whether there is a standby file.
    fn check_room(&self, database: &Database) -> Result<bool, OpenError> {
        let budget = self.place.budget;
        match standby::make(&self.place.dir, budget.standby()) {
            Ok(()) => Ok(true),
            Err(source) => {
                if database.store.free_bytes()? >= 2 * budget.max_group() {
                    return Ok(false);
                }
                Err(OpenError::Io {
                    path: standby::path(&self.place.dir),
                    source,
                })
            }
        }
    }

    fn give_up_standby(&mut self) {
        self.standby = false;
        if let Err(error) = standby::give_up(&self.place.dir) {
            tracing::warn!(error = %error, "standby file cannot be removed");
        }
    }

    fn set_back(&mut self, reason: String, trouble: Trouble, at: Instant) {
        tracing::warn!(reason, "spool takes no events for now");
        self.setback = Some(Setback {
            reason: reason.into(),
            trouble,
            retry_at: at + RETRY,
        });
    }

    fn publish(&mut self) {
        let (lanes, bytes): (Arc<[LaneInfo]>, _) = match &self.database {
            Some(database) => {
                let bytes = database.usage().map_or(self.status.borrow().bytes, Usage::total);
                let shown = database
                    .lanes
                    .iter()
                    .filter(|lane| !database.hidden.contains(&lane.id));
                (shown.map(Lane::info).collect(), bytes)
            }
            None => (
                Arc::clone(&self.status.borrow().lanes),
                self.status.borrow().bytes,
            ),
        };
        let health = match &self.setback {
            None => SpoolHealth::Healthy,
            Some(setback) => SpoolHealth::Failing {
                trouble: setback.trouble.word(),
                reason: Arc::clone(&setback.reason),
            },
        };
        self.gauges
            .healthy
            .set(f64::from(u8::from(self.setback.is_none())));
        self.gauges.bytes.set(bytes as f64);
        self.gauges
            .held
            .set(lanes.iter().map(|lane| lane.held_events).sum::<u64>() as f64);
        let retired = match &self.database {
            Some(database) => Arc::clone(&database.lanes.retired),
            None => Arc::clone(&self.status.borrow().retired),
        };
        let renumbered = self.renumbered;
        let (limit, full, quarantined) = (self.config.limit, self.full, self.quarantined.clone());
        let salvage = self
            .database
            .as_ref()
            .and_then(|database| database.salvage.as_ref());
        let salvage = salvage.map(|row| Arc::new(row.report(&self.place.dir)));
        self.status.send_replace(SpoolStatus {
            lanes,
            retired,
            bytes,
            limit,
            renumbered,
            full,
            health,
            quarantined,
            salvage,
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

fn count_failure(trouble: Trouble) {
    counter(MetricName::SpoolFailures, &[("trouble", trouble.word())]).inc();
}

fn count(dropped: HashMap<Arc<str>, u64>) {
    for (reason, events) in dropped {
        counter(MetricName::SpoolDropped, &[("reason", &reason)]).inc_by(events);
    }
}
