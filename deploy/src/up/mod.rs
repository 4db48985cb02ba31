//! `tributary up`: a whole mesh on this host. Makes a development CA and certificates, writes the roles'
//! configurations, runs the roles as child processes that are restarted when they die, and tells where to look.

pub mod configs;
pub mod identity;
pub mod layout;
mod lock;
mod mesh;
mod ports;
mod ready;
mod state;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tributary_shared::ready::{Ready, write_atomically};

use crate::cli::UpArgs;
use crate::out;
use crate::signals::StopSignals;
use layout::Layout;
use lock::Lock;
use mesh::{Mesh, Started};
use ready::MeshReady;

/// Runs a mesh until this process is told to stop.
///
/// # Errors
/// When the directory is in use, an address is taken, or a role does not start.
pub async fn run(args: UpArgs) -> anyhow::Result<()> {
    let mut stop = StopSignals::install()?;
    let layout = Layout::create(&args.dir)
        .with_context(|| format!("cannot use the directory {} (--dir)", args.dir.display()))?;
    let _lock = tokio::select! {
        lock = Lock::take(&layout) => lock?,
        () = stop.recv() => return Ok(()),
    };
    if let Some(path) = &args.ready_file {
        forget(path)?;
    }
    let mut mesh = Mesh::new(layout.clone())?;
    let served = tokio::select! {
        served = serve(&mut mesh, &args, &layout) => served,
        () = stop.recv() => Ok(()),
    };
    let stopped = stop_mesh(mesh, &mut stop).await;
    if let Some(path) = &args.ready_file {
        forget(path)?;
    }
    served.and(stopped)
}

/// Starts the mesh and keeps the ready file true. Never ends by itself, except by an error.
async fn serve(mesh: &mut Mesh, args: &UpArgs, layout: &Layout) -> anyhow::Result<()> {
    let Started {
        addresses,
        ready: mut roles,
    } = mesh.start(args).await?;
    let ready = MeshReady::new(addresses, mesh.agent_id(), layout, &roles);
    announce(args.ready_file.as_deref(), &ready)?;
    // a closed standard output is no reason to stop a mesh that serves
    let _ = out::line(summary(&ready, layout));
    loop {
        let restarted = mesh.restarted().await;
        replace(&mut roles, restarted.ready);
        announce(
            args.ready_file.as_deref(),
            &MeshReady::new(addresses, mesh.agent_id(), layout, &roles),
        )?;
    }
}

fn replace(roles: &mut [Ready], new: Ready) {
    if let Some(old) = roles.iter_mut().find(|old| old.role == new.role) {
        *old = new;
    }
}

fn announce(path: Option<&Path>, ready: &MeshReady) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    write_atomically(path, ready.to_json().as_bytes())
        .with_context(|| format!("cannot write {} (--ready-file)", path.display()))
}

/// Removes the ready file of an earlier run: nothing serves now.
fn forget(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the old {} (--ready-file)", path.display()))
        }
        _ => Ok(()),
    }
}

/// A second signal does not wait for anything to drain: the children are killed with their handles.
async fn stop_mesh(mesh: Mesh, stop: &mut StopSignals) -> anyhow::Result<()> {
    tokio::select! {
        () = mesh.stop() => Ok(()),
        () = stop.recv() => anyhow::bail!("stopped by a second signal before everything had drained"),
    }
}

fn summary(ready: &MeshReady, layout: &Layout) -> String {
    let (http, registry, intake, gateway) = (&ready.http, &ready.registry, &ready.intake, &ready.gateway);
    let dir = layout.root().display();
    format!(
        r#"
Tributary is up. This host's metrics are on the page within seconds.

  page       {http}/
  registry   {registry}
  intake     {intake}
  gateway    {gateway} (QUIC)
  data       {dir}

Send an event of your own, and find it on the page:

  curl -H 'content-type: application/json' -d '{{"device":"d-1","temperature":21.5}}' \
    {intake}/v1/streams/readings/events

Ctrl-C drains and stops; `tributary up` with the same --dir resumes. All options: `tributary up --help`
"#
    )
}

/// The development CA of a directory that `up` used.
#[must_use]
pub fn authority_of(dir: &Path) -> PathBuf {
    layout::authority(dir)
}
