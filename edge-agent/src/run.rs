//! Wires an agent, from the sink to the source: spool, shipper, then whatever produces events.

use std::net::SocketAddr;
use std::sync::Arc;

use actix::prelude::*;
use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tributary_shared::actors::{Escalation, Policy, Supervised, supervise};
use tributary_shared::identity::{Identity, Role};
use tributary_shared::ids::AgentId;
use tributary_shared::ready::Ready;
use tributary_shared::time::now_millis;

use crate::check::{Checks, Compiler};
use crate::config::AgentConfig;
use crate::heads::Heads;
use crate::host::HostMetrics;
use crate::intake::{self, ConnectionStatus, IntakeContext};
use crate::shipper::{Shipper, ShipperSetup, Stop};
use crate::shown;
use crate::spool::{self, SpoolHandle};
use crate::tail::Tail;

/// Runs until `shutdown` turns true, then drains: inputs end, the shipper takes its leave, the spool closes.
/// Must run inside an actix system. Without `compiler` no events are checked: the configuration must ask for none,
/// see [`AgentConfig::refuse_checks`]. No gateway needs to be in sight.
///
/// # Errors
/// When the identity or the spool is not usable, the intake's address cannot be bound, or an actor dies again
/// and again.
pub async fn run(
    config: AgentConfig,
    compiler: Option<Compiler>,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let identity = Arc::new(Identity::load(&config.tls, Role::Agent)?);
    check_id(&config.id, &identity)?;
    std::fs::create_dir_all(&config.dir)
        .with_context(|| format!("cannot make {} (key `dir`)", config.dir.display()))?;
    let listener = TcpListener::bind(config.intake.listen).await.with_context(|| {
        format!(
            "cannot listen on tcp {} (key `intake.listen`)",
            config.intake.listen
        )
    })?;
    let spool = spool::open(config.spool.clone(), config.id.clone())?;
    let checks = Checks::new(config.checks.clone(), spool.clone(), compiler);
    checks.load().await;
    let heads = Heads::new(spool.clone());
    heads.load().await;

    let (failed, mut failure) = mpsc::channel(1);
    let (status, connection) = watch::channel(ConnectionStatus::starting(now_millis()));
    let shipper = start_shipper(
        &config,
        (&spool, &checks, &heads),
        &identity,
        status,
        failed.clone(),
    )?;
    let inputs = start_inputs(&config, (&spool, &checks), &shutdown, &failed);

    let at = listener.local_addr()?;
    tracing::info!(intake = %at, agent = %config.id, dir = %config.dir.display(), "agent serves");
    if let Some(path) = &config.ready_file {
        let ready = Ready::new("agent", [("intake", format!("http://{at}"))]);
        ready
            .write(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let context = IntakeContext {
        spool: spool.clone(),
        connection,
        max_request: config.intake.max_request,
        checks,
        heads: heads.clone(),
    };
    let outcome = tokio::select! {
        () = intake::serve(listener, context, shutdown) => Ok(()),
        Some(escalation) = failure.recv() => Err(anyhow::Error::from(escalation)),
    };
    inputs.stop();
    shipper.stop();
    if let Some(addr) = shipper.addr() {
        // an actor that is gone has taken its leave
        let _ = addr.send(Stop).await;
    }
    heads.save().await;
    spool.shutdown().await?;
    outcome
}

/// The certificate is the identity; a configuration that names another is a mix-up.
fn check_id(id: &AgentId, identity: &Identity) -> anyhow::Result<()> {
    let named = &identity.own().id;
    anyhow::ensure!(
        named == id.as_str(),
        "the configuration names agent {id}, its certificate agent {named}: use the certificate that was issued \
         for {id}, or set id = \"{named}\""
    );
    Ok(())
}

fn start_shipper(
    config: &AgentConfig,
    (spool, checks, heads): (&SpoolHandle, &Checks, &Heads),
    identity: &Arc<Identity>,
    status: watch::Sender<ConnectionStatus>,
    failed: mpsc::Sender<Escalation>,
) -> anyhow::Result<Supervised<Shipper>> {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut endpoint = quinn::Endpoint::client(any).context("cannot open a udp socket")?;
    endpoint.set_default_client_config(identity.client_config()?);
    let setup = Arc::new(ShipperSetup {
        spool: spool.clone(),
        gateways: config.gateways.clone(),
        endpoint,
        identity: Arc::clone(identity),
        software: concat!("tributary-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
        configuration: shown::shown(config),
        ship: config.ship,
        status,
        checks: checks.clone(),
        heads: heads.clone(),
    });
    let factory = move |death| Shipper::new(Arc::clone(&setup), death).start();
    Ok(supervise("shipper", Policy::default(), factory, escalate(failed)))
}

/// What takes events in beside the intake. Dropped together: supervision ends with the last handle.
#[derive(Debug)]
struct Inputs {
    tails: Vec<Supervised<Tail>>,
    host: Option<Supervised<HostMetrics>>,
}

impl Inputs {
    /// What ends now is not started again. The actors themselves see the stop signal.
    fn stop(&self) {
        self.tails.iter().for_each(Supervised::stop);
        self.host.iter().for_each(Supervised::stop);
    }
}

fn start_inputs(
    config: &AgentConfig,
    (spool, checks): (&SpoolHandle, &Checks),
    stop: &watch::Receiver<bool>,
    failed: &mpsc::Sender<Escalation>,
) -> Inputs {
    let tails = config.files.iter().map(|files| {
        let (files, spool, checks, stop) = (files.clone(), spool.clone(), checks.clone(), stop.clone());
        let factory =
            move |death| Tail::new(files.clone(), spool.clone(), checks.clone(), stop.clone(), death).start();
        supervise("tail", Policy::default(), factory, escalate(failed.clone()))
    });
    let tails = tails.collect();
    let host = config.host_metrics.enabled.then(|| {
        let (host, spool, checks, stop) = (config.host_metrics, spool.clone(), checks.clone(), stop.clone());
        let factory =
            move |death| HostMetrics::new(host, spool.clone(), checks.clone(), stop.clone(), death).start();
        supervise(
            "host_metrics",
            Policy::default(),
            factory,
            escalate(failed.clone()),
        )
    });
    Inputs { tails, host }
}

fn escalate(failed: mpsc::Sender<Escalation>) -> impl FnOnce(Escalation) {
    move |escalation| {
        // full: another failure is already known, and one is enough to end
        let _ = failed.try_send(escalation);
    }
}
