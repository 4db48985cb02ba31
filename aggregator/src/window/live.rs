//! Changed rows on their way to whoever watches. The engine never waits: a watcher that is too slow loses the
//! oldest rows, and its receiver tells it how many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use super::stamp::EventId;
use crate::commit::LogPos;

/// Rows that a watcher may lag behind, some 300 bytes each.
const BEHIND: usize = 4_096;

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// One changed row, as JSON text that was made once for all watchers. `id` is of a view that is live: changes of
    /// one that is being back-filled have no order.
    Row {
        id: Option<EventId>,
        changed_at: LogPos,
        view: Arc<str>,
        json: String,
    },
    /// This many rows of a view changed at once, more than anybody can follow: read them instead.
    Flood { view: Arc<str>, rows: u64 },
    /// A row that is no more, because it became part of another.
    Gone { view: Arc<str>, json: String },
    /// The rows that a watcher knows are worth nothing any more: read them again.
    Reset { view: Arc<str>, why: &'static str },
}

/// The broadcasts: one of all views, and one for each view that was ever watched.
#[derive(Debug, Clone)]
pub(super) struct LiveRows {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    all: broadcast::Sender<Arc<LiveEvent>>,
    by_view: Mutex<HashMap<String, broadcast::Sender<Arc<LiveEvent>>>>,
}

impl LiveRows {
    pub fn new() -> Self {
        let all = broadcast::Sender::new(BEHIND);
        Self {
            shared: Arc::new(Shared {
                all,
                by_view: Mutex::default(),
            }),
        }
    }

    fn views(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<Arc<LiveEvent>>>> {
        self.shared.by_view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn subscribe(&self, view: &str) -> broadcast::Receiver<Arc<LiveEvent>> {
        let mut views = self.views();
        // channels that nobody listens to any more cost a buffer each
        views.retain(|_, sender| sender.receiver_count() > 0);
        views
            .entry(view.to_owned())
            .or_insert_with(|| broadcast::Sender::new(BEHIND))
            .subscribe()
    }

    pub fn subscribe_all(&self) -> broadcast::Receiver<Arc<LiveEvent>> {
        self.shared.all.subscribe()
    }

    /// Whether making JSON of this view's rows is worth it.
    pub fn is_watched(&self, view: &str) -> bool {
        self.shared.all.receiver_count() > 0
            || self
                .views()
                .get(view)
                .is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Whether a view's changed rows are too many to be told one by one.
    pub fn is_flood(rows: usize) -> bool {
        rows > BEHIND
    }

    pub fn row(&self, view: &Arc<str>, id: Option<EventId>, changed_at: LogPos, json: String) {
        self.send(
            view,
            LiveEvent::Row {
                id,
                changed_at,
                view: Arc::clone(view),
                json,
            },
        );
    }

    pub fn gone(&self, view: &Arc<str>, json: String) {
        let view = Arc::clone(view);
        self.send(&Arc::clone(&view), LiveEvent::Gone { view, json });
    }

    pub fn reset(&self, view: &Arc<str>, why: &'static str) {
        let view = Arc::clone(view);
        self.send(&Arc::clone(&view), LiveEvent::Reset { view, why });
    }

    pub fn flood(&self, view: &Arc<str>, rows: usize) {
        self.send(
            view,
            LiveEvent::Flood {
                view: Arc::clone(view),
                rows: rows as u64,
            },
        );
    }

    fn send(&self, view: &str, event: LiveEvent) {
        let event = Arc::new(event);
        // an error means that nobody listens, which is fine
        let _ = self.shared.all.send(Arc::clone(&event));
        if let Some(sender) = self.views().get(view) {
            let _ = sender.send(event);
        }
    }

    /// Ends the streams of a view that is no more.
    pub fn end(&self, view: &str) {
        self.views().remove(view);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast::error::TryRecvError;

    use super::*;

    #[test]
    fn a_slow_watcher_is_told_how_many_rows_of_its_view_it_missed() {
        let live = LiveRows::new();
        assert!(!live.is_watched("a"));
        let mut watcher = live.subscribe("a");
        assert!(live.is_watched("a") && !live.is_watched("b"));
        for row in 0..BEHIND + 3 {
            live.row(&"a".into(), None, LogPos(0), row.to_string());
            live.row(
                &"b".into(),
                None,
                LogPos(0),
                "another view's rows are not counted".to_owned(),
            );
        }
        assert_eq!(watcher.try_recv().map(drop), Err(TryRecvError::Lagged(3)));
        let oldest = watcher.try_recv().expect("the oldest that is left");
        assert!(
            matches!(&*oldest, LiveEvent::Row { json, .. } if json == "3"),
            "{oldest:?}"
        );
        live.end("a");
        assert_eq!(std::iter::from_fn(|| watcher.try_recv().ok()).count(), BEHIND - 1);
        assert_eq!(watcher.try_recv().map(drop), Err(TryRecvError::Closed));
    }
}
