//! Wires a gateway, from the sink to the source.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;

use actix::prelude::*;
use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tributary_shared::actors::{Policy, supervise};
use tributary_shared::identity::{Identity, Role};
use tributary_shared::protocol::Ramp;
use tributary_shared::ready::Ready;
use tributary_shared::refusals::Refusals;
use tributary_shared::time::Monotonic;
use tributary_shared::wire::DEFAULT_MAX_IN_FLIGHT;

use crate::config::GatewayConfig;
use crate::listener::{Shared, listen};
use crate::news::SchemaNews;
use crate::pool::DecodePool;
use crate::schemas::SchemaBook;
use crate::upstream::{Upstream, UpstreamSetup, WantSchema};
use crate::{http, upstream};

/// Runs until `shutdown` turns true, then drains. Must run inside an actix system.
///
/// # Errors
/// When the identity is not usable, an address cannot be bound, or the upstream actor dies again and again.
pub async fn run(config: GatewayConfig, shutdown: watch::Receiver<bool>) -> anyhow::Result<()> {
    let identity = Arc::new(Identity::load(&config.tls, Role::Gateway)?);
    let gateway = identity.own().clone().gateway()?;
    let server = identity.server_config(Role::Agent, DEFAULT_MAX_IN_FLIGHT)?;
    let endpoint = identity
        .listen(server, config.listen)
        .with_context(|| format!("cannot listen on udp {} (key `listen`)", config.listen))?;

    let (wanted, wants) = mpsc::unbounded_channel();
    let schemas = SchemaBook::new(wanted);
    let news = SchemaNews::default();
    let (publish, link) = watch::channel(None);
    let refusals = Refusals::default();
    let setup = UpstreamSetup {
        gateway: gateway.clone(),
        address: config.aggregator.clone(),
        endpoint: dialling_endpoint(&identity)?,
        identity: Arc::clone(&identity),
        schemas: schemas.clone(),
        news: news.clone(),
        instance: rand::random(),
        software: concat!("tributary-gateway/", env!("CARGO_PKG_VERSION")).to_owned(),
        configuration: config.shown(),
        refusals: refusals.clone(),
    };
    let (failed, mut failure) = mpsc::channel(1);
    let publish = Arc::new(publish);
    let factory = move |death| Upstream::new(setup.clone(), Arc::clone(&publish), death).start();
    let upstream = supervise("upstream", Policy::default(), factory, move |escalation| {
        // the channel is full only when the failure is known already
        let _ = failed.try_send(format!("{escalation:?}"));
    });
    actix::spawn(ask_for_schemas(wants, upstream.clone()));

    let threads = available_parallelism().map_or(1, usize::from);
    let (clock, rate) = (Monotonic::start(), config.limits.sessions_per_s);
    let shared = Arc::new(Shared {
        ramp: std::sync::Mutex::new(Ramp::new(rate, rate, clock.tick())),
        clock,
        gateway,
        identity,
        upstream,
        link: link.clone(),
        schemas,
        news,
        pool: DecodePool::new(threads),
        budget: Arc::new(Semaphore::new(config.limits.admission_budget as usize)),
        limits: config.limits,
        refusals,
    });
    let http_at = serve_http(config.http, link).await?;
    let listening = endpoint.local_addr()?;
    tracing::info!(listen = %listening, gateway = %shared.gateway, aggregator = config.aggregator, "gateway serves");
    if let Some(path) = &config.ready_file {
        let http = http_at.map(|at| ("http", format!("http://{at}")));
        let ready = Ready::new(
            "gateway",
            [("listen", listening.to_string())].into_iter().chain(http),
        );
        ready
            .write(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    tokio::select! {
        () = listen(endpoint, shared, shutdown) => Ok(()),
        Some(reason) = failure.recv() => anyhow::bail!("the upstream actor failed too often: {reason}"),
    }
}

/// Dials from a socket of its own: the listening one answers agents.
fn dialling_endpoint(identity: &Identity) -> anyhow::Result<quinn::Endpoint> {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut endpoint = quinn::Endpoint::client(any).context("cannot open a udp socket")?;
    endpoint.set_default_client_config(identity.client_config()?);
    Ok(endpoint)
}

async fn ask_for_schemas(
    mut wants: mpsc::UnboundedReceiver<tributary_shared::wire::ToAggregator>,
    upstream: tributary_shared::actors::Supervised<Upstream>,
) {
    while let Some(question) = wants.recv().await {
        if let Some(addr) = upstream.addr() {
            // a dead actor's successor asks for everything when it connects
            let _ = addr.send(WantSchema(question)).await;
        }
    }
}

async fn serve_http(at: Option<SocketAddr>, link: upstream::Link) -> anyhow::Result<Option<SocketAddr>> {
    let Some(at) = at else { return Ok(None) };
    let listener = TcpListener::bind(at)
        .await
        .with_context(|| format!("cannot listen on {at} (key `http`)"))?;
    let bound = listener.local_addr()?;
    actix::spawn(http::serve(listener, link));
    Ok(Some(bound))
}
