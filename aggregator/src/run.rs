//! Wires an aggregator, from the sink to the source: stores, engine, API, and last the port for gateways.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tributary_shared::identity::{Identity, Role};
use tributary_shared::ready::Ready;
use tributary_shared::refusals::Refusals;

use crate::agents::AgentDirectory;
use crate::api::{self, ApiState};
use crate::audit;
use crate::beside::Beside;
use crate::commit::{self, CommitOptions};
use crate::config::AggregatorConfig;
use crate::metadata::Metadata;
use crate::registry::Registry;
use crate::session::{MAX_IN_FLIGHT, Shared, listen};
use crate::throughput::Throughput;
use crate::window::{self, EngineConfig, EngineHandle, EngineOptions};

/// How long a stopping aggregator waits for its gateways to take leave.
const DRAIN_DEADLINE: Duration = Duration::from_secs(3);

/// Runs until `shutdown` turns true, then drains: sessions end, what is queued is committed, the windows are
/// saved. Must run inside an actix system.
///
/// # Errors
/// When the identity is not usable, an address cannot be bound, or a store cannot be used.
pub async fn run(config: AggregatorConfig, shutdown: watch::Receiver<bool>) -> anyhow::Result<()> {
    let identity = Arc::new(Identity::load(&config.tls, Role::Aggregator)?);
    tributary_shared::telemetry::set_public_url(config.public_url.as_deref());
    std::fs::create_dir_all(&config.dir)
        .with_context(|| format!("cannot make {} (key `dir`)", config.dir.display()))?;
    let http = bind(config.http, "http")?;
    let registry_port = bind(config.registry, "registry")?;
    let server = identity.server_config(Role::Gateway, MAX_IN_FLIGHT)?;
    let endpoint = identity
        .listen(server, config.listen)
        .with_context(|| format!("cannot listen on udp {} (key `listen`)", config.listen))?;

    let registry = Registry::open(&config.dir)?;
    let metadata = Metadata::open(&config.dir)?;
    let options = CommitOptions {
        dir: config.dir.clone(),
        require_schema: config.require_schema,
    };
    let (commit, log, commit_thread) = commit::open_with_retention(options, config.log, registry.cache())?;
    audit::record_configuration(&commit, &log, audit::shown_configuration(&config)).await?;
    let gateways = audit::KnownGateways::load(&log)?;
    let refusals = Refusals::default();
    let audit = actix::spawn(audit::keep(commit.clone(), refusals.clone()));
    let throughput = Arc::new(Throughput::default());
    let options = EngineOptions {
        dir: config.dir.clone(),
        config: EngineConfig {
            hot_bytes: config.hot_bytes,
            ..EngineConfig::default()
        },
    };
    let (engine, engine_thread) =
        window::start(&options, log.clone(), commit.clone(), Arc::clone(&throughput))?;
    let agents = Arc::new(AgentDirectory::new());

    let mut state = ApiState::new(
        log,
        commit.clone(),
        engine.clone(),
        Arc::clone(&agents),
        throughput,
        (registry.clone(), metadata.clone()),
        shutdown.clone(),
    );
    state.trace_viewer = config.trace_viewer.as_deref().map(Arc::from);
    let addresses = [
        ("listen", endpoint.local_addr()?.to_string()),
        ("http", format!("http://{}", http.local_addr()?)),
        ("registry", format!("http://{}", registry_port.local_addr()?)),
    ];
    let beside = Beside::start(&config, &state, &shutdown)?;
    let api = api::serve(http, state.clone())?;
    let registry_api = api::serve_registry(registry_port, state)?;
    let (api_handle, registry_handle) = (api.handle(), registry_api.handle());
    actix::spawn(api);
    actix::spawn(registry_api);

    tokio::select! {
        () = recovered(&engine) => {}
        () = engine.stopped() => {}
    }
    if engine.is_ready() {
        tracing::info!(addresses = ?addresses, dir = %config.dir.display(), "aggregator serves");
        if let Some(path) = &config.ready_file {
            let ready = Ready::new("aggregator", addresses);
            ready
                .write(path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let name = identity.own().id.clone();
        let shared = Arc::new(Shared {
            commit: commit.clone(),
            registry,
            agents,
            sightings: crate::session::Sightings::default(),
            gateways,
            refusals: refusals.clone(),
            metadata,
            name,
        });
        tokio::select! {
            () = listen(endpoint, identity, shared, shutdown, DRAIN_DEADLINE) => {}
            () = commit.stopped() => tracing::error!("the commit thread ended"),
            () = engine.stopped() => tracing::error!("the window engine ended"),
        }
    }
    audit.abort();
    audit::record_refusals(&commit, &refusals).await;
    // what the last minute brought can be proved while nobody is here
    if let Err(error) = commit.sign().await {
        tracing::warn!(%error, "the last leaves of the audit are not signed yet");
    }
    commit.stop().await;
    engine.stop().await;
    tokio::join!(api_handle.stop(true), registry_handle.stop(true));
    beside.stop().await?;
    let committed = tokio::task::spawn_blocking(move || commit_thread.join()).await?;
    engine_thread.join().await?;
    Ok(committed?)
}

fn bind(at: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(at).with_context(|| format!("cannot listen on tcp {at} (key `{key}`)"))
}

async fn recovered(engine: &EngineHandle) {
    // an error means that the engine's thread ended, which the caller sees as well
    let _ = engine.ready_changes().wait_for(|ready| *ready).await;
}
