//! The processes of a soak, kept running, and the links between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tributary_shared::ready::{Ready, write_atomically};

use super::link::Link;
use crate::bench::procfs;
use crate::role::Role;
use crate::site::Site;
use crate::supervise::ready::address;
use crate::supervise::{Child, Keeper, Restarted};
use crate::up::configs::{AgentSettings, AggregatorSettings, GatewaySettings};

const ANY_PORT: &str = "127.0.0.1:0";
/// Restarts that wait to be noted; noting one is a moment.
const RESTARTS: usize = 16;
/// How often memory is looked at. A peak is the kernel's own, so only what a killed process had in its last
/// moments can be missed.
const LOOK: Duration = Duration::from_millis(500);

/// Agents and gateways: two each, so that every fault leaves somebody who goes on.
pub const AGENTS: usize = 2;
pub const GATEWAYS: usize = 2;

/// A process as it is now.
#[derive(Debug, Clone)]
pub struct Process {
    pub name: String,
    pub role: Role,
    pub pid: u32,
}

/// The running mesh.
#[derive(Debug)]
pub struct Mesh {
    root: PathBuf,
    /// In the order of their start.
    keepers: Vec<Keeper>,
    /// The same; a change is a restart.
    pub processes: watch::Sender<Vec<Process>>,
    /// Names of the links, and the links.
    pub links: Vec<(String, Link)>,
    /// URLs of the agents' intakes.
    pub intakes: Vec<String>,
    pub http: String,
    pub registry: String,
    /// The most memory that any process of a role had, in bytes.
    peaks: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    restarts: (mpsc::Sender<Restarted>, Option<mpsc::Receiver<Restarted>>),
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Mesh {
    /// A mesh of which nothing runs yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let (restarted, restarts) = mpsc::channel(RESTARTS);
        Self {
            root: root.to_owned(),
            keepers: Vec::new(),
            processes: watch::Sender::new(Vec::new()),
            links: Vec::new(),
            intakes: Vec::new(),
            http: String::new(),
            registry: String::new(),
            peaks: Arc::default(),
            restarts: (restarted, Some(restarts)),
            tasks: Vec::new(),
        }
    }

    /// Starts everything, sink first, with a link in front of the aggregator and of each gateway.
    ///
    /// # Errors
    /// When a process does not start. Those that run by then: see [`Mesh::stop`].
    pub async fn start(&mut self, seed: u64) -> anyhow::Result<()> {
        let site = Site::new(&self.root)?;
        let aggregator = self.start_aggregator(&site, seed).await?;
        self.http = format!("http://{}", address(&aggregator, "http")?);
        self.registry = format!("http://{}", address(&aggregator, "registry")?);
        for n in 1..=GATEWAYS {
            self.start_gateway(&site, n, seed).await?;
        }
        for n in 0..AGENTS {
            self.start_agent(&site, n).await?;
        }
        let restarts = self.restarts.1.take().context("a mesh starts once")?;
        self.tasks
            .push(tokio::spawn(note_restarts(self.processes.clone(), restarts)));
        let (processes, peaks) = (self.processes.subscribe(), Arc::clone(&self.peaks));
        self.tasks.push(tokio::spawn(watch_memory(processes, peaks)));
        Ok(())
    }

    async fn start_aggregator(&mut self, site: &Site, seed: u64) -> anyhow::Result<Ready> {
        let mut settings = AggregatorSettings {
            dir: site.dir("aggregator")?,
            listen: ANY_PORT.to_owned(),
            http: ANY_PORT.to_owned(),
            registry: ANY_PORT.to_owned(),
            ready_file: site.ready("aggregator"),
            tls: site.identity(Role::Aggregator, "aggregator")?,
        };
        let launched = self.launch(site, Role::Aggregator, "aggregator", |ready| {
            if let Some(ready) = ready {
                settings.listen = address(ready, "listen")?.to_owned();
                settings.http = address(ready, "http")?.to_owned();
                settings.registry = address(ready, "registry")?.to_owned();
            }
            Ok(settings.render())
        });
        let ready = launched.await?;
        self.link("gateways to aggregator", &ready, seed).await?;
        Ok(ready)
    }

    async fn start_gateway(&mut self, site: &Site, n: usize, seed: u64) -> anyhow::Result<()> {
        let name = format!("gateway-{n}");
        let mut settings = GatewaySettings {
            listen: ANY_PORT.to_owned(),
            aggregator: self.links[0].1.address.to_string(),
            ready_file: site.ready(&name),
            tls: site.identity(Role::Gateway, &name)?,
        };
        let launched = self.launch(site, Role::Gateway, &name, |ready| {
            if let Some(ready) = ready {
                settings.listen = address(ready, "listen")?.to_owned();
            }
            Ok(settings.render())
        });
        let ready = launched.await?;
        self.link(&format!("agents to {name}"), &ready, seed.wrapping_add(n as u64))
            .await
    }

