//! What the engine's thread does so that windows are kept: snapshots, a slice at a time between batches, and room in
//! memory for what comes.

use std::time::{Duration, Instant};

use tributary_shared::metrics::{self, MetricName};

use super::actor::Runner;
use super::handle::{EngineError, PutViewError};
use super::messages::Snapshot;
use super::publish::REPLACED;
use super::store::{Put, StoreError};
use super::writer::{Done, DropOrder, Order, PutOrder};
use crate::commit::LogPos;

/// Groups that are encoded between two batches, in about half a millisecond.
const SLICE: usize = 1_000;
/// Groups that batches may change while a snapshot still needs them as they were. Beyond that, batches wait.
const MOST_AHEAD: usize = 50_000;
/// A snapshot stores what changed since the one before. The next one comes so many times later than it took: snapshots
/// take a tenth of the time at most, and a restart replays a little more.
const SNAPSHOT_REST: u32 = 9;
/// However long a snapshot takes: what is replayed after a crash stays a matter of seconds.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// How far the snapshot is that was begun.
#[derive(Debug)]
pub(super) struct Taking {
    started: Instant,
    /// Where the log must begin so that it can go on.
    covers: LogPos,
    /// All of it is ordered.
    ordered: bool,
}

/// How full the memory is.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Nothing may leave before a snapshot is stored: batches wait.
    pub waits: bool,
    /// More than the budget, because so much cannot leave.
    least: u64,
}

impl Runner {
    /// Whether batches wait for the snapshot.
    pub(super) fn is_pressed(&self) -> bool {
        self.room.waits || self.engine.encoded_ahead() > MOST_AHEAD
    }

    /// Whether the writer has something to get from us.
    pub(super) fn has_orders(&self) -> bool {
        !self.orders.is_empty() || self.taking.as_ref().is_some_and(|taking| !taking.ordered)
    }

    /// The next order for the writer. Call it when there is one.
    pub(super) fn next_order(&mut self) -> Option<Order> {
        if let Some(order) = self.orders.pop_front() {
            return Some(order);
        }
        let taking = self.taking.as_mut().filter(|taking| !taking.ordered)?;
        Some(match self.engine.next_slice(SLICE) {
            Some(slice) => Order::Slice(slice),
            None => {
                taking.ordered = true;
                Order::Commit
            }
        })
    }

    /// Begins a snapshot, if there is anything new and none is on the way.
    pub(super) fn begin_snapshot(&mut self) {
        if self.taking.is_some() || !self.dirty {
            return;
        }
        self.dirty = false;
        let started = Instant::now();
        let snapshot = self.engine.begin_snapshot();
        self.taking = Some(Taking {
            started,
            covers: covered(&snapshot),
            ordered: false,
        });
        self.orders.push_back(Order::Begin(Box::new(snapshot)));
    }

