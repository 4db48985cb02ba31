//! What the handlers reach.

use std::sync::Arc;

use actix_web::web;
use tokio::sync::{Semaphore, watch};

use super::ApiError;
use super::overview::Overview;
use crate::agents::AgentDirectory;
use crate::commit::{CommitError, CommitHandle, LogReader};
use crate::metadata::Metadata;
use crate::registry::Registry;
use crate::replay::Replayer;
use crate::throughput::Throughput;
use crate::window::EngineHandle;

/// Live streams that are served at one time; each holds a connection and a bounded queue.
const MAX_LIVE: usize = 256;
/// Ad-hoc queries that run at one time: each may take what ingestion leaves of a core for its time.
const MAX_QUERIES: usize = 2;
/// Searches for events that run at one time: each decodes entries of the log for some seconds.
const MAX_SEARCHES: usize = 2;
/// CSV and Parquet answers that are made and sent at one time: each holds its rows, some tens of megabytes at most.
const MAX_EXPORTS: usize = 4;

/// Windows that are explained at one time: each reads and folds log entries for some seconds at most.
const MAX_EXPLANATIONS: usize = 2;

/// Handles on everything that the API shows. Clones share it.
#[derive(Debug, Clone)]
pub struct ApiState {
    pub log: LogReader,
    pub commit: CommitHandle,
    pub engine: EngineHandle,
    pub agents: Arc<AgentDirectory>,
    pub throughput: Arc<Throughput>,
    pub schemas: Registry,
    pub metadata: Metadata,
    pub replayer: Replayer,
    /// Turns true when the aggregator stops: live streams end then.
    pub shutdown: watch::Receiver<bool>,
    /// A page that shows a trace, with `{trace_id}` in its address.
    pub trace_viewer: Option<Arc<str>>,
    pub(super) overview: Arc<Overview>,
    pub(super) live_slots: Arc<Semaphore>,
    pub(super) sql_places: Arc<Semaphore>,
    pub(super) export_places: Arc<Semaphore>,
    pub(super) explain_places: Arc<Semaphore>,
    pub(super) audit_export: Arc<Semaphore>,
    pub(super) search_places: Arc<Semaphore>,
}

impl ApiState {
    #[must_use]
    pub fn new(
        log: LogReader,
        commit: CommitHandle,
        engine: EngineHandle,
        agents: Arc<AgentDirectory>,
        throughput: Arc<Throughput>,
        (schemas, metadata): (Registry, Metadata),
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let (overview, live_slots) = (Arc::default(), Arc::new(Semaphore::new(MAX_LIVE)));
        let sql_places = Arc::new(Semaphore::new(MAX_QUERIES));
        let export_places = Arc::new(Semaphore::new(MAX_EXPORTS));
        let replayer = Replayer::new(log.clone(), commit.clone(), schemas.clone());
        Self {
            log,
            commit,
            engine,
            agents,
            throughput,
            schemas,
            metadata,
            replayer,
            shutdown,
            trace_viewer: None,
            overview,
            live_slots,
            sql_places,
            export_places,
            explain_places: Arc::new(Semaphore::new(MAX_EXPLANATIONS)),
            audit_export: Arc::new(Semaphore::new(1)),
            search_places: Arc::new(Semaphore::new(MAX_SEARCHES)),
        }
    }

    /// Reads the log on the blocking pool.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&LogReader) -> Result<T, CommitError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let log = self.log.clone();
        Ok(web::block(move || read(&log)).await??)
    }
}
