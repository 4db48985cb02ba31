//! The thread that writes views.db. The engine's thread never waits for it: it hears what became of each order.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tributary_shared::actors::thread::{self, WorkerThread};

use super::handle::{EngineError, PutView, PutViewError};
use super::messages::Snapshot;
use super::saving::SnapshotSlice;
use super::store::{Put, StoreError, ViewStore};
use crate::view::{ViewDef, ViewPlan};

/// Orders that wait: slices of a snapshot, of about a millisecond of writing each.
pub(super) const ORDERS: usize = 8;
/// What the engine has not heard yet. There is one snapshot at a time, and as many definitions as questions.
const DONE: usize = 128;

/// A definition that somebody waits for.
#[derive(Debug)]
pub(super) struct PutOrder {
    pub def: ViewDef,
    pub plan: Arc<ViewPlan>,
    pub reply: oneshot::Sender<Result<PutView, PutViewError>>,
}

/// A deletion that somebody waits for.
#[derive(Debug)]
pub(super) struct DropOrder {
    pub name: String,
    pub reply: oneshot::Sender<Result<bool, PutViewError>>,
}

#[derive(Debug)]
pub(super) enum Order {
    Begin(Box<Snapshot>),
    Slice(SnapshotSlice),
    Commit,
    Put(Box<PutOrder>),
    Drop(DropOrder),
    CutOver { name: Arc<str>, id: u64 },
}

#[derive(Debug)]
pub(super) enum Done {
    Snapshot(Result<(), StoreError>),
    Put(Box<PutOrder>, Result<Put, StoreError>),
    Drop(DropOrder, Result<bool, StoreError>),
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct Writer {
    pub orders: mpsc::Sender<Order>,
    pub done: mpsc::Receiver<Done>,
    pub thread: WorkerThread<()>,
}

pub(super) fn start(store: ViewStore) -> Result<Writer, EngineError> {
    let (sender, done) = mpsc::channel(DONE);
    let work = move |orders| WriterThread::new(store, sender).run(orders);
    let (orders, thread) = thread::spawn("views writer", ORDERS, work)
        .map_err(|error| EngineError::Thread(error.to_string()))?;
    Ok(Writer { orders, done, thread })
}

struct WriterThread {
    store: ViewStore,
    done: mpsc::Sender<Done>,
    /// How the snapshot that is being written goes.
    snapshot: Option<Result<(), StoreError>>,
    /// Orders that are no part of the snapshot and came before its end.
    waiting: VecDeque<Order>,
    /// There may be state of definitions that are no more.
    leftovers: bool,
}

impl WriterThread {
    fn new(store: ViewStore, done: mpsc::Sender<Done>) -> Self {
        Self {
            store,
            done,
            snapshot: None,
            waiting: VecDeque::new(),
            leftovers: true,
        }
    }

    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let order = match orders.try_recv() {
                Ok(order) => Some(order),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) if self.leftovers && self.snapshot.is_none() => {
                    self.sweep();
                    continue;
                }
                Err(TryRecvError::Empty) => orders.blocking_recv(),
            };
            let Some(order) = order else { return };
            self.take(order);
            while self.snapshot.is_none()
                && let Some(waiting) = self.waiting.pop_front()
            {
                self.take(waiting);
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Begin(snapshot) => self.snapshot = Some(self.store.begin_snapshot(&snapshot)),
            Order::Slice(slice) => {
                if let Some(so_far @ Ok(())) = &mut self.snapshot {
                    *so_far = self.store.put_slice(&slice);
                }
            }
            Order::Commit => {
                let so_far = self.snapshot.take().unwrap_or(Ok(()));
                let stored = so_far.and_then(|()| self.store.commit_snapshot());
                self.tell(Done::Snapshot(stored));
            }
            // a definition is told as stored only when it is: not within a transaction that may fail
            other if self.snapshot.is_some() => self.waiting.push_back(other),
            Order::Put(order) => {
                let put = self.store.put(&order.def);
                self.leftovers = true;
                self.tell(Done::Put(order, put));
            }
            Order::Drop(order) => {
                let dropped = self.store.drop_view(&order.name);
                self.leftovers = true;
                self.tell(Done::Drop(order, dropped));
            }
            Order::CutOver { name, id } => {
                self.leftovers = true;
                if let Err(error) = self.store.cut_over(&name, id) {
                    tracing::warn!(view = %name, %error, "the old windows of a replaced view stay stored until the next start");
                }
            }
        }
    }

    fn tell(&self, done: Done) {
        // the engine's thread has ended, or is about to: nobody waits
        let _ = self.done.blocking_send(done);
    }

    fn sweep(&mut self) {
        self.leftovers = self.store.sweep().unwrap_or_else(|error| {
            tracing::warn!(%error, "windows of deleted views cannot be deleted now; it is tried again later");
            false
        });
    }
}
