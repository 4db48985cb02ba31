//! The `aggregator` program: one role of Tributary, for hosts that need only this one.

use std::path::PathBuf;
use std::process::ExitCode;

use aggregator::config::AggregatorConfig;
use clap::Parser;
use tributary_shared::identity::Role;
use tributary_shared::{config, program};

/// Commits events and keeps live windows over them.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration, a TOML file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match config::load(&args.config, AggregatorConfig::from_section) {
        Ok(config) => program::serve(
            "aggregator",
            &program::instance(&config.tls, Role::Aggregator),
            |stop| aggregator::run(config, stop),
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
