//! What an operator types after `tributary top`.

use clap::Args;

use crate::cli::{DEFAULT_API, api_url};

#[derive(Debug, Args)]
#[command(after_help = "\
q, Esc or Ctrl-C ends it. Where standard output is no terminal, one snapshot is printed, as with --once.")]
pub struct TopArgs {
    /// URL of the aggregator's API
    #[arg(long, alias = "http", value_name = "URL", default_value = DEFAULT_API, value_parser = api_url)]
    pub url: String,
    /// Print one snapshot and end
    #[arg(long)]
    pub once: bool,
}
