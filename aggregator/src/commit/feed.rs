//! Committed entries on their way to the window engine.

use std::sync::Arc;

use super::handle::Feed;
use super::messages::Committed;

/// Sends an entry, waiting while the engine lags. An engine that is gone will attach again and read what it
/// missed from the log, so nothing is lost with its feed.
pub(super) fn send(feed: &mut Option<Feed>, entry: Committed) {
    let Some(open) = feed else { return };
    if open.blocking_send(Arc::new(entry)).is_err() {
        tracing::info!("the window engine has left the commit log");
        *feed = None;
    }
}
