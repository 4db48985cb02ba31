//! What runs beside the way of a batch: books that are made durable every few seconds, watermarks that hear of agents that
//! left, and lineage that is told to others.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tributary_shared::ids::AgentId;

use crate::api::ApiState;
use crate::config::AggregatorConfig;
use crate::metadata::Metadata;
use crate::openlineage;
use crate::registry::Registry;
use crate::window::EngineHandle;

/// How often the registry makes durable which schema versions are in use.
const SAVE_USAGE_EVERY: Duration = Duration::from_secs(5);
/// How often it is made durable which nodes and routes were seen.
const SAVE_METADATA_EVERY: Duration = Duration::from_secs(5);

/// The tasks.
#[derive(Debug)]
pub(crate) struct Beside {
    tasks: Vec<JoinHandle<()>>,
    /// Ends by itself, with the shutdown or with the engine.
    lineage: Option<JoinHandle<()>>,
    registry: Registry,
    metadata: Metadata,
}

impl Beside {
    /// # Errors
    /// When a thread cannot be started, or the log not be read.
    pub(crate) fn start(
        config: &AggregatorConfig,
        state: &ApiState,
        shutdown: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let (registry, metadata) = (state.schemas.clone(), state.metadata.clone());
        Ok(Self {
            lineage: tell_lineage(config, state, shutdown.clone())?,
            tasks: vec![
                actix::spawn(save_usage(registry.clone())),
                actix::spawn(save_metadata(metadata.clone())),
                actix::spawn(tell_away(state.agents.away(), state.engine.clone())),
            ],
            registry,
            metadata,
        })
    }

    /// Ends them, when the engine has stopped, and saves the last seconds.
    ///
    /// # Errors
    /// When a task panicked.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for task in &self.tasks {
            task.abort();
        }
        if let Some(lineage) = self.lineage {
            lineage.await?;
        }
        let (registry, metadata) = (self.registry, self.metadata);
        let (used, seen) =
            tokio::task::spawn_blocking(move || (registry.save_usage(), metadata.save())).await?;
        if let Err(error) = used {
            tracing::warn!(%error, "the last seconds of schema usage are not counted");
        }
        if let Err(error) = seen {
            tracing::warn!(%error, "the last seconds of who was seen are not kept");
        }
        Ok(())
    }
}

/// Starts to tell of views where the configuration says so.
fn tell_lineage(
    config: &AggregatorConfig,
    state: &ApiState,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(config) = config.openlineage.clone() else {
        return Ok(None);
    };
    let poster = openlineage::Poster::start(config.url.clone())?;
    let sources = openlineage::Sources {
        engine: state.engine.clone(),
        schemas: state.schemas.cache(),
        metadata: state.metadata.clone(),
        log_id: state.log.log_id()?,
    };
    tracing::info!(
        namespace = config.namespace,
        "lineage of views is told by OpenLineage"
    );
    Ok(Some(actix::spawn(async move {
        openlineage::watch(config, sources, &poster, shutdown).await;
        // it waits a moment for what is not posted yet
        if tokio::task::spawn_blocking(move || poster.stop()).await.is_err() {
            tracing::error!("posting the last OpenLineage events panicked");
        }
    })))
}

/// Watermarks do not wait for agents that left.
async fn tell_away(mut away: watch::Receiver<BTreeSet<AgentId>>, engine: EngineHandle) {
    while away.changed().await.is_ok() {
        let agents = away.borrow_and_update().clone();
        engine.set_away(agents).await;
    }
}

async fn save_usage(registry: Registry) {
    let mut tick = tokio::time::interval(SAVE_USAGE_EVERY);
    loop {
        tick.tick().await;
        let registry = registry.clone();
        let saved = tokio::task::spawn_blocking(move || registry.save_usage()).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "cannot save the usage of schema versions; trying again");
        }
    }
}

async fn save_metadata(metadata: Metadata) {
    let mut tick = tokio::time::interval(SAVE_METADATA_EVERY);
    loop {
        tick.tick().await;
        let metadata = metadata.clone();
        let saved = tokio::task::spawn_blocking(move || metadata.save()).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "cannot save who was seen; trying again");
        }
    }
}