    /// Takes note of what the writer did.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Snapshot(stored) => self.snapshot_done(stored),
            Done::Put(order, put) => self.put_done(*order, put),
            Done::Drop(DropOrder { name, reply }, dropped) => {
                if dropped.is_ok() {
                    self.engine.drop_view(&name);
                    self.views.remove(&name);
                    self.live.end(&name);
                    self.dirty = true;
                }
                // whoever asked may be gone by now, which is fine
                let _ = reply.send(dropped.map_err(PutViewError::Store));
            }
        }
    }

    /// A failure loses nothing: the log has it, and the next snapshot takes it.
    fn snapshot_done(&mut self, stored: Result<(), StoreError>) {
        let Some(taking) = self.taking.take() else { return };
        let took = taking.started.elapsed();
        self.rested = Instant::now() + rest_after(took);
        match stored {
            Ok(()) => {
                self.engine.snapshot_stored();
                self.covered = taking.covers;
                self.gauges.snapshot_seconds.observe(took.as_secs_f64());
                self.make_room();
                // what is left cannot leave
                self.room.waits = false;
                self.room.least = self.engine.hot_bytes();
            }
            Err(error) => {
                tracing::warn!(%error, "a snapshot cannot be stored now; it is tried again");
                self.engine.snapshot_failed();
                self.dirty = true;
            }
        }
        self.tell_cut_overs();
        self.show_gauges();
    }

    fn put_done(&mut self, order: PutOrder, put: Result<Put, StoreError>) {
        let PutOrder { def, plan, reply } = order;
        let created = !self.views.contains_key(&def.name);
        let answer = match put {
            Err(error) => Err(super::PutViewError::Store(error)),
            Ok(put) => {
                match put {
                    Put::Known => {}
                    Put::Retimed => self.engine.retime(&def.name, def.options),
                    Put::Returned => {
                        self.engine.forget_coming(&def.name);
                        self.engine.retime(&def.name, def.options);
                    }
                    Put::Begun(id) => self.engine.begin_view(plan, def.options, id),
                }
                if put != Put::Known {
                    tracing::info!(view = %def.name, created, "view defined");
                    self.dirty = true;
                }
                let name = def.name.clone();
                self.views
                    .entry(name.clone())
                    .and_modify(|known| {
                        known.sql.clone_from(&def.sql);
                        known.options = def.options;
                        if matches!(put, Put::Begun(_)) {
                            known.created_at = def.created_at;
                        }
                    })
                    .or_insert(def);
                self.tell_cut_overs();
                let view = self
                    .info_of(&name)
                    .ok_or(super::PutViewError::Stopped(super::EngineStopped));
                view.map(|view| super::PutView { view, created })
            }
        };
        // whoever asked may be gone by now, which is fine
        let _ = reply.send(answer);
    }

    /// Lets groups leave memory when there are too many. What is shown of them must be told before.
    pub(super) fn make_room(&mut self) {
        if !self.engine.is_full() || self.engine.hot_bytes() < self.room.least + self.room.least / 8 {
            return;
        }
        self.publish();
        self.engine.evict();
        if self.engine.is_full() {
            self.room.waits = true;
            self.begin_snapshot();
        }
    }

    /// Views that serve a new definition: their old windows may be deleted, and readers should read anew.
    pub(super) fn tell_cut_overs(&mut self) {
        for (name, id) in self.engine.take_cut_over() {
            tracing::info!(view = %name, "the view serves its new definition");
            self.live.reset(&name, REPLACED);
            self.orders.push_back(Order::CutOver { name, id });
        }
    }

    /// Stores everything, before the thread ends.
    pub(super) async fn last_snapshot(&mut self) {
        loop {
            if self.taking.is_none() {
                self.begin_snapshot();
            }
            if self.taking.is_none() && !self.has_orders() {
                return;
            }
            let tries = self.taking.is_some();
            tokio::select! {
                done = self.writer.done.recv() => {
                    let failed = matches!(done, Some(Done::Snapshot(Err(_))) | None);
                    if let Some(done) = done {
                        self.done(done);
                    }
                    if failed && tries {
                        return;
                    }
                }
                permit = self.writer.orders.clone().reserve_owned(), if self.has_orders() => {
                    let Ok(permit) = permit else { return };
                    if let Some(order) = self.next_order() {
                        permit.send(order);
                    }
                }
            }
        }
    }

    /// What the thread cannot go on after.
    pub(super) fn check_failure(&self) -> Result<(), EngineError> {
        match self.engine.failure() {
            None => Ok(()),
            Some(error) => Err(EngineError::Cold(error.clone())),
        }
    }

    fn show_gauges(&self) {
        metrics::gauge(MetricName::WindowBytes, &[]).set(self.engine.hot_bytes() as f64);
        for plan in self.engine.views() {
            let Some(stats) = self.engine.stats(plan.name()) else {
                continue;
            };
            let of = [("view", plan.name())];
            metrics::gauge(MetricName::WindowRows, &of).set(stats.groups as f64);
            metrics::gauge(MetricName::OverflowedEvents, &of).set(stats.counters.overflowed as f64);
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