    /// Each agent prefers another gateway.
    async fn start_agent(&mut self, site: &Site, n: usize) -> anyhow::Result<()> {
        let id = format!("agent-{}", n + 1);
        let mut gateways: Vec<_> = self.links[1..]
            .iter()
            .map(|(_, link)| link.address.to_string())
            .collect();
        gateways.rotate_left(n % GATEWAYS);
        let mut settings = AgentSettings {
            id: &id,
            dir: site.dir(&id)?,
            gateways: &gateways,
            ready_file: Some(site.ready(&id)),
            tls: site.identity(Role::Agent, &id)?,
            intake: ANY_PORT.to_owned(),
            host_metrics: false,
            tails: &[],
        };
        let launched = self.launch(site, Role::Agent, &id, |ready| {
            if let Some(ready) = ready {
                settings.intake = address(ready, "intake")?.to_owned();
            }
            Ok(settings.render())
        });
        let ready = launched.await?;
        self.intakes
            .push(format!("http://{}", address(&ready, "intake")?));
        Ok(())
    }

    async fn link(&mut self, name: &str, server: &Ready, seed: u64) -> anyhow::Result<()> {
        let server = address(server, "listen")?
            .parse()
            .context("an address to listen on")?;
        self.links
            .push((name.to_owned(), Link::open(server, seed).await?));
        Ok(())
    }

    /// Writes the configuration, starts the process, and writes the configuration again with the addresses
    /// that it got, so that it keeps them when it is started again.
    async fn launch(
        &mut self,
        site: &Site,
        role: Role,
        name: &str,
        mut config: impl FnMut(Option<&Ready>) -> std::io::Result<String>,
    ) -> anyhow::Result<Ready> {
        let spec = site.child(role, name);
        write_atomically(&spec.config, config(None)?.as_bytes())?;
        let (child, ready) = Child::start(&spec).await.with_context(|| {
            format!(
                "its log is {}",
                spec.log.as_deref().unwrap_or(site.root()).display()
            )
        })?;
        write_atomically(&spec.config, config(Some(&ready))?.as_bytes())?;
        self.keepers
            .push(Keeper::new(spec, child, self.restarts.0.clone()));
        let process = Process {
            name: name.to_owned(),
            role,
            pid: ready.pid,
        };
        self.processes.send_modify(|processes| processes.push(process));
        Ok(ready)
    }

    /// The most memory that any process of a role had so far, in MiB, by role.
    #[must_use]
    pub fn peaks_mib(&self) -> BTreeMap<&'static str, f64> {
        let peaks = self.peaks.lock().unwrap_or_else(PoisonError::into_inner);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        peaks.iter().map(|(role, bytes)| (*role, mib(*bytes))).collect()
    }

    /// Sends a signal to a process of this mesh, as it is now.
    ///
    /// # Errors
    /// When it is not running just now.
    pub fn signal(&self, process: usize, signal: Signal) -> anyhow::Result<u32> {
        let Process { name, pid, .. } = self.processes.borrow()[process].clone();
        // what the operating system has given to somebody else meanwhile is not ours to signal
        let root = self.root.to_string_lossy().into_owned();
        let ours = std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&root));
        anyhow::ensure!(ours, "{name} is not running just now");
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a pid")?;
        kill_process(id, signal).with_context(|| format!("{name} cannot be signalled"))?;
        Ok(pid)
    }

    /// Stops agents, gateways and the aggregator, in this order.
    pub async fn stop(mut self) {
        for (process, _) in self.keepers.iter().enumerate() {
            // one that is stopped would not hear that it is to end; one that is not there need not
            let _ = self.signal(process, Signal::CONT);
        }
        for keeper in std::mem::take(&mut self.keepers).into_iter().rev() {
            keeper.stop().await;
        }
    }
}

async fn note_restarts(processes: watch::Sender<Vec<Process>>, mut restarts: mpsc::Receiver<Restarted>) {
    while let Some(Restarted { name, ready }) = restarts.recv().await {
        processes.send_modify(|processes| {
            if let Some(process) = processes.iter_mut().find(|process| process.name == name) {
                process.pid = ready.pid;
            }
        });
    }
}

async fn watch_memory(
    processes: watch::Receiver<Vec<Process>>,
    peaks: Arc<Mutex<BTreeMap<&'static str, u64>>>,
) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        for process in processes.borrow().iter() {
            // one that was just killed has no memory
            let Ok(bytes) = procfs::peak_resident(process.pid) else {
                continue;
            };
            let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
            let peak = peaks.entry(process.role.as_str()).or_default();
            *peak = bytes.max(*peak);
        }
    }
}
