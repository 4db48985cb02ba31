//! The three processes, started in the order of the data's way back, so that each knows where the next one
//! listens, and stopped in the order of the data's way, so that each can drain into the next one.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tributary_shared::identity::{Authority, TlsPaths};
use tributary_shared::ready::{Ready, write_atomically};
use tributary_shared::time::now_millis;

use super::configs::{AgentSettings, AggregatorSettings, GatewaySettings};
use super::layout::Layout;
use super::ports::{Transport, local, resolve};
use super::ready::Addresses;
use super::state::State;
use super::{identity, ports};
use crate::cli::UpArgs;
use crate::role::Role;
use crate::supervise::ready::address;
use crate::supervise::{Child, ChildSpec, Keeper, Restarted};

const GATEWAY_ID: &str = "gateway-1";
const AGGREGATOR_ID: &str = "aggregator-1";
/// Restarts that wait to be written to the ready file: more than children can die while one is written.
const RESTARTS: usize = 16;

/// Heads every configuration.
const GENERATED: &str = "# Written by `tributary up` at every start: changes here are lost.\n\n";

/// The flags whose ports may be picked.
const HTTP: &str = "--http";
const REGISTRY: &str = "--registry";
const GATEWAY: &str = "--gateway";
const INTAKE: &str = "--intake";
const AGGREGATOR: &str = "--aggregator";

/// What is running.
#[derive(Debug)]
pub struct Mesh {
    layout: Layout,
    program: PathBuf,
    state: State,
    /// In the order of their start.
    keepers: Vec<Keeper>,
    restarts: (mpsc::Sender<Restarted>, mpsc::Receiver<Restarted>),
}

