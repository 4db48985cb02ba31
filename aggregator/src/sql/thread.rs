//! The thread of one question.

use tokio::sync::oneshot;

/// How much a question's thread gives way to those that take events in: with this niceness it gets a thirtieth of a
/// core that both want.
const NICENESS: i32 = 15;

/// Runs blocking work on a thread of its own, of low priority. `None` when there is no thread to be had, or it
/// panicked.
pub async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("ad-hoc sql".to_owned());
    let spawned = thread.spawn(move || {
        // niceness is the thread's own on Linux; where it may not be changed, the query is only less polite
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "an ad-hoc query runs at normal priority");
        }
        // whoever asked may be gone by now, which is fine
        let _ = reply.send(work());
    });
    match spawned {
        Ok(_) => answer.await.ok(),
        Err(error) => {
            tracing::warn!(%error, "no thread for an ad-hoc query");
            None
        }
    }
}
