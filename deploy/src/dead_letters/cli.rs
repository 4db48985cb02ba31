//! What an operator types after `tributary dead-letters`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use tributary_shared::ids::{AgentId, StreamName};

use crate::cli::{DEFAULT_API, api_url};

#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List dead letters, newest first, and count all of them by reason
    List(ListArgs),
    /// Show one: its original bytes, what was wrong with each field, and what became of it
    Show(ShowArgs),
    /// Judge dead letters again; those that are valid now become events, each once
    Replay(ReplayArgs),
    /// Give dead letters up for ever; the ledger will name them
    Discard(DiscardArgs),
}

#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// URL of the aggregator's API
    #[arg(long, value_name = "URL", default_value = DEFAULT_API, value_parser = api_url)]
    pub http: String,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which letters")]
pub struct FilterArgs {
    /// Of this stream
    #[arg(long)]
    pub stream: Option<StreamName>,
    /// Of this agent
    #[arg(long)]
    pub agent: Option<AgentId>,
    /// With this reason: a rule (`type`, `required`, `malformed` …) or a path (`/temperature`)
    #[arg(long, value_name = "RULE|PATH")]
    pub reason: Option<String>,
    /// Rejected by this version of the stream's schema
    #[arg(long, value_name = "VERSION")]
    pub rejected_by: Option<u32>,
    /// Committed at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Committed before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// open, replayed or discarded
    #[arg(long, value_parser = ["open", "replayed", "discarded"])]
    pub state: Option<String>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub api: ApiArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub limit: u64,
    /// Only ids below this one: the next page
    #[arg(long, value_name = "ID")]
    pub before: Option<i64>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The letter's id
    pub id: i64,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Clone, Args)]
pub struct SelectArgs {
    /// Ids of letters; or use the filters below
    pub ids: Vec<i64>,
    /// Every letter there is
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
    /// Who does it, for the record [default: the user's name]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("fix").args(["fix_patch", "fix_sql"]), after_help = "\
Examples:
  tributary dead-letters replay --stream readings --dry-run
  tributary dead-letters replay --stream readings --reason /temperature \\
    --fix-sql \"json_set(payload, '$.temperature', CAST(payload ->> '$.temperature' AS REAL))\"
  tributary dead-letters replay 17 18 --fix-patch fix.json      an RFC 6902 patch: [{\"op\": ...}]

An event counts once, however often its letter is replayed: run it again after any failure. The original bytes
stay; the fixed ones are judged and counted. Exits 1 when letters stay dead, and says why.")]
pub struct ReplayArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Judge by this version of the stream's schema [default: the current one]
    #[arg(long, value_name = "VERSION")]
    pub schema: Option<u32>,
    /// A file with a JSON Patch that each payload is changed by first
    #[arg(long, value_name = "FILE")]
    pub fix_patch: Option<PathBuf>,
    /// An SQL expression (SQLite's dialect) over `payload` that gives the new payload
    #[arg(long, value_name = "EXPR")]
    pub fix_sql: Option<String>,
    #[command(flatten)]
    pub api: ApiArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Discarded letters cannot be replayed any more. They stay counted as dead, with a line in the ledger.")]
pub struct DiscardArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Why, for the record
    #[arg(long, value_name = "WORDS")]
    pub because: String,
    #[command(flatten)]
    pub api: ApiArgs,
}
