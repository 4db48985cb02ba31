//! The `gateway` program: one role of Tributary, for hosts that need only this one.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use gateway::config::GatewayConfig;
use tributary_shared::identity::Role;
use tributary_shared::{config, program};

/// Validates agents' events and forwards them to the aggregator.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration, a TOML file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match config::load(&args.config, GatewayConfig::from_section) {
        Ok(config) => program::serve(
            "gateway",
            &program::instance(&config.tls, Role::Gateway),
            |stop| gateway::run(config, stop),
        ),
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
