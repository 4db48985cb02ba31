//! The `edge-agent` program: one role of Tributary, for hosts that need only this one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use edge_agent::config::AgentConfig;
use tributary_shared::identity::Role;
use tributary_shared::{config, program};

/// Buffers events on a device and ships them to a gateway.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration, a TOML file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match config::load(&args.config, |top| {
        let config = AgentConfig::from_section(top)?;
        config.refuse_checks(top);
        Some(config)
    }) {
        Ok(config) => program::serve("agent", &program::instance(&config.tls, Role::Agent), |stop| {
            edge_agent::run(config, None, stop)
        }),
        Err(error) => {
            // telemetry is not up yet, and this is for a person
            #[allow(clippy::print_stderr)]
            {
                eprintln!("{error}");
            }
            ExitCode::from(program::EXIT_USAGE)
        }
    }
}
