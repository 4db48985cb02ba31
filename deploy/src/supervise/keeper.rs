//! Keeps one child running: started again with back-off whenever it dies, until told to stop.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tributary_shared::ready::Ready;

use super::backoff::Crashes;
use super::child::{Child, ChildSpec, DRAIN};

/// A child died and serves again.
#[derive(Debug, Clone)]
pub struct Restarted {
    pub name: String,
    pub ready: Ready,
}

/// The task that keeps a child.
#[derive(Debug)]
pub struct Keeper {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Takes over a child that serves. Restarts are told to `restarts`.
    #[must_use]
    pub fn new(spec: ChildSpec, child: Child, restarts: mpsc::Sender<Restarted>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(keep(spec, child, restarts, stopped));
        Self { stop, task }
    }

    /// Stops the child, with time to drain, and waits for its end.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "keeper of a process failed");
        }
    }
}

async fn keep(
    spec: ChildSpec,
    child: Child,
    restarts: mpsc::Sender<Restarted>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut crashes = Crashes::default();
    // none while it cannot be started
    let mut running = Some(child);
    loop {
        let lived = match running.take() {
            Some(mut child) => {
                let status = tokio::select! {
                    status = child.ended() => status,
                    () = told(&mut stopped) => return child.stop(DRAIN).await,
                };
                let lived = child.started.elapsed();
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!(process = %spec.name, pid = child.pid(), status, "process ended and is started again");
                lived
            }
            None => Duration::ZERO,
        };
        tokio::select! {
            () = sleep(crashes.wait_after(lived, rand::random())) => {}
            () = told(&mut stopped) => return,
        }
        running = restart(&spec, &restarts, &mut stopped).await;
    }
}

/// Waits until the keeper is told to stop, or was forgotten.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// The child, once it serves. `None` when it does not, or when the keeper was told to stop meanwhile.
async fn restart(
    spec: &ChildSpec,
    restarts: &mpsc::Sender<Restarted>,
    stopped: &mut watch::Receiver<bool>,
) -> Option<Child> {
    let failed = |error| tracing::error!(process = %spec.name, %error, "process could not be started");
    let mut child = Child::spawn(spec).map_err(failed).ok()?;
    let ready = tokio::select! {
        ready = child.ready(spec) => ready.map_err(failed).ok()?,
        () = told(stopped) => {
            child.stop(DRAIN).await;
            return None;
        }
    };
    tracing::info!(process = %spec.name, pid = child.pid(), "process serves again");
    let name = spec.name.clone();
    // when nobody listens any more, the whole mesh is being stopped
    let _ = restarts.send(Restarted { name, ready }).await;
    Some(child)
}
