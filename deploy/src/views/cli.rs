//! What an operator types after `tributary views`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use crate::schema::cli::ApiArgs;

#[derive(Debug, Subcommand)]
pub enum ViewsCommand {
    /// All views, with what they hold
    List(ApiArgs),
    /// One view: its SQL, columns and counters
    Show(NameArgs),
    /// Make a view, or replace it: it is back-filled from the retained events
    Put(PutArgs),
    /// Delete a view with its windows; the events stay
    Delete(NameArgs),
}

#[derive(Debug, Args)]
pub struct NameArgs {
    /// The view
    pub name: String,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("definition").required(true).args(["sql", "file"]))]
pub struct PutArgs {
    /// The view
    pub name: String,
    /// Its SELECT
    pub sql: Option<String>,
    /// Read the SELECT from a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// A window is final when the watermark is this far past its end [default: 72h]
    #[arg(long, value_name = "DURATION")]
    pub allowed_lateness: Option<String>,
    /// Windows older than this are deleted [default: 90d]
    #[arg(long, value_name = "DURATION")]
    pub retention: Option<String>,
    /// Groups that one window may hold [default: 100000]
    #[arg(long, value_name = "N")]
    pub max_groups: Option<u64>,
    #[command(flatten)]
    pub api: ApiArgs,
}
