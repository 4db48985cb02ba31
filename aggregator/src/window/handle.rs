//! What others hold of the engine's thread: questions go through a bounded queue and are answered between two
//! batches; changed rows come out as broadcasts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tributary_shared::ids::{AgentId, StreamName};
use tributary_shared::time::{Millis, rfc3339};

use super::closed::ClosedWindow;
use super::cold::ColdError;
use super::explain::{Asked, Basis, ExplainError, ExplainQuery};
use super::fill::Backfill;
use super::live::{LiveEvent, LiveRows};
use super::locate::Located;
use super::messages::{
    LaneWatermark, LateLine, QueryError, ScanPage, ViewStats, WindowPage, WindowQuery, WindowScan,
};
use super::since::SincePage;
use super::stamp::EventId;
use super::store::StoreError;
use crate::commit::{CommitError, LogPos};
use crate::view::{Column, ViewError, ViewOptions};

/// Questions that wait for the engine. Each is answered in about the time of a batch.
pub(super) const QUESTIONS: usize = 64;
/// Views that one aggregator keeps. Each is folded with every batch of its stream.
pub const MAX_VIEWS: usize = 256;

/// The engine's thread has ended: the aggregator is stopping, or a person must look at its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the window engine has stopped")]
pub struct EngineStopped;

/// Why the engine's thread ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the log cannot be read: {0}")]
    Log(#[from] CommitError),
    #[error("the views' state cannot be read or written: {0}")]
    Store(#[from] StoreError),
    #[error("the default view {name:?} does not compile: {error}")]
    DefaultView { name: &'static str, error: ViewError },
    #[error(transparent)]
    Cold(#[from] ColdError),
    #[error("the engine's thread: {0}")]
    Thread(String),
}

/// Why a view was not made.
#[derive(Debug, thiserror::Error)]
pub enum PutViewError {
    #[error(transparent)]
    Sql(ViewError),
    #[error("there are {limit} views already; delete one first")]
    TooMany { limit: usize },
    #[error("view {view:?} is read by {readers}; delete what reads it first")]
    IsRead { view: String, readers: String },
    #[error("view {reader:?} reads {view:?} and would not work any more: {error}; change or delete it first")]
    Breaks {
        view: String,
        reader: String,
        error: ViewError,
    },
    #[error("the view could not be stored: {0}")]
    Store(StoreError),
    #[error(transparent)]
    Stopped(#[from] EngineStopped),
}

/// Why windows cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowsError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Stopped(#[from] EngineStopped),
}

/// A view as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewInfo {
    pub name: String,
    pub sql: String,
    #[serde(flatten)]
    pub options: ViewOptions,
    #[serde(with = "rfc3339")]
    pub created_at: Millis,
    pub stream: StreamName,
    /// The view that it reads, when it is a roll-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<String>,
    /// The stream (of a roll-up: the view) that there is nothing of yet; absent when there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    pub columns: Vec<Column>,
    /// Columns that a row is told by, beside its window.
    pub keys: Vec<String>,
    #[serde(flatten)]
    pub stats: ViewStats,
    /// How far the view, or what replaces it, has come in counting the log; absent when it is all counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfill>,
    /// The definition that the view serves until that is done, when it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serves: Option<Serves>,
}

/// A definition that is served until a newer one has caught up with the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Serves {
    pub sql: String,
    #[serde(flatten)]
    pub options: ViewOptions,
}

/// A view after PUT.
#[derive(Debug, Clone, PartialEq)]
pub struct PutView {
    pub view: ViewInfo,
    /// There was none of this name before.
    pub created: bool,
}

/// A page, and how long the engine was at it.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedPage {
    pub page: ScanPage,
    pub took: Duration,
}

