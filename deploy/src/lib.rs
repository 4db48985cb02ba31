//! The operator's program: plays every role, runs a mesh of them, checks configurations, issues certificates,
//! loads and measures.

pub mod audit;
pub mod backup;
pub mod bench;
pub mod certs;
pub mod cli;
pub mod dead_letters;
pub mod explain;
pub mod graph;
pub mod http;
pub mod ledger;
pub mod load;
mod out;
pub mod process;
pub mod query;
pub mod role;
pub mod schema;
mod signals;
pub mod sim;
mod site;
pub mod soak;
mod spool;
pub mod supervise;
pub mod top;
pub mod trace;
pub mod up;
pub mod views;
pub mod workload;

use std::process::ExitCode;

use cli::{BenchCommand, CheckArgs, Cli, Command};
use role::Role;
use tributary_shared::config::ConfigError;
use tributary_shared::program::{EXIT_FAILED, EXIT_USAGE};
use tributary_shared::telemetry;

/// Runs a command. Exit codes: 0 done, 1 failed while running, 2 wrong usage or configuration.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    match run(cli.command) {
        Ok(code) => code,
        Err(error) if error.is::<ConfigError>() => {
            out::error_line(error);
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => {
            out::error_line(format_args!("error: {error:#}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Agent(args) => Ok(process::run(Role::Agent, &args)?),
        Command::Gateway(args) => Ok(process::run(Role::Gateway, &args)?),
        Command::Aggregator(args) => Ok(process::run(Role::Aggregator, &args)?),
        Command::Up(args) => supervising("up", up::run(args)).map(done),
        Command::Soak(args) => supervising("soak", soak::run(args)).map(done),
        Command::Bench(BenchCommand::Engine(args)) => bench::engine::run(&args).map(done),
        Command::Bench(BenchCommand::Lineage(args)) => bench::lineage::run(&args).map(done),
        Command::Bench(BenchCommand::E2e(args)) => supervising("bench", bench::run(args)).map(done),
        Command::Spool(command) => spool::run(&command),
        Command::Check(args) => check(&args).map(done),
        Command::Sim(args) => sim::run(&args).map(|held| {
            if held {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(EXIT_FAILED)
            }
        }),
        Command::Load(args) => load::run(&args).map(done),
        Command::Query(args) => query::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Top(args) => top::run(&args).map(done),
        Command::Views(command) => views::run(&command),
        Command::Explain(args) => explain::run(&args),
        Command::Ledger(args) => ledger::run(&args),
        Command::DeadLetters(command) => dead_letters::run(&command),
        Command::Schema(command) => schema::run(&command),
        Command::Audit(command) => audit::run(&command),
        Command::Graph(args) => graph::graph(&args),
        Command::Impact(args) => graph::impact(&args),
        Command::Backup(args) => backup::backup(&args).map(done),
        Command::Restore(args) => backup::restore(&args).map(done),
        Command::Cert(command) => certs::run(&command).map(done),
        Command::AgentBundle(args) => certs::agent_bundle(&args).map(done),
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let role = args.role.map_or_else(|| role::of_file(&args.config), Ok)?;
    role::check(role, &args.config)?;
    Ok(out::line(format!(
        "{}: a valid {role} configuration",
        args.config.display()
    ))?)
}

/// Runs what supervises processes: it needs one thread, and logs for a person only.
fn supervising(name: &'static str, run: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let _guard = telemetry::init_with(None, name, name);
        run.await
    })
}
