//! The agent's stop signal: a watched flag that turns true once.

use tokio::sync::watch;

/// Resolves when the agent is told to stop, or nobody is left to tell it.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    // an error means that the sender is gone, which is an order to stop as well
    let _ = stop.wait_for(|stop| *stop).await;
}