/// What the engine's thread is asked.
#[derive(Debug)]
pub(super) enum Question {
    Put {
        name: String,
        sql: String,
        options: ViewOptions,
        reply: oneshot::Sender<Result<PutView, PutViewError>>,
    },
    Drop {
        name: String,
        reply: oneshot::Sender<Result<bool, PutViewError>>,
    },
    Views {
        reply: oneshot::Sender<Vec<ViewInfo>>,
    },
    Windows {
        view: String,
        query: WindowQuery,
        reply: oneshot::Sender<Result<WindowPage, QueryError>>,
    },
    Scan {
        view: String,
        scan: WindowScan,
        reply: oneshot::Sender<Result<TimedPage, QueryError>>,
    },
    Since {
        view: String,
        after: Option<EventId>,
        limit: usize,
        reply: oneshot::Sender<Result<SincePage, QueryError>>,
    },
    Closed {
        view: String,
        limit: usize,
        reply: oneshot::Sender<Result<Option<ClosedWindow>, QueryError>>,
    },
    Basis {
        view: String,
        query: ExplainQuery,
        reply: oneshot::Sender<Result<Box<Basis>, ExplainError>>,
    },
    Owned {
        view: String,
        generation: u64,
        asked: Vec<Asked>,
        reply: oneshot::Sender<Result<Vec<bool>, QueryError>>,
    },
    Locate {
        stream: StreamName,
        pos: LogPos,
        records: RecordBatch,
        row: usize,
        reply: oneshot::Sender<Result<Located, QueryError>>,
    },
    Away {
        agents: BTreeSet<AgentId>,
    },
    Times {
        reply: oneshot::Sender<StreamTimes>,
    },
    Stop,
}

/// How far lanes have come, and what came too late.
#[derive(Debug, Clone, Default)]
pub struct StreamTimes {
    pub lanes: Vec<LaneWatermark>,
    /// By view.
    pub too_late: Vec<(Arc<str>, LateLine)>,
}

/// A handle on the engine's thread; clones share its queue.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) live: LiveRows,
    pub(super) applied: watch::Receiver<LogPos>,
    pub(super) ready: watch::Receiver<bool>,
}

impl EngineHandle {
    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, EngineStopped> {
        let (reply, answer) = oneshot::channel();
        self.questions
            .send(question(reply))
            .await
            .map_err(|_| EngineStopped)?;
        answer.await.map_err(|_| EngineStopped)
    }

    /// Makes or replaces a view, durably. It is back-filled from the retained log while live events flow on;
    /// the same SQL again changes nothing.
    ///
    /// # Errors
    /// [`PutViewError::Sql`] names the place of the mistake.
    pub async fn put_view(&self, name: String, sql: String) -> Result<PutView, PutViewError> {
        self.put_view_with(name, sql, ViewOptions::default()).await
    }

    /// The same with options. Windows are computed again when the SQL, the retention or the bound on groups is
    /// another.
    ///
    /// # Errors
    /// As [`Self::put_view`].
    pub async fn put_view_with(
        &self,
        name: String,
        sql: String,
        options: ViewOptions,
    ) -> Result<PutView, PutViewError> {
        let question = |reply| Question::Put {
            name,
            sql,
            options,
            reply,
        };
        self.ask(question).await?
    }

    /// Forgets a view and its windows. `false` when there was none.
    ///
    /// # Errors
    /// [`PutViewError::Store`], [`PutViewError::Stopped`].
    pub async fn drop_view(&self, name: String) -> Result<bool, PutViewError> {
        self.ask(|reply| Question::Drop { name, reply }).await?
    }

    /// All views, by name.
    ///
    /// # Errors
    /// [`EngineStopped`].
    pub async fn views(&self) -> Result<Vec<ViewInfo>, EngineStopped> {
        self.ask(|reply| Question::Views { reply }).await
    }

    /// Rows of a view.
    ///
    /// # Errors
    /// [`WindowsError::Query`] when view or column is unknown.
    pub async fn windows(&self, view: String, query: WindowQuery) -> Result<WindowPage, WindowsError> {
        Ok(self
            .ask(|reply| Question::Windows { view, query, reply })
            .await??)
    }

    /// The next page of a view's rows. Blocks: for threads that may.
    ///
    /// # Errors
    /// [`WindowsError::Query`] when view or column is unknown, or the view was replaced since the page before.
    pub fn scan_blocking(&self, view: String, scan: WindowScan) -> Result<TimedPage, WindowsError> {
        let (reply, answer) = oneshot::channel();
        self.questions
            .blocking_send(Question::Scan { view, scan, reply })
            .map_err(|_| EngineStopped)?;
        Ok(answer.blocking_recv().map_err(|_| EngineStopped)??)
    }

