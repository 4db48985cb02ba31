//! The processes that are measured. Unlike those of `up`, they are not restarted: one that dies ends the run.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tributary_shared::ids::StreamName;
use tributary_shared::ready::{Ready, write_atomically};

use super::STREAM;
use crate::role::Role;
use crate::site::Site;
use crate::supervise::ready::address;
use crate::supervise::{Child, ChildSpec, DRAIN};
use crate::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings, Tail};

const ANY_PORT: &str = "127.0.0.1:0";

/// Where the measured processes are.
#[derive(Debug, Clone)]
pub struct Places {
    /// URL of the aggregator's API.
    pub http: String,
    pub registry: String,
    pub aggregator_pid: u32,
    pub aggregator_dir: PathBuf,
    pub gateway_pid: u32,
    pub agents: Vec<AgentPlace>,
}

/// One agent.
#[derive(Debug, Clone)]
pub struct AgentPlace {
    pub pid: u32,
    /// URL of its intake, for its metrics.
    pub intake: String,
    /// Its spool.
    pub dir: PathBuf,
    /// Files named `*.ndjson` here are tailed.
    pub input: PathBuf,
}

/// The running processes, in the order of their start.
#[derive(Debug, Default)]
pub struct Mesh {
    children: Vec<(String, Child)>,
}

impl Mesh {
    /// Starts aggregator, gateway and agents below `dir`, and waits until they serve.
    ///
    /// # Errors
    /// When one does not start; the others: see [`Mesh::stop`].
    pub async fn start(&mut self, dir: &Path, agents: usize) -> anyhow::Result<Places> {
        let site = Site::new(dir)?;
        let aggregator_dir = site.dir("aggregator")?;
        let config = AggregatorSettings {
            dir: aggregator_dir.clone(),
            listen: ANY_PORT.to_owned(),
            http: ANY_PORT.to_owned(),
            registry: ANY_PORT.to_owned(),
            ready_file: site.ready("aggregator"),
            tls: site.identity(Role::Aggregator, "aggregator")?,
        };
        let aggregator = self
            .launch(&site, Role::Aggregator, "aggregator", &config.render())
            .await?;
        let config = GatewaySettings {
            listen: ANY_PORT.to_owned(),
            aggregator: address(&aggregator, "listen")?.to_owned(),
            ready_file: site.ready("gateway"),
            tls: site.identity(Role::Gateway, "gateway")?,
        };
        let gateway = self
            .launch(&site, Role::Gateway, "gateway", &config.render())
            .await?;
        let mut places = Vec::new();
        for n in 1..=agents {
            places.push(
                self.start_agent(&site, &format!("agent-{n}"), address(&gateway, "listen")?)
                    .await?,
            );
        }
        Ok(Places {
            http: format!("http://{}", address(&aggregator, "http")?),
            registry: format!("http://{}", address(&aggregator, "registry")?),
            aggregator_pid: aggregator.pid,
            aggregator_dir,
            gateway_pid: gateway.pid,
            agents: places,
        })
    }

    async fn start_agent(&mut self, site: &Site, id: &str, gateway: &str) -> anyhow::Result<AgentPlace> {
        let (dir, input) = (site.dir(id)?, site.dir(&format!("input-{id}"))?);
        let stream = StreamName::new(STREAM).context("a constant")?;
        let tail = Tail {
            stream,
            pattern: input.join("*.ndjson").to_string_lossy().into_owned(),
        };
        let config = AgentSettings {
            id,
            dir: dir.clone(),
            gateways: &[gateway.to_owned()],
            ready_file: Some(site.ready(id)),
            tls: site.identity(Role::Agent, id)?,
            intake: ANY_PORT.to_owned(),
            host_metrics: false,
            tails: &[tail],
        };
        let ready = self.launch(site, Role::Agent, id, &config.render()).await?;
        let intake = format!("http://{}", address(&ready, "intake")?);
        Ok(AgentPlace {
            pid: ready.pid,
            intake,
            dir,
            input,
        })
    }

    async fn launch(&mut self, site: &Site, role: Role, name: &str, config: &str) -> anyhow::Result<Ready> {
        let spec = ChildSpec {
            log: None,
            ..site.child(role, name)
        };
        write_atomically(&spec.config, config.as_bytes())?;
        let (child, ready) = Child::start(&spec).await?;
        self.children.push((spec.name, child));
        Ok(ready)
    }

    /// Waits until any process ends, which none should.
    pub async fn died(&mut self) -> anyhow::Error {
        let ends = self.children.iter_mut().map(|(name, child)| {
            Box::pin(async move {
                let status = child
                    .ended()
                    .await
                    .map_or_else(|error| error.to_string(), |status| status.to_string());
                anyhow::anyhow!("the {name} ended during the run ({status}); its own message is above")
            })
        });
        first(ends.collect()).await
    }

    /// Stops agents, gateway and aggregator, in this order.
    pub async fn stop(self) {
        for (_, child) in self.children.into_iter().rev() {
            child.stop(DRAIN).await;
        }
    }
}

/// The output of whichever future is ready first.
async fn first<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(|context| {
        let ready = futures
            .iter_mut()
            .map(|future| std::pin::Pin::new(future).poll(context));
        ready
            .into_iter()
            .find(std::task::Poll::is_ready)
            .unwrap_or(std::task::Poll::Pending)
    })
    .await
}
