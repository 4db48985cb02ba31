//! `tributary`, where integration tests find it.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    tributary::main(tributary::cli::Cli::parse())
}