    /// The next rows for a reader who comes back with an id; see [`super::Engine::since`].
    ///
    /// # Errors
    /// [`WindowsError::Query`] when there is no such view.
    pub async fn since(
        &self,
        view: String,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<SincePage, WindowsError> {
        let question = |reply| Question::Since {
            view,
            after,
            limit,
            reply,
        };
        Ok(self.ask(question).await??)
    }

    /// Rows of the newest window of a view that its stream's watermark has passed; see
    /// [`super::Engine::newest_closed`].
    ///
    /// # Errors
    /// [`WindowsError::Query`] when there is no such view.
    pub async fn newest_closed(
        &self,
        view: String,
        limit: usize,
    ) -> Result<Option<ClosedWindow>, WindowsError> {
        Ok(self
            .ask(|reply| Question::Closed { view, limit, reply })
            .await??)
    }

    /// The rows that are to be explained; see [`super::Engine::basis`]. Blocks: for threads that may.
    ///
    /// # Errors
    /// [`ExplainError`] when there are none.
    pub fn basis_blocking(&self, view: String, query: ExplainQuery) -> Result<Basis, ExplainError> {
        let (reply, answer) = oneshot::channel();
        self.questions
            .blocking_send(Question::Basis { view, query, reply })
            .map_err(|_| EngineStopped)?;
        Ok(*answer.blocking_recv().map_err(|_| EngineStopped)??)
    }

    /// Which of these groups there are; see [`super::Engine::owned`]. Blocks: for threads that may.
    ///
    /// # Errors
    /// [`WindowsError::Query`] when the view was replaced meanwhile.
    pub fn owned_blocking(
        &self,
        view: String,
        generation: u64,
        asked: Vec<Asked>,
    ) -> Result<Vec<bool>, WindowsError> {
        let (reply, answer) = oneshot::channel();
        let question = Question::Owned {
            view,
            generation,
            asked,
            reply,
        };
        self.questions
            .blocking_send(question)
            .map_err(|_| EngineStopped)?;
        Ok(answer.blocking_recv().map_err(|_| EngineStopped)??)
    }

    /// The windows that one row of the entry at a position changed.
    ///
    /// # Errors
    /// [`WindowsError::Query`] when windows on disk cannot be read.
    pub async fn locate(
        &self,
        stream: StreamName,
        pos: LogPos,
        records: RecordBatch,
        row: usize,
    ) -> Result<Located, WindowsError> {
        let question = |reply| Question::Locate {
            stream,
            pos,
            records,
            row,
            reply,
        };
        Ok(self.ask(question).await??)
    }

    /// How far lanes have come in event time, and which events came too late.
    ///
    /// # Errors
    /// [`EngineStopped`].
    pub async fn times(&self) -> Result<StreamTimes, EngineStopped> {
        self.ask(|reply| Question::Times { reply }).await
    }

    /// Says which agents have left: no watermark waits for them.
    pub async fn set_away(&self, agents: BTreeSet<AgentId>) {
        // when the engine has ended there are no watermarks
        let _ = self.questions.send(Question::Away { agents }).await;
    }

    /// Rows of one view, as they change. Ends when the view is dropped.
    #[must_use]
    pub fn subscribe(&self, view: &str) -> broadcast::Receiver<Arc<LiveEvent>> {
        self.live.subscribe(view)
    }

    /// Rows of all views, as they change.
    #[must_use]
    pub fn subscribe_all(&self) -> broadcast::Receiver<Arc<LiveEvent>> {
        self.live.subscribe_all()
    }

    /// Every view that is not being back-filled covers the log up to here.
    #[must_use]
    pub fn applied(&self) -> LogPos {
        *self.applied.borrow()
    }

    /// The same, as it rises.
    #[must_use]
    pub fn applied_changes(&self) -> watch::Receiver<LogPos> {
        self.applied.clone()
    }

    /// Whether the views have caught up with the log as it was at the start.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// The same, as it changes.
    #[must_use]
    pub fn ready_changes(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Ends the thread after a last snapshot. Stop the commit thread first: what it has sent is applied before.
    pub async fn stop(&self) {
        // it has stopped already: what was asked for
        let _ = self.questions.send(Question::Stop).await;
    }

    /// Resolves when the thread has ended, asked to or not.
    pub async fn stopped(&self) {
        self.questions.closed().await;
    }
}
