//! A named OS thread behind a bounded channel, for work that blocks: every SQLite database has one.
//!
//! actix's `SyncArbiter` would do the same with an unbounded queue. Here a full channel makes the sender
//! wait, and pressure travels back to where the events come from.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::{mpsc, oneshot};

/// The thread's work panicked. What it was doing is unfinished; whoever depends on it must end or start over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("thread {thread} panicked: {message}")]
pub struct ThreadPanicked {
    pub thread: String,
    pub message: String,
}

/// A thread that was started by [`spawn`]. Dropping it lets the thread run on, unwatched.
#[derive(Debug)]
pub struct WorkerThread<T> {
    name: String,
    handle: thread::JoinHandle<()>,
    done: oneshot::Receiver<Result<T, ThreadPanicked>>,
}

/// Starts a thread that takes messages from a channel of `capacity` messages (at least 1).
///
/// `work` owns the receiving end: it loops over `blocking_recv`, and returns when that gives `None`, which is
/// when every sender is dropped and the channel is empty. So the way to stop is to drop the senders, and
/// nothing that was sent is lost. What `work` returns is what [`WorkerThread::join`] gives.
///
/// # Errors
/// When the system has no thread to give.
pub fn spawn<M, T, F>(name: &str, capacity: usize, work: F) -> io::Result<(mpsc::Sender<M>, WorkerThread<T>)>
where
    M: Send + 'static,
    T: Send + 'static,
    F: FnOnce(mpsc::Receiver<M>) -> T + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let (finish, done) = oneshot::channel();
    let thread_name = name.to_owned();
    let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // the receiver goes down with the panic, so senders see a closed channel, not a silent one
        let result = catch_unwind(AssertUnwindSafe(|| work(receiver))).map_err(|panic| ThreadPanicked {
            thread: thread_name,
            message: panic_message(&*panic),
        });
        // nobody may be waiting
        let _ = finish.send(result);
    })?;
    Ok((
        sender,
        WorkerThread {
            name: name.to_owned(),
            handle,
            done,
        },
    ))
}

impl<T> WorkerThread<T> {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until the thread has ended. Drop the senders first, or this waits for whoever holds them.
    /// Without dropping them it is the way to hear of a panic: it can be one arm of a `select!` by
    /// `&mut`-polling a pinned future.
    ///
    /// # Errors
    /// [`ThreadPanicked`].
    pub async fn join(self) -> Result<T, ThreadPanicked> {
        let Self { name, handle, done } = self;
        let gone = ThreadPanicked {
            thread: name,
            message: "it ended without a result".to_owned(),
        };
        let result = done.await.unwrap_or(Err(gone));
        // it has sent its result as its last act, so this does not block
        let _ = handle.join();
        result
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(mut receiver: mpsc::Receiver<u64>) -> u64 {
        let mut sum = 0;
        while let Some(number) = receiver.blocking_recv() {
            assert_ne!(number, 13, "a fault for the test");
            sum += number;
        }
        sum
    }

    #[tokio::test]
    async fn everything_sent_is_worked_off_before_the_join() {
        let (sender, thread) = spawn("sum", 2, sum).expect("a thread");
        for number in 1..=10 {
            sender.send(number).await.expect("alive");
        }
        drop(sender);
        assert_eq!(thread.join().await, Ok(55));
    }

    #[tokio::test]
    async fn a_full_channel_pushes_back() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let work = move |receiver| {
            wait.recv().expect("told to go");
            sum(receiver)
        };
        let (sender, thread) = spawn("sum", 2, work).expect("a thread");
        sender.try_send(1).expect("room");
        sender.try_send(2).expect("room");
        assert!(matches!(
            sender.try_send(3),
            Err(mpsc::error::TrySendError::Full(3))
        ));
        go.send(()).expect("waiting");
        drop(sender);
        assert_eq!(thread.join().await, Ok(3));
    }

    #[tokio::test]
    async fn a_panic_is_told_by_name_and_closes_the_channel() {
        let (sender, thread) = spawn("sum", 2, sum).expect("a thread");
        sender.send(13).await.expect("alive");
        let panicked = thread.join().await.expect_err("it panicked");
        assert_eq!(panicked.thread, "sum");
        assert!(panicked.message.contains("a fault for the test"), "{panicked}");
        assert!(sender.send(1).await.is_err(), "the channel is closed");
    }
}
