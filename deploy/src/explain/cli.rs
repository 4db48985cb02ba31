//! What an operator types after `tributary explain`.

use clap::Args;

use crate::schema::cli::ApiArgs;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tributary explain by_site 2026-01-31T12:00:00Z            the whole window
  tributary explain by_site 2026-01-31T12:00:00Z site=a     the row of one site
  tributary explain running site=a                          a view without windows

The counts add up: what is shown and what is not kept any more is the row's own count.")]
pub struct ExplainArgs {
    /// The view
    pub view: String,
    /// The window's start (RFC 3339 or Unix milliseconds), and COLUMN=VALUE for the columns that rows are told by
    #[arg(value_name = "WINDOW_START | COLUMN=VALUE")]
    pub row: Vec<String>,
    /// The row that stands for all groups that its window had no room for
    #[arg(long)]
    pub overflow: bool,
    /// Show at most so many runs of events; the sums are of all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub ranges: usize,
    #[command(flatten)]
    pub api: ApiArgs,
}
