//! The operator's program: see `tributary --help`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    tributary::main(tributary::cli::Cli::parse())
}
