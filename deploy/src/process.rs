//! This process as one role: runs it until a signal, or the end of its parent, says stop.

use std::io::Read as _;
use std::process::ExitCode;
use std::thread;

use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::watch;
use tributary_shared::config::{self, ConfigError};
use tributary_shared::identity::TlsPaths;
use tributary_shared::program;

use crate::cli::RunArgs;
use crate::role::Role;
use crate::supervise::DRAIN;

/// Runs a role to its end. What it fails with is in its log.
///
/// # Errors
/// [`ConfigError`] for a configuration that cannot be used.
pub fn run(role: Role, args: &RunArgs) -> Result<ExitCode, ConfigError> {
    let path = &args.config;
    Ok(match role {
        Role::Agent => {
            let config = config::load(path, edge_agent::config::AgentConfig::from_section)?;
            serve(role, &config.tls.clone(), args, |shutdown| {
                edge_agent::run(config, Some(edge_agent::check::json_schemas), shutdown)
            })
        }
        Role::Gateway => {
            let config = config::load(path, gateway::config::GatewayConfig::from_section)?;
            serve(role, &config.tls.clone(), args, |shutdown| {
                gateway::run(config, shutdown)
            })
        }
        Role::Aggregator => {
            let config = config::load(path, aggregator::config::AggregatorConfig::from_section)?;
            serve(role, &config.tls.clone(), args, |shutdown| {
                aggregator::run(config, shutdown)
            })
        }
    })
}

fn serve<F>(
    role: Role,
    tls: &TlsPaths,
    args: &RunArgs,
    run: impl FnOnce(watch::Receiver<bool>) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    if args.parent_pipe {
        thread::spawn(end_with_parent);
    }
    program::serve(role.as_str(), &program::instance(tls, role), run)
}

/// Waits until the parent closes its end of our standard input, which it does when it ends, however it ends;
/// then this process drains as after SIGTERM, and ends even if it cannot.
fn end_with_parent() {
    let mut nothing = [0u8; 64];
    let mut stdin = std::io::stdin().lock();
    // the parent writes nothing; whatever comes is no reason to stop
    while matches!(stdin.read(&mut nothing), Ok(read) if read > 0) {}
    tracing::warn!("parent process has gone, stopping");
    if let Err(error) = kill_process(getpid(), Signal::TERM) {
        tracing::error!(%error, "process could not tell itself to stop");
    }
    thread::sleep(DRAIN);
    tracing::error!("process did not drain in time after its parent had gone");
    std::process::exit(i32::from(program::EXIT_FAILED));
}
