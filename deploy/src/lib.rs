//! The operator's program: plays every role, runs a mesh of them, checks configurations, issues certificates,
//! loads and measures.

pub mod bench;
pub mod certs;
pub mod cli;
pub mod http;
pub mod load;
mod out;
pub mod process;
pub mod role;
mod signals;
pub mod supervise;
pub mod up;
pub mod workload;

use std::process::ExitCode;

use cli::{BenchCommand, Cli, Command};
use role::Role;
use tributary_shared::config::ConfigError;

/// The exit code of a command that failed while it ran.
const FAILED: u8 = 1;
/// The exit code of wrong usage or configuration, like clap's.
const USAGE: u8 = 2;

/// Runs a command. Exit codes: 0 done, 1 failed while running, 2 wrong usage or configuration.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ConfigError>() => {
            out::error_line(error);
            ExitCode::from(USAGE)
        }
        Err(error) => {
            out::error_line(format_args!("error: {error:#}"));
            ExitCode::from(FAILED)
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(args) => operator()?.block_on(up::run(args)),
        Command::Agent(args) => process::run(Role::Agent, &args),
        Command::Gateway(args) => process::run(Role::Gateway, &args),
        Command::Aggregator(args) => process::run(Role::Aggregator, &args),
        Command::Check(args) => {
            let role = args.role.map_or_else(|| role::of_file(&args.config), Ok)?;
            role::check(role, &args.config)?;
            Ok(out::line(format!("{}: a valid {role} configuration", args.config.display()))?)
        }
        Command::Load(args) => load::run(&args),
        Command::Bench(BenchCommand::E2e(args)) => operator()?.block_on(bench::run(args)),
        Command::Cert(command) => certs::run(&command),
        Command::AgentBundle(args) => certs::agent_bundle(&args),
    }
}

/// What supervises processes needs one thread, and telemetry that only a person reads.
fn operator() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