impl Mesh {
    /// Prepares a mesh in a locked directory; nothing runs yet.
    ///
    /// # Errors
    /// When the state there is damaged.
    pub fn new(layout: Layout) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let state = State::load_or_create(&layout.state())?;
        Ok(Self {
            layout,
            program,
            state,
            keepers: Vec::new(),
            restarts: mpsc::channel(RESTARTS),
        })
    }

    #[must_use]
    pub fn agent_id(&self) -> &str {
        self.state.agent_id.as_str()
    }

    /// Starts all three and waits until they serve.
    ///
    /// # Errors
    /// When an address is taken or a process does not start. Those that run by then: see [`Mesh::stop`].
    pub async fn start(&mut self, args: &UpArgs) -> anyhow::Result<Started> {
        let wanted = self.wanted(args)?;
        let authority = Authority::load_or_create(&self.layout.authority(), now_millis())?;

        let aggregator = self.start_aggregator(&wanted, &authority).await?;
        let gateway = self.start_gateway(&wanted, &authority, &aggregator).await?;
        let agent = self.start_agent(args, &wanted, &authority, &gateway).await?;

        let addresses = Addresses {
            http: served(&aggregator, "http")?,
            registry: served(&aggregator, "registry")?,
            gateway: served(&gateway, "listen")?,
            intake: served(&agent, "intake")?,
        };
        let picked = [
            (HTTP, args.http, addresses.http),
            (REGISTRY, args.registry, addresses.registry),
            (GATEWAY, args.gateway, addresses.gateway),
            (INTAKE, args.intake, addresses.intake),
            (AGGREGATOR, args.aggregator, served(&aggregator, "listen")?),
        ];
        for (flag, asked, real) in picked {
            if asked.port() == 0 {
                self.state.picked.insert(flag.to_owned(), real);
            }
        }
        self.state.save(&self.layout.state())?;
        Ok(Started {
            addresses,
            ready: [agent, gateway, aggregator],
        })
    }

    fn wanted(&self, args: &UpArgs) -> Result<Wanted, ports::PortError> {
        Ok(Wanted {
            http: resolve(HTTP, args.http, Transport::Tcp, &self.state)?,
            registry: resolve(REGISTRY, args.registry, Transport::Tcp, &self.state)?,
            gateway: resolve(GATEWAY, args.gateway, Transport::Udp, &self.state)?,
            intake: resolve(INTAKE, args.intake, Transport::Tcp, &self.state)?,
            aggregator: resolve(AGGREGATOR, args.aggregator, Transport::Udp, &self.state)?,
        })
    }

    fn identity(&self, authority: &Authority, role: Role, id: &str) -> anyhow::Result<TlsPaths> {
        let dir = self.layout.identity(role);
        identity::ensure(authority, &dir, role, id)
            .with_context(|| format!("cannot make the {role}'s certificate"))
    }

    async fn start_aggregator(&mut self, wanted: &Wanted, authority: &Authority) -> anyhow::Result<Ready> {
        let mut settings = AggregatorSettings {
            dir: self.layout.data(Role::Aggregator),
            listen: wanted.aggregator.to_string(),
            http: wanted.http.to_string(),
            registry: wanted.registry.to_string(),
            ready_file: self.layout.ready(Role::Aggregator),
            tls: self.identity(authority, Role::Aggregator, AGGREGATOR_ID)?,
        };
        self.launch(Role::Aggregator, |ready| {
            if let Some(ready) = ready {
                settings.listen = address(ready, "listen")?.to_owned();
                settings.http = address(ready, "http")?.to_owned();
                settings.registry = address(ready, "registry")?.to_owned();
            }
            Ok(settings.render())
        })
        .await
    }

    async fn start_gateway(
        &mut self,
        wanted: &Wanted,
        authority: &Authority,
        aggregator: &Ready,
    ) -> anyhow::Result<Ready> {
        let mut settings = GatewaySettings {
            listen: wanted.gateway.to_string(),
            aggregator: local(served(aggregator, "listen")?).to_string(),
            ready_file: self.layout.ready(Role::Gateway),
            tls: self.identity(authority, Role::Gateway, GATEWAY_ID)?,
        };
        self.launch(Role::Gateway, |ready| {
            if let Some(ready) = ready {
                settings.listen = address(ready, "listen")?.to_owned();
            }
            Ok(settings.render())
        })
        .await
    }

    async fn start_agent(
        &mut self,
        args: &UpArgs,
        wanted: &Wanted,
        authority: &Authority,
        gateway: &Ready,
    ) -> anyhow::Result<Ready> {
        let id = self.state.agent_id.clone();
        let mut settings = AgentSettings {
            id: id.as_str(),
            dir: self.layout.data(Role::Agent),
            gateways: &[local(served(gateway, "listen")?).to_string()],
            ready_file: Some(self.layout.ready(Role::Agent)),
            tls: self.identity(authority, Role::Agent, id.as_str())?,
            intake: wanted.intake.to_string(),
            host_metrics: !args.no_host_metrics,
            tails: &args.tail,
        };
        self.launch(Role::Agent, |ready| {
            if let Some(ready) = ready {
                settings.intake = address(ready, "intake")?.to_owned();
            }
            Ok(settings.render())
        })
        .await
    }

    /// Writes the configuration, starts the process, and writes the configuration again with the addresses
    /// that it got, so that it keeps them when it is restarted.
    async fn launch(
        &mut self,
        role: Role,
        mut config: impl FnMut(Option<&Ready>) -> std::io::Result<String>,
    ) -> anyhow::Result<Ready> {
        let spec = ChildSpec {
            name: role.as_str().to_owned(),
            role,
            program: self.program.clone(),
            config: self.layout.config(role),
            ready_file: self.layout.ready(role),
            log: None,
        };
        let mut write = |ready: Option<&Ready>| {
            write_atomically(&spec.config, format!("{GENERATED}{}", config(ready)?).as_bytes())
        };
        write(None)?;
        let (child, ready) = Child::start(&spec).await?;
        write(Some(&ready))?;
        self.keepers
            .push(Keeper::new(spec, child, self.restarts.0.clone()));
        Ok(ready)
    }

    /// Waits for the next restart of a child that died.
    pub async fn restarted(&mut self) -> Restarted {
        self.restarts
            .1
            .recv()
            .await
            .expect("this value holds a sender, so the channel is open")
    }

    /// Stops what runs: agent, then gateway, then aggregator, each with time to drain.
    pub async fn stop(self) {
        // nobody reads restarts any more: a keeper must not wait for it
        drop(self.restarts);
        if !self.keepers.is_empty() {
            tracing::info!("stopping agent, gateway and aggregator");
        }
        for keeper in self.keepers.into_iter().rev() {
            keeper.stop().await;
        }
    }
}

/// The addresses to configure; port 0 where one is to be picked.
#[derive(Debug)]
struct Wanted {
    http: SocketAddr,
    registry: SocketAddr,
    gateway: SocketAddr,
    intake: SocketAddr,
    aggregator: SocketAddr,
}

/// A mesh that serves.
#[derive(Debug)]
pub struct Started {
    pub addresses: Addresses,
    pub ready: [Ready; 3],
}

fn served(ready: &Ready, key: &str) -> anyhow::Result<SocketAddr> {
    let text = address(ready, key)?;
    text.parse()
        .with_context(|| format!("the {} serves {key} on {text:?}, which is no address", ready.role))
}
